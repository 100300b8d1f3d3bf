"""Look at what a web address answers, without downloading a stream."""

from __future__ import annotations

import base64
import http.client
import queue
import ssl
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from realtime_mer.audio.encoded_format import EncodedFormat, encoded_format
from realtime_mer.audio.ffmpeg_messages import ffmpeg_reason, http_reason
from realtime_mer.audio.playlist import MAX_BYTES, Playlist, recognise_playlist
from realtime_mer.audio.source import SourceLost
from realtime_mer.retry_after import retry_after_s

_HEAD_BYTES = 4096
# Whatever else goes wrong may depend on how a program asks, so ffmpeg may try, too.
_FINAL_STATUS = frozenset((401, 404, 407, 410, 429, *range(500, 600)))


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """What a server answers.

    Attributes:
        address: the address after redirections.
        is_finite: the server states a length, and names no radio station.
        playlist: the format of a playlist, None for anything else.
        length: the stated length in bytes, as it is written; None without one.
        resumes: whether the server sends a file from any place on (ranges of bytes).
        other: what it is if it is no stream, for example a web page. Text may describe a stream.
        body: of a playlist: all of it, at most `playlist.MAX_BYTES` + 1 bytes.
    """

    address: str
    is_finite: bool
    playlist: Playlist | None
    other: EncodedFormat | None
    body: bytes
    length: str | None
    resumes: bool


def look_at(address: str, *, timeout_s: float) -> WebAnswer | None:
    """Ask an http or https address, and read the first bytes if it may not be a stream.

    Returns:
        The answer; None if it cannot be understood here, which need not hold for ffmpeg.

    Raises:
        SourceLost: there is no answer in time, or it is an error; the message is the reason, as a
            part of a sentence.
    """
    results: queue.Queue[WebAnswer | SourceLost | None] = queue.Queue()
    # A thread, because neither the look-up of a name nor a slow answer obeys a time limit.
    threading.Thread(
        target=lambda: results.put(_answer(address, timeout_s)), name="web answer", daemon=True
    ).start()
    try:
        result = results.get(timeout=timeout_s)
    except queue.Empty:
        result = _lost(ffmpeg_reason(["timed out"], address=address))
    if isinstance(result, SourceLost):
        raise result
    return result


def _answer(address: str, timeout_s: float) -> WebAnswer | SourceLost | None:
    try:
        with _opener().open(_request(address), timeout=timeout_s) as response:
            return _read(response, response.url, response.headers)
    except urllib.error.HTTPError as error:
        with error:
            if error.code < 400:
                is_circle = "infinite loop" in str(error.msg)
                target = "from address to address in a circle" if is_circle else "nowhere"
                return _lost(f"the server sends {target}; check the address")
            if error.code not in _FINAL_STATUS:
                return None
            return _lost(http_reason(error.code), retry_after_s=retry_after_s(error.headers))
    except http.client.RemoteDisconnected:
        return _lost("the server closed the connection without an answer")
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLError) or not isinstance(reason, OSError):
            return None
        return _lost(ffmpeg_reason([str(reason)], address=address))


def _lost(reason: str, *, retry_after_s: float | None = None) -> SourceLost:
    return SourceLost(reason, recoverable=True, retry_after_s=retry_after_s)


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows a redirection also to an address with a login."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        return None if new is None else _request(new.full_url)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https only, also after redirections."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        _RedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _request(address: str) -> urllib.request.Request:
    parts = urlsplit(address)
    login, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(
        parts._replace(netloc=host, fragment="").geturl(), headers={"User-Agent": "realtime-mer"}
    )
    if login:
        encoded = base64.b64encode(unquote(login).encode()).decode()
        # Not passed on when the server redirects to another one.
        request.add_unredirected_header("Authorization", f"Basic {encoded}")
    return request


def _read(
    response: http.client.HTTPResponse, address: str, headers: http.client.HTTPMessage
) -> WebAnswer:
    content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    suffix = PurePosixPath(unquote(urlsplit(address).path)).suffix
    length = headers.get("Content-Length")
    is_radio = any(name.lower().startswith("icy-") for name in headers)
    is_finite = length is not None and not is_radio
    other = EncodedFormat("a picture", False) if content_type.startswith("image/") else None
    named = recognise_playlist(b"x", suffix=suffix, content_type=content_type)
    is_stream = content_type.startswith(("audio/", "video/", "application/ogg"))
    resumes = headers.get("Accept-Ranges", "").strip().lower() == "bytes"
    answer = WebAnswer(address, is_finite, None, other, b"", length, resumes)
    if (is_stream and named is None and not is_finite) or "Content-Encoding" in headers:
        return answer
    head = response.read(_HEAD_BYTES)
    playlist = recognise_playlist(head, suffix=suffix, content_type=content_type)
    if playlist is not None:
        return replace(answer, playlist=playlist, other=None, body=head + response.read(MAX_BYTES))
    found = encoded_format(head)
    if found is not None and not found.is_audio:
        return replace(answer, other=found)
    return answer
