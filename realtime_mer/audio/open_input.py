"""Open the source that a text names: a device, a file, a URL and so on."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from realtime_mer.audio.encoded_pipe import open_encoded_pipe
from realtime_mer.audio.file import AUDIO_SUFFIXES, open_file
from realtime_mer.audio.local_path import is_file, is_file_address, is_folder, local_path
from realtime_mer.audio.pcm import AutoFormat, PcmFormat, PcmSource, standard_input
from realtime_mer.audio.source import InputKind, Source
from realtime_mer.audio.url import UrlSource, looks_like_url
from realtime_mer.errors import UserError


def input_kind(spec: str) -> InputKind:
    """Return the kind of input that `spec` names. Looks at the file system and opens nothing.

    A name with a path separator or the suffix of a music file counts as a file even if no such
    file exists, so that the error for a mistyped name is about a file and not about a device.
    """
    word = spec.lower()
    if word == "demo":
        return InputKind.DEMO
    if word == "browser":
        return InputKind.BROWSER
    if spec == "-" or _is_fifo(spec):
        return InputKind.PCM
    if is_file_address(spec):
        return InputKind.FILE
    if looks_like_url(spec):
        return InputKind.URL
    if word == "default" or spec.isdigit():
        return InputKind.MICROPHONE
    is_path = "/" in spec or "\\" in spec or Path(spec).suffix.lower() in AUDIO_SUFFIXES
    if is_file(spec) or (is_path and not _names_device(spec)):
        return InputKind.FILE
    return InputKind.MICROPHONE


def default_input() -> tuple[str, str]:
    """Return the input to use if none is named, and a sentence that says so."""
    from realtime_mer.audio.microphone import default_device, list_input_devices

    try:
        device = default_device(list_input_devices())
    except UserError as error:
        return "demo", f"no --input given and no usable microphone ({error}): playing the demo"
    return "default", f"no --input given: using the default input, {device.name}"


def open_file_or_demo(name: str, *, loop: bool = False, block_s: float = 0.02) -> Source:
    """Open a file, or the built-in piece if the name is "demo" and there is no such file.

    The name may begin with `~` or `file://`.

    Raises:
        UserError: the file does not exist or cannot be used.
    """
    if name == "demo" and not is_file(name):
        from realtime_mer.audio.demo import DemoSource

        return DemoSource(loop=loop, block_s=block_s)
    return open_file(local_path(name), loop=loop, block_s=block_s)


def open_source(
    spec: str | None = None,
    *,
    pcm: PcmFormat | AutoFormat | None = None,
    loop: bool = False,
    block_s: float = 0.02,
    announce: Callable[[str], None] | None = None,
) -> Source:
    """Open the input that `spec` names; the caller closes it.

    Args:
        spec: `default`, the index, name or part of the name of a device, a file, `-` for raw PCM
            on standard input, a FIFO for raw PCM, a URL, or `demo`; None for the default device, or
            the demo if there is none.
        pcm: format of raw samples on standard input or in a FIFO, or `auto` for encoded audio;
            s16le, 44.1 kHz, stereo where None.
        loop: start files and the demo again at the end; wait for the next writer of a FIFO.
        block_s: length of a block in seconds: short for live use, longer for speed.
        announce: called with a sentence on the choice if `spec` is None.

    Raises:
        UserError: the input does not exist or cannot be used.
    """
    if spec is None:
        spec, message = default_input()
        if announce is not None:
            announce(message)
    if not spec.strip():
        raise UserError("the input is empty; give 'default', 'demo', a device, a file or a URL")
    match input_kind(spec):
        case InputKind.DEMO:
            from realtime_mer.audio.demo import DemoSource

            return DemoSource(loop=loop, block_s=block_s)
        case InputKind.FILE:
            return open_file(local_path(spec), loop=loop, block_s=block_s)
        case InputKind.PCM:
            return _open_pipe(spec, pcm or PcmFormat(), loop=loop, block_s=block_s)
        case InputKind.URL:
            return UrlSource(spec, block_s=block_s)
        case InputKind.BROWSER:
            raise UserError(
                "the sound of a browser's microphone comes through the page: "
                "run `realtime-mer serve --input browser`"
            )
        case InputKind.RECORDING:
            raise UserError(f"{spec} is a recording: run `realtime-mer replay`")
        case InputKind.MICROPHONE:
            from realtime_mer.audio.microphone import MicrophoneSource

            try:
                return MicrophoneSource(spec)
            except UserError:
                if not is_folder(spec):
                    raise
                return open_file(local_path(spec))  # says that a folder is no input


def _open_pipe(spec: str, pcm: PcmFormat | AutoFormat, *, loop: bool, block_s: float) -> Source:
    stream, name = (standard_input(), "standard input") if spec == "-" else (local_path(spec), spec)
    if isinstance(pcm, PcmFormat):
        return PcmSource(pcm, stream=stream, loop=loop, block_s=block_s, name=name)
    return open_encoded_pipe(stream, loop=loop, block_s=block_s, name=name)


def _is_fifo(spec: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(local_path(spec)).st_mode)  # noqa: PTH116, Path takes no null character
    except (OSError, ValueError):  # a name can be too long, or hold a null character
        return False


def _names_device(spec: str) -> bool:
    """Return whether a device's name has this part; names may contain a slash ("Line 1/2")."""
    from realtime_mer.audio.microphone import list_input_devices

    try:
        return any(spec.lower() in device.name.lower() for device in list_input_devices())
    except UserError:
        return False
