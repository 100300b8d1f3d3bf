from pathlib import Path

import numpy as np
import onnx
import pytest
from mer_engine import Engine, FrontEndConfig, ModelError, load_engine
from mer_engine.engine import no_past, shipped_model, silent_maps
from mer_engine.model_file import write_metadata


def random_frames(engine: Engine, steps: int, batch: int = 1) -> np.ndarray:
    info = engine.info
    rng = np.random.default_rng(0)
    shape = (batch, steps * info.frames_per_step, info.frontend.width)
    return rng.uniform(0, 3, shape).astype(np.float32)


def test_the_shipped_model_and_its_metadata(engine: Engine) -> None:
    assert shipped_model().stat().st_size <= 12_000_000
    assert engine.info.lag_order_default == engine.info.lag_order_max == 20
    assert engine.info.step_s == 0.5
    assert engine.info.coverage == 0.8
    assert engine.info.licence
    assert engine.info.scores == ("valence", "arousal")
    assert engine.info.sounds == ("music", "speech", "noise")
    assert set(engine.info.distribution) == set(engine.info.movement) == {"valence", "arousal"}
    assert len(engine.info.sha256) == 64
    assert engine.info.self_check is not None


def test_updates_with_cached_maps_equal_the_whole_window(engine: Engine) -> None:
    info = engine.info
    frames, silence = random_frames(engine, 20), silent_maps(info)
    whole = engine.infer(frames, silence, no_past(info))
    assert whole.probabilities.shape == (1, len(info.scores), len(info.bins))
    assert whole.steps.shape == (1, 20, info.embedding_size)
    assert whole.maps.shape == (1, 640, info.map_size)
    np.testing.assert_allclose(whole.probabilities.sum(axis=2), 1.0, atol=1e-5)
    maps = np.concatenate([silence, whole.maps], axis=1)
    for new, steps in ((64, 2), (6, 1), (1, 1), (33, 2)):
        cached_maps = maps[:, maps.shape[1] - info.map_context - 32 * steps : -new]
        past = whole.steps[:, : 20 - steps]
        updated = engine.infer(frames[:, -new:], cached_maps, past)
        np.testing.assert_allclose(updated.probabilities, whole.probabilities, atol=1e-4)
        np.testing.assert_allclose(updated.fast, whole.fast, atol=1e-4)
        np.testing.assert_allclose(updated.steps, whole.steps[:, -steps:], atol=1e-3)
        np.testing.assert_allclose(updated.maps, whole.maps[:, -new:], atol=1e-3)


def test_silence_after_silence_keeps_its_maps(engine: Engine) -> None:
    info = engine.info
    frames = np.zeros((1, 64, info.frontend.width), np.float32)
    silence = silent_maps(info, batch=1)
    assert silence.shape == (1, info.map_context, info.map_size)
    made = engine.infer(frames, silence, no_past(info)).maps
    np.testing.assert_allclose(made, np.broadcast_to(silence[:, :1], made.shape), atol=1e-4)


def test_windows_of_a_batch_do_not_affect_each_other(engine: Engine) -> None:
    info = engine.info
    frames = random_frames(engine, 3, batch=5)
    together = engine.infer(frames, silent_maps(info, 5), no_past(info, 5)).probabilities
    for index in range(5):
        one = frames[index : index + 1]
        alone = engine.infer(one, silent_maps(info), no_past(info)).probabilities
        np.testing.assert_allclose(together[index], alone[0], atol=1e-4)


def test_missing_file() -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx cannot be read"):
        load_engine("nowhere.onnx")


def test_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(shipped_model().read_bytes()[:100_000])
    with pytest.raises(ModelError, match="damaged or not an ONNX model"):
        load_engine(path)


def test_text_instead_of_a_model(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("not a model")
    with pytest.raises(ModelError, match="damaged or not an ONNX model"):
        load_engine(path)


def test_an_onnx_model_of_another_project(tmp_path: Path) -> None:
    model = onnx.load(shipped_model())
    del model.metadata_props[:]
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match="not one that realtime-mer train made"):
        load_engine(path)


def test_damaged_weights_do_not_pass_the_self_check(tmp_path: Path) -> None:
    model = onnx.load(shipped_model())
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = np.frombuffer(largest.raw_data, dtype=np.float32).copy()
    values[::3] *= -7.0
    largest.raw_data = values.tobytes()
    path = tmp_path / "flipped.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match="damaged"):
        load_engine(path)


def test_a_model_for_another_front_end(tmp_path: Path, engine: Engine) -> None:
    import dataclasses

    model = onnx.load(shipped_model())
    other = dataclasses.replace(
        engine.info, frontend_fingerprint=FrontEndConfig(log_scale=1.0).fingerprint
    )
    write_metadata(model, other)
    path = tmp_path / "older.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match="made for another front-end"):
        load_engine(path)
