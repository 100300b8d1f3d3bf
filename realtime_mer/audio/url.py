"""Internet radio and other network streams, through ffmpeg."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from realtime_mer.audio.ffmpeg import FfmpegDecoder
from realtime_mer.audio.source import (
    Block,
    Input,
    InputKind,
    SourceBase,
    SourceLost,
)
from realtime_mer.errors import UserError

SCHEMES = frozenset(
    ("http", "https", "icecast", "rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp")
)
_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")

# What streams and HLS playlists need; local files are not allowed.
_PROTOCOLS = "http,https,httpproxy,tls,tcp,udp,rtp,srtp,rtmp,rtmps,srt,icecast,crypto,data"
_READ_TIMEOUT_US = 15_000_000


def looks_like_url(spec: str) -> bool:
    """Return whether `spec` starts like a URL, for example `https://`."""
    return _URL.match(spec) is not None


class UrlSource(SourceBase):
    """A network stream. Radio arrives in bursts, so the source is both `live` and `paced`.

    ffmpeg reconnects by itself; when it gives up, `read` raises a recoverable `SourceLost`, and
    `reopen` connects again.

    Args:
        url: a URL with one of `SCHEMES`.
        open_timeout_s: how long to wait for the first audio, in seconds.
        block_s: the longest block, in seconds.

    Raises:
        UserError: the scheme is not supported, ffmpeg is missing, or the stream cannot be played.
    """

    def __init__(self, url: str, *, open_timeout_s: float = 20.0, block_s: float = 0.02) -> None:
        scheme = urlsplit(url).scheme.lower()
        if scheme not in SCHEMES:
            raise UserError(
                f"'{url}': addresses that start with {scheme}:// cannot be played; "
                f"use one of {', '.join(sorted(SCHEMES))}"
            )
        self._url = url
        self._open_timeout_s = open_timeout_s
        self._block_s = block_s
        self._decoder = self._connect()
        self._info = Input(
            kind=InputKind.URL,
            name=without_password(url),
            sample_rate_hz=self._decoder.sample_rate_hz,
            channels=self._decoder.channels,
            paced=True,
            live=True,
        )

    def read(self, timeout_s: float) -> Block | None:
        return self._decoder.read(timeout_s)

    def reopen(self) -> None:
        self._decoder.close()
        try:
            decoder = self._connect()
        except UserError as error:
            raise SourceLost(str(error), recoverable=True) from None
        actual = (decoder.sample_rate_hz, decoder.channels)
        if actual != (self._info.sample_rate_hz, self._info.channels):
            decoder.close()
            raise SourceLost(
                f"{self._info.name} came back with {actual[0]} Hz and {actual[1]} channel(s) "
                f"instead of {self._info.sample_rate_hz} Hz and {self._info.channels}; start again",
                recoverable=False,
            )
        self._decoder = decoder

    def close(self) -> None:
        self._decoder.close()

    def _connect(self) -> FfmpegDecoder:
        return FfmpegDecoder(
            self._url,
            options=_options(urlsplit(self._url).scheme.lower()),
            label=f"'{without_password(self._url)}'",
            open_timeout_s=self._open_timeout_s,
            block_s=self._block_s,
        )


def without_password(url: str) -> str:
    """Return the URL without `user:password@`, for display."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _options(scheme: str) -> list[str]:
    options = ["-protocol_whitelist", _PROTOCOLS]
    if scheme in ("http", "https"):
        # Before -i, or ffmpeg takes them for the output.
        options += ["-reconnect", "1", "-reconnect_streamed", "1", "-reconnect_delay_max", "8"]
        options += ["-rw_timeout", str(_READ_TIMEOUT_US)]
    elif scheme in ("rtsp", "rtsps"):
        options[1] += ",rtsp,rtsps"
        options += ["-rtsp_transport", "tcp"]
    return options
