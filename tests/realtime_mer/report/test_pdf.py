"""The report printed by a browser, and browsers that fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_support import music, session_of

from realtime_mer.errors import UserError
from realtime_mer.report.page import report_page
from realtime_mer.report.pdf import browser, require_browser, write_pdf

PAGE = "<!doctype html><p>one page"


def program(folder: Path, script: str) -> str:
    """Return the path of a program that is started as the browser."""
    path = folder / "browser"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_page_is_printed_and_no_profile_is_left(tmp_path: Path) -> None:
    found = browser()
    if found is None:
        pytest.skip("no Chromium in PATH")
    path = tmp_path / "report.pdf"
    write_pdf(report_page(session_of(music([(0.1, 0.2, "calm")] * 30))), path, found)
    assert path.read_bytes().startswith(b"%PDF")
    assert path.stat().st_size > 5000
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_browser_a_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if browser() is not None:
        pytest.skip("a browser lies outside PATH")
    with pytest.raises(UserError, match="--pdf needs Chromium, Chrome or Edge"):
        require_browser()


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo 'no display' >&2; exit 1", "wrote no PDF: no display"),
        ("exit 0", "wrote no PDF; open the HTML page"),
        ("exec sleep 600", "did not print the page within 2 s"),
    ],
)
def test_a_browser_that_fails_leaves_nothing(tmp_path: Path, script: str, sentence: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(UserError, match=sentence):
        write_pdf(PAGE, folder / "report.pdf", program(tmp_path, script), timeout_s=2.0)
    assert list(folder.iterdir()) == []


def test_a_browser_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be started"):
        write_pdf(PAGE, tmp_path / "report.pdf", str(tmp_path / "none"))
