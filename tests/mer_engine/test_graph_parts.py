"""The parts of a graph compute the numbers of the whole."""

from pathlib import Path

import numpy as np
import pytest
from mer_engine import Engine, ModelError, load_engine
from mer_engine.engine import no_past, parts_of, shipped_model, silent_maps
from mer_engine.graph_parts import Graph
from support import FaultyEngine


@pytest.fixture
def torch_engine() -> Engine:
    from mer_engine.backends.torch import TorchEngine

    return TorchEngine.open(shipped_model())


@pytest.mark.parametrize("name", ["engine", "fast_engine", "torch_engine"])
def test_parts_compute_the_numbers_of_the_whole(name: str, request: pytest.FixtureRequest) -> None:
    engine: Engine = request.getfixturevalue(name)
    parts = parts_of(engine)
    assert parts is not None
    info, steps, size = engine.info, 9, engine.info.frames_per_step
    frames, silence = info.check_frames(steps)[0], silent_maps(info)[0]
    whole = engine.infer(frames[None], silence[None], no_past(info))
    # In two stretches.
    first = parts.maps(frames[:100], silence)
    held = np.concatenate((silence, first))
    maps = np.concatenate((held, parts.maps(frames[100:], held[-info.map_context :])))
    np.testing.assert_allclose(maps[info.map_context :], whole.maps[0], atol=1e-5)
    rows = parts.describe(maps)
    sounds = len(info.sounds)
    np.testing.assert_allclose(rows, whole.steps[0, :, : info.embedding_size - sounds], atol=1e-4)
    each = [maps[k * size : (k + 1) * size + info.map_context] for k in range(steps)]
    logits = parts.sound_logits(np.stack(each))
    assert logits.shape == (steps, sounds)
    windows = np.repeat(np.hstack((rows, logits))[None], 3, axis=0)
    probabilities, fast, sound = parts.head(windows)
    for found, expected in ((probabilities, whole.probabilities), (fast, whole.fast)):
        np.testing.assert_allclose(found, np.repeat(expected, 3, axis=0), atol=1e-5)
    if sounds:
        assert sound is not None
        assert whole.sound is not None
        np.testing.assert_allclose(sound, np.repeat(whole.sound, 3, axis=0), atol=1e-5)
    else:
        assert sound is None


def test_an_engine_of_another_backend_has_no_parts(engine: Engine) -> None:
    assert parts_of(FaultyEngine(engine, "steps", ())) is None


def test_a_graph_with_other_parts_has_none(sound_engine: Engine) -> None:
    assert parts_of(sound_engine) is None  # its sound output needs the frames


def test_a_model_file_that_changed_meanwhile_has_no_parts(fast_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(fast_model.read_bytes())
    engine = load_engine(path)
    path.write_bytes(shipped_model().read_bytes())
    assert parts_of(engine) is None


def test_what_is_no_model_is_refused() -> None:
    content = shipped_model().read_bytes()
    with pytest.raises(ModelError):
        Graph(content[: len(content) // 2])
    with pytest.raises(KeyError):
        Graph(content).joined("past", "frames")
