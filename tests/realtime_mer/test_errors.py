"""Texts that programs and terminals receive are harmless, whatever a file is called."""

import os

import pytest

from realtime_mer.audio.source import Input, InputKind, SourceLost
from realtime_mer.errors import UserError, printable

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


def test_other_text_stays() -> None:
    assert printable("Café 🎵\n\ufffd") == "Café 🎵\n\ufffd"
    assert str(UserError()) == ""
