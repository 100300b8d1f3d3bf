import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from mer_engine.backends import parity
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine, environment
from mer_engine.engine import no_past, shipped_model, silent_maps
from mer_engine.frontend import features
from mer_engine.model_file import ModelInfo
from mer_engine.processor import processor
from numpy.typing import NDArray

from realtime_mer.bench.demo_audio import demo_audio


def test_the_default_runs_on_the_processor() -> None:
    engine = OnnxRuntimeEngine(shipped_model())
    assert engine.backend == "onnxruntime"
    assert engine.provider == "CPUExecutionProvider"
    assert engine.warning == ""


def test_nothing_is_reported_to_the_maker_of_the_library(tmp_path: Path) -> None:
    """ONNX Runtime would keep an identifier of this machine, and complain if it cannot."""
    program = "from mer_engine import load_engine; load_engine()"
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "CI")
    }
    for home in (tmp_path, Path(os.devnull)):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={
                **environment,
                "HOME": str(home),
                "PYTHONPATH": os.pathsep.join(sys.path),
                "REALTIME_MER_CACHE": str(home / "cache"),
            },
            capture_output=True,
            text=True,
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_the_environment_names_library_and_processor() -> None:
    assert ort.__version__ in environment()
    assert processor() in environment()
    assert processor()


@pytest.fixture(scope="module")
def pair() -> tuple[OnnxRuntimeEngine, OnnxRuntimeEngine]:
    """The shipped model as a whole and in parts."""
    whole, in_parts = OnnxRuntimeEngine(shipped_model()), OnnxRuntimeEngine(shipped_model())
    in_parts.use_parts()
    return whole, in_parts


class CountingSession:
    """The session of the classifier of sounds; counts the steps that it classifies."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session, self.steps = session, 0

    def run(self, outputs: None, inputs: dict[str, NDArray[np.float32]]) -> list[Any]:
        (maps,) = inputs.values()
        self.steps += len(maps)
        return list(self._session.run(outputs, inputs))


def streams(info: ModelInfo, count: int, steps: int) -> NDArray[np.float32]:
    """Return the frames of synthetic music, float32 [count, steps * S, width]."""
    size = steps * info.frames_per_step
    return np.stack([parity.synthetic_music(info, size, seed) for seed in range(count)])


def clear_music(info: ModelInfo, batch: int, steps: int) -> NDArray[np.float32]:
    """Return a past whose steps are clearly music, float32 [batch, steps, E]."""
    past = np.random.default_rng(0).standard_normal((batch, steps, info.embedding_size))
    past[:, :, -len(info.sounds) :] = (9.0, -8.0, -8.0)
    return past.astype(np.float32)


@pytest.mark.parametrize(
    ("batch", "steps", "before"), [(1, 2, 18), (9, 2, 8), (3, 8, 12), (2, 20, 0)]
)
def test_in_parts_all_but_the_sounds_is_the_same(
    pair: tuple[OnnxRuntimeEngine, OnnxRuntimeEngine], batch: int, steps: int, before: int
) -> None:
    whole, in_parts = pair
    info = whole.info
    inputs = streams(info, batch, steps), silent_maps(info, batch), clear_music(info, batch, before)
    found, expected = in_parts.infer(*inputs), whole.infer(*inputs)
    described = info.embedding_size - len(info.sounds)
    np.testing.assert_allclose(
        found.steps[:, :, :described], expected.steps[:, :, :described], atol=1e-4
    )
    for name in ("probabilities", "fast", "maps"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-5)
    assert found.sound is not None
    assert found.sound.shape == (batch, len(info.sounds))
    # Each alone is as in the batch.
    for index in range(batch):
        alone = in_parts.infer(*(array[index : index + 1] for array in inputs))
        for mine, its in zip(found.window(index), alone, strict=True):
            assert mine is not None
            assert its is not None
            np.testing.assert_allclose(mine, its, atol=1e-4 if mine is found.steps else 1e-5)


def test_in_parts_only_steps_that_are_not_clear_are_classified(
    pair: tuple[OnnxRuntimeEngine, OnnxRuntimeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, in_parts = pair
    info, parts = whole.info, in_parts.parts()
    assert parts is not None
    # Two seconds of real-sounding music: the demo's features.
    frames = features(demo_audio(8.0, info.frontend.sample_rate_hz), info.frontend)
    size, context = info.frames_per_step, info.map_context
    maps = whole.infer(frames[None], silent_maps(info), clear_music(info, 1, 4)).maps
    newest, held = frames[None, -2 * size :], maps[:, -2 * size - context : -2 * size]
    past = clear_music(info, 2, 18)
    past[1, :, -len(info.sounds) :] = (-8.0, 9.0, -8.0)
    inputs = np.repeat(newest, 2, 0), np.repeat(held, 2, 0), past
    counting = CountingSession(parts._sound)
    monkeypatch.setattr(parts, "_sound", counting)
    found, expected = in_parts.infer(*inputs), whole.infer(*inputs)
    assert found.sound is not None
    assert expected.sound is not None
    # After music the newest step alone, after speech both.
    assert counting.steps == 3
    assert np.abs(found.steps[0] - expected.steps[0]).max() > 1e-2
    np.testing.assert_allclose(found.sound[1], expected.sound[1], atol=1e-5)


def test_one_new_step_takes_the_whole_graph(
    pair: tuple[OnnxRuntimeEngine, OnnxRuntimeEngine],
) -> None:
    whole, in_parts = pair
    info = whole.info
    inputs = streams(info, 2, 1), silent_maps(info, 2), clear_music(info, 2, 5)
    for found, expected in zip(in_parts.infer(*inputs), whole.infer(*inputs), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_model_without_the_sound_output_stays_whole(fast_model: Path) -> None:
    engine = OnnxRuntimeEngine(fast_model)
    engine.use_parts()
    info = engine.info
    inputs = streams(info, 1, 2), silent_maps(info), no_past(info)
    whole = OnnxRuntimeEngine(fast_model).infer(*inputs)
    for found, expected in zip(engine.infer(*inputs), whole, strict=True):
        np.testing.assert_array_equal(found, expected)
