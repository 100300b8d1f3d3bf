"""Texts that programs and terminals receive are harmless, whatever a file is called."""

import contextlib
import os

import pytest

from realtime_mer.audio.source import Input, InputKind, SourceLost
from realtime_mer.cli import main
from realtime_mer.errors import UserError, printable, printable_line
from realtime_mer.live.hub import End, Notice

NAME = os.fsdecode(b"caf\xe9 \xf0\x9f\x8e\xb5.wav")


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_bytes_of_a_name_that_are_not_utf_8_are_replaced() -> None:
    assert printable(NAME) == "caf\ufffd 🎵.wav"
    assert str(UserError(f"there is no {NAME}")) == "there is no caf\ufffd 🎵.wav"
    lost = SourceLost(f"{NAME} breaks off", recoverable=False)
    assert str(lost) == "caf\ufffd 🎵.wav breaks off"
    info = Input(InputKind.FILE, NAME, 44_100, 2, paced=True, live=False)
    assert info.name == "caf\ufffd 🎵.wav"


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert printable("a\x1b[2J\r\x7f\x9b\u202eb\tc") == "a\ufffd[2J\ufffd\ufffd\ufffd\ufffdb\tc"
    assert str(UserError("there is no \x1b[2Jsong")) == "there is no \ufffd[2Jsong"


@pytest.mark.parametrize("mark", ["\u061c", "\u200e", "\u200f", "\u202e", "\u2066", "\u2069"])
def test_marks_of_the_direction_of_text_are_shown(mark: str) -> None:
    assert printable(f"song{mark}3pm") == "song\ufffd3pm"


def test_a_name_is_one_line() -> None:
    assert printable_line("a\nb\tc\u2028d\u2029e") == "a\ufffdb\ufffdc\ufffdd\ufffde"
    info = Input(InputKind.FILE, "a\nclip: gone.wav", 44_100, 2, paced=True, live=False)
    assert info.name == "a\ufffdclip: gone.wav"


def test_what_another_server_says_is_harmless() -> None:
    notice = Notice("\x1b[2J\n", "no \x1b]0;title\x07 [red]audio[/red]")
    assert (notice.code, notice.message) == (
        "\ufffd[2J\ufffd",
        "no \ufffd]0;title\ufffd [red]audio[/red]",
    )
    assert End("\x1b[2J").reason == "\ufffd[2J"


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze", "song.mp3", "--\x1b[2Jx"],
        ["listen", "--input", "\x1b[2J.mp3"],
        ["listen", "--input", "demo", "--hop", "\x1b[2J"],
        ["analyze", "\x1b[2J.mp3"],
        ["evaluate", "--data", "deam=\x1b[2J"],
        ["doctor", "--input", "\x1b[2J.mp3"],
        ["listen", "--model", "\x1b[2J.onnx"],
        ["\x1b[2J"],
    ],
)
def test_no_argument_controls_the_terminal(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell may expand a pattern to such a name."""
    with contextlib.suppress(SystemExit):
        main(arguments)
    output = "".join(capsys.readouterr())
    assert "[2J" in output
    assert "\x1b[2J" not in output


def test_other_text_stays() -> None:
    assert printable("Café 🎵\n\ufffd") == "Café 🎵\n\ufffd"
    assert str(UserError()) == ""
