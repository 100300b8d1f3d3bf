"""`realtime-mer doctor`: check this machine and say how to fix what is wrong."""

from __future__ import annotations

import argparse
import os
import platform
import socket
import sys
import urllib.request
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from realtime_mer.audio.local_path import local_path
from realtime_mer.commands.options import add_backend_argument, add_input_arguments, pcm_format
from realtime_mer.errors import UserError, printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mer_engine import Engine

    from realtime_mer.audio.microphone import InputDevice
    from realtime_mer.audio.source import Block, Source
    from realtime_mer.core.types import Estimate

HELP = "check this machine and report what is wrong"
DESCRIPTION = """\
Checks everything that live use needs: package versions, the model and its
backends, PortAudio, the input devices, ffmpeg and the port of the page. Then it
records five seconds, checks the signal (level, clipping, offset, silence, lost
samples), runs the model on it, and ends with a summary.

Exit code: 0 if everything that is needed works, 1 if not.
"""
EXAMPLES = """\
  realtime-mer doctor
  realtime-mer doctor --input "USB Audio"
  realtime-mer doctor --no-listen --json
"""

_ANSWER_LIMIT = 65_536  # bytes of what is at the port
LISTEN_S = 5.0  # how long the input is checked


class Status(StrEnum):
    """Result of a check: in order, worth knowing, or broken."""

    OK = "ok"
    NOTE = "note"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check, with a sentence about it."""

    name: str
    status: Status
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", printable(self.detail))


@dataclass(slots=True)
class Report:
    """All results; `to_dict` is what `--json` prints."""

    checks: list[Check] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    devices: list[dict[str, object]] = field(default_factory=list)
    listening: dict[str, object] | None = None
    estimate: dict[str, object] | None = None

    @property
    def usable(self) -> bool:
        """Whether everything that is needed works."""
        return all(check.status != Status.BROKEN for check in self.checks)

    @property
    def verdict(self) -> str:
        """The summary, in one or two sentences."""
        broken = [check for check in self.checks if check.status == Status.BROKEN]
        notes = [check for check in self.checks if check.status == Status.NOTE]
        if broken:
            return "Not usable yet. " + "; ".join(f"{c.name}: {c.detail}" for c in broken)
        if notes:
            return "Everything needed works. Worth knowing: " + "; ".join(
                f"{check.name}: {check.detail}" for check in notes
            )
        return "Everything works."

    def to_dict(self) -> dict[str, object]:
        return {
            "usable": self.usable,
            "verdict": self.verdict,
            "checks": [asdict(check) for check in self.checks],
            "versions": self.versions,
            "devices": self.devices,
            "listening": self.listening,
            "estimate": self.estimate,
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_input_arguments(parser)
    group = parser.add_argument_group("checks")
    group.add_argument("--no-listen", action="store_true", help="do not record from the input")
    group.add_argument(
        "--port", type=int, default=8765, help="the port that 'serve' will use (default: 8765)"
    )
    group.add_argument(
        "--model", type=local_path, default=None, metavar="FILE",
        help="check this model file (default: the shipped model)",
    )  # fmt: skip
    add_backend_argument(group)
    group.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from mer_engine.strict_json import to_json

    pcm = pcm_format(args)
    if not 0 <= args.port <= 65_535:
        raise UserError(f"the port is {args.port}; it must lie between 0 and 65535")
    report = Report()
    show: Callable[[str], None] = _ignore
    if not args.json and sys.stderr.isatty():
        show = _progress
    _check_versions(report)
    engine = _check_model(report, args.model, args.backend)
    _check_devices(report, args.input)
    _check_ffmpeg(report, args.input)
    _check_port(report, args.port)
    if not args.no_listen:
        from realtime_mer.audio.open_input import open_source
        from realtime_mer.audio.source import InputKind

        # The check "listening" names the input; only a fallback to the demo needs a note.
        announcements: list[str] = []
        try:
            source = open_source(args.input, pcm=pcm, loop=True, announce=announcements.append)
        except UserError as error:
            report.checks.append(Check("input", Status.BROKEN, str(error)))
        else:
            with source:
                show(f"recording {source.info.name} for {LISTEN_S:.0f} s ...")
                _check_input(report, source, engine)
            if source.info.kind != InputKind.MICROPHONE:
                report.checks += [Check("input", Status.NOTE, text) for text in announcements]
    if args.json:
        print(to_json(report.to_dict(), indent=2))
    else:
        _print_report(report)
    return 0 if report.usable else 1


def _check_versions(report: Report) -> None:
    from importlib.metadata import PackageNotFoundError, version

    from realtime_mer import __version__

    report.versions = {
        "realtime-mer": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    packages = ("numpy", "onnxruntime", "soundfile", "sounddevice", "soxr", "websockets", "rich")
    missing = []
    for package in packages:
        try:
            report.versions[package] = version(package)
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        from mer_engine.install_hint import packages_hint

        text = f"not installed: {', '.join(missing)}; {packages_hint(missing)}"
        report.checks.append(Check("packages", Status.BROKEN, text))
    else:
        text = ", ".join(f"{name} {number}" for name, number in report.versions.items())
        report.checks.append(Check("versions", Status.OK, text))


def _check_model(report: Report, path: Path | None, name: str) -> Engine | None:
    from mer_engine import load_engine
    from mer_engine.errors import ModelError

    try:
        engine = load_engine(path)
    except (ModelError, OSError) as error:
        report.checks.append(Check("model", Status.BROKEN, str(error)))
        return None
    info = engine.info
    text = (
        f"{info.name} {info.version}, sha256 {info.sha256[:12]}, front-end "
        f"{info.frontend_fingerprint[:12]}, up to {info.lag_order_max} steps of {info.step_s} s"
    )
    report.checks.append(Check("model", Status.OK, text))
    return _check_backends(report, path, name)


def _check_backends(report: Report, path: Path | None, name: str) -> Engine | None:
    """Try every backend, also those that 'auto' skips; return the engine that would be used."""
    from mer_engine.backends.choice import choose, timed, try_backend
    from mer_engine.backends.registry import AUTO, backends
    from mer_engine.engine import shipped_model

    # Idle threads of PyTorch must not spin: on a busy machine that made this five times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    findings = []
    for entry in backends():
        finding = timed(try_backend(path or shipped_model(), entry, _ignore), anew=True)
        findings.append(finding)
        if finding.engine is None:
            # A backend that is not installed is a problem only if it was chosen.
            is_chosen = entry.name == name
            status = Status.BROKEN if is_chosen else Status.OK if finding.absent else Status.NOTE
            detail = f"not available: {finding.missing}" if finding.absent else finding.missing
        else:
            status = Status.OK
            gate = (
                finding.verdict.figures
                if finding.verdict
                else "not compared, the model file has no reference outputs"
            )
            speed = finding.speed.text if finding.speed else ""
            detail = f"{speed}; against the reference: {gate}"
        report.checks.append(Check(f"backend {entry.name}", status, detail))
    automatic = {entry.name for entry in backends() if entry.automatic}
    wanted = automatic if name == AUTO else {name}
    chosen = choose([finding for finding in findings if finding.name in wanted])
    if chosen is None:
        report.checks.append(Check("backend", Status.BROKEN, "none works on this machine"))
        return None
    if name != AUTO:
        text = f"{name}, as chosen"
    elif chosen.small is chosen.large:
        text = f"{chosen.small.name}, the fastest that works"
    else:
        text = (
            f"{chosen.small.name}, the fastest for one stream; {chosen.large.name} from "
            f"{chosen.from_size} windows at a time"
        )
    report.checks.append(Check("backend", Status.OK, text))
    return chosen.small.engine


def _check_devices(report: Report, spec: str | None) -> None:
    from realtime_mer.audio.microphone import list_input_devices, portaudio_version
    from realtime_mer.audio.open_input import input_kind
    from realtime_mer.audio.source import InputKind

    # Without a microphone the demo plays, so a microphone is needed only if --input names one.
    needed = spec is not None and input_kind(spec) == InputKind.MICROPHONE
    worse = Status.BROKEN if needed else Status.NOTE
    devices: list[InputDevice] | None = None
    try:
        # Without PortAudio, the sources of a sound server are still usable.
        devices = list_input_devices()
        report.versions["portaudio"] = portaudio_version()
    except UserError as error:
        status = Status.NOTE if devices else worse
        report.checks.append(Check("PortAudio", status, str(error)))
    else:
        report.checks.append(Check("PortAudio", Status.OK, report.versions["portaudio"]))
    if devices is None:
        return
    report.devices = [asdict(device) for device in devices]
    if not devices:
        text = "none found; connect one, or use a file, a URL or the demo"
        report.checks.append(Check("input devices", worse, text))
        return
    default = next((device.name for device in devices if device.is_default), "none")
    text = f"{len(devices)} (default: {default}); see `realtime-mer devices`"
    report.checks.append(Check("input devices", Status.OK, text))


def _check_ffmpeg(report: Report, spec: str | None) -> None:
    from realtime_mer.audio.ffmpeg import INSTALL_HINT, ffmpeg_path
    from realtime_mer.audio.url import looks_like_url

    path = ffmpeg_path()
    if path is not None:
        report.checks.append(Check("ffmpeg", Status.OK, path))
        return
    worse = Status.BROKEN if spec is not None and looks_like_url(spec) else Status.NOTE
    text = f"not installed, so internet radio, m4a and webm do not work; {INSTALL_HINT}"
    report.checks.append(Check("ffmpeg", worse, text))


def _check_port(report: Report, port: int) -> None:
    with socket.socket() as probe:
        # As servers do; otherwise the remains of closed connections block the port.
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            text = f"{port} needs administrator rights; choose one above 1023 with --port"
            report.checks.append(Check("port", Status.BROKEN, text))
            return
        except OSError:
            pass
        else:
            report.checks.append(Check("port", Status.OK, f"{port} is free"))
            return
    if _is_realtime_mer(port):
        text = f"realtime-mer already runs at http://127.0.0.1:{port}"
        report.checks.append(Check("port", Status.NOTE, text))
        return
    text = f"{port} is in use by another program; choose another one with 'serve --port'"
    report.checks.append(Check("port", Status.BROKEN, text))


def _is_realtime_mer(port: int) -> bool:
    """Return whether the server on this port is a realtime-mer server."""
    from mer_engine.strict_json import load_json

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/healthz", timeout=2.0) as response:
            health = load_json(response.read(_ANSWER_LIMIT), limit=_ANSWER_LIMIT)
    except (OSError, ValueError):
        return False
    # Without a token, a server that has one says only that.
    return isinstance(health, dict) and (
        {"model", "backend", "sessions"} <= health.keys() or health.get("token") == "required"
    )


def _check_input(report: Report, source: Source, engine: Engine | None) -> None:
    from realtime_mer.audio.input_check import check_input

    info = source.info
    result, blocks = check_input(source, LISTEN_S)
    report.listening = {
        "input": {"kind": str(info.kind), "name": info.name},
        "sample_rate_hz": info.sample_rate_hz,
        "channels": info.channels,
        **asdict(result),
    }
    problems = result.problems(info)
    # The user can correct silence and bad levels; an input without audio is broken.
    broken = result.audio_s == 0 or result.bad_samples > 0
    label = f"{info.name}, {info.sample_rate_hz} Hz, {info.channels} channel(s)"
    if not problems:
        text = f"{label}: level {result.level_db:.0f} dB, peak {result.peak_db:.0f} dB"
        report.checks.append(Check("listening", Status.OK, text))
    for problem in problems:
        status = Status.BROKEN if broken else Status.NOTE
        report.checks.append(Check("listening", status, f"{label}: {problem}"))
    if engine is None or broken:
        return
    estimate = _estimate(engine, source, blocks)
    if estimate is None:
        text = f"none: {result.audio_s:.1f} s of audio is too short"
        report.checks.append(Check("estimate", Status.NOTE, text))
        return
    report.estimate = estimate.to_dict()
    text = (
        f"valence {estimate.valence:+.2f}, arousal {estimate.arousal:+.2f}: "
        f"{estimate.mood or 'no music yet'} ({estimate.state}), "
        f"computed in {estimate.latency.compute_ms:.1f} ms"
    )
    report.checks.append(Check("estimate", Status.OK, text))


def _estimate(engine: Engine, source: Source, blocks: list[Block]) -> Estimate | None:
    """Return the pipeline's last estimate for the recorded blocks, or None."""
    from realtime_mer.core.pipeline import Pipeline

    info = source.info
    pipeline = Pipeline(engine, sample_rate_hz=info.sample_rate_hz, channels=info.channels)
    estimates = []
    for block in blocks:
        if block.dropped_before:
            estimates += pipeline.skip(block.dropped_before)
        estimates += pipeline.feed(block.samples)
    estimates += pipeline.finish()
    return estimates[-1] if estimates else None


def _print_report(report: Report) -> None:
    from rich.console import Console
    from rich.text import Text

    styles = {Status.OK: "green", Status.NOTE: "yellow", Status.BROKEN: "bold red"}
    console = Console(soft_wrap=True, highlight=False)
    for check in report.checks:
        status = Text(f"{check.status:<7}", style=styles[check.status])
        console.print(status, Text(printable(f"{check.name}: {check.detail}")), sep="")
    console.print()
    console.print(Text(printable(report.verdict), style="bold"))


def _progress(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def _ignore(text: str) -> None:
    """Show nothing."""
