import pytest

DOCUMENT = """\
# Title

<!-- accuracy -->
old
<!-- end -->
between
<!-- by song -->
<!-- end -->
"""


def test_only_what_stands_between_markers_changes() -> None:
    from markers import fill

    text, missing = fill(DOCUMENT, {"accuracy": lambda: "new\n", "by song": lambda: "more"})
    assert text == DOCUMENT.replace("old", "new").replace("by song -->\n", "by song -->\nmore\n")
    assert missing == []
    assert fill(text, {"accuracy": lambda: "new", "by song": lambda: "more"})[0] == text


def test_without_a_result_the_old_text_stays() -> None:
    from markers import fill

    text, missing = fill(DOCUMENT, {"accuracy": lambda: None, "by song": lambda: "more"})
    assert "old" in text
    assert missing == ["accuracy"]


def test_a_marker_that_nothing_makes_is_told() -> None:
    from markers import UnknownMarkerError, fill

    with pytest.raises(UnknownMarkerError, match="no table 'by song'; there are accuracy"):
        fill(DOCUMENT, {"accuracy": lambda: "new"})
    open_ended = DOCUMENT.replace("<!-- end -->\nbetween", "between")
    with pytest.raises(UnknownMarkerError, match="has no <!-- end -->"):
        fill(open_ended, {"accuracy": lambda: "new", "by song": lambda: "more"})


def test_other_comments_are_left_alone() -> None:
    from markers import fill

    text = "<!-- client: python -->\ncode\n"
    assert fill(text, {}) == (text, [])
