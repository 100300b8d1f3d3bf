"""The names of the files in the folder of a recording."""

from __future__ import annotations

import re
from pathlib import Path

_PART = re.compile(r"(?:estimates|audio)(?:-(\d{3,6}))?\.(?:jsonl|flac)")


def part_name(number: int) -> str:
    """Return the name of a part: `estimates.jsonl`, `estimates-002.jsonl`, ..."""
    return f"estimates{_suffix(number)}.jsonl"


def audio_name(number: int) -> str:
    """Return the name of the audio that begins with a part: `audio.flac`, `audio-002.flac`, ..."""
    return f"audio{_suffix(number)}.flac"


def parts_of(folder: Path) -> list[Path]:
    """Return the parts in a folder, in order.

    Raises:
        OSError: it cannot be read.
    """
    numbered = {_number(path.name): path for path in folder.iterdir() if path.suffix == ".jsonl"}
    return [path for number, path in sorted(numbered.items()) if number]


def last_number(folder: Path) -> int:
    """Return the highest number of a part or an audio in a folder; 0 for none.

    Raises:
        OSError: it cannot be read.
    """
    return max((_number(path.name) for path in folder.iterdir()), default=0)


def _suffix(number: int) -> str:
    return "" if number == 1 else f"-{number:03d}"


def _number(name: str) -> int:
    """Return the number of a part or an audio; 0 for another file."""
    match = _PART.fullmatch(name)
    return 0 if match is None else int(match[1] or 1)
