import http.server
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import soundfile
from support import music
from support_audio import read_all

from realtime_mer.audio.source import EndOfStream, InputKind, SourceLost
from realtime_mer.audio.url import UrlSource, looks_like_url, without_password
from realtime_mer.errors import UserError

RATE_HZ = 44_100
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


class Radio(http.server.BaseHTTPRequestHandler):
    """A server with a song, a web page, an endless stream and a stream without data."""

    song: ClassVar[bytes] = b""
    stop: ClassVar[threading.Event]

    def do_GET(self) -> None:
        if self.path == "/song.mp3":
            self._head(len(self.song))
            self.wfile.write(self.song)
        elif self.path == "/page.mp3":
            self._head(20)
            self.wfile.write(b"<html>hello</html>  ")
        elif self.path == "/radio":
            self._head(None)
            try:
                while not self.stop.is_set():
                    self.wfile.write(self.song)
            except OSError:  # the client disconnected
                return
        elif self.path == "/mute":
            self._head(None)
            self.stop.wait(60)
        else:
            self.send_error(404)

    def _head(self, length: int | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "audio/mpeg")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def radio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    path = tmp_path / "song.mp3"
    soundfile.write(path, music(3, RATE_HZ, channels=2), RATE_HZ, subtype="MPEG_LAYER_III")
    monkeypatch.setattr(Radio, "song", path.read_bytes())
    monkeypatch.setattr(Radio, "stop", threading.Event(), raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Radio) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Radio.stop.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("spec", "is_url"),
    [
        ("http://x.org/a", True),
        ("rtsp://camera", True),
        ("ICECAST://x", True),
        ("C:\\music\\a.mp3", False),
        ("c:/music", False),
        ("a.mp3", False),
        ("USB Audio://", False),
    ],
)
def test_urls_are_recognised(spec: str, is_url: bool) -> None:
    assert looks_like_url(spec) == is_url


def test_passwords_are_removed() -> None:
    assert without_password("http://me:secret@x.org:80/a?b=c") == "http://x.org:80/a?b=c"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "concat://a|b", "gopher://x"])
def test_only_network_streams_are_opened(url: str) -> None:
    with pytest.raises(UserError, match=r"addresses that start with .* cannot be played"):
        UrlSource(url)


def test_without_ffmpeg_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="needs ffmpeg, which is not installed; install ffmpeg"):
        UrlSource("http://127.0.0.1/")


@needs_ffmpeg
def test_a_song_from_a_server(radio: str, tmp_path: Path) -> None:
    with UrlSource(f"{radio}/song.mp3") as source:
        info = source.info
        assert (info.kind, info.name) == (InputKind.URL, f"{radio}/song.mp3")
        assert (info.sample_rate_hz, info.channels) == (RATE_HZ, 2)
        assert (info.paced, info.live) == (True, True)
        samples, end = read_all(source)
    assert isinstance(end, EndOfStream)
    expected = soundfile.read(tmp_path / "song.mp3", dtype="float32")[0]
    # Decoders differ in the samples of delay that they cut off at the ends.
    assert len(samples) == pytest.approx(len(expected), abs=3000)
    assert samples.std() == pytest.approx(float(expected.std()), rel=0.02)


@needs_ffmpeg
def test_an_endless_stream_ends_when_it_is_closed(radio: str) -> None:
    source = UrlSource(f"{radio}/radio")
    frames = 0
    while frames < 10 * RATE_HZ:  # three times the song
        block = source.read(30)
        assert block is not None
        frames += len(block.samples)
    process = source._decoder._process
    source.close()
    assert process.poll() is not None
    assert isinstance(read_all(source)[1], EndOfStream)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/nothing", "/nothing' cannot be played: .*404"),
        ("/page.mp3", "/page.mp3' cannot be played: "),
    ],
)
def test_errors_of_streams_that_cannot_be_played(radio: str, path: str, sentence: str) -> None:
    address = (radio + path).replace("//", "//user:secret@")
    with pytest.raises(UserError, match=sentence) as caught:
        UrlSource(address)
    assert "secret" not in str(caught.value)
    assert str(caught.value).count(path) == 1


@needs_ffmpeg
def test_a_server_that_sends_nothing_times_out(radio: str) -> None:
    with pytest.raises(UserError, match="/mute' delivered no audio within 1 s"):
        UrlSource(f"{radio}/mute", open_timeout_s=1.0)


@needs_ffmpeg
def test_a_refused_connection_is_an_error() -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"cannot be played: .*[Rr]efused"):
            UrlSource(f"http://127.0.0.1:{taken.getsockname()[1]}/")


@needs_ffmpeg
def test_an_unknown_host_is_an_error() -> None:
    with pytest.raises(UserError, match="cannot be played: Failed to resolve hostname"):
        UrlSource("http://no-such-host.invalid/radio")


@needs_ffmpeg
def test_a_stream_whose_decoder_dies_can_be_reopened(radio: str) -> None:
    with UrlSource(f"{radio}/radio") as source:
        assert source.read(30) is not None
        source._decoder._process.kill()
        lost = read_all(source)[1]
        assert isinstance(lost, SourceLost)
        assert "broke off at" in str(lost)
        assert lost.recoverable
        source.reopen()
        assert source.read(30) is not None
