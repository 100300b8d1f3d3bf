import json
from pathlib import Path

import numpy as np
import pytest
from mer_engine import Engine
from mer_engine.backends import speed
from mer_engine.backends.speed import Speed, cards, measure, speed_of
from mer_engine.cache import cache_folder
from mer_engine.engine import Inference
from numpy.typing import NDArray
from support import FaultInjector


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REALTIME_MER_CACHE", str(tmp_path / "cache"))


class Timed:
    """An engine whose calls take a given time on the clock that `measure` reads."""

    backend = "other"

    def __init__(
        self,
        engine: Engine,
        monkeypatch: pytest.MonkeyPatch,
        durations_s: list[float],
        largest: int,
    ) -> None:
        self.info, self.largest_batch = engine.info, largest
        self.engine = engine
        self.durations_s = durations_s
        self.now_s = 0.0
        self.sizes: list[int] = []
        monkeypatch.setattr("time.perf_counter", lambda: self.now_s)

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        self.now_s += self.durations_s[len(self.sizes) % len(self.durations_s)]
        self.sizes.append(len(frames))
        return self.engine.infer(frames, cached_maps, past)


def test_the_time_of_a_call_is_the_shortest_after_the_warm_up(
    fast_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    durations_s = [0.001, 0.001, 0.001, 0.009, 0.005, 0.002, 0.007, 0.007, 0.007, 0.007]
    timed = Timed(fast_engine, monkeypatch, durations_s, 64)
    found = measure(timed)
    assert found.call_ms == {size: pytest.approx(2.0) for size in (1, 8, 64)}
    assert timed.sizes == [1] * 10 + [8] * 10 + [64] * 10


def test_a_processor_is_not_measured_beyond_its_calls_and_slow_calls_are_few(
    fast_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = Timed(fast_engine, monkeypatch, [0.06], 8)
    assert list(measure(timed).call_ms) == [1, 8]
    assert timed.sizes == [1] * 5 + [8] * 5


def test_times_between_and_beyond_what_was_measured() -> None:
    found = Speed({1: 2.0, 8: 9.0})
    assert [found.ms(windows) for windows in (1, 2, 8, 64)] == pytest.approx([2.0, 3.0, 9.0, 72.0])
    assert found.text == "2.0 ms an update, 72.0 ms for 64"


def test_the_cache_holds_what_was_measured_on_a_processor(engine: Engine) -> None:
    first = speed_of(engine, on_card=False)
    assert list(first.call_ms) == [1, 8]
    assert 0.0 < first.ms(1) < first.ms(8) < first.ms(64)
    (key,) = json.loads((cache_folder() / "speed.json").read_text())
    assert engine.info.sha256[:16] in key
    assert "onnxruntime fp32" in key
    assert speed_of(engine, on_card=False) == first
    assert speed_of(engine, on_card=False, anew=True) != first


@pytest.mark.parametrize(
    "stored", [{"1": "soon"}, {"8": 2.0}, {"1": -1.0}, {"1": float("nan")}, {}]
)
def test_a_damaged_cache_is_measured_again(
    fast_engine: Engine, monkeypatch: pytest.MonkeyPatch, stored: dict[str, object]
) -> None:
    monkeypatch.setattr(speed, "measure", lambda _: Speed({1: 3.0}))
    speed_of(fast_engine, on_card=False)
    path = cache_folder() / "speed.json"
    (key,) = json.loads(path.read_text())
    path.write_text(json.dumps({key: stored}))
    assert speed_of(fast_engine, on_card=False) == Speed({1: 3.0})


def test_the_times_of_a_card_are_those_of_this_card_and_driver(
    fast_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def count(engine: Engine) -> Speed:
        measured.append(1)
        return Speed({1: 1.0 + len(measured)})

    monkeypatch.setattr(speed, "measure", count)
    for machine in ("driver 580, cards A", "driver 580, cards A", "driver 590, cards A", "", ""):
        monkeypatch.setattr(speed, "cards", lambda machine=machine: machine)
        speed_of(fast_engine, on_card=True)
    # Once for each driver, and at every start where neither is known.
    assert len(measured) == 4


def test_the_times_of_an_engine_that_is_slower_than_it_could_be_are_not_kept(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "measure", lambda _: Speed({1: 3.0}))
    card = FaultInjector(engine)
    monkeypatch.setattr(card, "warning", "it cannot be recorded", raising=False)
    assert speed_of(card, on_card=False) == Speed({1: 3.0})
    assert not (cache_folder() / "speed.json").exists()


def test_the_driver_and_the_cards_come_from_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cards(tmp_path) == ""
    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  Tue Oct  7 2026"
    (tmp_path / "version").write_text(f"{version}\nGCC version:  gcc 13\n")
    assert cards(tmp_path) == ""
    for number, name in enumerate(("NVIDIA H100 80GB HBM3", "NVIDIA L4")):
        folder = tmp_path / "gpus" / f"0000:0{number}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {name}\nIRQ:   \t\t 24\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cards(tmp_path) == f"{version}, cards NVIDIA H100 80GB HBM3, NVIDIA L4 (all)"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert cards(tmp_path).endswith("NVIDIA L4 (1)")
