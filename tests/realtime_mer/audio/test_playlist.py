import os
from pathlib import Path

import pytest

from realtime_mer.audio.playlist import (
    MAX_BYTES,
    MAX_ENTRIES,
    Playlist,
    playlist_entries,
    recognise_playlist,
    resolve_at_address,
    resolve_in_folder,
)
from realtime_mer.errors import UserError

XSPF = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!-- by hand -->\n'
    '<playlist version="1" xmlns="http://xspf.org/ns/0/"><title>T</title><trackList>'
    "<track><location>http://radio.example/a?x=1&amp;y=2</location>"
    "<location>http://mirror.example/a</location></track>"
    "<track><title>no location</title></track>"
    "<track><location> caf%C3%A9.ogg </location></track></trackList></playlist>"
)
HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nsegment0.ts\n"


@pytest.mark.parametrize(
    ("text", "playlist"),
    [
        ("#EXTM3U\n#EXTINF:-1,R\nsong.mp3", Playlist.M3U),
        ("\n#extm3u\r\nsong.mp3", Playlist.M3U),
        ("https://radio.example/a\n# comment\nhttp://radio.example/b\n", Playlist.M3U),
        (HLS, Playlist.HLS),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n", Playlist.HLS),
        ("[playlist]\nFile1=a\n", Playlist.PLS),
        ("\r\n[Playlist]\r\nFile1=a\r\n", Playlist.PLS),
        (XSPF, Playlist.XSPF),
        ("<!DOCTYPE html><html></html>", None),
        ("<html><body>#EXTM3U</body></html>", None),
        ("song.mp3\n", None),
        ("", None),
        ("ID3\3\0\0\0\0\0", None),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_content_tells_what_it_is(text: str, playlist: Playlist | None, encoding: str) -> None:
    assert recognise_playlist(text.encode(encoding)) == playlist


@pytest.mark.parametrize(
    ("head", "suffix", "content_type", "playlist"),
    [
        (b"song.mp3\n", ".m3u", "", Playlist.M3U),
        (b"song.mp3\n", ".M3U8", "", Playlist.M3U),
        (b"song.mp3\n", "", "Audio/X-MPEGURL; charset=utf-8", Playlist.M3U),
        (b"File1=song.mp3\n", ".pls", "", Playlist.PLS),
        (b"http://radio.example/a b\n", "", "audio/x-scpls", Playlist.M3U),
        (HLS.encode(), ".m3u", "audio/x-mpegurl", Playlist.HLS),
        (b"[playlist]\nFile1=a", ".m3u", "audio/x-mpegurl", Playlist.PLS),
        (b"<html>gone</html>", ".pls", "audio/x-scpls", None),
        (b"\xff\xfb\x90\0" + bytes(400), ".m3u", "audio/x-mpegurl", None),
    ],
)
def test_the_name_and_the_type_decide_second(
    head: bytes, suffix: str, content_type: str, playlist: Playlist | None
) -> None:
    assert recognise_playlist(head, suffix=suffix, content_type=content_type) == playlist


@pytest.mark.parametrize(
    "data",
    [
        "#EXTM3U\n#EXTINF:1,x\nübung.mp3\n\n  b c.ogg  \n#x\nhttp://r/a".encode(),
        "\ufeff#EXTM3U\r\nübung.mp3\r\nb c.ogg\r\nhttp://r/a\r\n".encode(),
        "übung.mp3\rb c.ogg\rhttp://r/a\r".encode("latin-1"),
        "übung.mp3\nb c.ogg\nhttp://r/a".encode("utf-16"),
    ],
)
def test_entries_of_a_list(data: bytes) -> None:
    assert playlist_entries(data, Playlist.M3U, label="'x'") == [
        "übung.mp3",
        "b c.ogg",
        "http://r/a",
    ]


def test_entries_of_other_formats() -> None:
    pls = (
        b"[playlist]\r\nNumberOfEntries=3\r\nfile10=z\r\nTitle1=File2=no\r\nFile2 = b=c \r\n"
        b"; File4=old\r\nFILE1=a\r\nFile3=\r\n"
    )
    assert playlist_entries(pls, Playlist.PLS, label="'x'") == ["a", "b=c", "z"]
    entries = ["http://radio.example/a?x=1&y=2", "caf%C3%A9.ogg"]
    assert playlist_entries(XSPF.encode(), Playlist.XSPF, label="'x'") == entries
    plain = XSPF.replace(' xmlns="http://xspf.org/ns/0/"', "").encode()
    assert playlist_entries(plain, Playlist.XSPF, label="'x'") == entries


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            '<!DOCTYPE playlist [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>\n<playlist>&b;</playlist>',
            "'x' holds a document type",
        ),
        (
            '<!DOCTYPE playlist [<!ENTITY a SYSTEM "file:///etc/passwd">]><playlist>&a;</playlist>',
            "'x' holds a document type",
        ),
        ("<playlist><trackList>", "'x' is not a valid xspf playlist"),
        ("<playlist>&a;</playlist>", "'x' is not a valid xspf playlist"),
    ],
)
def test_damaged_and_dangerous_xml_is_refused(data: str, sentence: str) -> None:
    assert recognise_playlist(data.encode()) == Playlist.XSPF
    with pytest.raises(UserError, match=sentence):
        playlist_entries(data.encode(), Playlist.XSPF, label="'x'")


def test_the_length_is_bounded() -> None:
    with pytest.raises(UserError, match=r"'x' has 10,001 entries; at most 10,000 are read"):
        playlist_entries(b"a\n" * (MAX_ENTRIES + 1), Playlist.M3U, label="'x'")
    with pytest.raises(UserError, match="'x' is longer than a playlist may be"):
        playlist_entries(b"a" * (MAX_BYTES + 1), Playlist.M3U, label="'x'")
    deep = b"<playlist>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</playlist>"
    assert playlist_entries(deep, Playlist.XSPF, label="'x'") == []


def test_entries_are_resolved_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a b.mp3", "50%20.mp3", "sub/c.mp3", "odd: x.mp3"):
        (tmp_path / name).touch()
    windows = os.fsdecode("é – ü.mp3".encode("cp1252"))
    (tmp_path / windows).touch()
    for entry, name in {
        "a b.mp3": "a b.mp3",
        "a%20b.mp3": "a b.mp3",
        "50%20.mp3": "50%20.mp3",
        "sub\\c.mp3": "sub/c.mp3",
        "./sub/c.mp3": "sub/c.mp3",
        "é – ü.mp3": windows,
        "odd: x.mp3": "odd: x.mp3",
        "missing.mp3": "missing.mp3",
        "a\0b": "a\0b",
    }.items():
        assert resolve_in_folder(entry, tmp_path) == str(tmp_path / name)
    assert resolve_in_folder("/music/a.mp3", tmp_path) == "/music/a.mp3"
    assert resolve_in_folder("https://r/a%20b", tmp_path) == "https://r/a%20b"
    assert resolve_in_folder("file:///music/a%20b.mp3", tmp_path) == "/music/a b.mp3"
    assert resolve_in_folder("FILE://localhost/music/a.mp3", tmp_path) == "/music/a.mp3"
    assert resolve_in_folder("file:/music/%E9.mp3", tmp_path) == "/music/\udce9.mp3"
    assert resolve_in_folder("x" * 5000, tmp_path) == str(tmp_path / ("x" * 5000))


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("http://other:8000/a?b=%20", "http://other:8000/a?b=%20"),
        ("a b.mp3", "http://radio.example/lists/a%20b.mp3"),
        ("/é", "http://radio.example/%C3%A9"),
        ("//cdn.example/a", "http://cdn.example/a"),
        ("sub\\a", "http://radio.example/lists/sub/a"),
        ("file:///etc/passwd", "file:///etc/passwd"),
    ],
)
def test_entries_are_resolved_at_their_address(entry: str, address: str) -> None:
    assert resolve_at_address(entry, "http://radio.example/lists/x.m3u?id=3") == address


@pytest.mark.parametrize("entry", ["//[", "//a]/b", "\\\\[::1"])
def test_entries_that_cannot_be_resolved(entry: str) -> None:
    with pytest.raises(UserError, match="in a playlist is not a valid address"):
        resolve_at_address(entry, "http://radio.example/lists/x.m3u")
