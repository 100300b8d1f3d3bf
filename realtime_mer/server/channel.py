"""A session as viewers see it, and a message ready for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from websockets.frames import Frame, Opcode

from realtime_mer.audio.source import InputInfo
from realtime_mer.live.hub import Hub
from realtime_mer.live.session_pool import ClientSession
from realtime_mer.live.stats import Stats


@dataclass(frozen=True, slots=True)
class Channel:
    """A session as viewers see it.

    Attributes:
        session: its name on the wire.
        hub, stats, info: its estimates, its counts, what it listens to.
        client: the stream behind it; None for the server's own session.
    """

    session: str
    hub: Hub
    stats: Stats
    info: InputInfo
    client: ClientSession | None


@dataclass(frozen=True, slots=True)
class Ready:
    """A text message as it goes over the wire, the same for every viewer: servers do not mask.

    Attributes:
        frame: the websocket frame.
        size: bytes of its payload.
    """

    frame: bytes
    size: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Makes one from a text."""
        payload = text.encode()
        return cls(Frame(Opcode.TEXT, payload).serialize(mask=False), len(payload))
