"""Renews the speed results with the shipped model, in under 40 minutes on two cores.

benchmarks/all.sh [--music DIR] [--data DIR] [--cache DIR] [--only NAME ...] [--quick --out DIR]

Before each part that measures time, it waits for up to a minute until the load average is below 1,
and notes the load average in the result. A part that fails leaves its old result, is named at the
end, and makes the exit code 1.

Not renewed here: the files of other audio projects (`file_zoo.py`) and what says how right the
values are, which takes hours; `write_readme.py` has those commands.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime_mer.commands.signals import exit_code_of, interrupt, on_signals

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MUSIC_SUFFIXES = (".mp3", ".flac", ".ogg", ".opus", ".wav", ".m4a")
# Files that are analysed, and files that are compared with other tools.
MOST_FILES = 6
# No part begins after this time.
MOST_S = 2340.0
QUIET_LOAD, QUIET_WAIT_S, POLL_S = 1.0, 60.0, 1.0
# Shown of what a part that failed printed.
LAST_LINES = 15
# For a part that is told to stop, before it is killed.
STOP_S = 15.0


@dataclass(frozen=True)
class Part:
    """A benchmark.

    Attributes:
        name: of its result, without `.json`.
        command: the program after `python`; "RESULT" stands for the file of the result.
        limit_s: seconds after which it is stopped; about twice what it takes on two free cores.
        timed: whether it measures time, so that it waits for a quiet machine.
    """

    name: str
    command: tuple[str, ...]
    limit_s: float
    timed: bool = True


def parts_of(
    *, music: Sequence[str], data: Path | None, cache: Path | None, quick: bool
) -> tuple[list[Part], dict[str, str]]:
    """Return the parts in their order, and why others are left out.

    Args:
        music: files; none: the built-in demo.
        data: folder with `vgmidi` and `emopia`; None: no beats.
        cache: folder of the environments of other tools; None: no comparison with them.
        quick: whether the parts are so short that they only show that they work.
    """

    def bench(name: str, limit_s: float) -> Part:
        options = ("--quick",) if quick else ()
        command = ("-m", "realtime_mer", "bench", name, "--json", *options)
        return Part(name.replace("-", "_"), command, limit_s)

    def script(name: str, *options: str) -> tuple[str, ...]:
        return (str(HERE / f"{name}.py"), *options)

    def length(full: tuple[str, ...], short: tuple[str, ...]) -> tuple[str, ...]:
        return short if quick else full

    out = ("--json", "RESULT")
    parts = [
        bench("start-up", 90.0),
        bench("latency", 180.0),
        bench("engine", 150.0),
        bench("streams", 600.0),
        bench("viewers", 540.0),
        # From the results before it.
        Part("scale", script("scale", "--out", "RESULT"), 30.0, timed=False),
        Part(
            "analysis_speed",
            script("analysis_speed", *music, *length(("--jobs",), ()), *out),
            300.0,
        ),
        Part(
            "cluster",
            script("cluster", *length(("--files", "40"), ("--files", "2", "--rounds", "1")), *out),
            300.0,
        ),
        Part(
            "outputs",
            script(
                "outputs",
                *length(("--seconds", "15", "--rounds", "2"), ("--seconds", "2", "--rounds", "1")),
                *out,
            ),
            240.0,
        ),
        Part("page_frames", script("page_frames", "--seconds", "1" if quick else "2", *out), 300.0),
    ]
    left_out: dict[str, str] = {}
    if cache is None:
        left_out["side_by_side"] = "it needs --cache DIR, for the environments of the other tools"
    else:
        options = ("--cache", str(cache), *(("--audio", *music) if music else ()))
        short = length((), ("--seconds", "15", "--runs", "1"))
        command = script("side_by_side", *options, *short, "--out", "RESULT")
        parts.append(Part("side_by_side", command, 600.0))
    parts += [
        Part(
            "replicas",
            script(
                "replicas",
                *length(
                    ("--restarts", "3"), ("--restarts", "2", "--viewers", "2", "--senders", "1")
                ),
                *out,
            ),
            300.0,
            timed=False,
        ),
        Part(
            "attack",
            script(
                "attack",
                *length(("--seconds", "5"), ("--only", "none", "--seconds", "1")),
                *out,
            ),
            420.0,
            timed=False,
        ),
        Part(
            "soak", script("soak", "--hours", "0.02" if quick else "0.5", *out), 300.0, timed=False
        ),
        Part("fuzz", script("fuzz", *length((), ("--messages", "200")), *out), 120.0, timed=False),
    ]
    if data is None:
        left_out["beats"] = "it needs --data DIR, a folder with vgmidi and emopia"
    else:
        sets = ("--vgmidi", str(data / "vgmidi"), "--emopia", str(data / "emopia"))
        pieces = ("--pieces", "1" if quick else "60")
        parts.append(
            Part("beats", script("beats", *sets, *pieces, "--out", "RESULT"), 400.0, timed=False)
        )
    return parts, left_out


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--music", type=Path, metavar="DIR", help="folder of music (default: the built-in demo)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with vgmidi and emopia")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="environments of the other tools, about 2 GB"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these parts")
    parser.add_argument(
        "--quick", action="store_true",
        help="shows that each part works, not how fast it is; needs --out",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the results (default: results)"
    )
    args = parser.parse_args(arguments)
    if args.quick and args.out is None:
        parser.error("--quick measures nothing worth keeping; give a folder with --out")
    music: list[str] = []
    if args.music is not None:
        music = [
            str(path)
            for path in sorted(args.music.rglob("*"))
            if path.suffix.lower() in MUSIC_SUFFIXES
        ][:MOST_FILES]
        if not music:
            parser.error(f"there is no music in {args.music}")
    parts, left_out = parts_of(music=music, data=args.data, cache=args.cache, quick=args.quick)
    names = [part.name for part in parts]
    if unknown := sorted(set(args.only or ()) - set(names)):
        reasons = [left_out[name] for name in unknown if name in left_out]
        parser.error("; ".join(reasons) or f"no part {unknown[0]!r}; there are {', '.join(names)}")
    out = args.out or RESULTS
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        parser.error(f"nothing can be written to {out} ({error.strerror}); name another folder")
    failed: dict[str, str] = {}
    started = time.monotonic()
    try:
        with on_signals(interrupt), tempfile.TemporaryDirectory() as drafts:
            for part in parts:
                if args.only is None or part.name in args.only:
                    reason = renew(part, Path(drafts), out, started)
                    if reason:
                        failed[part.name] = reason
                        _say(f"{part.name}: FAILED: {reason}")
    except KeyboardInterrupt as interruption:
        _say("stopped; the parts so far are renewed")
        return exit_code_of(*(interruption.args or (signal.SIGINT,)))
    for name, reason in left_out.items():
        _say(f"left out: {name}: {reason}")
    for name, reason in failed.items():
        _say(f"failed: {name}: {reason}")
    _say(f"{time.monotonic() - started:.0f} s; now: python benchmarks/write_readme.py")
    return 1 if failed else 0


def renew(part: Part, drafts: Path, out: Path, started: float) -> str:
    """Run a part and renew its result.

    Args:
        part: the part.
        drafts: folder for the result until it is complete, and for what the part prints.
        out: folder of the results.
        started: when the first part began (`time.monotonic`).

    Returns:
        Why it failed; "" if it did not. A result that a failed part has completed stays, since a
        missed goal is a result too.
    """
    if time.monotonic() - started > MOST_S:
        return f"{MOST_S / 60:.0f} minutes had passed before it began; use --only {part.name}"
    load = quiet_load() if part.timed else os.getloadavg()[0]
    draft, log = drafts / f"{part.name}.json", drafts / f"{part.name}.log"
    command = [str(draft) if word == "RESULT" else word for word in part.command]
    if part.name == "scale":
        command += ["--results", str(out)]
    _say(f"{part.name} (load average {load:.2f}) ...")
    began = time.monotonic()
    reason = _run(command, part.limit_s, log)
    took_s = time.monotonic() - began
    printed = log.with_suffix(".out")
    if "RESULT" not in part.command and not reason:
        printed.replace(draft)
    result = _read(draft)
    if result is None or result.get("stopped"):
        return reason or "it wrote no complete result"
    result["load_average_before"] = round(load, 2)
    draft.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    shutil.move(draft, out / draft.name)
    _say(f"{part.name}: {took_s:.0f} s")
    return reason


def quiet_load() -> float:
    """Wait for up to a minute until the load average is below 1; return it."""
    until = time.monotonic() + QUIET_WAIT_S
    while (load := os.getloadavg()[0]) >= QUIET_LOAD and time.monotonic() < until:
        time.sleep(POLL_S)
    return load


def _run(command: Sequence[str], limit_s: float, log: Path) -> str:
    """Run a part; return why it failed, or "".

    Args:
        command: the program after `python`.
        limit_s: seconds after which it is stopped.
        log: receives what it prints on standard error; what it prints on standard output goes
            beside it.
    """
    with log.open("w") as errors, log.with_suffix(".out").open("w") as output:
        # In a session of its own, so that what it started can be ended with it.
        process = subprocess.Popen(
            [sys.executable, *command], stdout=output, stderr=errors, start_new_session=True
        )
        try:
            code = process.wait(limit_s)
            reason = f"it ended with exit code {code}" if code else ""
        except subprocess.TimeoutExpired:
            reason = f"stopped after {limit_s:.0f} s"
        finally:
            _end(process)
    if not reason:
        return ""
    told = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    for line in told[-LAST_LINES:]:
        _say(f"    {line}")
    return ": ".join([reason, *told[-1:]])


def _end(process: subprocess.Popen[Any]) -> None:
    """End a part, which may clean up first, and what is left of its session."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
