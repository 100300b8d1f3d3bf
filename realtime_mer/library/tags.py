"""Mood and values in the tags of music files, written and removed without risk to the file."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mer_engine.draft import Draft

from realtime_mer.audio.local_path import is_file_address, local_path
from realtime_mer.audio.url import looks_like_url
from realtime_mer.errors import UserError
from realtime_mer.library.track import Track
from realtime_mer.outputs.registry import needing

if TYPE_CHECKING:
    from realtime_mer.library.tagged_file import TaggedFile

VALENCE, AROUSAL, MOOD = "MER_VALENCE", "MER_AROUSAL", "MER_MOOD"
OWN_FIELDS = (VALENCE, AROUSAL, MOOD)
# The field for moods that all formats have and many programs show. It is the user's: it is written
# only where it is empty or still holds the word of MER_MOOD.
SHARED_FIELD = "MOOD"

Texts = Mapping[str, str]


class TagError(UserError):
    """The tags of a file cannot be written. The file is as it was."""


@dataclass(frozen=True, slots=True)
class Tagging:
    """What was done with the tags of one file.

    Attributes:
        track: the row of the file. If it held before, it still does: its size and time of change
            are those after writing.
        changes: for each field that changes, the text before and after; "" for none.
        problem: why nothing was written although something should be; "" for no problem.
    """

    track: Track
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    problem: str = ""


def check_mutagen() -> None:
    """Check that the package for tags is there.

    Raises:
        UserError: it is not.
    """
    with needing("writing tags", "library"):
        import mutagen  # noqa: F401


def tag_texts(valence: float | None, arousal: float | None, mood: str) -> dict[str, str]:
    """Return the texts of `OWN_FIELDS`; empty for a file without music.

    Args:
        valence, arousal: in [-1, 1]; None without music.
        mood: the word; "" for none.
    """
    if valence is None or arousal is None:
        return {}
    texts = {VALENCE: f"{valence:.3f}", AROUSAL: f"{arousal:.3f}"}
    return {**texts, MOOD: mood} if mood else texts


def tag_tracks(
    tracks: Iterable[Track], *, remove: bool = False, dry_run: bool = False
) -> Iterator[Tagging]:
    """Write mood and values into the files of a library, or remove them again.

    Files that were skipped or have no music are passed over. A file that cannot be written gets a
    `problem`, and the others go on.

    Args:
        tracks: rows of a library.
        remove: remove what was written before, also from files that have changed since.
        dry_run: write nothing, only tell what would change.
    """
    for track in tracks:
        summary = track.summary
        if summary is None:
            continue
        texts = {}
        if not remove:
            texts = tag_texts(summary.valence, summary.arousal, summary.mood)
            if not texts:
                continue
        try:
            yield _tagged(track, texts, dry_run)
        except TagError as error:
            yield Tagging(track, problem=str(error))


def _tagged(track: Track, texts: Texts, dry_run: bool) -> Tagging:
    if looks_like_url(track.path) and not is_file_address(track.path):
        raise TagError(f"{track.path} is a network address; tags go into files of this computer")
    path = local_path(track.path)
    holds = _version(path) == (track.size_bytes, track.modified_ns)
    if texts and not holds:
        raise TagError(f"{path} has changed since it was analysed; analyse it again")
    changes = change_tags(path, texts, dry_run=dry_run)
    if changes and holds and not dry_run:
        size_bytes, modified_ns = _version(path)
        track = replace(track, size_bytes=size_bytes, modified_ns=modified_ns)
    return Tagging(track, changes)


def change_tags(path: Path, texts: Texts, *, dry_run: bool = False) -> dict[str, tuple[str, str]]:
    """Give the fields `OWN_FIELDS` of a file the given texts, and `MOOD` if it may be changed.

    The audio, all other tags, permissions and extended attributes stay. The new file is written
    beside the old one and replaces it when it is complete. Nothing is written if nothing changes.

    Args:
        path: an MP3, WAV, AIFF, FLAC, Ogg (Vorbis, Opus, FLAC, Speex) or MP4 file.
        texts: by field; a field that is not named is removed.
        dry_run: write nothing.

    Returns:
        For each field that changes, the text before and after; "" for none.

    Raises:
        TagError: the file cannot be read or written, or its format has no such tags.
    """
    from mutagen import MutagenError

    from realtime_mer.library.tagged_file import UnsupportedTagsError, open_tags

    try:
        file = open_tags(path)
        changes = _changes(file, texts)
        if changes:
            _check_writable(path)
            if not dry_run:
                _replace(path, file, {name: after for name, (_, after) in changes.items()})
    except UnsupportedTagsError as error:
        raise TagError(f"{path} cannot be tagged: {error}") from error
    except OSError as error:
        raise TagError(f"the tags of {path} cannot be written ({error.strerror})") from error
    except MutagenError as error:
        raise TagError(f"the tags of {path} cannot be written ({_reason(error)})") from error
    return changes


def _changes(file: TaggedFile, texts: Texts) -> dict[str, tuple[str, str]]:
    before = {name: file.text(name) for name in (*OWN_FIELDS, SHARED_FIELD)}
    after = {name: texts.get(name, "") for name in OWN_FIELDS}
    if before[SHARED_FIELD] in ("", before[MOOD]):
        after[SHARED_FIELD] = after[MOOD]
    return {name: (before[name], text) for name, text in after.items() if text != before[name]}


def _reason(error: Exception) -> str:
    """Return what mutagen says; it wraps errors of the system."""
    cause = error.args[0] if error.args else error
    return (cause.strerror if isinstance(cause, OSError) else str(cause)) or type(error).__name__


def _version(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of change in ns.

    Raises:
        TagError: the file is gone or cannot be looked at.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise TagError(f"{path} cannot be tagged ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def _check_writable(path: Path) -> None:
    """Check what would make writing fail, also before a dry run.

    Raises:
        TagError: the file or its folder may not be written.
    """
    if not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise TagError(f"{path} is read-only; its tags stay as they are")
    folder = Path(os.path.realpath(path)).parent
    if not (os.access(path, os.W_OK) and os.access(folder, os.W_OK | os.X_OK)):
        raise TagError(f"{path} may not be written; check its permissions and those of its folder")


def _replace(path: Path, file: TaggedFile, texts: Texts) -> None:
    """Write fields to a copy of a file, which then replaces it."""
    before = path.stat()
    for name, text in texts.items():
        file.set(name, text)
    draft = Draft(path)
    try:
        shutil.copyfile(path, draft.path)
        with suppress(OSError):  # a file system without permissions
            shutil.copystat(path, draft.path)
        if hasattr(os, "chown"):
            with suppress(OSError):  # only the superuser may give files away
                os.chown(draft.path, before.st_uid, before.st_gid)
        file.save(draft.path)
        now = path.stat()
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise TagError(f"{path} has just been changed by another program; try again")
    except BaseException:
        draft.discard()
        raise
    draft.commit()
