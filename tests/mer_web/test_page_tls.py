"""The page over the server's own TLS, from a name that no browser treats as localhost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from page_support import Open, Serve, free_port


def test_the_microphone_of_a_page_with_a_certificate_of_our_own(
    visit: Open, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux takes the user's folder from XDG_CONFIG_HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    port = free_port()
    origin = f"https://insecure.test:{port}"
    serve(
        "--input", "browser", "--port", str(port), "--allow-origin", origin, "--hop", "0.2",
        "--tls", "self-signed",
    )  # fmt: skip
    monkeypatch.undo()
    # As a visitor does who has read the warning.
    here = visit(f"{origin}/", ignore_https_errors=True)
    here.wait("() => mer.hello !== null")
    assert here.js("isSecureContext") is True
    here.page.keyboard.press("m")
    here.wait("() => mer.hello.input.kind === 'browser' && mer.history.length >= 2")
    # What comes over http is sent to https, and a plain address of the page works too.
    plain = visit(f"http://insecure.test:{port}/", ignore_https_errors=True)
    assert plain.page.url == f"{origin}/"
    plain.url = plain.page.url
    plain.wait("() => mer.hello !== null")
