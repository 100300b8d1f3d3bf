"""The built-in piece as an input: 90 s, rendered by `synthesis` when it is first needed."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio import demo_piece, synthesis
from realtime_mer.audio.demo_piece import PASSAGES
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    InputKind,
    Samples,
    SourceBase,
)

SAMPLE_RATE_HZ = synthesis.SAMPLE_RATE_HZ
CHANNELS = 2
DURATION_S = PASSAGES[-1].end_s

# 16 bits need half the memory of float32, and a 16-bit WAV file holds exactly the same samples.
Pcm16 = NDArray[np.int16]


class _Renderer:
    """Renders the passages in order in a background thread, so that playback can start early."""

    def __init__(self) -> None:
        self._passages: list[Pcm16] = []
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        threading.Thread(target=self._render, name="demo renderer", daemon=True).start()

    def passage(self, index: int, timeout_s: float | None) -> Pcm16 | None:
        """Return the samples [n, 2] of a passage, or None if it is not ready in time."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._passages) > index or self._error is not None, timeout_s
            )
            if self._error is not None:
                raise self._error
            return self._passages[index] if len(self._passages) > index else None

    def _render(self) -> None:
        try:
            length = synthesis.samples(demo_piece.PASSAGE_S)
            tail = np.zeros((CHANNELS, 0), np.float32)
            for passage in PASSAGES:
                sound = demo_piece.RENDERERS[passage.name]()
                sound[:, : tail.shape[1]] += tail  # the end of the passage before
                tail = sound[:, length:].copy()
                if passage is PASSAGES[-1]:
                    sound[:, :length] *= synthesis.envelope(demo_piece.PASSAGE_S, 0.0, 1.5)
                np.clip(sound, -1, 1, out=sound)
                sound *= np.float32(32767)
                pcm = np.round(sound[:, :length].T).astype(np.int16)
                with self._changed:
                    self._passages.append(pcm)
                    self._changed.notify_all()
        except BaseException as error:  # raised in `passage`
            with self._changed:
                self._error = error
                self._changed.notify_all()


_renderer: _Renderer | None = None
_renderer_lock = threading.Lock()


def _shared_renderer() -> _Renderer:
    global _renderer
    with _renderer_lock:
        if _renderer is None:
            _renderer = _Renderer()
        return _renderer


def render_demo() -> Pcm16:
    """Return the piece, int16 [n, 2] at `SAMPLE_RATE_HZ`; the samples are always the same."""
    renderer = _shared_renderer()
    parts = [renderer.passage(index, None) for index in range(len(PASSAGES))]
    return np.concatenate([part for part in parts if part is not None])


class DemoSource(SourceBase):
    """The demo, stereo at 44.1 kHz.

    Args:
        loop: start again at the end, without a gap; the source never ends.
        block_s: length of a block in seconds; the last one may be shorter.
    """

    def __init__(self, *, loop: bool = False, block_s: float = 0.02) -> None:
        self._renderer = _shared_renderer()
        self._loop = loop
        self._block_frames = max(1, round(block_s * SAMPLE_RATE_HZ))
        self._passage = 0
        self._offset = 0
        self._closed = False
        self._info = Input(
            kind=InputKind.DEMO,
            name="demo",
            sample_rate_hz=SAMPLE_RATE_HZ,
            channels=CHANNELS,
            paced=True,
            live=False,
            duration_s=None if loop else DURATION_S,
        )

    def read(self, timeout_s: float) -> Block | None:
        if self._closed:
            raise EndOfStream("the demo was closed")
        parts: list[Samples] = []
        missing = self._block_frames
        while missing:
            if self._passage == len(PASSAGES):
                if not self._loop:
                    break
                self._passage = 0
            pcm = self._renderer.passage(self._passage, timeout_s)
            if pcm is None:
                break
            piece = pcm[self._offset : self._offset + missing]
            parts.append(piece.astype(np.float32) / np.float32(32768))
            missing -= len(piece)
            self._offset += len(piece)
            if self._offset == len(pcm):
                self._passage += 1
                self._offset = 0
        if parts:
            return Block(parts[0] if len(parts) == 1 else np.concatenate(parts))
        if self._passage == len(PASSAGES):
            raise EndOfStream("the demo ended")
        return None

    def close(self) -> None:
        self._closed = True
