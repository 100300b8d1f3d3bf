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
    """An engine whose answers are changed on the way."""

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

    def alter(self, told: Inference) -> Inference:
        return told


def test_the_shipped_model_tells_what_the_reference_tells(engine: Engine) -> None:
    verdict = parity.check(engine)
    assert verdict.passed
    assert 0 < verdict.worst < 1e-4
    assert verdict.limit == 1e-4
    assert f"valence {verdict.valence:.1e}" in verdict.figures


def test_there_are_64_windows_that_do_not_all_sound_the_same(engine: Engine) -> None:
    told = parity.answers(engine)
    assert told.shape == (64, 2, 2, 3)
    assert parity.stored_answers(engine.info).shape == told.shape
    value, low, high = np.moveaxis(told, 3, 0)
    assert (low <= value).all()
    assert (value <= high).all()
    assert value[:, 0].std(axis=0).min() > 0.05
    assert np.abs(told[:, 0] - told[:, 1]).max() > 0.05  # both answers are looked at


def test_the_calls_are_those_of_streams(engine: Engine) -> None:
    seen = Altered(engine)
    parity.answers(seen)
    info = engine.info
    batches, new, _, past = (set(sizes) for sizes in zip(*seen.shapes, strict=True))
    assert batches == {1, 2, 3}
    assert past == set(range(info.lag_order_max))
    # Less than a step, one, two, several, a whole window.
    assert {6, 32, 64, 128, info.lag_order_max * info.frames_per_step} <= new
    for _, frames, cached_maps, _ in seen.shapes:
        assert (frames + cached_maps - info.map_context) % info.frames_per_step == 0


def test_the_music_is_the_same_everywhere(engine: Engine) -> None:
    music = parity._music(engine.info, 200, 3)
    assert music.shape == (200, engine.info.frontend.width)
    assert music.min() >= 0
    np.testing.assert_array_equal(music[:100], parity._music(engine.info, 100, 3))
    assert np.abs(music - parity._music(engine.info, 200, 4)).max() > 0.5
    # As first written: answers that are stored rest on it.
    np.testing.assert_allclose(music.mean(), 0.9756145, rtol=1e-6)


@pytest.mark.parametrize("field", ["probabilities", "fast", "steps", "maps"])
def test_every_output_is_held_to_the_reference(engine: Engine, field: str) -> None:
    class Wrong(Altered):
        def alter(self, told: Inference) -> Inference:
            array = getattr(told, field).copy()
            if field in ("probabilities", "fast"):
                array[:, :, :2] += [-0.01, 0.01]  # a hundredth of the probability moves a bin
            else:
                array *= 1.01
            return told._replace(**{field: array})

    verdict = parity.check(Wrong(engine))
    assert not verdict.passed
    assert verdict.worst > 1e-4


def test_half_precision_may_be_further_away(engine: Engine) -> None:
    class Rough(Altered):
        def alter(self, told: Inference) -> Inference:
            moved = told.probabilities.copy()
            moved[:, :, 0] -= 0.002
            moved[:, :, 1] += 0.002
            return told._replace(probabilities=moved)

    assert not parity.check(Rough(engine)).passed
    verdict = parity.check(Rough(engine, precision="fp16"))
    assert verdict.passed
    assert verdict.limit == 5e-3


def test_what_is_not_a_number_does_not_pass(engine: Engine) -> None:
    class Broken(Altered):
        def alter(self, told: Inference) -> Inference:
            return told._replace(probabilities=told.probabilities * np.nan)

    assert not parity.check(Broken(engine)).passed


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (None, "does not hold the reference's answers"),
        ({"version": 0, "answers": []}, "does not hold the reference's answers"),
        ({"version": parity.VERSION}, "damaged"),
        ({"version": parity.VERSION, "refused": "1e-3"}, "rounding alone moves .* by 1e-3"),
        ({"version": parity.VERSION, "answers": [[1.0, 2.0]]}, "damaged"),
        ({"version": parity.VERSION, "answers": "text"}, "damaged"),
    ],
)
def test_a_file_without_answers_says_so(
    engine: Engine, stored: dict[str, Any] | None, message: str
) -> None:
    info = replace(engine.info, parity=stored)
    with pytest.raises(ModelError, match=message):
        parity.stored_answers(info)


def test_the_answers_in_the_shipped_file_are_those_of_torch() -> None:
    from mer_engine.backends.torch import TorchEngine

    # Torch adds up in another order with another number of threads.
    assert parity.check(TorchEngine.open(shipped_model())).worst < 1e-5


def test_an_exported_model_holds_answers(fast_model: Path) -> None:
    verdict = parity.check(load_engine(fast_model))
    assert verdict.passed
    assert verdict.worst > 0


def test_a_verdict_comes_back_from_json(engine: Engine) -> None:
    verdict = parity.check(engine)
    assert parity.from_dict(verdict.backend, verdict.to_dict()) == verdict
