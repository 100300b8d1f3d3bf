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
    only_changes: bool = False,
    target: TargetTrajectory | None = None,
) -> Callable[[Sequence[Item]], None]:
    """Return a function that prints the estimates of its items, and each notice.

    Args:
        row_format: `csv` or `jsonl`; None for text.
        estimates: whether estimates are printed at all.
        only_changes: lines of text come for changes alone, events among them (`PlainLines`).
        target: lines of text also say how far away it is.
    """
    from realtime_mer.commands.target_option import target_text
    from realtime_mer.core.events import Event
    from realtime_mer.core.types import Estimate
    from realtime_mer.live.hub import Notice
    from realtime_mer.outputs.table import table_writer
    from realtime_mer.outputs.terminal import PlainLines, plain_line

    lines = PlainLines()
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
                if line := lines.estimate(item) if only_changes else plain_line(item):
                    print(line if target is None else f"{line}  {target_text(target, item)}")
            elif only_changes and isinstance(item, Event) and (line := lines.event(item)):
                print(line)
        sys.stdout.flush()

    return draw
