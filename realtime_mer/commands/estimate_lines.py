"""Estimates as lines on standard output, notices on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from realtime_mer.errors import printable

if TYPE_CHECKING:
    from realtime_mer.core.target import TargetTrajectory
    from realtime_mer.live.hub import Item
    from realtime_mer.outputs.table import TableWriter


def line_printer(
    row_format: str | None,
    *,
    estimates: bool = True,
    target: TargetTrajectory | None = None,
) -> Callable[[Sequence[Item]], None]:
    """Return a function that prints the estimates of its items, and each notice.

    As text it prints events too, and only what changes (`PlainLines`).

    Args:
        row_format: `csv` or `jsonl`; None for text.
        estimates: whether estimates are printed at all.
        target: lines of text also say how far away it is.
    """
    from realtime_mer.commands.target_option import target_text
    from realtime_mer.core.events import Event
    from realtime_mer.core.types import Estimate
    from realtime_mer.live.hub import Notice
    from realtime_mer.outputs.table import table_writer
    from realtime_mer.outputs.terminal import PlainLines

    text = PlainLines()
    writer: TableWriter | None = None

    def draw(items: Sequence[Item]) -> None:
        nonlocal writer
        for item in items:
            if isinstance(item, Notice):
                print(printable(item.message), file=sys.stderr)
        if not estimates:
            return
        if writer is None and row_format is not None:
            writer = table_writer(row_format, sys.stdout)  # prints the header
        for item in items:
            if writer is not None:
                if isinstance(item, Estimate):
                    writer.write(item)
            elif isinstance(item, Estimate):
                if line := text.estimate(item):
                    print(line if target is None else f"{line}  {target_text(target, item)}")
            elif isinstance(item, Event) and (line := text.event(item)):
                print(line)
        sys.stdout.flush()

    return draw
