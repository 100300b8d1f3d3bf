"""Follows the configuration file while the program runs."""

from __future__ import annotations

import threading
from collections.abc import Callable

from realtime_mer.closable import Closable
from realtime_mer.configuration.configuration import CONTROL, SECTIONS, Configuration, version_of
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub, Notice

CHANGED = "configuration_changed"
REFUSED = "configuration_refused"
PERIOD_S = 1.0
CLOSE_TIMEOUT_S = 2.0


class ConfigurationWatch(Closable):
    """Looks once a second whether the file has changed, and tells what follows at the hub.

    A file that is not valid changes nothing and is told once. So is one that is gone.

    Args:
        configuration: what holds now; it has a file.
        apply: makes a new configuration hold, as far as it can without a restart, and returns what
            has changed, in words. It raises UserError for one that cannot hold; then all stays.
        hub: gets the notices.
        period_s: seconds between two looks. A file counts once two looks find it the same: an
            editor may be writing it.
    """

    def __init__(
        self,
        configuration: Configuration,
        apply: Callable[[Configuration], list[str]],
        hub: Hub,
        *,
        period_s: float = PERIOD_S,
    ) -> None:
        assert configuration.file is not None
        self._configuration = self._started = configuration
        self._file = configuration.file
        self._apply = apply
        self._hub = hub
        self._period_s = period_s
        self._closing = threading.Event()
        # One that was changed since it was read is read again.
        self._read = self._seen = configuration.version
        self._thread = threading.Thread(target=self._run, name="configuration watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(CLOSE_TIMEOUT_S)  # a file of a network may hang

    def _run(self) -> None:
        while not self._closing.wait(self._period_s):
            before, self._seen = self._seen, version_of(self._file)
            if self._seen == before != self._read:
                self._read = self._seen
                self._follow()

    def _follow(self) -> None:
        try:
            new = self._configuration.again()
        except OSError as error:
            self._refuse(f"{self._file} cannot be read ({error.strerror})")
            return
        except UserError as error:
            self._refuse(str(error))
            return
        if self._closing.is_set():  # the outputs have ended
            return
        try:
            told = self._apply(new)
        except UserError as error:
            self._refuse(str(error))
            return
        # What is again as at the start needs none.
        other = changed_options(self._started, new)
        told += _needs_restart([n for n in changed_options(self._configuration, new) if n in other])
        self._configuration = new
        if told:
            self._tell(CHANGED, f"{self._file} has changed: {'; '.join(told)}")

    def _refuse(self, reason: str) -> None:
        self._tell(REFUSED, f"{reason}; until that is mended, all stays as it was")

    def _tell(self, code: str, sentence: str) -> None:
        # Every viewer reads it; where the file lies is nobody's business.
        self._hub.publish(Notice(code, sentence.replace(str(self._file), self._file.name)))


def changed_options(old: Configuration, new: Configuration) -> list[str]:
    """Return what holds only after a restart and differs, such as `[server] port`."""
    changed = []
    for section in SECTIONS:
        before, after = old.section(section), new.section(section)
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        changed += [f"[{section}] {name}" for name in names]
    for name in {**old.controls, **new.controls}:
        if old.controls.get(name) != new.controls.get(name):
            changed.append(f"[{CONTROL}.{name}]")
    return changed


def _needs_restart(changed: list[str]) -> list[str]:
    if not changed:
        return []
    return [f"{', '.join(changed)} need{'s' if len(changed) == 1 else ''} a restart"]
