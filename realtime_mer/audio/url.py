"""Internet radio and other network streams, through ffmpeg."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from realtime_mer.address import without_secrets
from realtime_mer.audio.encoded_format import TEXT
from realtime_mer.audio.ffmpeg import FfmpegDecoder, ffmpeg_path
from realtime_mer.audio.playlist import (
    Playlist,
    playlist_entries,
    resolve_at_address,
)
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    InputKind,
    SourceBase,
    SourceLost,
)
from realtime_mer.clock import SystemClock
from realtime_mer.errors import UserError

if TYPE_CHECKING:
    from realtime_mer.audio.web_answer import WebAnswer

_WEB = ("http", "https", "httpproxy", "tls", "tcp", "crypto")
# What ffmpeg may open for an address, also where a stream refers to further addresses: never files.
_PROTOCOLS = {
    "http": _WEB,
    "https": _WEB,
    "rtsp": ("rtsp", "rtp", "srtp", "udp", "tcp"),
    "rtsps": ("rtsps", "rtsp", "rtp", "srtp", "udp", "tcp", "tls"),
    "rtmp": ("rtmp", "tcp"),
    "rtmps": ("rtmps", "tls", "tcp"),
    "rtp": ("rtp", "srtp", "udp"),
    "udp": ("udp",),
    "srt": ("srt",),
    "tcp": ("tcp",),
}
_SAME_AS_HTTP = ("icecast", "icy")  # names for radio over http, which ffmpeg does not read
SCHEMES = frozenset((*_PROTOCOLS, *_SAME_AS_HTTP))
_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")
_READ_TIMEOUT_US = 15_000_000
_RECONNECT_S = 8  # ffmpeg's last pause, in whole seconds
_MAX_SILENCE_S = 30.0
"""A connection that sends nothing for so long is an outage; http breaks off sooner."""
_MAX_DEPTH = 3
"""How often a playlist may lead to another one."""
_MAX_ENTRIES = 5
"""How many entries of playlists are tried until one plays."""


def looks_like_url(spec: str) -> bool:
    """Return whether `spec` starts like a URL, for example `https://`."""
    return _URL.match(spec) is not None


@dataclass(frozen=True, slots=True)
class _Opened:
    """What an address is.

    Attributes:
        is_recording: it has an end; otherwise it is a station.
        is_file: it is one file with a stated length.
        resumes: the server sends a recording from any place on.
        length: stated length of a file in bytes; None for anything else.
    """

    is_recording: bool
    is_file: bool
    resumes: bool
    length: str | None


_STATION = _Opened(is_recording=False, is_file=False, resumes=False, length=None)


class UrlSource(SourceBase):
    """A network stream. Radio arrives in bursts, so the source is both `live` and `paced`.

    A playlist (m3u, pls, xspf) plays its first entry that can be played. What the address is when
    it is first opened decides how it ends (docs/inputs.md):

    * A station, or another stream without a length, never ends: whatever happens, `read` raises a
      recoverable `SourceLost`, and `reopen` connects again, in the first sample rate and channels.
    * A recording (a file with a stated length, an HLS playlist with an end) ends at its end. Where
      it breaks off before, `reopen` goes on there; if the server cannot do that, the `SourceLost`
      is not recoverable.

    Args:
        url: a URL with one of `SCHEMES`.
        open_timeout_s: how long to wait for the first audio, in seconds, all entries of a playlist
            together.
        block_s: the longest block, in seconds.

    Raises:
        UserError: the scheme is not supported, ffmpeg is missing, or the stream cannot be played.
    """

    def __init__(self, url: str, *, open_timeout_s: float = 20.0, block_s: float = 0.02) -> None:
        self._url = _checked(url)
        self._open_timeout_s = open_timeout_s
        self._block_s = block_s
        self._closed = False
        self._clock = SystemClock()
        # What the address was, and its sample rate in Hz and channels, when it was first opened.
        self._first: _Opened | None = None
        self._first_format: tuple[int | None, int | None] = (None, None)
        self._started_s = 0.0  # where the decoder started in a recording
        self._silent_s = 0.0
        self._entries_left = _MAX_ENTRIES
        name = without_secrets(url)
        self._decoder, opened = self._connect(self._url, f"'{name}'", 0, open_timeout_s)
        self._info = Input(
            kind=InputKind.URL,
            name=name,
            sample_rate_hz=self._decoder.sample_rate_hz,
            channels=self._decoder.channels,
            paced=True,
            live=True,
            recorded=opened.is_recording,
        )
        # A station may come back in another format; ffmpeg converts it to the first one.
        self._first_format = (self._info.sample_rate_hz, self._info.channels)
        self._first = opened

    def read(self, timeout_s: float) -> Block | None:
        try:
            block = self._decoder.read(timeout_s)
        except EndOfStream:
            if self._closed or (self._info.recorded and not self._decoder.is_cut):
                raise
            reason = "was ended by the server" + (" too early" if self._info.recorded else "")
            if (error := self._decoder.break_off) is not None:
                reason = f"broke off: {error}"
            raise self._lost(f"{self._info.name} {reason}") from None
        except SourceLost as lost:
            raise self._lost(str(lost)) from None
        # The time asked for, not the time that passed: the program may have been stopped.
        self._silent_s = 0.0 if block is not None else self._silent_s + timeout_s
        if self._silent_s >= _MAX_SILENCE_S:
            self._silent_s = 0.0
            raise self._lost(f"{self._info.name} has sent nothing for {_MAX_SILENCE_S:.0f} s")
        return block

    def reopen(self) -> None:
        self._decoder.close()
        self._silent_s = 0.0
        self._entries_left = _MAX_ENTRIES
        resume_at_s = self._started_s + self._decoder.decoded_s
        try:
            self._decoder, _ = self._connect(
                self._url, f"'{self._info.name}'", 0, self._open_timeout_s, resume_at_s
            )
        except SourceLost as lost:
            lost.recoverable = lost.recoverable and not self._closed
            raise
        except UserError as error:
            raise SourceLost(str(error), recoverable=not self._closed) from None
        self._started_s = resume_at_s
        if self._closed:  # meanwhile, by another thread
            self._decoder.close()

    def _lost(self, reason: str) -> SourceLost:
        """Return the error for an outage: it can be recovered unless nothing can be resumed."""
        assert self._first is not None
        is_for_good = self._first.is_recording and not self._first.resumes
        return SourceLost(reason, recoverable=not is_for_good)

    def close(self) -> None:
        self._closed = True
        self._decoder.close()

    def _connect(
        self, address: str, label: str, depth: int, timeout_s: float, resume_at_s: float = 0.0
    ) -> tuple[FfmpegDecoder, _Opened]:
        """Start ffmpeg for an address, or for the first entry of a playlist that can be played.

        Args:
            address: where to connect.
            label: its name in messages.
            depth: how many playlists led here.
            timeout_s: how long to wait for the first audio, in seconds.
            resume_at_s: where to go on in a recording, in seconds.

        Raises:
            UserError: the address cannot be played.
        """
        if self._closed:
            raise UserError(f"{label} was closed")
        deadline = self._clock.monotonic() + timeout_s
        answer = None
        if address.startswith(("http:", "https:")) and ffmpeg_path() is not None:
            try:
                answer = self._look_at(address, timeout_s / 2)
            except SourceLost as lost:
                raise SourceLost(
                    f"{label} cannot be played: {lost}",
                    recoverable=True,
                    retry_after_s=lost.retry_after_s,
                ) from None
        if answer is not None and answer.playlist not in (None, Playlist.HLS):
            return self._connect_entry(answer, label, depth, deadline, resume_at_s)
        other = None if answer is None else answer.other
        try:
            if other is not None and other != TEXT:
                raise UserError(other.name)
            opened = self._opened(answer, label)
            decoder = FfmpegDecoder(
                address,
                options=_options(
                    address,
                    reconnect=opened.is_file,
                    start_s=resume_at_s if opened.is_recording else 0.0,
                ),
                output_rate_hz=self._first_format[0],
                output_channels=self._first_format[1],
                label=label,
                open_timeout_s=max(0.0, deadline - self._clock.monotonic()),
                block_s=self._block_s,
                is_cancelled=lambda: self._closed,
            )
        except UserError as error:
            if other is None or isinstance(error, SourceLost):
                raise
            raise UserError(
                f"{label} is {other.name}, not a stream; give the address of the stream, which a "
                "station's page often calls a direct link or a playlist (m3u, pls)"
            ) from None
        return decoder, opened

    def _opened(self, answer: WebAnswer | None, label: str) -> _Opened:
        """Return what an address is; once it was opened, it stays what it was.

        Raises:
            SourceLost: a file was replaced by another one, or the playlist of a station has got an
                end. Anything else that a station sends is played: it may be a song between two
                programmes.
        """
        now = _STATION if answer is None else self._what_is(answer)
        first = self._first
        if first is None:
            return now
        if first.is_file and now.length not in (None, first.length):
            raise SourceLost(
                f"{label} was replaced by another file; start again to play it", recoverable=False
            )
        if not first.is_recording and now.is_recording and not now.is_file:
            raise SourceLost(
                f"{label} is over: its playlist has an end and would start again", recoverable=True
            )
        return first

    def _what_is(self, answer: WebAnswer) -> _Opened:
        if answer.playlist is None:
            is_file = answer.is_finite
            return _Opened(is_file, is_file, is_file and answer.resumes, answer.length)
        is_recording = self._is_hls_recording(answer)
        return _Opened(is_recording, False, is_recording, None)

    def _look_at(self, address: str, timeout_s: float) -> WebAnswer | None:
        from realtime_mer.audio.web_answer import look_at  # urllib and ssl are slow to import

        return look_at(address, timeout_s=timeout_s)

    def _connect_entry(
        self, answer: WebAnswer, label: str, depth: int, deadline: float, resume_at_s: float
    ) -> tuple[FfmpegDecoder, _Opened]:
        assert answer.playlist is not None
        if depth == _MAX_DEPTH or not self._entries_left:
            raise UserError(f"{label} leads from playlist to playlist; give the stream's address")
        entries = playlist_entries(answer.body, answer.playlist, label=label)
        if not entries:
            raise UserError(f"{label} is a playlist without entries; give the stream's address")
        errors: list[UserError] = []
        for index, entry in enumerate(entries):
            if not self._entries_left:
                break
            # One that hangs leaves as much time to each of the others.
            left = min(self._entries_left, len(entries) - index)
            share_s = max(0.0, deadline - self._clock.monotonic()) / left
            self._entries_left -= 1
            try:
                address = _checked(resolve_at_address(entry, answer.address))
                name = f"'{without_secrets(address)}', from {label.removesuffix(',')},"
                return self._connect(address, name, depth + 1, share_s, resume_at_s)
            except UserError as error:
                errors.append(error)
        raise errors[0]

    def _is_hls_recording(self, answer: WebAnswer) -> bool:
        """Return whether this is an HLS playlist with an end; those of live streams have none."""
        if b"#EXT-X-STREAM-INF" not in answer.body:
            return b"#EXT-X-ENDLIST" in answer.body
        # A list of HLS playlists, one for each bit rate.
        label = without_secrets(answer.address)
        variants = playlist_entries(answer.body, Playlist.M3U, label=label)
        if not variants:
            return False
        try:
            address = resolve_at_address(variants[0], answer.address)
            variant = self._look_at(address, self._open_timeout_s / 2)
        except UserError:
            return False
        return variant is not None and b"#EXT-X-ENDLIST" in variant.body


def _checked(url: str) -> str:
    """Return the address as ffmpeg takes it.

    Raises:
        UserError: the scheme is not supported, or the address is not valid.
    """
    scheme = url.partition(":")[0].lower()
    shown = without_secrets(url)
    if scheme not in SCHEMES:
        raise UserError(
            f"'{shown}': addresses that start with {scheme}:// cannot be played; "
            f"use one of {', '.join(sorted(SCHEMES))}"
        )
    try:
        parts = urlsplit(url)
        is_complete = parts.port != 0 and (parts.hostname or scheme in ("udp", "rtp"))
    except ValueError:
        is_complete = False
    if not is_complete:
        raise UserError(f"'{shown}' is not a valid address; write it as {scheme}://HOST:PORT/PATH")
    if scheme in _SAME_AS_HTTP:
        scheme = "http"
    return f"{scheme}:{quote(url.partition(':')[2], safe=string.punctuation)}"


def _options(address: str, *, reconnect: bool, start_s: float) -> list[str]:
    """Return ffmpeg's input options.

    With `reconnect`, ffmpeg goes on where a file broke off. On a stream without a length it would
    also do so at the end, unseen, and fall behind by what the server sends at once each time.
    """
    scheme = address.partition(":")[0]
    options = ["-protocol_whitelist", ",".join(_PROTOCOLS[scheme])]
    options += ["-ss", f"{start_s:.3f}"] if start_s else []
    if scheme in ("http", "https"):
        # Before -i, or ffmpeg takes them for the output.
        options += ["-rw_timeout", str(_READ_TIMEOUT_US)]
        if reconnect:
            options += ["-reconnect", "1", "-reconnect_delay_max", str(_RECONNECT_S)]
    elif scheme in ("rtsp", "rtsps"):
        options += ["-rtsp_transport", "tcp"]
    return options
