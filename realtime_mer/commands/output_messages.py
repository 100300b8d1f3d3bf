"""How the outputs of a show do, as lines on standard error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from realtime_mer.commands.scene_messages import print_message
from realtime_mer.errors import printable_line
from realtime_mer.live.show import Health, Show, outputs_text

PERIOD_S = 0.5


@contextmanager
def output_messages(show: Show) -> Iterator[None]:
    """Tell when an output fails and when it works again, and at the end what was sent.

    Args:
        show: of the session; its outputs still run when the `with` block ends.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(show, ended), name="output messages")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if text := outputs_text(show.statuses()):
            print_message(text)


def _watch(show: Show, ended: threading.Event) -> None:
    told: dict[str, str] = {}  # why outputs fail, by name
    last = False
    while not last:
        last = ended.wait(PERIOD_S)
        for status in show.statuses():
            name, before = status.name, told.get(status.name)
            if status.health is Health.FAILING:
                if before is None or status.answer not in ("", before):
                    told[name] = status.answer
                    reason = f": {status.answer}" if status.answer else ""
                    print_message(printable_line(f"output {name} fails{reason}"))
            elif before is not None and status.health is Health.OK:
                del told[name]
                print_message(printable_line(f"output {name} works again"))
