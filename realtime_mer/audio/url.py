"""Internet radio and other network streams, through ffmpeg."""

from __future__ import annotations

import re
import string
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
_MAX_DEPTH = 3
"""How often a playlist may lead to another one."""
_MAX_ENTRIES = 5
"""How many entries of playlists are tried until one plays."""


def looks_like_url(spec: str) -> bool:
    """Return whether `spec` starts like a URL, for example `https://`."""
    return _URL.match(spec) is not None


class UrlSource(SourceBase):
    """A network stream. Radio arrives in bursts, so the source is both `live` and `paced`.

    A playlist (m3u, pls, xspf) plays its first entry that can be played. When the connection fails,
    or the server ends a stream that has no length, `read` raises a recoverable `SourceLost`, and
    `reopen` connects again. A file on a server ends at its end.

    Args:
        url: a URL with one of `SCHEMES`.
        open_timeout_s: how long to wait for the first audio, in seconds.
        block_s: the longest block, in seconds.

    Raises:
        UserError: the scheme is not supported, ffmpeg is missing, or the stream cannot be played.
    """

    def __init__(self, url: str, *, open_timeout_s: float = 20.0, block_s: float = 0.02) -> None:
        self._url = _checked(url)
        self._open_timeout_s = open_timeout_s
        self._block_s = block_s
        self._closed = False
        self._is_finite = False
        self._entries_left = _MAX_ENTRIES
        self._output: tuple[int, int] | None = None  # rate in Hz and channels
        name = without_secrets(url)
        self._decoder = self._connect(self._url, f"'{name}'", 0)
        self._info = Input(
            kind=InputKind.URL,
            name=name,
            sample_rate_hz=self._decoder.sample_rate_hz,
            channels=self._decoder.channels,
            paced=True,
            live=True,
        )
        # A station may come back in another format; ffmpeg converts it to the first one.
        self._output = (self._info.sample_rate_hz, self._info.channels)

    def read(self, timeout_s: float) -> Block | None:
        try:
            return self._decoder.read(timeout_s)
        except EndOfStream:
            if self._closed or (self._is_finite and not self._decoder.is_cut):
                raise
            reason = "was ended by the server" + (" too early" if self._is_finite else "")
            if (error := self._decoder.break_off) is not None:
                reason = f"broke off: {error}"
            raise SourceLost(
                f"{self._info.name} {reason}", recoverable=not self._is_finite
            ) from None
        except SourceLost as lost:
            # A file that broke off would start again from its beginning.
            raise SourceLost(str(lost), recoverable=not self._is_finite) from None

    def reopen(self) -> None:
        self._decoder.close()
        self._entries_left = _MAX_ENTRIES
        try:
            self._decoder = self._connect(self._url, f"'{self._info.name}'", 0)
        except UserError as error:
            raise SourceLost(str(error), recoverable=not self._closed) from None
        if self._closed:  # meanwhile, by another thread
            self._decoder.close()

    def close(self) -> None:
        self._closed = True
        self._decoder.close()

    def _connect(self, address: str, label: str, depth: int) -> FfmpegDecoder:
        """Start ffmpeg for an address, or for the first entry of a playlist that can be played.

        Raises:
            UserError: the address cannot be played.
        """
        if self._closed:
            raise UserError(f"{label} was closed")
        answer = None
        if address.startswith(("http:", "https:")) and ffmpeg_path() is not None:
            try:
                answer = self._look_at(address)
            except UserError as reason:
                raise UserError(f"{label} cannot be played: {reason}") from None
        if answer is not None and answer.playlist not in (None, Playlist.HLS):
            return self._connect_entry(answer, label, depth)
        other = None if answer is None else answer.other
        is_file = answer is not None and answer.playlist is None and answer.is_finite
        try:
            if other is not None and other != TEXT:
                raise UserError(other.name)
            decoder = FfmpegDecoder(
                address,
                options=_options(address, reconnect=is_file),
                output_rate_hz=None if self._output is None else self._output[0],
                output_channels=None if self._output is None else self._output[1],
                label=label,
                open_timeout_s=self._open_timeout_s,
                block_s=self._block_s,
                is_cancelled=lambda: self._closed,
            )
        except UserError:
            if other is None:
                raise
            raise UserError(
                f"{label} is {other.name}, not a stream; give the address of the stream, which a "
                "station's page often calls a direct link or a playlist (m3u, pls)"
            ) from None
        self._is_finite = is_file or (answer is not None and self._is_hls_recording(answer))
        return decoder

    def _look_at(self, address: str) -> WebAnswer | None:
        from realtime_mer.audio.web_answer import look_at  # urllib and ssl are slow to import

        return look_at(address, timeout_s=self._open_timeout_s / 2)

    def _connect_entry(self, answer: WebAnswer, label: str, depth: int) -> FfmpegDecoder:
        assert answer.playlist is not None
        if depth == _MAX_DEPTH or not self._entries_left:
            raise UserError(f"{label} leads from playlist to playlist; give the stream's address")
        entries = playlist_entries(answer.body, answer.playlist, label=label)
        if not entries:
            raise UserError(f"{label} is a playlist without entries; give the stream's address")
        errors: list[UserError] = []
        for entry in entries:
            if not self._entries_left:
                break
            self._entries_left -= 1
            try:
                address = _checked(resolve_at_address(entry, answer.address))
                name = without_secrets(address)
                return self._connect(
                    address, f"'{name}', from {label.removesuffix(',')},", depth + 1
                )
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
            variant = self._look_at(resolve_at_address(variants[0], answer.address))
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


def _options(address: str, *, reconnect: bool) -> list[str]:
    """Return ffmpeg's input options.

    With `reconnect`, ffmpeg goes on where a file broke off. On a stream without a length it would
    also do so at the end, unseen, and fall behind by what the server sends at once each time.
    """
    scheme = address.partition(":")[0]
    options = ["-protocol_whitelist", ",".join(_PROTOCOLS[scheme])]
    if scheme in ("http", "https"):
        # Before -i, or ffmpeg takes them for the output.
        options += ["-rw_timeout", str(_READ_TIMEOUT_US)]
        if reconnect:
            options += ["-reconnect", "1", "-reconnect_delay_max", "8"]
    elif scheme in ("rtsp", "rtsps"):
        options += ["-rtsp_transport", "tcp"]
    return options
