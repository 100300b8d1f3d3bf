"""How long a backend takes for one window and for many: measured once, then from the cache."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.onnxruntime import environment
from mer_engine.cache import KeyValueCache, cache_folder
from mer_engine.engine import Engine, backend_warning, largest_batch

# Windows of the calls that are measured: one stream, a full batch of a processor, one of a card.
BATCHES = (1, 8, 64)
MANY = BATCHES[-1]
# Calls before the timed ones: a card prepares a new shape, and then records its work.
_WARM_UP = 3
# Timed calls, fewer where they take long: the whole measurement ends within a second.
_TIMED, _TIMED_S = 7, 0.1
# Version of the measurement; increased when other calls are measured.
_VERSION = 1
# What else may change the speed of a card.
_LIBRARIES = ("onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "realtime-mer")


@dataclass(frozen=True, slots=True)
class Speed:
    """Times of calls.

    Attributes:
        call_ms: time of a call in ms, by its number of windows, from 1 up. Calls of more windows
            than the last are made in several.
    """

    call_ms: Mapping[int, float]

    def ms(self, windows: int) -> float:
        """Return the time of so many windows that come at once, in ms."""
        sizes = list(self.call_ms)
        below = max((size for size in sizes if size <= windows), default=sizes[0])
        above = min((size for size in sizes if size >= windows), default=None)
        if above is None:
            return self.call_ms[below] * windows / below
        if above == below:
            return self.call_ms[below]
        share = (windows - below) / (above - below)
        return (1.0 - share) * self.call_ms[below] + share * self.call_ms[above]

    @property
    def text(self) -> str:
        """The times of one window and of many, as text."""
        return f"{self.ms(1):.1f} ms an update, {self.ms(MANY):.1f} ms for {MANY}"


def measure(engine: Engine) -> Speed:
    """Measure calls of an engine with the update of one second after a full window.

    A time is the shortest of several, since other programs only add to it.
    """
    call_ms = {}
    for batch in BATCHES:
        if batch > largest_batch(engine):
            break
        inputs = BenchmarkInput.of(engine.info, batch)
        for _ in range(_WARM_UP):
            engine.infer(*inputs)
        seconds: list[float] = []
        while len(seconds) < _TIMED and sum(seconds) < _TIMED_S:
            start = time.perf_counter()
            engine.infer(*inputs)
            seconds.append(time.perf_counter() - start)
        call_ms[batch] = 1e3 * min(seconds)
    return Speed(call_ms)


def speed_of(engine: Engine, *, on_card: bool, anew: bool = False) -> Speed:
    """Return the speed of an engine, from the cache where it was measured before.

    The cache holds it for this model, backend, precision, processor, card and driver, and for the
    versions of the libraries. Nothing is cached where the card or its driver is not known, or where
    the engine warns that it is slower than it could be.

    Args:
        engine: the engine.
        on_card: whether it runs on a card.
        anew: whether to measure although the cache has it.
    """
    cache = KeyValueCache(cache_folder() / "speed.json")
    card = cards()
    key = ", ".join(
        [
            engine.info.sha256[:16],
            f"speed {_VERSION}",
            f"{engine.backend} {getattr(engine, 'precision', 'fp32')}",
            environment(),
            *_installed(),
            *([card] if on_card else []),
        ]
    )
    speed = None if anew else _stored(cache.get(key))
    if speed is None:
        speed = measure(engine)
        if (card or not on_card) and not backend_warning(engine):
            cache.put(key, {str(size): ms for size, ms in speed.call_ms.items()})
    return speed


def cards(folder: Path = Path("/proc/driver/nvidia")) -> str:
    """Return the NVIDIA driver and cards of this machine; empty where Linux does not tell them.

    Args:
        folder: where the driver tells of itself.
    """
    try:
        driver = (folder / "version").read_text(encoding="utf-8", errors="replace").splitlines()[0]
        names = [
            line.partition(":")[2].strip()
            for path in sorted(folder.glob("gpus/*/information"))
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.startswith("Model:")
        ]
    except (OSError, IndexError):
        return ""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    return f"{driver}, cards {', '.join(names)} ({chosen})" if names else ""


def _stored(value: Mapping[str, object] | None) -> Speed | None:
    try:
        call_ms = {int(size): float(str(ms)) for size, ms in (value or {}).items()}
    except ValueError:
        return None
    usable = 1 in call_ms and all(0.0 < ms < float("inf") for ms in call_ms.values())
    return Speed(dict(sorted(call_ms.items()))) if usable else None


def _installed() -> list[str]:
    """Return the libraries that are installed, with their versions."""
    from importlib import metadata  # most starts need neither it nor what it imports

    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return found
