"""The built-in piece as an input: 90 s, rendered by our own synthesiser when it is first needed."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio import demo_piece, synthesis
from realtime_mer.audio.demo_piece import PASSAGES
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    InputInfo,
    InputKind,
    Samples,
    SourceBase,
)

SAMPLE_RATE_HZ = synthesis.SAMPLE_RATE_HZ
CHANNELS = 2
DURATION_S = PASSAGES[-1].end_s

# Sixteen bits, as on a record: half the memory, and a WAV file of it holds the very same samples.
Pcm16 = NDArray[np.int16]


class _Record:
    """Renders the passages in order, in a thread of its own, so that music starts at once."""

    def __init__(self) -> None:
        self._passages: list[Pcm16] = []
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        threading.Thread(target=self._render, name="demo renderer", daemon=True).start()

    def passage(self, index: int, timeout_s: float | None) -> Pcm16 | None:
        """Samples [n, 2] of a passage, or None where it is not ready in time."""
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
            ringing = np.zeros((CHANNELS, 0), np.float32)
            for passage in PASSAGES:
                sound = demo_piece.PLAYERS[passage.name]()
                sound[:, : ringing.shape[1]] += ringing  # the passage before rings into this one
                ringing = sound[:, length:].copy()
                if passage is PASSAGES[-1]:
                    sound[:, :length] *= synthesis.envelope(demo_piece.PASSAGE_S, 0.0, 1.5)
                np.clip(sound, -1, 1, out=sound)
                sound *= np.float32(32767)
                pcm = np.round(sound[:, :length].T).astype(np.int16)
                with self._changed:
                    self._passages.append(pcm)
                    self._changed.notify_all()
        except BaseException as error:  # handed to whoever waits for the music
            with self._changed:
                self._error = error
                self._changed.notify_all()


_record: _Record | None = None
_record_lock = threading.Lock()


def _the_record() -> _Record:
    global _record
    with _record_lock:
        if _record is None:
            _record = _Record()
        return _record


def render_demo() -> Pcm16:
    """The whole piece, int16 [n, 2] at `SAMPLE_RATE_HZ`; the same samples every time."""
    record = _the_record()
    parts = [record.passage(index, None) for index in range(len(PASSAGES))]
    return np.concatenate([part for part in parts if part is not None])


def write_demo(path: Path) -> None:
    """Write the piece as a 16-bit WAV file with exactly the samples that `DemoSource` plays."""
    import soundfile

    soundfile.write(path, render_demo(), SAMPLE_RATE_HZ, subtype="PCM_16", format="WAV")


class DemoSource(SourceBase):
    """The demo, stereo at 44.1 kHz.

    Args:
        loop: start again at the end, without a gap and without an end.
        block_s: length of a block in seconds; the last one may be shorter.
    """

    def __init__(self, *, loop: bool = False, block_s: float = 0.02) -> None:
        self._record = _the_record()
        self._loop = loop
        self._block_frames = max(1, round(block_s * SAMPLE_RATE_HZ))
        self._passage = 0
        self._at = 0
        self._closed = False
        self._info = InputInfo(
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
            pcm = self._record.passage(self._passage, timeout_s)
            if pcm is None:
                break
            piece = pcm[self._at : self._at + missing]
            parts.append(piece.astype(np.float32) / np.float32(32768))
            missing -= len(piece)
            self._at += len(piece)
            if self._at == len(pcm):
                self._passage += 1
                self._at = 0
        if parts:
            return Block(parts[0] if len(parts) == 1 else np.concatenate(parts))
        if self._passage == len(PASSAGES):
            raise EndOfStream("the demo ended")
        return None

    def close(self) -> None:
        self._closed = True
