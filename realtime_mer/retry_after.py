"""How long a web server asks a client to wait."""

from __future__ import annotations

import re
from email.message import Message
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Message) -> float | None:
    """Return how many seconds the server asks to wait (`Retry-After`), or None.

    A date is compared with the server's own, so the clocks need not agree.
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        then, now = (parsedate_to_datetime(date) for date in (text, headers.get("Date", "")))
        return max(0.0, (then - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
