import numpy as np
import pytest
from mer_engine import Engine

from realtime_mer.core.feature_map_cache import FeatureMapCache


def columns(engine: Engine, numbers: range) -> np.ndarray:
    """Maps that can be told apart: every number of a frame's map is the frame's number."""
    return np.tile(np.array(numbers, np.float32)[:, None], engine.info.map_size)


def test_before_the_stream_is_silence(engine: Engine) -> None:
    held = FeatureMapCache(engine.info, 2)
    silence = np.array(engine.info.silent_map, np.float32)
    assert (held.before(0, 200) == silence).all()
    held.append(columns(engine, range(5)))
    assert held.end == 5
    told = held.before(4, 7)
    assert (told[:3] == silence).all()
    assert told[3:, 0].tolist() == [0, 1, 2, 3]


def test_the_newest_are_kept(engine: Engine) -> None:
    held = FeatureMapCache(engine.info, 2)
    kept = engine.info.map_context + 64
    for start in range(0, 640, 64):
        held.append(columns(engine, range(start, start + 64)))
    assert held.before(640, kept)[:, 0].tolist() == list(range(640 - kept, 640))
    assert held.before(600, 10)[:, 0].tolist() == list(range(590, 600))


def test_a_new_piece_begins_with_silence(engine: Engine) -> None:
    held = FeatureMapCache(engine.info, 2)
    held.append(columns(engine, range(100)))
    held.begin(1000)
    held.append(columns(engine, range(1000, 1002)))
    told = held.before(1002, 4)
    assert held.end == 1002
    assert (told[:2] == np.array(engine.info.silent_map, np.float32)).all()
    assert told[2:, 0].tolist() == [1000, 1001]


def test_what_is_no_longer_kept_is_refused_and_not_taken_for_silence(engine: Engine) -> None:
    held = FeatureMapCache(engine.info, 0)
    kept = engine.info.map_context
    held.append(columns(engine, range(kept)))
    assert (held.before(kept, kept + 1)[0] == np.array(engine.info.silent_map, np.float32)).all()
    held.append(columns(engine, range(kept, 3 * kept)))
    assert held.before(3 * kept, kept)[:, 0].tolist() == list(range(2 * kept, 3 * kept))
    with pytest.raises(IndexError, match=f"{kept + 1} maps before frame {3 * kept}"):
        held.before(3 * kept, kept + 1)


def test_what_is_not_known_is_refused(engine: Engine) -> None:
    with pytest.raises(IndexError, match="before frame 9 of a stream known to 0"):
        FeatureMapCache(engine.info, 2).before(9, 1)
