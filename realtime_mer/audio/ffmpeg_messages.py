"""Say in our own words why ffmpeg cannot read an input."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HTTP_REASONS = {
    401: "the server asks for a user name and a password (401); write them into the address: "
    "https://NAME:PASSWORD@HOST/...",
    403: "the server refuses access (403); check in a browser whether it lets you listen",
    404: "the server has nothing at this address (404); check it, the stream may have moved or be "
    "off the air",
    407: "the proxy asks for a user name and a password (407); check the variable http_proxy",
    410: "the server says that this stream is gone for good (410); look for its new address",
    429: "the server was asked too often (429); try again later",
}

_CUT_SHORT = r"partial file|runcat|exhausted|prematurely|after EOF|packet size too small"
# Words of ffmpeg (regular expressions) and what they mean; the most telling ones first.
_CAUSES = (
    (r"certificate", "the server's certificate is not valid; check the address"),
    (r"^\[tls |^\[SSL|handshake", "no secure connection (TLS) is possible; check whether the "
     "address has to start with http:// instead of https://"),
    (r"Failed to resolve hostname|Name or service not known|name resolution|nodename nor servname",
     "no such host is known; check its name and your network connection"),
    (r"Connection refused", "the server accepts no connection (refused); check the host and the "
     "port, and whether the server runs"),
    (r"(Network is|Host is|Network) unreachable|No route to host",
     "the server cannot be reached; check your network connection"),
    (r"Connection reset|Broken pipe", "the server broke the connection off"),
    (r"timed out", "the server does not answer in time; try again later, or check the address"),
    (r"DRM|drms|[Ee]ncrypted|activation_bytes",
     "it is protected against copying and cannot be decoded"),
    (r"matches no streams|does not contain any stream",
     "there is no sound in it; give one with an audio track"),
    (r"moov atom not found", "its index (moov) is missing, so it was not written or copied "
     "completely; record or copy it again"),
    (r"Unknown decoder|no decoder found|Decoder .*not found",
     "this ffmpeg cannot decode the format of its sound; install a complete ffmpeg, or convert it"),
    (r"Impossible to open the '|Protocol not found",
     "this ffmpeg cannot read addresses of this kind; install a complete ffmpeg"),
    (r"No such file or directory", "there is no such file; check the name and the folder"),
    (r"Permission denied|Operation not permitted", "it may not be read; check its permissions"),
    (r"Is a directory", "it is a folder; give a music file in it"),
    (r"Immediate exit requested|received signal", "ffmpeg was stopped"),
    (_CUT_SHORT, "it is damaged or cut short"),
)  # fmt: skip
_HTTP_ERROR = re.compile(r"(?:Server returned|HTTP error) (\d)([\dX]{2})")
_FORBIDDEN_PROTOCOL = re.compile(r"Protocol '([\w+.-]+)' not on whitelist")
_COMPONENT_PREFIX = re.compile(r"^\[[^]]* @ 0x[0-9a-f]+\] ")
_ADDRESS = re.compile(r"[a-zA-Z][\w+.-]*://[^\s'\"]*")
_MAX_WORDS = 150


def http_reason(status: int) -> str:
    """Return what an HTTP status of 400 or above means, as a part of a sentence."""
    if status in _HTTP_REASONS:
        return _HTTP_REASONS[status]
    if status >= 500:
        return f"the server has a fault of its own ({status}); try again later"
    return f"the server refuses the request ({status}); check the address"


def ffmpeg_reason(lines: Sequence[str], *, address: str) -> str:
    """Return why ffmpeg failed, as a part of a sentence about the input ("it").

    Args:
        lines: what ffmpeg wrote to standard error, the newest line last.
        address: the path or URL that ffmpeg was given; never part of the result.
    """
    is_network = _ADDRESS.match(address) is not None
    for line in (line.replace(address, "it") for line in reversed(lines)):
        if found := _HTTP_ERROR.search(line):
            family, rest = found.groups()
            if rest.isdigit():
                return http_reason(int(family + rest))
            return http_reason(500 if family == "5" else 400).replace("00)", "xx)")
        if found := _FORBIDDEN_PROTOCOL.search(line):
            return f"it points to an address with {found[1]}:, which is not opened for safety"
        for words, meaning in _CAUSES:
            if re.search(words, line):
                is_ended = is_network and words == _CUT_SHORT
                return "the server ended the stream too early" if is_ended else meaning
    text = "\n".join(lines)
    if is_network and re.search(r"End of file$", text, re.MULTILINE):
        return "the server closed the connection"
    if re.search(r"Invalid data|[Ee]rror while decoding|End of file|parsing failed", text):
        if is_network:
            return "the server sends something that is not audio, or a damaged stream"
        return "it is damaged or not audio"
    if is_network and "Input/output error" in text:
        return "the connection failed; check the address and your network connection"
    words = _cleaned(lines[-1], address) if lines else ""
    return f"ffmpeg cannot read it (its words: {words})" if words else "ffmpeg cannot read it"


def _cleaned(line: str, address: str) -> str:
    """Return a line of ffmpeg without addresses, pointers and control characters, cut short."""
    line = _COMPONENT_PREFIX.sub("", line).removeprefix(f"{address}: ").replace(address, "it")
    line = _ADDRESS.sub("an address", line)
    line = " ".join("".join(c if c.isprintable() else " " for c in line).split())
    return line if len(line) <= _MAX_WORDS else line[: _MAX_WORDS - 3] + "..."
