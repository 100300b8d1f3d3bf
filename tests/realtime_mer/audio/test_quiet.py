import contextlib
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_other_output_is_passed_on() -> None:
    """Messages of the MP3 decoder are suppressed; a log line is not."""
    program = """
import os, sys
from realtime_mer.audio.quiet import without_library_noise
with without_library_noise():
    os.write(2, b"Note: Illegal Audio-MPEG-Header 0x00000000 at offset 31.\\n")
    os.write(2, b"[src/libmpg123/parse.c:wetwork():1349] error: Giving up resync\\n")
    os.write(2, b"ALSA lib confmisc.c:855:(parse_card) cannot find card '0'\\n")
    os.write(2, b"2026-01-02 03:04:05.678 (   0.1s) [  68C5]  common.cpp:82    INFO| git:1\\n")
    print("a line of the log", file=sys.stderr)
print("after", file=sys.stderr)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert run.stderr.decode().split("\n") == ["a line of the log", "after", ""]


def test_without_standard_error_it_does_nothing() -> None:
    program = """
import os
os.close(2)
from realtime_mer.audio.quiet import without_library_noise
with without_library_noise():
    print("inside")
"""
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert run.stdout == b"inside\n"


@pytest.mark.parametrize(
    ("platform", "kept"),
    [
        pytest.param(
            "linux", "a line\n",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such files"),
        ),
        ("another", ""),  # there is nowhere to keep it
    ],
)  # fmt: skip
def test_there_may_be_no_place_for_temporary_files(platform: str, kept: str) -> None:
    program = f"""
import os, sys, tempfile
from realtime_mer.audio.quiet import without_library_noise
tempfile.tempdir = os.devnull
sys.platform = {platform!r}
for _ in range(2):
    with without_library_noise():
        os.write(2, b"Note: Illegal Audio-MPEG-Header\\na line\\n")
os.write(2, b"after")
"""
    run = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, check=True)
    assert run.stderr.decode() == 2 * kept + "after"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_standard_error_may_be_full() -> None:
    program = """
import os
from realtime_mer.audio.quiet import without_library_noise
with without_library_noise():
    os.write(2, b"a line of the log\\n")
print("after")
"""
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=True
        )
    assert run.stdout == b"after\n"


def test_exceptions_pass() -> None:
    program = """
import sys
from realtime_mer.audio.quiet import without_library_noise
for _ in range(3):
    try:
        with without_library_noise():
            raise KeyError("x")
    except KeyError as error:
        print(error, file=sys.stderr)
"""
    run = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, check=True)
    assert run.stderr == b"'x'\n'x'\n'x'\n"


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"),
    reason="needs glibc",
)
def test_messages_of_another_thread_are_suppressed_until_the_end() -> None:
    """PortAudio's thread prints when a device vanishes; other messages and the terminal stay."""
    program = """
import ctypes, sys, threading
from realtime_mer.audio.quiet import filter_c_messages
filter_c_messages()
libc = ctypes.CDLL(None)
def say(text):
    libc.fputs(text, ctypes.c_void_p.in_dll(libc, "stderr"))
def speak():
    say(b"Expression 'x' failed in 'pa_linux_alsa.c', line: 3665\\n")
    say(b"something ")
    say(b"else\\n")
thread = threading.Thread(target=speak)
thread.start()
thread.join()
sys.stderr.write(f"{sys.stderr.isatty()}\\n")
say(b"the last line")
"""
    run, shown = _in_terminal(program)
    assert run == 0
    assert sorted(shown.decode().split("\r\n")) == ["True", "something else", "the last line"]


def _in_terminal(program: str) -> tuple[int, bytes]:
    """Run a program whose standard error is a terminal; return its exit code and what it shows."""
    pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
    terminal, inside = pty.openpty()
    run = subprocess.run([sys.executable, "-c", program], stderr=inside, timeout=60)
    os.close(inside)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while data := os.read(terminal, 4096):
            shown += data
    os.close(terminal)
    return run.returncode, shown
