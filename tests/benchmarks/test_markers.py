"""Markers of generated tables."""

from __future__ import annotations

import pytest
from markers import UnknownMarkerError, fill

DOCUMENT = """\
# Title

<!-- accuracy -->
old
<!-- end -->
between
<!-- by song -->
<!-- end -->
"""


def test_only_the_text_between_markers_changes() -> None:
    text, missing = fill(DOCUMENT, {"accuracy": lambda: "new\n", "by song": lambda: "more"})
    assert text == DOCUMENT.replace("old", "new").replace("by song -->\n", "by song -->\nmore\n")
    assert missing == []
    assert fill(text, {"accuracy": lambda: "new", "by song": lambda: "more"})[0] == text


def test_without_a_result_the_old_text_stays() -> None:
    text, missing = fill(DOCUMENT, {"accuracy": lambda: None, "by song": lambda: "more"})
    assert "old" in text
    assert missing == ["accuracy"]


def test_an_unknown_or_open_marker_is_an_error() -> None:
    with pytest.raises(UnknownMarkerError, match="no table 'by song'; there are accuracy"):
        fill(DOCUMENT, {"accuracy": lambda: "new"})
    open_ended = DOCUMENT.replace("<!-- end -->\nbetween", "between")
    with pytest.raises(UnknownMarkerError, match="has no <!-- end -->"):
        fill(open_ended, {"accuracy": lambda: "new", "by song": lambda: "more"})


def test_other_comments_stay() -> None:
    text = "<!-- client: python -->\ncode\n"
    assert fill(text, {}) == (text, [])
