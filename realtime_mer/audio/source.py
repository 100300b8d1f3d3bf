"""What every input is: a named stream of float32 blocks that may lose samples but says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from realtime_mer.errors import UserError

Samples = NDArray[np.float32]
"""Audio, float32 [sample frames, channels], full scale at -1 and 1."""


class InputKind(StrEnum):
    """Where audio comes from; the `kind` of the wire's `input` object."""

    MICROPHONE = "microphone"
    FILE = "file"
    PCM = "pcm"
    URL = "url"
    DEMO = "demo"
    BROWSER = "browser"


@dataclass(frozen=True, slots=True)
class InputInfo:
    """What an open source delivers.

    Attributes:
        kind: which sort of source it is.
        name: for people: the device's name, the file's name, the address.
        sample_rate_hz: sample frames per second of every block.
        channels: columns of every block.
        paced: the source hands audio out as fast as it is asked (file, demo, a pipe that `cat`
            may feed), so who plays it live holds the blocks back to real time (`audio.pacing`).
        live: audio is made while we listen (device, pipe, radio): it can stall and can be lost.
        duration_s: length in seconds where it is known and the source ends there, else None.
    """

    kind: InputKind
    name: str
    sample_rate_hz: int
    channels: int
    paced: bool
    live: bool
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some audio, and what was lost on the way to it.

    Attributes:
        samples: float32 [n, channels], n >= 1, owned by the receiver. Usually in [-1, 1]; a float
            file or pipe may exceed it. Always finite for files; a pipe may hold NaN (the pipeline
            refuses it).
        dropped_before: sample frames that were lost between the block before and this one, because
            the reader was late. Feed them to `Pipeline.skip`.
        overflows: how often the device itself said, since the block before, that input was lost
            (how much it lost it does not tell).
        captured_at: `time.monotonic()` when the last sample arrived from the device; None where
            the audio is not captured live.
    """

    samples: Samples
    dropped_before: int = 0
    overflows: int = 0
    captured_at: float | None = None


class EndOfStream(Exception):
    """There is no more audio and there never will be: the regular end of a file or a pipe."""


class SourceLost(UserError):
    """The input broke off: device unplugged, radio unreachable, file damaged in the middle.

    Attributes:
        recoverable: `reopen()` may bring the same input back; keep trying with growing pauses.
    """

    def __init__(self, message: str, *, recoverable: bool) -> None:
        self.recoverable = recoverable
        super().__init__(message)


class Source(Protocol):
    """An open input. Whoever creates one closes it: `with open_source(spec) as source: ...`.

    One thread reads. `close` may come from any thread and ends a waiting `read`.
    """

    @property
    def info(self) -> InputInfo:
        """What the blocks are; constant while the source is open."""
        ...

    def read(self, timeout_s: float) -> Block | None:
        """The next block, or None where none came within `timeout_s` seconds.

        Raises:
            EndOfStream: the audio is over, or the source was closed.
            SourceLost: the input broke off.
        """
        ...

    def reopen(self) -> None:
        """After a recoverable `SourceLost`: take up the very same input again, never another one.

        Raises:
            SourceLost: it is not there (yet), or cannot come back.
        """
        ...

    def close(self) -> None:
        """Give everything back; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class SourceBase:
    """The parts that all sources share: `info`, context management, no recovery."""

    _info: InputInfo

    @property
    def info(self) -> InputInfo:
        return self._info

    def reopen(self) -> None:
        raise SourceLost(f"{self._info.name} cannot be reopened", recoverable=False)

    def close(self) -> None:
        """Give everything back; safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
