"""The interface of inputs: a named stream of float32 blocks that reports lost samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from realtime_mer.closable import Closable
from realtime_mer.errors import UserError, printable_line

Samples = NDArray[np.float32]
"""Audio, float32 [sample frames, channels], full scale at -1 and 1."""


class InputKind(StrEnum):
    """Kinds of input; the `kind` of the protocol's `input` object."""

    MICROPHONE = "microphone"
    FILE = "file"
    PCM = "pcm"
    URL = "url"
    DEMO = "demo"
    BROWSER = "browser"
    RECORDING = "recording"  # estimates that are replayed, no audio


@dataclass(frozen=True, slots=True)
class Input:
    """Description of an open source.

    Attributes:
        kind: the kind of source.
        name: for display, one line of valid Unicode: the name of the device or file, or the URL.
        sample_rate_hz: sample frames per second of every block.
        channels: columns of every block.
        paced: the source delivers audio as fast as it is read (file, demo, a pipe that `cat` may
            feed), so a live reader must pace it to real time (`audio.pacing`).
        live: the audio is produced in real time (device, pipe, radio): it can stall or be lost.
        duration_s: length in seconds if it is known and the source ends there, else None.
        recorded: a recording on a server: an outage of the connection loses nothing of it, since
            `reopen` goes on where it broke off.
    """

    kind: InputKind
    name: str
    sample_rate_hz: int
    channels: int
    paced: bool
    live: bool
    duration_s: float | None = None
    recorded: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable_line(self.name))

    @property
    def passes(self) -> bool:
        """Whether the audio of a moment without a reader is lost: that of a device or a station.

        Files wait, and so do the writers of pipes.
        """
        return self.live and not self.recorded and self.kind is not InputKind.PCM


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A piece of audio, and what was lost before it.

    Attributes:
        samples: float32 [n, channels], n >= 1, owned by the receiver. Usually in [-1, 1]; a float
            file or pipe may exceed it. Always finite for files; a pipe may contain NaN, which the
            pipeline rejects.
        dropped_before: sample frames that were lost between the previous block and this one because
            the reader was late. Pass them to `Pipeline.skip`.
        overflows: number of times since the previous block that the device reported lost input; it
            does not report how much.
        captured_at: `time.monotonic()` when the last sample arrived from the device; None if the
            audio is not captured live.
    """

    samples: Samples
    dropped_before: int = 0
    overflows: int = 0
    captured_at: float | None = None


class EndOfStream(Exception):
    """The regular end of a file or a pipe: no more audio will come."""


class SourceLost(UserError):
    """The input failed: device unplugged, radio unreachable, file damaged in the middle.

    Attributes:
        recoverable: `reopen()` may bring the same input back; retry with growing pauses.
        retry_after_s: seconds that the server asks to wait before the next attempt, or None.
    """

    def __init__(
        self, message: str, *, recoverable: bool, retry_after_s: float | None = None
    ) -> None:
        self.recoverable = recoverable
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Source(Protocol):
    """An open input. The creator closes it: `with open_source(spec) as source: ...`.

    One thread reads. Any thread may call `close`, which ends a waiting `read`.
    """

    @property
    def info(self) -> Input:
        """Description of the source; constant while it is open."""
        ...

    def read(self, timeout_s: float) -> Block | None:
        """Return the next block, or None if none arrives within `timeout_s` seconds.

        Raises:
            EndOfStream: the audio has ended, or the source was closed.
            SourceLost: the input failed.
        """
        ...

    def reopen(self) -> None:
        """Open the same input again after a recoverable `SourceLost`, never a different one.

        Raises:
            SourceLost: the input is not available yet, or cannot come back.
        """
        ...

    def close(self) -> None:
        """Release all resources; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def blocks_of(source: Source) -> Iterator[Samples]:
    """Yield the samples of a file or the demo until its end.

    Raises:
        UserError: no audio arrived for a minute.
        SourceLost: the file is damaged.
    """
    while True:
        try:
            block = source.read(timeout_s=60.0)
        except EndOfStream:
            return
        if block is None:
            raise UserError(f"{source.info.name}: no audio arrived for a minute")
        yield block.samples


class SourceBase(Closable):
    """Common parts of sources: `info`, no recovery. The end of a `with` block calls `close`."""

    _info: Input

    @property
    def info(self) -> Input:
        return self._info

    def reopen(self) -> None:
        raise SourceLost(f"{self._info.name} cannot be reopened", recoverable=False)
