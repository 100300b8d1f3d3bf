"""Addresses are shown without what lets others in."""

from __future__ import annotations

import pytest

from realtime_mer.address import without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://x.org:80/a", "http://x.org:80/a"),
        ("http://me:secret@x.org:80/a?token=secret", "http://x.org:80/a?..."),
        ("http://me:se@cret@x.org/a#secret", "http://x.org/a?..."),
        ("rtsp://secret@x.org/@home", "rtsp://x.org/@home"),
        ("http://x.org/live@home", "http://x.org/live@home"),
        ("//me:secret@x.org", "//x.org"),
        # Not valid: the password has a character that ends the name of a host.
        ("http://me:sec/ret@x.org/a", "http://x.org/a"),
        ("http://me:sec?ret@x.org/a?b", "http://x.org/a?..."),
        ("http://me:secret@[x.org/a", "http://[x.org/a"),
        ("http://x.org:port/a?secret\nsecret", "http://x.org:port/a?..."),
    ],
)
def test_logins_and_queries_are_hidden(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
