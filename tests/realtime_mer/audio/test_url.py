import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from live_support import wait_for
from support import music
from support_audio import read_all
from support_radio import Answer, Radio, running_radio

from realtime_mer.audio import url
from realtime_mer.audio.source import EndOfStream, InputKind, SourceLost
from realtime_mer.audio.url import UrlSource, looks_like_url
from realtime_mer.errors import UserError

RATE_HZ = 44_100
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.mp3"
    soundfile.write(path, music(3, RATE_HZ, channels=2), RATE_HZ, subtype="MPEG_LAYER_III")
    return path


@pytest.fixture
def radio(song: Path) -> Iterator[Radio]:
    with running_radio() as radio:
        data = song.read_bytes()
        radio.answers = {
            "/song.mp3": Answer(data),
            "/radio": Answer(data, endless=True),
            "/mute": Answer(mute=True),
        }
        yield radio


def encode(song: Path, name: str, *options: str) -> Path:
    """Return the song in another format, made by ffmpeg beside it."""
    path = song.parent / name
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(song), *options, str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


def plays(address: str) -> str:
    """Open a stream, read a little, and return its displayed name."""
    with UrlSource(address) as source:
        assert source.read(30) is not None
        assert source.info.kind == InputKind.URL
        return source.info.name


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


@pytest.mark.parametrize("url", ["file:///etc/passwd", "concat://a|b", "gopher://x"])
def test_only_network_streams_are_opened(url: str) -> None:
    with pytest.raises(UserError, match=r"addresses that start with .* cannot be played"):
        UrlSource(url)


@pytest.mark.parametrize(
    "url", ["http://", "http:///radio", "http://x:99999/", "http://me:secret@x:y/", "http://[::1"]
)
def test_an_address_that_is_none_is_an_error(url: str) -> None:
    with pytest.raises(UserError, match="is not a valid address; write it as http://") as caught:
        UrlSource(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://me:secret@x/", "mms://me:s/secret@x/"])
def test_a_password_is_not_shown_where_the_scheme_is_not_supported(url: str) -> None:
    with pytest.raises(UserError, match=r"'(ftp|mms)://x/': addresses that start with") as caught:
        UrlSource(url)
    assert "secret" not in str(caught.value)


def test_without_ffmpeg_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="needs ffmpeg, which is not installed; install ffmpeg"):
        UrlSource("http://127.0.0.1/")


@needs_ffmpeg
def test_a_song_from_a_server(radio: Radio, song: Path) -> None:
    with UrlSource(f"{radio.address}/song.mp3") as source:
        info = source.info
        assert (info.kind, info.name) == (InputKind.URL, f"{radio.address}/song.mp3")
        assert (info.sample_rate_hz, info.channels) == (RATE_HZ, 2)
        assert (info.paced, info.live) == (True, True)
        samples, end = read_all(source)
    assert isinstance(end, EndOfStream)
    expected = soundfile.read(song, dtype="float32")[0]
    # Decoders differ in the samples of delay that they cut off at the ends.
    assert len(samples) == pytest.approx(len(expected), abs=3000)
    assert samples.std() == pytest.approx(float(expected.std()), rel=0.02)


@needs_ffmpeg
def test_an_endless_stream_ends_when_it_is_closed(radio: Radio) -> None:
    source = UrlSource(f"{radio.address}/radio")
    frames = 0
    while frames < 10 * RATE_HZ:  # three times the song
        block = source.read(30)
        assert block is not None
        frames += len(block.samples)
    process = source._decoder._process
    source.close()
    assert process.poll() is not None
    assert isinstance(read_all(source)[1], EndOfStream)


PLAYLISTS = {
    "m3u": ("audio/x-mpegurl", "{0}\n"),
    "extended m3u": ("application/octet-stream", "#EXTM3U\r\n#EXTINF:-1,R\r\n{0}\r\n"),
    "pls": ("audio/x-scpls", "[playlist]\nNumberOfEntries=1\nFile1={0}\nLength1=-1\n"),
    "xspf": (
        "text/xml",
        '<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/"><trackList><track>'
        "<location>{0}</location></track></trackList></playlist>",
    ),
    "without a suitable type": ("text/plain", "{0}"),
}


@needs_ffmpeg
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_plays_its_stream(radio: Radio, kind: str) -> None:
    content_type, text = PLAYLISTS[kind]
    radio.answers["/list"] = Answer(text.format(f"{radio.address}/radio").encode(), content_type)
    address = f"{radio.address}/list?id=1"
    radio.answers["/list?id=1"] = radio.answers["/list"]
    assert plays(address) == f"{radio.address}/list?..."


@needs_ffmpeg
def test_a_playlist_plays_the_first_entry_that_can_be_played(radio: Radio) -> None:
    radio.answers["/a.m3u"] = Answer(b"b.pls\n", "audio/x-mpegurl")
    radio.answers["/b.pls"] = Answer(
        b"[playlist]\nFile1=/gone\nFile2=file:///etc/passwd\nFile3=/c d.m3u\n", "audio/x-scpls"
    )
    radio.answers["/c%20d.m3u"] = Answer(f"{radio.address}/radio\n".encode(), "audio/x-mpegurl")
    assert plays(f"{radio.address}/a.m3u") == f"{radio.address}/a.m3u"
    assert radio.requests[:5] == ["/a.m3u", "/b.pls", "/gone", "/c%20d.m3u", "/radio"]


@needs_ffmpeg
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("#EXTM3U\n", "/list' is a playlist without entries"),
        ("/list\n", "from '[^,]*', leads from playlist to playlist"),
        ("/gone\n", "/gone', from '.*/list', cannot be played: .*404"),
        ("file:///etc/passwd\n", "addresses that start with file:// cannot be played"),
        ("//[a\n", r"'//\[a' in a playlist is not a valid address"),
        ("C:\\song.mp3\n", "addresses that start with c:// cannot be played"),
        ("a\n" * 10_001, "/list' has 10,001 entries"),
        ("a\n" * 600_000, "/list' is longer than a playlist may be"),
    ],
)
def test_playlists_that_lead_nowhere(radio: Radio, text: str, sentence: str) -> None:
    radio.answers["/list"] = Answer(text.encode(), "audio/x-mpegurl")
    with pytest.raises(UserError, match=sentence):
        UrlSource(f"{radio.address}/list")


@needs_ffmpeg
def test_a_stream_under_the_name_of_a_playlist_is_played(radio: Radio) -> None:
    answer = Answer(radio.answer("/radio").body, "audio/x-mpegurl", endless=True)
    radio.answers["/radio.m3u"] = answer
    assert plays(f"{radio.address}/radio.m3u") == f"{radio.address}/radio.m3u"


@pytest.fixture(scope="module")
def hls(song: Path) -> dict[str, bytes]:
    """A stream in pieces with its playlist, live.m3u8."""
    encode(song, "live.m3u8", "-c:a", "aac", "-hls_time", "1", "-hls_list_size", "0")
    names = ["live.m3u8", *(path.name for path in song.parent.glob("live*.ts"))]
    return {name: (song.parent / name).read_bytes() for name in names}


@needs_ffmpeg
@pytest.mark.parametrize("is_master", [False, True])
def test_an_hls_recording_is_played_to_its_end(
    radio: Radio, hls: dict[str, bytes], is_master: bool
) -> None:
    for name, data in hls.items():
        radio.answers[f"/hls/{name}"] = Answer(data, "application/vnd.apple.mpegurl")
    text = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=128000\nhls/live.m3u8\n"
    radio.answers["/master.m3u8"] = Answer(text, "application/vnd.apple.mpegurl")
    with UrlSource(radio.address + ("/master.m3u8" if is_master else "/hls/live.m3u8")) as source:
        samples, end = read_all(source)
    assert isinstance(end, EndOfStream)
    assert len(samples) == pytest.approx(3 * RATE_HZ, abs=6000)


@needs_ffmpeg
@pytest.mark.parametrize("protocol", ["file:", "file://", "concat:", "subfile,,start,0,end,9,,:"])
def test_no_stream_makes_ffmpeg_open_files(
    radio: Radio, song: Path, hls: dict[str, bytes], protocol: str
) -> None:
    """The referenced file is one that would be played, if it were opened."""
    segment = next(path for path in song.parent.glob("live*.ts"))
    for path, text in {
        "/hls.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{protocol}{segment}\n"
        "#EXT-X-ENDLIST\n",
        "/key.m3u8": f'#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI="{protocol}{segment}"\n'
        f"#EXTINF:4,\n{protocol}{segment}\n#EXT-X-ENDLIST\n",
        "/concat": f"ffconcat version 1.0\nfile {protocol}{segment}\n",
        "/list.m3u": f"{protocol}{segment}\n",
    }.items():
        radio.answers[path] = Answer(text.encode(), "application/octet-stream")
        with pytest.raises(UserError):
            UrlSource(radio.address + path, open_timeout_s=8.0)
    radio.answers["/moved"] = Answer(status=302, headers={"Location": f"{protocol}{segment}"})
    with pytest.raises(UserError):
        UrlSource(f"{radio.address}/moved", open_timeout_s=8.0)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Answer(b"<html>hello</html>  "), "' is a web page, not a stream; give the address of"),
        (
            Answer(b"<!DOCTYPE html><title>R</title>", "text/html; charset=utf-8", length=0),
            "' is a web page",
        ),
        (Answer(b"\x89PNG\r\n\x1a\n" + bytes(100), "image/png"), "' is a picture"),
        (Answer(bytes(100), "image/x-other"), "' is a picture, not a stream"),
        (Answer(b'{"error": "none"}', "application/json"), "sends something that is not audio"),
        (Answer(b"This station is off the air today. " * 9, "text/plain"), "' is text, not a"),
        (Answer(b"no", status=401), r"asks for a user name and a password \(401\)"),
        (Answer(b"no", status=403), r"refuses access \(403\)"),
        (Answer(b"no", status=404), r"nothing at this address \(404\)"),
        (Answer(b"no", status=410), r"gone for good \(410\)"),
        (Answer(b"no", status=503), r"a fault of its own \(503\)"),
        (Answer(b"no", status=418), r"refuses the request \(4"),
        (Answer(status=0), "the server closed the connection"),
        (Answer(status=302, headers={"Location": "/bad"}), "in a circle"),
        (Answer(status=302, headers={"Location": "file:///etc/passwd"}), "sends nowhere"),
        (Answer(status=302), "sends nowhere"),
        (Answer(status=302, headers={"Location": "ftp://127.0.0.1/bad"}), "cannot be played: "),
        (Answer(b"", length=0), "the server ended the stream too early"),
    ],
)
def test_what_cannot_be_played_has_a_sentence(radio: Radio, answer: Answer, sentence: str) -> None:
    radio.answers["/bad"] = answer
    address = f"{radio.address}/bad".replace("//", "//user:secret@")
    with pytest.raises(UserError, match=sentence) as caught:
        UrlSource(address)
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith(f"'{radio.address}/bad' ")


@needs_ffmpeg
def test_a_film_without_sound_has_a_sentence(radio: Radio, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "color=s=64x64:d=1"]
    subprocess.run([*command, "-c:v", "mpeg4", str(film)], check=True, timeout=60)
    radio.answers["/film"] = Answer(film.read_bytes(), "video/x-matroska")
    with pytest.raises(UserError, match="/film' cannot be played: there is no sound in it"):
        UrlSource(f"{radio.address}/film")


@needs_ffmpeg
def test_a_password_reaches_the_server_and_no_other_one(radio: Radio) -> None:
    song = radio.answer("/song.mp3").body
    radio.answers["/private"] = Answer(song, endless=True, login="me:se@cret")
    private = f"{radio.address}/private".replace("//", "//me:se%40cret@")
    assert plays(private) == f"{radio.address}/private"
    with running_radio() as other:
        other.answers["/page"] = Answer(b"<html></html>", "text/html")
        target = {"Location": f"{other.address}/page"}
        radio.answers["/private"] = Answer(status=302, headers=target, login="me:se@cret")
        with pytest.raises(UserError, match="is a web page"):
            UrlSource(private)
        assert radio.logins[-1] == "me:se@cret"
        assert other.logins == [None]


@needs_ffmpeg
def test_a_server_that_sends_nothing_times_out(radio: Radio) -> None:
    with pytest.raises(UserError, match="/mute' delivered no audio within 1 s"):
        UrlSource(f"{radio.address}/mute", open_timeout_s=1.0)


@needs_ffmpeg
def test_a_server_that_does_not_answer_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(UserError, match="the server does not answer in time"):
            UrlSource(address, open_timeout_s=1.0)


@needs_ffmpeg
def test_a_refused_connection_is_an_error() -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"cannot be played: .*refused"):
            UrlSource(f"http://127.0.0.1:{taken.getsockname()[1]}/")


@needs_ffmpeg
def test_an_unknown_host_is_an_error() -> None:
    with pytest.raises(UserError, match="cannot be played: no such host is known"):
        UrlSource("http://no-such-host.invalid/radio")


@needs_ffmpeg
def test_a_server_without_encryption_is_an_error(radio: Radio) -> None:
    with pytest.raises(UserError, match="cannot be played: no secure connection"):
        UrlSource(f"{radio.address}/radio".replace("http:", "https:"))


@needs_ffmpeg
def test_old_names_of_radio_over_http_are_played(radio: Radio) -> None:
    for scheme in ("icecast", "icy"):
        address = f"{radio.address}/radio".replace("http", scheme)
        assert plays(address) == address


@needs_ffmpeg
def test_a_stream_whose_decoder_dies_can_be_reopened(radio: Radio) -> None:
    with UrlSource(f"{radio.address}/radio") as source:
        assert source.read(30) is not None
        source._decoder._process.kill()
        lost = read_all(source)[1]
        assert isinstance(lost, SourceLost)
        assert "broke off at" in str(lost)
        assert lost.recoverable
        source.reopen()
        assert source.read(30) is not None


@needs_ffmpeg
def test_a_station_that_is_off_the_air_for_a_while_comes_back(radio: Radio, song: Path) -> None:
    """It comes back with another rate and number of channels, as a fallback stream may."""
    stream = Answer(song.read_bytes(), length=0)
    gone = Answer(b"off the air", "text/plain", 404)
    radio.answers["/station"] = [stream, stream, gone]  # looked at, played, gone
    with UrlSource(f"{radio.address}/station") as source:
        info = source.info
        samples, lost = read_all(source)
        assert isinstance(lost, SourceLost)
        assert lost.recoverable
        assert len(samples) > 2 * RATE_HZ
        with pytest.raises(SourceLost, match="404") as again:
            source.reopen()
        assert again.value.recoverable
        other = encode(song, "other.mp3", "-ar", "22050", "-ac", "1").read_bytes()
        radio.answers["/station"] = Answer(other, length=0)
        source.reopen()
        assert source.info == info
        back = read_all(source)[0]
        assert back.shape[1] == 2
        assert len(back) == pytest.approx(len(samples), abs=6000)


@needs_ffmpeg
def test_a_station_with_a_stated_length_is_a_station(radio: Radio) -> None:
    song = radio.answer("/song.mp3").body
    gone = Answer(b"off the air", "text/plain", 404)
    stream = Answer(song, headers={"icy-name": "R"}, length=54_000_000)
    radio.answers["/station"] = [stream, stream, gone]
    with UrlSource(f"{radio.address}/station") as source:
        lost = read_all(source)[1]
    assert isinstance(lost, SourceLost)
    assert lost.recoverable


@needs_ffmpeg
def test_a_file_that_breaks_off_is_not_started_again(radio: Radio) -> None:
    song = radio.answer("/song.mp3").body
    gone = Answer(b"off the air", "text/plain", 404)
    half = Answer(song[: len(song) // 2], length=len(song))
    radio.answers["/song"] = [half, half, gone]
    with UrlSource(f"{radio.address}/song") as source:
        samples, end = read_all(source)
    assert isinstance(end, SourceLost)
    assert not end.recoverable
    assert len(samples) > RATE_HZ


@needs_ffmpeg
def test_chained_ogg_is_played_through_its_stream_changes(radio: Radio, song: Path) -> None:
    first = encode(song, "a.ogg", "-c:a", "libvorbis").read_bytes()
    second = encode(song, "b.ogg", "-c:a", "libvorbis", "-q:a", "1").read_bytes()
    radio.answers["/chained.ogg"] = Answer(first + second + first, "application/ogg")
    with UrlSource(f"{radio.address}/chained.ogg") as source:
        samples, end = read_all(source)
    assert isinstance(end, EndOfStream)
    assert len(samples) == pytest.approx(9 * RATE_HZ, abs=3 * 3000)


@needs_ffmpeg
def test_closing_while_it_is_reopened_leaves_no_process(radio: Radio) -> None:
    source = UrlSource(f"{radio.address}/radio")
    source.close()
    with pytest.raises(SourceLost, match="was closed") as caught:
        source.reopen()
    assert not caught.value.recoverable
    assert source._decoder._process.poll() is not None


@needs_ffmpeg
def test_a_redirection_may_hold_a_login(radio: Radio) -> None:
    body = radio.answer("/song.mp3").body
    radio.answers["/private"] = Answer(body, endless=True, login="me:secret")
    address = radio.address.replace("//", "//me:secret@")
    radio.answers["/moved"] = Answer(status=302, headers={"Location": f"{address}/private"})
    assert plays(f"{radio.address}/moved") == f"{radio.address}/moved"


@needs_ffmpeg
def test_closing_while_ffmpeg_waits_for_a_server_ends_it(radio: Radio) -> None:
    source = UrlSource(f"{radio.address}/radio", open_timeout_s=60.0)
    radio.answers["/radio"] = Answer(mute=True)
    seen = len(radio.requests)
    failures: list[SourceLost] = []

    def reopen() -> None:
        try:
            source.reopen()
        except SourceLost as lost:
            failures.append(lost)

    thread = threading.Thread(target=reopen)
    thread.start()
    wait_for(lambda: len(radio.requests) == seen + 2, "ffmpeg's request")
    source.close()
    thread.join(20.0)
    assert not thread.is_alive()
    assert not failures[0].recoverable


@needs_ffmpeg
@pytest.mark.parametrize("is_song", [False, True])
def test_a_server_that_stops_sending_is_no_end(
    radio: Radio, monkeypatch: pytest.MonkeyPatch, is_song: bool
) -> None:
    monkeypatch.setattr(url, "_READ_TIMEOUT_US", 1_000_000)
    song = radio.answer("/song.mp3").body
    first = Answer(song, stops=True, headers={"Content-Length": "1000000"} if is_song else {})
    gone = Answer(b"off the air", "text/plain", 404)
    radio.answers["/station"] = [first, first, gone]
    with UrlSource(f"{radio.address}/station") as source:
        end = read_all(source)[1]
    assert isinstance(end, SourceLost)
    assert end.recoverable != is_song
    assert "does not answer in time" in str(end)
