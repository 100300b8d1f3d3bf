"""Markers by keys of the terminal: `m`, the text, Enter."""

from __future__ import annotations

import codecs
import os
import re
import select
import sys
from datetime import UTC, datetime

from realtime_mer.clock import clock_text, iso_utc
from realtime_mer.closable import Closable
from realtime_mer.commands.terminal_mode import give_keys, is_ours, restore_terminals
from realtime_mer.core.events import MAX_MARKER_LENGTH, Marker
from realtime_mer.live.hub import Hub

MARKER_KEY = "m"
_SHOWN = 40  # characters at the end of what is typed, so that 80 columns hold the prompt
_ENTER, _BACKSPACE, _ESCAPE, _CLEAR = "\r\n", "\b\x7f", "\x1b", "\x15"
# Arrows and function keys, which begin with Escape too.
_SPECIAL_KEYS = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.)")


class MarkerKeys(Closable):
    """Reads keys from standard input, if that is a terminal, and publishes markers.

    A marker belongs to the moment of the key, not to that of Enter. Escape leaves it out.

    Args:
        hub: of the session.
        use: whether standard input is free, and not the audio.

    Attributes:
        typed: text of the marker that is being typed; None for none.
    """

    def __init__(self, hub: Hub, *, use: bool = True) -> None:
        self._hub = hub
        self._descriptor = -1
        self.typed: str | None = None
        self._moment = (0.0, "")
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        if use and sys.stdin is sys.__stdin__ and sys.stdin is not None and sys.stdin.isatty():
            self._descriptor = sys.stdin.fileno()
            self.poll()

    @property
    def prompt(self) -> str:
        """What is being typed, to be shown; "" for nothing."""
        if self.typed is None:
            return ""
        end = self.typed[-_SHOWN:]
        return f"marker: {'…' * (end != self.typed)}{end}▏ (Enter marks, Esc leaves)"

    @property
    def descriptor(self) -> int:
        """Number of the file to wait for; -1 without keys."""
        return self._descriptor

    @property
    def arrive(self) -> bool:
        """Whether keys come here: not in the background, as below `timeout` in a script."""
        return is_ours(self._descriptor)

    def poll(self) -> None:
        """Take the keys that were pressed; never waits."""
        if not self.arrive:
            return
        try:
            give_keys(self._descriptor)
            while select.select([self._descriptor], [], [], 0.0)[0]:
                data = os.read(self._descriptor, 4096)
                if not data:
                    self.close()
                    return
                self.take(self._decode(data))
        except OSError:  # the terminal is gone
            self.close()

    def take(self, keys: str) -> None:
        """Take keys that came together."""
        for key in _SPECIAL_KEYS.sub("", keys):
            if self.typed is None:
                if key == MARKER_KEY:
                    latest = self._hub.latest
                    now = iso_utc(datetime.now(UTC))
                    self._moment = (0.0 if latest is None else latest.t, now)
                    self.typed = ""
            elif key in _ENTER:
                text, self.typed = self.typed, None
                if text.strip():
                    self._hub.publish(Marker(*self._moment, text))
            elif key == _ESCAPE:
                self.typed = None
            elif key in _BACKSPACE:
                self.typed = self.typed[:-1]
            elif key == _CLEAR:
                self.typed = ""
            elif key.isprintable():
                self.typed = (self.typed + key)[:MAX_MARKER_LENGTH]

    def close(self) -> None:
        """Give the terminal back; safe to call twice."""
        self._descriptor = -1
        restore_terminals()


def marker_text(marker: Marker) -> str:
    """Return a marker for the terminal."""
    return f"marker at {clock_text(marker.t)}: {marker.text}"
