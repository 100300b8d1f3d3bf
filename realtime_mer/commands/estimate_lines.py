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
    """Return a function that prints a line for each estimate of its items, and each notice.

    Args:
        row_format: `csv` or `jsonl`; None for text.
        estimates: whether estimates are printed at all.
        target: lines of text also say how far away it is.
    """
    from realtime_mer.commands.target_option import target_text
    from realtime_mer.core.types import Estimate
    from realtime_mer.live.hub import Notice
    from realtime_mer.outputs.table import table_writer
    from realtime_mer.outputs.terminal import plain_line

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
            if not isinstance(item, Estimate):
                continue
            if writer is None:
                aim = "" if target is None else f"  {target_text(target, item)}"
                print(f"{plain_line(item)}{aim}")
            else:
                writer.write(item)
        sys.stdout.flush()

    return draw
