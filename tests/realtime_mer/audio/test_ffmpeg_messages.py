import shutil
import subprocess
from pathlib import Path

import pytest

from realtime_mer.audio.ffmpeg_messages import ffmpeg_reason, http_reason

URL = "http://me:secret@radio.example:8000/live"
NOISE = ["To ignore this, add a trailing '?' to the map."]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{URL}: Server returned 404 Not Found", "nothing at this address (404)"),
        ("[http @ 0x5f] HTTP error 401 Unauthorized", "asks for a user name and a password"),
        (f"{URL}: Server returned 403 Forbidden (access denied)", "refuses access (403)"),
        (f"{URL}: Server returned 5XX Server Error reply", "a fault of its own (5xx)"),
        (
            f"{URL}: Server returned 4XX Client Error, but not one of 40{{0,1,3,4}}",
            "refuses the request (4xx)",
        ),
        (
            "[tcp @ 0x5f] Connection to tcp://radio.example:8000 failed: Connection refused",
            "accepts no connection",
        ),
        (
            "[tcp @ 0x5f] Failed to resolve hostname radio.example: Name or service not known",
            "no such host is known",
        ),
        ("[tls @ 0x5f] IO error: End of file", "no secure connection (TLS)"),
        (f"{URL}: Connection timed out", "does not answer in time"),
        (f"{URL}: End of file", "the server closed the connection"),
        (f"{URL}: Input/output error", "the connection failed"),
        (f"{URL}: Invalid data found when processing input", "something that is not audio"),
        ("Output file does not contain any stream", "there is no sound in it"),
        ("Stream map '0:a:0' matches no streams.", "there is no sound in it"),
        ("[hls @ 0x5f] Protocol 'file' not on whitelist 'http,tcp'!", "points to an address with"),
        ("Decoder (codec none) not found for input stream #0:0", "cannot decode the format"),
        (f"{URL}: Immediate exit requested", "ffmpeg was stopped"),
        ("Impossible to open the 'icecast' protocol for reading", "addresses of this kind"),
    ],
)
def test_known_causes_have_sentences_of_their_own(line: str, reason: str) -> None:
    said = ffmpeg_reason(["[mp3 @ 0x5f] an older line", line, *NOISE], address=URL)
    assert reason in said
    assert "secret" not in said
    assert "0x" not in said


def test_other_words_are_one_clean_line_without_the_address() -> None:
    line = f"[x @ 0x5f1a] \x1b[31mQuirk\r of {URL} at tcp://me:secret@other:1/?a=b " + "z" * 300
    said = ffmpeg_reason([line], address=URL)
    assert said.startswith("ffmpeg cannot read it (its words: [31mQuirk of it at an address zzz")
    assert len(said) < 200
    assert "secret" not in said
    assert ffmpeg_reason([], address=URL) == "ffmpeg cannot read it"


def test_the_name_of_a_file_is_not_taken_for_a_cause() -> None:
    path = "/music/Connection refused, HTTP error 404.m4a"
    line = f"{path}: Invalid data found when processing input"
    assert ffmpeg_reason([line], address=path) == "it is damaged or not audio"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 410, 418, 429, 500, 503])
def test_every_status_is_named(status: int) -> None:
    assert f"({status})" in http_reason(status)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("missing.m4a", None, "there is no such file"),
        ("a.m4a", b"\0\0\0\x20ftypM4A " + b"\1\0\3\7" * 500, "its index (moov) is missing"),
        ("a.mkv", b"\x1a\x45\xdf\xa3" + b"\1\0\3\7" * 500, "damaged or not audio"),
        (
            "a.m3u8",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://me:secret@r/a.ts\n"
            b"#EXT-X-ENDLIST\n",
            "it points to an address with http:, which is not opened",
        ),
    ],
)
def test_what_the_installed_ffmpeg_says_is_understood(
    tmp_path: Path, name: str, data: bytes | None, reason: str
) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error"]
    command += ["-protocol_whitelist", "file", "-i", str(path), "-f", "null", "-"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    said = ffmpeg_reason(ended.stderr.splitlines(), address=str(path))
    assert reason in said
    assert "secret" not in said
