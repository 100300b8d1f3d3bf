"""A backend that may break while it serves, with the one that cannot behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import Engine, Inference


class FallbackEngine:
    """Runs an engine until it fails, and from then on another that takes its place.

    The call that failed is answered by the other: nothing is lost. A call that fails in both was
    wrong itself; its error is the caller's, and nothing changes.

    Args:
        engine: the fast one, on a device that may be unplugged, reset or full.
        spare: loads the one that takes its place.
        announce: takes the sentence that says so, once.

    Attributes:
        backend: which one runs now.
        note: that sentence; empty as long as all is well.
    """

    def __init__(
        self, engine: Engine, spare: Callable[[], Engine], announce: Callable[[str], None]
    ) -> None:
        self.info = engine.info
        self.backend = engine.backend
        self.note = str(getattr(engine, "note", ""))
        self._engine = engine
        self._spare = spare
        self._announce = announce
        self._lock = threading.Lock()

    @property
    def precision(self) -> str:
        """In what it computes."""
        return str(getattr(self._engine, "precision", "fp32"))

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        engine = self._engine
        try:
            return engine.infer(frames, cached_maps, past)
        except Exception as error:
            with self._lock:
                spare = self._spare() if self._engine is engine else self._engine
                told = spare.infer(frames, cached_maps, past)
                if self._engine is engine:
                    self._engine, self.backend = spare, spare.backend
                    reason = str(error).splitlines()[0][:160] if str(error) else repr(error)
                    self.note = (
                        f"the backend {engine.backend} failed while it served ({reason}); "
                        f"{spare.backend} goes on in its place"
                    )
                    self._announce(self.note)
            return told
