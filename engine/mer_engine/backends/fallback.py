"""An engine that switches to another backend when the first one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mer_engine.backends.card_engine import keep
from mer_engine.engine import (
    Announce,
    Engine,
    EngineParts,
    Inference,
    PartSizes,
    backend_warning,
    infer_in_batches,
    largest_batch,
    parts_of,
)
from mer_engine.errors import BackendError

T = TypeVar("T")


class FallbackEngine:
    """Runs an engine until a call fails, and a replacement from then on.

    A call fails that raises, or returns numbers that are not finite. It is repeated with the
    replacement, in calls of its size, so no result is lost. When the call fails there too, its
    arguments were wrong: the error goes to the caller, and the first engine stays.

    An engine that failed is not tried again, and is kept until the process has ended, see `keep`.

    Args:
        engine: the first engine, on a device that may be unplugged, reset or out of memory.
        replacement: is ready to run, so that a failure costs no time.
        announce: receives one sentence when the replacement takes over.

    Attributes:
        backend: the backend that runs now.
        warning: the sentence about the failure; empty before.
    """

    def __init__(self, engine: Engine, replacement: Engine, announce: Announce) -> None:
        self.info = engine.info
        self.backend = engine.backend
        self.warning = backend_warning(engine)
        self._engine = engine
        self._replacement = replacement
        self._announce = announce
        self._lock = threading.Lock()

    @property
    def precision(self) -> str:
        """Numeric precision of the engine that runs now, such as "fp16"."""
        return str(getattr(self._engine, "precision", "fp32"))

    @property
    def largest_batch(self) -> int:
        """That of the engine that runs now, see `mer_engine.engine.largest_batch`."""
        return largest_batch(self._engine)

    def parts(self) -> EngineParts | None:
        """Return parts that fail over as the engine does; None where one engine has none."""
        both = (self._engine, self._replacement)
        return None if None in map(parts_of, both) else _FallbackParts(self)

    @property
    def engine(self) -> Engine:
        """The engine that runs now."""
        return self._engine

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        return self.call(lambda engine: infer_in_batches(engine, frames, cached_maps, past))

    def call(self, function: Callable[[Engine], T]) -> T:
        """Call a function with the engine that runs now, and with the replacement if that fails.

        Raises:
            Exception: what the function raises with the replacement.
        """
        engine = self._engine
        try:
            return function(engine)
        except Exception as error:
            if engine is self._replacement:
                raise
            result = function(self._replacement)
            self._replace(error)
            return result

    def _replace(self, error: Exception) -> None:
        with self._lock:
            if self._engine is self._replacement:
                return
            reason = str(error).splitlines()[0][:160] if str(error) else repr(error)
            self.warning = (
                f"the backend {self.backend} failed while it was running ({reason}); "
                f"{self._replacement.backend} replaces it until the next start"
            )
            keep(self._engine)
            self._engine, self.backend = self._replacement, self._replacement.backend
        self._announce(self.warning)


class _FallbackParts:
    """The parts of the engine that runs now; see `EngineParts`."""

    def __init__(self, engine: FallbackEngine) -> None:
        self.info = engine.info
        self._engine = engine

    @property
    def sizes(self) -> PartSizes:
        """See `EngineParts.sizes`; other ones once the replacement runs."""
        return _parts(self._engine.engine).sizes

    def maps(
        self, frames: NDArray[np.float32], cached_maps: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """See `EngineParts.maps`."""
        return self._engine.call(lambda engine: _parts(engine).maps(frames, cached_maps))

    def describe(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `EngineParts.describe`."""
        return self._engine.call(lambda engine: _parts(engine).describe(maps))

    def sound_logits(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `EngineParts.sound_logits`."""
        return self._engine.call(lambda engine: _parts(engine).sound_logits(maps))

    def head(
        self, windows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """See `EngineParts.head`."""
        return self._engine.call(lambda engine: _parts(engine).head(windows))


def _parts(engine: Engine) -> EngineParts:
    """Return the parts of an engine.

    Raises:
        BackendError: it has only the whole network.
    """
    parts = parts_of(engine)
    if parts is None:
        raise BackendError(f"the backend {engine.backend} has only the whole network")
    return parts
