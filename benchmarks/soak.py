"""Runs servers for hours with clients that come and go, and with faults in between.

python benchmarks/soak.py [--hours 2] [--pace 20] [--seed 1] [--json results/soak.json]

One server plays the demo at an accelerated pace; --hours are hours of its stream: 2 hours at pace
20 take 6 minutes. Viewers, browsers that send audio, and faulty clients come and go. Two more
servers listen in real time, to a small radio station (needs ffmpeg) and to a virtual sound card
(needs PulseAudio), and `listen --record` writes to a disk that becomes full (needs root, for a
small tmpfs). Faults come in random order, each at least once: a server is stopped for a while
(SIGSTOP), ffmpeg is killed, the station goes off the air, the sound card is unplugged, its
recording is moved. What must hold: estimates come in order, with finite values inside their
intervals; after each fault they come again in time; the log has no exception; after all guests have
left, the servers hold no more files and threads than before. The exit code is 1 when that fails.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile
from mer_engine import load_engine
from soak_clients import Guests, Station, Watcher
from target_server import TargetServer, target_server

from realtime_mer.bench.machine import describe_machine
from realtime_mer.errors import UserError

ROOT = Path(__file__).parents[1]
WATCHERS, GUESTS = 3, 8
BACK_WITHIN_S = 40.0
"""How long an input may take to come back, in seconds: the pauses between attempts grow."""
SAMPLE_PERIOD_S = 60.0
"""Stream time between two samples of memory, file handles and threads."""
FAULT_PAUSE_S = 5.0
DISK_BYTES = 2**16
# Growth that counts as a leak; measured from the second quarter on, in runs of an hour or more.
MAX_GROWTH_PER_HOUR = {"rss_mb": 30.0, "handles": 10.0, "threads": 5.0}
# A machine that needs more than this times as long as the pace says, and this on top, is too slow.
MAX_SLOWDOWN, GIVE_UP_S = 4.0, 300.0
SLACK = {"handles": 4, "threads": 2}


@dataclass
class Run:
    """A server, who watches it, and how its process grows.

    Attributes:
        name: of its input.
        samples: of `TargetServer.usage`, each with the stream time in hours.
    """

    name: str
    server: TargetServer
    watchers: list[Watcher]
    samples: list[dict[str, float]] = field(default_factory=list)

    @property
    def hours(self) -> float:
        """Stream time so far, in hours: less than the pace promises on a machine that is busy."""
        return max(watcher.stream_s for watcher in self.watchers) / 3600

    def sample(self) -> None:
        """Note memory, file handles and threads."""
        self.samples.append({"hours": round(self.hours, 4), **self.server.usage()})

    def back_within(self, since: float, timeout_s: float) -> float:
        """Return after how many seconds all watchers have an estimate that is not `stalled`.

        Raises:
            UserError: they have not within the timeout.
        """
        for watcher in self.watchers:
            if not watcher.wait_for_estimate(since, timeout_s):
                raise UserError(f"no estimate of {self.name} within {timeout_s:g} s")
        return time.monotonic() - since


Fault = Callable[[], float]
"""Does damage, mends it, and returns the seconds from the mending to the next estimate."""


class Soak:
    """All servers and faults of one run; a context manager.

    Attributes:
        faults: by name; those for which this machine lacks something are in `left_out`.
    """

    def __init__(self, pace: float, seed: int) -> None:
        self._stack = contextlib.ExitStack()
        self.faults: dict[str, Fault] = {}
        self.left_out: dict[str, str] = {}
        self.runs: list[Run] = []
        self._pace, self._seed = pace, seed

    def __enter__(self) -> Soak:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.demo = self._run("the demo", "demo", "--speed", str(self._pace))
        self.faults["server stopped"] = lambda: self._stop_server(self.demo)
        self._add_radio()
        self._add_sound_card()
        if (reason := _missing_for_disk()) is None:
            self.faults["disk full"] = self._fill_disk
        else:
            self.left_out["disk full"] = reason

    def _run(self, name: str, source: str, *options: str, **environment: str) -> Run:
        arguments = ("--input", source, "--hop", "1", "--quiet", *options)
        server = self._stack.enter_context(target_server(*arguments, environment=environment))
        watchers = [Watcher(server.port) for _ in range(WATCHERS)]
        for watcher in watchers:
            watcher.start()
            self._stack.callback(watcher.stop)
        run = Run(name, server, watchers)
        run.back_within(0.0, BACK_WITHIN_S)
        self.runs.append(run)
        return run

    def _add_radio(self) -> None:
        if shutil.which("ffmpeg") is None:
            self.left_out["radio"] = "ffmpeg is not installed"
            return
        station = self._stack.enter_context(Station(self._seed))
        self._stack.callback(station.on_air.clear)
        self._stack.callback(station.shutdown)
        radio = self._run("the radio", station.url)

        def kill_ffmpeg() -> float:
            for child in psutil.Process(radio.server.process.pid).children(recursive=True):
                if child.name().startswith("ffmpeg"):
                    child.kill()
            killed = time.monotonic()
            # Its last audio is still played; what comes later comes from a new one.
            _wait_for_notice(radio, "input_lost")
            return radio.back_within(time.monotonic(), BACK_WITHIN_S) + time.monotonic() - killed

        def go_off_air() -> float:
            station.on_air.clear()
            _wait_for_stall(radio)
            station.on_air.set()
            return radio.back_within(time.monotonic(), BACK_WITHIN_S)

        self.faults["ffmpeg killed"] = kill_ffmpeg
        self.faults["radio off the air"] = go_off_air

    def _add_sound_card(self) -> None:
        sys.path.insert(0, str(ROOT / "tests"))
        try:
            from support_pulse import SINK, VirtualMicrophone, missing_for_pulse
        finally:
            sys.path.pop(0)
        if (reason := missing_for_pulse()) is not None:
            self.left_out["sound card"] = reason
            return
        card = self._stack.enter_context(VirtualMicrophone())
        card.add_sink("other", "Other")
        noise = np.random.default_rng(self._seed).uniform(-0.2, 0.2, (600 * 8000, 1))
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        soundfile.write(folder / "noise.wav", noise.astype(np.float32), 8000)
        card.play(folder / "noise.wav")
        run = self._run("the sound card", "default", **card.environment)

        def unplug() -> float:
            card.remove_sink(SINK)
            _wait_for_stall(run)
            card.add_sink(SINK)
            card.play(folder / "noise.wav")
            return run.back_within(time.monotonic(), BACK_WITHIN_S)

        def move() -> float:
            card.move_recordings("other")
            moved = time.monotonic()
            # It may not be moved; if it is moved, it is opened again where it belongs.
            time.sleep(1.5)
            run.back_within(time.monotonic(), BACK_WITHIN_S)
            return time.monotonic() - moved

        self.faults["sound card unplugged"] = unplug
        self.faults["recording moved"] = move

    def _stop_server(self, run: Run) -> float:
        run.server.process.send_signal(signal.SIGSTOP)
        time.sleep(2.0)
        run.server.process.send_signal(signal.SIGCONT)
        return run.back_within(time.monotonic(), BACK_WITHIN_S)

    def _fill_disk(self) -> float:
        """Fill the disk of a recording; what was recorded stays, and `listen` goes on."""
        with _small_disk() as folder, tempfile.TemporaryFile() as log:
            table = folder / "estimates.jsonl"
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "realtime_mer", "listen", "--input", "demo"),
                    *("--hop", "0.5", "--format", "jsonl", "--record", str(folder)),
                ],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
            try:
                _wait_until(lambda: _rows(table) >= 4, "the recording has rows")
                with contextlib.suppress(OSError), (folder / "filler").open("wb") as filler:
                    while True:
                        filler.write(bytes(512))
                        filler.flush()
                rows = _rows(table)
                full_at = time.monotonic()

                def told() -> bool:
                    log.seek(0)
                    return b"No space left" in log.read()

                _wait_until(told, "listen tells that the disk is full", 90.0)
                if process.poll() is not None:
                    raise UserError("listen ended when the disk of its recording was full")
                if _rows(table) < rows:
                    raise UserError("rows of the recording are lost")
                log.seek(0)
                if b"Traceback" in (text := log.read()):
                    raise UserError(f"listen: {text.decode(errors='replace')[-500:]}")
                return time.monotonic() - full_at
            finally:
                process.kill()
                process.wait()


def _wait_for_stall(run: Run) -> None:
    since = time.monotonic()
    if not run.watchers[0].wait_for_estimate(since, BACK_WITHIN_S, stalled=True):
        raise UserError(f"nobody is told that {run.name} is gone")


def _wait_for_notice(run: Run, code: str) -> None:
    before = run.watchers[0].notices[code]
    _wait_until(lambda: run.watchers[0].notices[code] > before, f"{run.name} tells {code}")


def _wait_until(condition: Callable[[], bool], what: str, timeout_s: float = BACK_WITHIN_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise UserError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.05)


def _rows(table: Path) -> int:
    """Return the whole estimates of a recording."""
    if not table.exists():
        return 0
    text = table.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].count('"type": "estimate"')


def _missing_for_disk() -> str | None:
    try:
        with _small_disk():
            return None
    except (OSError, subprocess.CalledProcessError):
        return "a small tmpfs cannot be mounted here; run it as root"


@contextlib.contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "soak", folder]
        subprocess.run(["mount", *options], check=True, capture_output=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def growth_per_hour(samples: list[dict[str, float]], name: str) -> float | None:
    """Return the slope of a linear fit, per hour of stream; None for fewer than four samples.

    The first quarter is left out: the history of ten minutes and the caches fill first.
    """
    kept = samples[len(samples) // 4 :]
    if len(kept) < 4:
        return None
    slope = np.polyfit([s["hours"] for s in kept], [s[name] for s in kept], 1)[0]
    return round(float(slope), 2)


def soak(hours: float, pace: float, seed: int) -> dict[str, Any]:
    """Run everything and return the figures; `violations` has a sentence for each failure.

    Args:
        hours: of the demo's stream.
        pace: of the demo.
        seed: of guests and faults.

    Raises:
        UserError: a server did not start.
    """
    rng = random.Random(seed)
    violations: list[str] = []
    recovery_s: dict[str, list[float]] = {}
    with Soak(pace, seed) as this:
        before = {run.name: run.server.usage() for run in this.runs}
        guests = Guests(this.demo.server.port, seed, count=GUESTS, pace=pace)
        waiting: list[str] = []
        next_fault_at = time.monotonic() + FAULT_PAUSE_S
        next_sample_h = 0.0
        give_up_at = time.monotonic() + MAX_SLOWDOWN * hours * 3600 / pace + GIVE_UP_S
        while this.demo.hours < hours or len(recovery_s) < len(this.faults):
            if time.monotonic() > give_up_at:
                violations.append(f"only {this.demo.hours:.2f} h of stream; use a lower --pace")
                break
            if this.demo.hours >= next_sample_h:
                next_sample_h += SAMPLE_PERIOD_S / 3600
                for run in this.runs:
                    run.sample()
            if time.monotonic() >= next_fault_at:
                waiting = waiting or rng.sample(list(this.faults), len(this.faults))
                name = waiting.pop()
                times = recovery_s.setdefault(name, [])
                try:
                    times.append(round(this.faults[name](), 2))
                except (UserError, OSError, subprocess.CalledProcessError) as error:
                    violations.append(f"{name}: {error}")
                next_fault_at = time.monotonic() + FAULT_PAUSE_S
            if dead := [run.name for run in this.runs if not run.server.alive]:
                violations.append(f"the server of {', '.join(dead)} ended")
                break
            time.sleep(0.05)
        guests.stop()
        simulated_h = round(this.demo.hours, 3)
        violations += [f"guest: {fault}" for fault in guests.faults]
        servers = {run.name: _judge(run, before[run.name], violations) for run in this.runs}
        return {
            "hours": simulated_h,
            "pace": pace,
            "seed": seed,
            "servers": servers,
            "visits": guests.visits,
            "faults": {
                name: {"times": len(seconds), "longest_s": max(seconds)}
                for name, seconds in sorted(recovery_s.items()) if seconds
            },
            "left_out": this.left_out,
            "violations": violations,
        }  # fmt: skip


def _judge(run: Run, before: dict[str, float], violations: list[str]) -> dict[str, Any]:
    """Return the figures of a server at the end and add what it violates."""

    def violated(sentence: str) -> None:
        violations.append(f"{run.name}: {sentence}")

    since = time.monotonic()
    try:
        if run.server.alive:
            run.back_within(since, BACK_WITHIN_S)
    except UserError as error:
        violated(f"at the end, {error}")
    for name, slack in SLACK.items():
        with contextlib.suppress(UserError):
            _wait_until(lambda n=name, s=slack: run.server.usage()[n] <= before[n] + s, "")  # type: ignore[misc]
        if (after := run.server.usage()[name]) > before[name] + slack:
            violated(f"{after:g} {name} at the end, {before[name]:g} at the start")
    growth = {name: growth_per_hour(run.samples, name) for name in MAX_GROWTH_PER_HOUR}
    if run.hours >= 1.0:
        for name, limit in MAX_GROWTH_PER_HOUR.items():
            if (slope := growth[name]) is not None and slope > limit:
                violated(f"{name} grows by {slope:g} an hour")
    if count := run.server.tracebacks():
        violated(f"{count} exceptions in the log")
        print(run.server.log(), file=sys.stderr)
    for sentence in sorted({fault for watcher in run.watchers for fault in watcher.faults})[:5]:
        violated(sentence)
    notices = Counter[str]()
    for watcher in run.watchers:
        notices |= watcher.notices
    return {
        "hours": round(run.hours, 3),
        "estimates": sum(watcher.estimates for watcher in run.watchers),
        "missed": sum(watcher.missed for watcher in run.watchers),
        "reconnects": sum(watcher.reconnects for watcher in run.watchers),
        "notices": notices,
        "log_lines": run.server.log_lines(),
        "growth_per_hour": growth,
        "before": before,
        "after": run.server.usage(),
        "samples": run.samples[::10],
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--hours", type=float, default=2.0, help="length of the stream (default: 2)"
    )
    parser.add_argument(
        "--pace", type=float, default=20.0, help="times faster than live, up to 20 (default: 20)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of guests and faults (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(arguments)
    if not 0.0 < args.hours <= 1000.0:
        parser.error(f"--hours is {args.hours:g}; it must lie above 0 and up to 1000")
    if not 1.0 <= args.pace <= 20.0:
        parser.error(f"--pace is {args.pace:g}; it must lie between 1 and 20")
    try:
        result = soak(args.hours, args.pace, args.seed)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    info = load_engine().info
    result["model"] = {"name": info.name, "sha256": info.sha256}
    result["machine"] = describe_machine()
    _print(result)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(bool(result["violations"]))


def _print(result: dict[str, Any]) -> None:
    for name, server in result["servers"].items():
        growth = ", ".join(
            f"{what} {slope:+g}/h" for what, slope in server["growth_per_hour"].items()
            if slope is not None
        )  # fmt: skip
        print(
            f"{name}: {server['hours']:g} h, {server['estimates']} estimates, "
            f"{server['missed']} missed, {server['reconnects']} reconnects; "
            f"{growth or 'too short for a fit'}"
        )
    for name, fault in result["faults"].items():
        print(f"{name}: {fault['times']} times, back within {fault['longest_s']:g} s")
    for name, reason in result["left_out"].items():
        print(f"{name}: left out, {reason}")
    for sentence in result["violations"]:
        print(f"violated: {sentence}")


if __name__ == "__main__":
    raise SystemExit(main())
