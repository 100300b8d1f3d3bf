"""Addresses of networks as users may see them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_LOGIN = re.compile(r"(?<=//)[^/?#]*@")
_LOGIN_OR_MORE = re.compile(r"(?<=//).*@")
_QUERY = re.compile(r"[?#].*", re.DOTALL)


def without_secrets(url: str) -> str:
    """Return an address for display: without `user:password@`, and `?...` in place of a query.

    Many stations take a token in the query. Of an address that is not valid, more may be left out.
    """
    try:
        valid = urlsplit(url).port != 0
    except ValueError:
        valid = False
    return _QUERY.sub("?...", (_LOGIN if valid else _LOGIN_OR_MORE).sub("", url, count=1))
