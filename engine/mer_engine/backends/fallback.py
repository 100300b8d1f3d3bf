"""An engine that switches to another backend when the first one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import Engine, Inference, backend_warning, finite_inference, largest_batch


class FallbackEngine:
    """Runs an engine until a call fails, and a replacement from then on.

    A call fails that raises, or returns numbers that are not finite. It is repeated with the
    replacement, so no result is lost. When the call fails there too, its arguments were wrong: the
    error goes to the caller, and the first engine stays.

    Args:
        engine: the first engine, on a device that may be unplugged, reset or out of memory.
        load_replacement: loads the replacement.
        announce: receives one sentence when the replacement takes over.

    Attributes:
        backend: the backend that runs now.
        warning: the sentence about the failure; empty before.
    """

    def __init__(
        self,
        engine: Engine,
        load_replacement: Callable[[], Engine],
        announce: Callable[[str], None],
    ) -> None:
        self.info = engine.info
        self.backend = engine.backend
        self.warning = backend_warning(engine)
        self._engine = engine
        self._load_replacement = load_replacement
        self._replacement: Engine | None = None
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

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        engine = self._engine
        try:
            return finite_inference(engine, frames, cached_maps, past)
        except Exception as error:
            with self._lock:
                failed_first = self._engine is engine
                if self._replacement is None:
                    self._replacement = self._load_replacement()
                replacement = self._replacement
                result = finite_inference(replacement, frames, cached_maps, past)
                if failed_first:
                    self._engine, self.backend = replacement, replacement.backend
                    reason = str(error).splitlines()[0][:160] if str(error) else repr(error)
                    self.warning = (
                        f"the backend {engine.backend} failed while it was running ({reason}); "
                        f"{replacement.backend} replaces it"
                    )
                    self._announce(self.warning)
            return result
