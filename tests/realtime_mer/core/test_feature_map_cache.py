import numpy as np
import pytest
from mer_engine import Engine

from realtime_mer.core.feature_map_cache import FeatureMapCache


def numbered_maps(engine: Engine, numbers: range) -> np.ndarray:
    """Return maps in which every value is the number of the frame."""
    return np.tile(np.array(numbers, np.float32)[:, None], engine.info.map_size)


def test_silence_precedes_the_stream(engine: Engine) -> None:
    cache = FeatureMapCache(engine.info, 2)
    silence = np.array(engine.info.silent_map, np.float32)
    assert (cache.before(0, 200) == silence).all()
    cache.append(numbered_maps(engine, range(5)))
    assert cache.end == 5
    maps = cache.before(4, 7)
    assert (maps[:3] == silence).all()
    assert maps[3:, 0].tolist() == [0, 1, 2, 3]


def test_the_newest_maps_are_kept(engine: Engine) -> None:
    cache = FeatureMapCache(engine.info, 2)
    capacity = engine.info.map_context + 64
    for start in range(0, 640, 64):
        cache.append(numbered_maps(engine, range(start, start + 64)))
    assert cache.before(640, capacity)[:, 0].tolist() == list(range(640 - capacity, 640))
    assert cache.before(600, 10)[:, 0].tolist() == list(range(590, 600))


def test_a_restart_begins_with_silence(engine: Engine) -> None:
    cache = FeatureMapCache(engine.info, 2)
    cache.append(numbered_maps(engine, range(100)))
    cache.restart(1000)
    cache.append(numbered_maps(engine, range(1000, 1002)))
    maps = cache.before(1002, 4)
    assert cache.end == 1002
    assert (maps[:2] == np.array(engine.info.silent_map, np.float32)).all()
    assert maps[2:, 0].tolist() == [1000, 1001]


def test_discarded_maps_are_an_error_and_not_silence(engine: Engine) -> None:
    cache = FeatureMapCache(engine.info, 0)
    capacity = engine.info.map_context
    cache.append(numbered_maps(engine, range(capacity)))
    assert (
        cache.before(capacity, capacity + 1)[0] == np.array(engine.info.silent_map, np.float32)
    ).all()
    cache.append(numbered_maps(engine, range(capacity, 3 * capacity)))
    assert cache.before(3 * capacity, capacity)[:, 0].tolist() == list(
        range(2 * capacity, 3 * capacity)
    )
    with pytest.raises(IndexError, match=f"{capacity + 1} maps before frame {3 * capacity}"):
        cache.before(3 * capacity, capacity + 1)


def test_missing_maps_are_an_error(engine: Engine) -> None:
    with pytest.raises(IndexError, match="before frame 9 of a cache that ends at 0"):
        FeatureMapCache(engine.info, 2).before(9, 1)
