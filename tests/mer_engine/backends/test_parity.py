from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mer_engine import Engine, ModelError, load_engine
from mer_engine.backends import parity
from mer_engine.engine import Inference, shipped_model
from numpy.typing import NDArray


class Altered:
    """An engine whose outputs are changed."""

    backend = "altered"

    def __init__(self, engine: Engine, *, precision: str = "fp32") -> None:
        self.info = engine.info
        self.precision = precision
        self._engine = engine
        self.shapes: set[tuple[int, ...]] = set()

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        self.shapes.add((len(frames), frames.shape[1], cached_maps.shape[1], past.shape[1]))
        return self.alter(self._engine.infer(frames, cached_maps, past))

    def alter(self, output: Inference) -> Inference:
        return output


def test_the_shipped_model_passes_the_gate(engine: Engine) -> None:
    verdict = parity.check(engine)
    assert verdict.passed
    assert verdict.worst <= verdict.limit == 1e-4
    assert f"valence {verdict.valence:.1e}" in verdict.figures


def test_there_are_64_windows_with_different_values(engine: Engine) -> None:
    predictions, sound = parity.predict_windows(engine)
    assert sound is not None
    assert sound.shape == (64, 3)
    np.testing.assert_allclose(sound.sum(1), 1.0, atol=1e-5)
    assert predictions.shape == (64, 2, 2, 3)
    assert parity.reference_predictions(engine.info).values.shape == predictions.shape
    value, low, high = np.moveaxis(predictions, 3, 0)
    assert (low <= value).all()
    assert (value <= high).all()
    assert value[:, 0].std(axis=0).min() > 0.05
    assert np.abs(predictions[:, 0] - predictions[:, 1]).max() > 0.05  # the fast output differs


def test_the_calls_are_those_of_streams(engine: Engine) -> None:
    seen = Altered(engine)
    parity.predict_windows(seen)
    info = engine.info
    batches, new, _, past = (set(sizes) for sizes in zip(*seen.shapes, strict=True))
    assert batches == {1, 2, 3}
    assert past == set(range(info.lag_order_max))
    # Less than a step, one, two, several, a whole window.
    assert {6, 32, 64, 128, info.lag_order_max * info.frames_per_step} <= new
    for _, frames, cached_maps, _ in seen.shapes:
        assert (frames + cached_maps - info.map_context) % info.frames_per_step == 0


def test_the_music_is_reproducible(engine: Engine) -> None:
    music = parity.synthetic_music(engine.info, 200, 3)
    assert music.shape == (200, engine.info.frontend.width)
    assert music.min() >= 0
    np.testing.assert_array_equal(music[:100], parity.synthetic_music(engine.info, 100, 3))
    assert np.abs(music - parity.synthetic_music(engine.info, 200, 4)).max() > 0.5
    # The outputs in existing model files were computed for this music.
    np.testing.assert_allclose(music.mean(), 0.9756145, rtol=1e-5)


@pytest.mark.parametrize("field", ["probabilities", "fast", "steps", "maps"])
def test_every_output_is_compared_with_the_reference(engine: Engine, field: str) -> None:
    class Wrong(Altered):
        def alter(self, output: Inference) -> Inference:
            array = getattr(output, field).copy()
            if field in ("probabilities", "fast"):
                array[:, :, :2] += [-0.01, 0.01]  # moves a probability of 0.01 by a bin
            else:
                array *= 1.01
            return output._replace(**{field: array})

    verdict = parity.check(Wrong(engine))
    assert not verdict.passed
    assert verdict.worst > 1e-4


def test_the_sound_output_is_compared_too(sound_engine: Engine) -> None:
    class Wrong(Altered):
        def alter(self, output: Inference) -> Inference:
            assert output.sound is not None
            return output._replace(sound=output.sound + np.array([0.001, -0.001, 0.0], np.float32))

    class Without(Altered):
        def alter(self, output: Inference) -> Inference:
            return output._replace(sound=None)

    right = parity.check(sound_engine)
    assert right.passed
    assert right.sound is not None
    assert f", sound {right.sound:.1e}; allowed" in right.figures
    assert parity.from_dict(right.backend, right.to_dict()) == right
    wrong = parity.check(Wrong(sound_engine))
    assert not wrong.passed
    assert wrong.sound == pytest.approx(0.001, abs=1e-4)
    assert not parity.check(Without(sound_engine)).passed
    stored = sound_engine.info.parity or {}
    damaged = replace(sound_engine.info, parity={k: v for k, v in stored.items() if k != "sound"})
    with pytest.raises(ModelError, match="damaged"):
        parity.reference_predictions(damaged)


def test_half_precision_has_a_larger_limit(engine: Engine) -> None:
    class Rough(Altered):
        def alter(self, output: Inference) -> Inference:
            moved = output.probabilities.copy()
            moved[:, :, 0] -= 0.002
            moved[:, :, 1] += 0.002
            return output._replace(probabilities=moved)

    assert not parity.check(Rough(engine)).passed
    verdict = parity.check(Rough(engine, precision="fp16"))
    assert verdict.passed
    assert verdict.limit == 5e-3


def test_outputs_that_are_not_numbers_do_not_pass(engine: Engine) -> None:
    class Broken(Altered):
        def alter(self, output: Inference) -> Inference:
            return output._replace(probabilities=output.probabilities * np.nan)

    assert not parity.check(Broken(engine)).passed


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (None, "lacks the reference's outputs"),
        ({"version": 0, "answers": []}, "lacks the reference's outputs"),
        ({"version": parity.VERSION}, "damaged"),
        ({"version": parity.VERSION, "refused": "1e-3"}, "rounding errors alone change .* by 1e-3"),
        ({"version": parity.VERSION, "answers": [[1.0, 2.0]]}, "damaged"),
        ({"version": parity.VERSION, "answers": "text"}, "damaged"),
    ],
)
def test_a_file_without_reference_outputs_is_reported(
    engine: Engine, stored: dict[str, Any] | None, message: str
) -> None:
    info = replace(engine.info, parity=stored)
    with pytest.raises(ModelError, match=message):
        parity.reference_predictions(info)


def test_the_reference_outputs_in_the_shipped_file_are_those_of_torch() -> None:
    from mer_engine.backends.torch import TorchEngine

    # The order of summation, and so the rounding, depends on processor and number of threads.
    assert parity.check(TorchEngine.open(shipped_model())).passed


def test_an_exported_model_has_reference_outputs(fast_model: Path) -> None:
    assert parity.check(load_engine(fast_model)).passed


def test_a_result_survives_json(engine: Engine) -> None:
    verdict = parity.check(engine)
    assert parity.from_dict(verdict.backend, verdict.to_dict()) == verdict
