"""A session as viewers see it, and a message encoded once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from websockets.frames import Frame, Opcode

from realtime_mer.audio.source import Input
from realtime_mer.live.hub import Hub
from realtime_mer.live.session_pool import ClientSession
from realtime_mer.live.stats import Stats


@dataclass(frozen=True, slots=True)
class Channel:
    """A session as viewers see it.

    Attributes:
        session: the session's name in messages.
        hub: publishes its estimates.
        stats: its counters.
        info: describes its input.
        client: the client's stream behind it; None for the server's own session.
    """

    session: str
    hub: Hub
    stats: Stats
    info: Input
    client: ClientSession | None


@dataclass(frozen=True, slots=True)
class EncodedMessage:
    """A text message as a websocket frame. Servers do not mask, so every viewer gets these bytes.

    Attributes:
        text: the message.
        frame: the websocket frame.
        size: bytes of the frame's payload.
    """

    text: str
    frame: bytes
    size: int

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Encode a text."""
        payload = text.encode()
        return cls(text, Frame(Opcode.TEXT, payload).serialize(mask=False), len(payload))
