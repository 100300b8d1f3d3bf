"""What is an end and what is an outage of a network stream (docs/inputs.md), against a server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import music
from support_audio import read_all
from support_radio import Answer, Radio, running_radio

from realtime_mer.audio import url
from realtime_mer.audio.source import EndOfStream, SourceLost
from realtime_mer.audio.url import UrlSource

RATE_HZ = 44_100
SECONDS = 12
pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def quick_reconnection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ffmpeg give up at once where it tries to go on with a file."""
    monkeypatch.setattr(url, "_RECONNECT_S", 0)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.mp3"
    samples = music(SECONDS, RATE_HZ, channels=2)
    soundfile.write(path, samples, RATE_HZ, subtype="MPEG_LAYER_III")
    return path


@pytest.fixture
def radio() -> Iterator[Radio]:
    with running_radio() as radio:
        yield radio


def lost_after(source: UrlSource) -> SourceLost:
    lost = read_all(source)[1]
    assert isinstance(lost, SourceLost), lost
    return lost


def break_off(radio: Radio, data: bytes) -> None:
    """Let a file that is looked at and played break off in the middle, and then be gone."""
    half = Answer(data, breaks_at=len(data) // 2, ranges=True)
    radio.answers["/song"] = [half, half, Answer(b"off", "text/plain", 404)]


ENDS: dict[str, Callable[[Answer], Answer]] = {
    "closed": lambda answer: answer,
    "reset": lambda answer: replace(answer, resets=True),
    "no chunk": lambda answer: replace(answer, chunk=b"this is no chunk\r\n"),
    "last chunk": lambda answer: replace(answer, chunk=b"0\r\n\r\n"),
    "silent": lambda answer: replace(answer, stops=True),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_station_never_ends(
    radio: Radio, song: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(url, "_READ_TIMEOUT_US", 1_000_000)
    radio.answers["/station"] = ENDS[end](Answer(song.read_bytes(), length=0))
    with UrlSource(f"{radio.address}/station") as source:
        assert lost_after(source).recoverable
        radio.answers["/station"] = Answer(song.read_bytes(), length=0)
        source.reopen()
        assert source.read(30) is not None


AWAY = {
    "gone": (Answer(b"no", status=404), r"nothing at this address \(404\)"),
    "gone for good": (Answer(b"no", status=410), r"\(410\)"),
    "faulty": (Answer(b"no", status=500), r"fault of its own \(500\)"),
    "forbidden": (Answer(b"no", status=403), r"refuses access \(403\)"),
    "no answer": (Answer(status=0), "closed the connection"),
    "circle": (Answer(status=302, headers={"Location": "/station"}), "in a circle"),
    "web page": (Answer(b"<html>hello</html>", "text/html"), "is a web page"),
    "off the air": (Answer(b"#EXTM3U\n", "audio/x-mpegurl"), "a playlist without entries"),
    "broken list": (Answer(b"http://127.0.0.1:1/\n", "audio/x-mpegurl"), "refused"),
}


@pytest.mark.parametrize("away", AWAY)
def test_a_station_is_away_until_it_plays_again(radio: Radio, song: Path, away: str) -> None:
    answer, reason = AWAY[away]
    station = Answer(song.read_bytes(), length=0)
    radio.answers["/station"] = station
    with UrlSource(f"{radio.address}/station") as source:
        assert lost_after(source).recoverable
        radio.answers["/station"] = answer
        for _ in range(2):
            with pytest.raises(SourceLost, match=reason) as caught:
                source.reopen()
            assert caught.value.recoverable
        radio.answers["/station"] = station
        source.reopen()
        assert source.read(30) is not None


NINE_HOURS = pytest.approx(9 * 3600, rel=0.5)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("120", pytest.approx(120.0)),
        (
            format_datetime(datetime.now(UTC) + timedelta(hours=9), usegmt=True),
            pytest.approx(9 * 3600, rel=0.5),
        ),
        ("soon", None),
        ("", None),
    ],
    ids=["seconds", "date", "word", "none"],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_pause_that_a_server_asks_for_is_passed_on(
    radio: Radio, song: Path, status: int, retry_after: str, seconds: object
) -> None:
    radio.answers["/station"] = Answer(song.read_bytes(), length=0)
    with UrlSource(f"{radio.address}/station") as source:
        lost_after(source)
        headers = {"Retry-After": retry_after}
        radio.answers["/station"] = Answer(b"busy", status=status, headers=headers)
        with pytest.raises(SourceLost, match=str(status)) as caught:
            source.reopen()
    assert caught.value.retry_after_s == seconds


def test_a_song_between_two_programmes_is_no_end(radio: Radio, song: Path) -> None:
    """A station may answer with a file, which states its length."""
    radio.answers["/station"] = Answer(song.read_bytes(), length=0)
    with UrlSource(f"{radio.address}/station") as source:
        lost_after(source)
        radio.answers["/station"] = Answer(song.read_bytes())
        source.reopen()
        assert lost_after(source).recoverable


def test_a_station_that_changes_its_format_goes_on(radio: Radio, song: Path) -> None:
    other = song.with_name("other.ogg")
    samples = music(3, 22_050, channels=1)
    soundfile.write(other, samples, 22_050, format="OGG", subtype="VORBIS")
    radio.answers["/station"] = Answer(song.read_bytes(), length=0)
    with UrlSource(f"{radio.address}/station") as source:
        info = source.info
        lost_after(source)
        radio.answers["/station"] = Answer(other.read_bytes(), "application/ogg", length=0)
        source.reopen()
        back = read_all(source)[0]
        assert source.info == info
    assert back.shape == (pytest.approx(3 * RATE_HZ, abs=3000), 2)
    assert back.std() == pytest.approx(float(samples.std()), rel=0.05)


def test_a_file_goes_on_where_it_broke_off(radio: Radio, song: Path) -> None:
    data = song.read_bytes()
    break_off(radio, data)
    with UrlSource(f"{radio.address}/song") as source:
        assert source.info.recorded
        first, lost = read_all(source)
        assert isinstance(lost, SourceLost)
        assert lost.recoverable
        with pytest.raises(SourceLost, match="404") as caught:
            source.reopen()
        assert caught.value.recoverable
        radio.answers["/song"] = Answer(data, ranges=True)
        source.reopen()
        rest, end = read_all(source)
    assert isinstance(end, EndOfStream)
    assert len(first) > RATE_HZ
    assert len(first) + len(rest) == pytest.approx(SECONDS * RATE_HZ, abs=0.1 * RATE_HZ)
    with UrlSource(f"{radio.address}/song") as source:
        whole = read_all(source)[0]
    # The place of a frame of an MP3 that is sought is not exact.
    tail = whole[-2 * RATE_HZ :, 0]
    size = 1 << 18
    found = np.fft.irfft(np.fft.rfft(rest[:, 0], size * 2) * np.fft.rfft(tail, size * 2).conj())
    place_s = len(first) / RATE_HZ + int(np.argmax(found)) / RATE_HZ
    assert place_s == pytest.approx(SECONDS - 2, abs=0.15)


def test_a_file_that_was_replaced_is_not_played_on(radio: Radio, song: Path) -> None:
    data = song.read_bytes()
    break_off(radio, data)
    with UrlSource(f"{radio.address}/song") as source:
        lost_after(source)
        radio.answers["/song"] = Answer(data + data, ranges=True)
        with pytest.raises(SourceLost, match="was replaced by another file") as caught:
            source.reopen()
        assert not caught.value.recoverable


def test_a_live_stream_in_pieces_does_not_start_again_at_its_end(radio: Radio, song: Path) -> None:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(song), "-c:a", "aac"]
    command += ["-hls_time", "2", "-hls_list_size", "0", str(song.with_name("live.m3u8"))]
    subprocess.run(command, check=True, timeout=60)
    for part in song.parent.glob("live*.ts"):
        radio.answers[f"/{part.name}"] = Answer(part.read_bytes(), "video/mp2t")
    text = song.with_name("live.m3u8").read_bytes()
    live = Answer(text.replace(b"#EXT-X-ENDLIST\n", b""), "application/vnd.apple.mpegurl")
    over = replace(live, body=text)
    radio.answers["/live.m3u8"] = [live, live, over]  # looked at, played, loaded again
    with UrlSource(f"{radio.address}/live.m3u8") as source:
        assert not source.info.recorded
        assert lost_after(source).recoverable
        with pytest.raises(SourceLost, match="is over") as caught:
            source.reopen()
        assert caught.value.recoverable
        radio.answers["/live.m3u8"] = [live, live, over]
        source.reopen()
        assert source.read(30) is not None


def test_a_connection_without_data_is_an_outage(radio: Radio, song: Path) -> None:
    """Also where ffmpeg waits for ever. The time is that which the reader waited for."""
    radio.answers["/station"] = Answer(song.read_bytes(), stops=True)
    with UrlSource(f"{radio.address}/station") as source:
        while source.read(1.0) is not None:
            pass
        source._silent_s = url._MAX_SILENCE_S - 1.5
        assert source.read(1.0) is None
        with pytest.raises(SourceLost, match="has sent nothing for 30 s") as caught:
            source.read(1.0)
        assert caught.value.recoverable


def test_a_playlist_whose_first_entries_hang_is_played_in_time(radio: Radio, song: Path) -> None:
    """Each entry gets its share of the time to open."""
    radio.answers["/radio"] = Answer(song.read_bytes(), endless=True)
    radio.answers["/mute"] = Answer(mute=True)
    text = f"{radio.address}/mute\n{radio.address}/mute\n{radio.address}/radio\n"
    radio.answers["/list"] = Answer(text.encode(), "audio/x-mpegurl")
    with UrlSource(f"{radio.address}/list", open_timeout_s=9.0) as source:
        assert source.read(30) is not None
    assert radio.requests.count("/mute") >= 2
