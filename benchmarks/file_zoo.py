"""Reads every audio file below some folders, and compares the lengths with those of ffmpeg.

python benchmarks/file_zoo.py DIR ... [--out FILE]

Test files of other audio projects are a good zoo: `apt-get source taglib libsndfile ...` and the
source archives of audio packages on PyPI. The folder at the top of DIR is the source of a file. A
file counts if its suffix is one of audio or if ffmpeg finds audio in it; suffixes of program code,
pictures and archives are left out.

Each file is read in a process of its own, as `--input FILE` reads it. The exit code is 1 if a file
is short in silence, a false alarm, a crash or a hang.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import struct
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import soundfile

from realtime_mer.audio.ffmpeg import INSTALL_HINT, ffmpeg_path
from realtime_mer.audio.file import AUDIO_SUFFIXES
from realtime_mer.audio.open_input import open_source
from realtime_mer.audio.source import blocks_of
from realtime_mer.bench.machine import describe_machine
from realtime_mer.errors import UserError

OUT = Path(__file__).parent / "results" / "file_zoo.json"
# Lengths may differ by this share, within these bounds: decoders treat padding differently.
_TOLERANCE, _LEAST_S, _MOST_S = 0.02, 0.1, 0.5
_TIME_LIMIT_S = 240.0
_AU_HEADER = struct.Struct(">4sIIIII")
_LOCAL = ("-v", "error", "-protocol_whitelist", "file")
# Imported once for all processes.
_PRELOADED = ["soundfile", "realtime_mer.audio.open_input", "realtime_mer.bench.machine"]
# Verdicts that must not occur.
FAULTS = ("short in silence", "false alarm", "crash", "hang")
VERDICTS = (
    *("whole", "told", "told alone", "refused by both", "longer", "less than stated"),
    *FAULTS,
)
_NOT_MEDIA = frozenset(
    f".{suffix}"
    for suffix in (
        *("c", "h", "cc", "cpp", "cxx", "hpp", "py", "pyi", "pyc", "js", "css", "html", "xml"),
        *("md", "rst", "txt", "po", "pot", "mo", "in", "am", "ac", "m4", "java", "go", "rs", "cs"),
        *("sh", "pl", "pm", "rb", "json", "yml", "yaml", "toml", "cfg", "ini", "cmake", "patch"),
        *("png", "jpg", "jpeg", "gif", "svg", "ico", "bmp", "pdf", "ttf", "csv", "npy", "npz"),
        *("zip", "gz", "bz2", "xz", "tar", "7z", "deb", "whl", "o", "so", "a", "dll", "exe"),
        *("m3u", "m3u8", "pls", "cue"),
    )
)


@dataclass(frozen=True)
class Reading:
    """What a program made of a file.

    Attributes:
        seconds: length of the audio that it decoded; 0 if it refused the file.
        error: its message, or None if it had no complaint.
        fault: "crash" or "hang", or None.
    """

    seconds: float
    error: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Row:
    """One file: where it is from, its format, and both readings."""

    source: str
    name: str
    format: str
    stated_s: float | None
    ours: Reading
    ffmpeg: Reading
    verdict: str
    peak_mb: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="folder of files")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE")
    args = parser.parse_args(arguments)
    try:
        if ffmpeg_path() is None:
            raise UserError(f"the comparison needs ffmpeg; {INSTALL_HINT}")
        rows, skipped = compare(args.folders)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result(rows, skipped), indent=1) + "\n", encoding="utf-8")
    counts = Counter(row.verdict for row in rows)
    print(", ".join(f"{name}: {counts[name]}" for name in VERDICTS if counts[name]))
    return int(any(counts[name] for name in FAULTS))


def compare(folders: Sequence[Path]) -> tuple[list[Row], int]:
    """Return a row for each audio file below the folders, and the number of other files.

    Raises:
        UserError: there is no audio file below a folder.
    """
    rows: list[Row] = []
    skipped = 0
    for folder in folders:
        before = len(rows)
        for path in _files(folder):
            found = probe(path)
            if found is None and path.suffix.lower() not in AUDIO_SUFFIXES:
                skipped += 1
                continue
            rows.append(_row(folder, path, found))
            print(_line(rows[-1]), flush=True)
        if len(rows) == before:
            raise UserError(f"there is no audio file below '{folder}'; give another folder")
    return rows, skipped


def result(rows: Sequence[Row], skipped: int) -> dict[str, Any]:
    """Return the contents of file_zoo.json."""
    counts = Counter((row.source, row.format, row.verdict) for row in rows)
    return {
        "files": len(rows),
        "other_files": skipped,
        "peak_mb": round(max(row.peak_mb for row in rows)),
        "counts": [
            {"source": source, "format": kind, "verdict": verdict, "files": files}
            for (source, kind, verdict), files in sorted(counts.items())
        ],
        "differences": [asdict(row) for row in rows if differs(row)],
        "method": {
            "whole": f"without complaint; the lengths differ by at most {_TOLERANCE:.0%}, from "
            f"{_LEAST_S:g} to {_MOST_S:g} s",
            "told": "with a sentence on what is wrong; ffmpeg has a complaint too, or the file "
            "states more than ffmpeg finds in it",
            "told alone": "with a sentence, as long as with ffmpeg, which has no complaint",
            "longer": "without complaint; ffmpeg finds less",
            "less than stated": "without complaint, as long as with ffmpeg; the file states more",
            "short in silence": "without complaint; ffmpeg finds more",
            "false alarm": "with a complaint; ffmpeg finds more and has no complaint",
        },
        "versions": {"libsndfile": soundfile.__libsndfile_version__, "ffmpeg": _ffmpeg_version()},
        "machine": describe_machine(),
    }


def differs(row: Row) -> bool:
    """Return whether a file belongs into the listing."""
    is_alike = row.verdict in ("whole", "told", "refused by both")
    return not is_alike or _lacks(row.ours.seconds, row.ffmpeg.seconds)


def verdict(ours: Reading, ffmpeg: Reading, stated_s: float | None) -> str:
    """Return which of `VERDICTS` describes a file.

    Args:
        ours: our reading.
        ffmpeg: the reading of ffmpeg.
        stated_s: the length that the file states, in seconds, or None.
    """
    if ours.fault is not None:
        return ours.fault
    is_short = _lacks(ours.seconds, ffmpeg.seconds)
    if ours.error is None:
        if is_short:
            return "short in silence"
        if _lacks(ffmpeg.seconds, ours.seconds):
            return "longer"
        is_stated_longer = stated_s is not None and _lacks(ours.seconds, stated_s)
        return "less than stated" if is_stated_longer else "whole"
    if not ffmpeg.seconds and not ours.seconds:
        return "refused by both"
    if ffmpeg.error is not None:
        return "told"
    if is_short:
        return "false alarm"
    is_stated_longer = stated_s is not None and _lacks(ffmpeg.seconds, stated_s)
    return "told" if is_stated_longer else "told alone"


def probe(path: Path) -> tuple[str, float | None] | None:
    """Return format and stated length in seconds of the first audio stream, or None."""
    fields = "format=format_name,duration:stream=codec_name,duration"
    command = ["ffprobe", *_LOCAL, "-of", "json", "-select_streams", "a:0"]
    try:
        done = subprocess.run(
            [*command, "-show_entries", fields, f"file:{path}"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIME_LIMIT_S,
        )  # fmt: skip
        found = json.loads(done.stdout)
        stream = found["streams"][0]
    except (subprocess.TimeoutExpired, ValueError, LookupError):
        return None
    lengths = [float(part["duration"]) for part in (stream, found["format"]) if "duration" in part]
    container = found["format"]["format_name"].split(",")[0]
    # Numbers of PCM formats do not matter here.
    codec = stream.get("codec_name", "unknown")
    codec = "pcm" if codec.startswith("pcm_") else codec.split("_")[0]
    name = codec if codec == container else f"{container}, {codec}"
    return name, lengths[0] if lengths else None


def read_with_ffmpeg(path: Path) -> Reading:
    """Decode the first audio stream with ffmpeg."""
    command = ["ffmpeg", "-nostdin", *_LOCAL, "-i", f"file:{path}", "-map", "0:a:0"]
    # One byte a sample: the length counts, not the values.
    command += ["-c:a", "pcm_s8", "-f", "au", "-"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        )
        assert process.stdout is not None
        timer = threading.Timer(_TIME_LIMIT_S, process.kill)
        timer.start()
        with process.stdout as stream:
            header = stream.read(_AU_HEADER.size)
            size = sum(map(len, iter(lambda: stream.read(1 << 20), b"")))
        code = process.wait()
        timer.cancel()
        log.seek(0)
        lines = [
            line
            for line in log.read().decode("utf-8", "replace").splitlines()
            if "non monotonically" not in line  # joined files; the audio is all there
        ]
    seconds = 0.0
    if len(header) == _AU_HEADER.size:
        _, offset, _, _, rate, channels = _AU_HEADER.unpack(header)
        seconds = round(max(0, size - offset + len(header)) / rate / channels, 3)
    if not lines and code:
        lines = [f"ended with code {code}"]
    return Reading(seconds, lines[-1] if lines else None)


def read(path: Path) -> tuple[Reading, float]:
    """Read a file in a process of its own; return also its peak memory in MB."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_read, args=(path, sender))
    process.start()
    sender.close()
    try:
        if not receiver.poll(_TIME_LIMIT_S):
            return Reading(0.0, f"no end within {_TIME_LIMIT_S:.0f} s", "hang"), 0.0
        seconds, error, fault, peak_mb = receiver.recv()
        return Reading(round(seconds, 3), error, fault), peak_mb
    except EOFError:
        process.join()
        return Reading(0.0, f"the process ended with code {process.exitcode}", "crash"), 0.0
    finally:
        process.kill()
        process.join()


def _read(path: Path, sender: Connection) -> None:
    seconds, error, fault = 0.0, None, None
    try:
        with open_source(str(path), block_s=1.0) as source:
            for samples in blocks_of(source):
                seconds += len(samples) / source.info.sample_rate_hz
    except UserError as problem:
        error = str(problem)
    except Exception as problem:
        error, fault = repr(problem), "crash"
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sender.send((seconds, error, fault, peak_mb))


def _row(folder: Path, path: Path, found: tuple[str, float | None] | None) -> Row:
    kind, stated_s = found or (path.suffix.lower().lstrip("."), None)
    ours, peak_mb = read(path)
    ffmpeg = read_with_ffmpeg(path)
    parts = path.relative_to(folder).parts
    return Row(
        source=_printable(parts[0] if len(parts) > 1 else folder.resolve().name),
        name=_printable(path.name),
        format=kind,
        stated_s=stated_s,
        ours=_without_path(ours, path),
        ffmpeg=_without_path(ffmpeg, path),
        verdict=verdict(ours, ffmpeg, stated_s),
        peak_mb=round(peak_mb),
    )


def _without_path(reading: Reading, path: Path) -> Reading:
    error = reading.error
    if error is not None:
        error = _printable(error.replace(str(path), path.name))
    return Reading(reading.seconds, error, reading.fault)


def _printable(text: str) -> str:
    """Return a text without control characters and without bytes that are no characters."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _lacks(seconds: float, wanted_s: float) -> bool:
    return wanted_s - seconds > min(max(_LEAST_S, _TOLERANCE * wanted_s), _MOST_S)


def _line(row: Row) -> str:
    stated = "" if row.stated_s is None else f"{row.stated_s:.2f}"
    lengths = f"{row.ours.seconds:>10.2f}{row.ffmpeg.seconds:>10.2f}{stated:>10}"
    about = "".join(
        f"\n    {name}: {reading.error}"
        for name, reading in (("we", row.ours), ("ffmpeg", row.ffmpeg))
        if reading.error is not None
    )
    return f"{row.verdict:<18}{lengths}  {row.source}/{row.name}{about}"


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix.lower() not in _NOT_MEDIA:
            yield path


def _ffmpeg_version() -> str:
    done = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True)
    return done.stdout.split()[2]


if __name__ == "__main__":
    raise SystemExit(main())
