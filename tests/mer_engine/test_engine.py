from pathlib import Path

import numpy as np
import onnx
import pytest
from mer_engine import Engine, FrontEndConfig, ModelError, load_engine
from mer_engine.engine import no_past, shipped_model
from mer_engine.model_file import write_metadata


def random_frames(engine: Engine, steps: int, batch: int = 1) -> np.ndarray:
    info = engine.info
    count = info.context_frames + steps * info.frames_per_step
    rng = np.random.default_rng(0)
    return rng.uniform(0, 3, (batch, count, info.frontend.width)).astype(np.float32)


def test_the_shipped_model_is_small_and_says_what_it_is(engine: Engine) -> None:
    assert shipped_model().stat().st_size <= 8_000_000
    assert engine.info.lag_order_default == engine.info.lag_order_max == 20
    assert engine.info.step_s == 0.5
    assert engine.info.coverage == 0.8
    assert engine.info.licence
    assert engine.info.scores == ("valence", "arousal", "whole_valence", "whole_arousal")
    assert len(engine.info.sha256) == 64
    assert engine.info.self_check is not None


def test_kept_embeddings_give_what_the_whole_window_gives(engine: Engine) -> None:
    info = engine.info
    frames = random_frames(engine, 20)
    whole, steps, fast = engine.infer(frames, no_past(info))
    assert whole.shape == (1, len(info.scores), len(info.bins))
    assert steps.shape == (1, 20, info.embedding_size)
    np.testing.assert_allclose(whole.sum(axis=2), 1.0, atol=1e-5)
    newest = frames[:, -(info.context_frames + 2 * info.frames_per_step) :]
    updated, new_steps, new_fast = engine.infer(newest, steps[:, :18])
    np.testing.assert_allclose(updated, whole, atol=1e-5)
    np.testing.assert_allclose(new_steps, steps[:, 18:], atol=1e-4)
    assert (fast is None) == (new_fast is None) == (info.fast_lag_order is None)
    if fast is not None and new_fast is not None:
        np.testing.assert_allclose(new_fast, fast, atol=1e-5)


def test_windows_of_a_batch_do_not_touch(engine: Engine) -> None:
    frames = random_frames(engine, 3, batch=5)
    together = engine.infer(frames, no_past(engine.info, batch=5)).probabilities
    for index in range(5):
        alone = engine.infer(frames[index : index + 1], no_past(engine.info)).probabilities
        np.testing.assert_allclose(together[index], alone[0], atol=1e-5)


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


def test_an_onnx_model_of_somebody_else(tmp_path: Path) -> None:
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
