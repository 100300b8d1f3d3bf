"""`--check` of `serve` and `listen`: what would run, and whether it can."""

from __future__ import annotations

import argparse
import dataclasses
import socket
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from realtime_mer.address import without_secrets
from realtime_mer.commands.configured import check_options
from realtime_mer.commands.options import pcm_format, pipeline_config
from realtime_mer.commands.person_option import chosen_person_file
from realtime_mer.commands.recording import check_recording
from realtime_mer.commands.server_options import checked_server
from realtime_mer.commands.show import link_clock_class
from realtime_mer.commands.target_option import chosen_target
from realtime_mer.errors import UserError, printable_line

if TYPE_CHECKING:
    from realtime_mer.configuration.configuration import Configuration
    from realtime_mer.outputs.output import Action, Output, OutputSettings

# Settings that say where an output sends.
_ADDRESSES = ("to", "broker", "url")


def check(args: argparse.Namespace) -> int:
    """Print what would run and what is wrong with it; return 0, or 2 if something is wrong.

    Nothing is opened: no microphone, no output. Hosts are resolved and ports are tried.

    Args:
        args: of `serve` or of `listen`, which has no `port`.
    """
    configuration: Configuration = args.configuration
    problems: list[str] = []
    for name, found in _parts(args, configuration, problems):
        print(printable_line(f"{name}: {found}"))
    for problem in problems:
        print(printable_line(f"problem: {problem}"), file=sys.stderr)
    print("not everything can run" if problems else "everything can run")
    return UserError.exit_code if problems else 0


def _parts(
    args: argparse.Namespace, configuration: Configuration, problems: list[str]
) -> Iterator[tuple[str, str]]:
    yield "configuration", configuration.title
    problems += _problems_of_profiles(configuration)
    yield "input", _input(args.input)
    checks: list[Callable[[argparse.Namespace], object]] = [
        pcm_format,
        pipeline_config,
        check_recording,
        chosen_target,
    ]
    if getattr(args, "person", None) is not None:
        yield "person", args.person
        checks.append(chosen_person_file)
    for each in checks:
        problems += _problem_of(each, args)
    if args.record is not None:
        yield "recording", f"{args.record}{', with the audio' if args.record_audio else ''}"
    if hasattr(args, "port"):
        yield "server", f"{args.host}, port {args.port or 'chosen by the system'}"
        problems += _problem_of(checked_server, args) or _problem_of_port(
            "the server", args.host, args.port, socket.SOCK_STREAM
        )
    from realtime_mer.outputs.shaping import Shaper

    outputs: list[Output] = []
    for settings in configuration.outputs:
        try:
            output = _output(settings)
            Shaper(settings, hop_s=args.hop)  # reads the file of the hall
        except UserError as error:
            problems.append(str(error))
            continue
        outputs.append(output)
        yield "output", f"{output.name}, {settings.rate_hz:g} a second"
        problems += _problem_of_host(output.name, settings)
    for scene in configuration.scenes:
        yield "scene", scene.name
    problems += _problem_of_scenes(configuration, outputs)
    for name, control in configuration.controls.items():
        host, port = getattr(control, "host", None), getattr(control, "port", None)
        if host is None or not isinstance(port, int):
            yield "control", name
            continue
        yield "control", f"{name}, {host}, port {port}"
        problems += _problem_of_port(f"control by {name}", host, port, socket.SOCK_DGRAM)


def _problem_of(
    read: Callable[[argparse.Namespace], object], args: argparse.Namespace
) -> list[str]:
    try:
        read(args)
    except UserError as error:
        return [str(error)]
    return []


def _input(spec: str | None) -> str:
    return "the default device, else the demo" if spec is None else without_secrets(spec)


def _output(settings: OutputSettings) -> Output:
    from realtime_mer.outputs.registry import make_output
    from realtime_mer.outputs.shaping import Shaper

    output = make_output(settings)
    try:
        Shaper(settings, hop_s=1.0)  # reads the file of the hall
    except UserError as error:
        raise UserError(f"{output.name}: {error}") from error
    return output


def _problems_of_profiles(configuration: Configuration) -> list[str]:
    """Return what is wrong in the profiles that were not chosen."""
    problems = []
    for profile in configuration.document.profiles if configuration.document else ():
        try:
            check_options(dataclasses.replace(configuration, profile=profile).again())
        except UserError as error:
            problems.append(f"{error} (profile {profile})")
    return problems


def _problem_of_host(name: str, settings: OutputSettings) -> list[str]:
    for key in _ADDRESSES:
        address = getattr(settings, key, None)
        if isinstance(address, str) and address:
            host = urlsplit(address if "://" in address else f"//{address}").hostname
            try:
                socket.getaddrinfo(host, None)
            except (OSError, UnicodeError) as error:
                reason = getattr(error, "strerror", None) or error
                return [f"the host {host} of the output {name} is not known ({reason})"]
    return []


def _problem_of_port(what: str, host: str, port: int, kind: socket.SocketKind) -> list[str]:
    if not 0 <= port <= 65_535:  # the system would take it modulo 65536
        return [f"the port of {what} is {port}; it must lie between 0 and 65535"]
    try:
        family, _, protocol, _, address = socket.getaddrinfo(host, port, type=kind)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do; otherwise the remains of closed connections block the port.
            if kind is socket.SOCK_STREAM and sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        return [f"{what} cannot listen at {host}, port {port} ({reason}); choose another port"]
    return []


def _problem_of_scenes(configuration: Configuration, outputs: list[Output]) -> list[str]:
    from realtime_mer.live.hub import Hub
    from realtime_mer.live.show import Health, OutputStatus, Show
    from realtime_mer.outputs.output_set import outputs_named
    from realtime_mer.scenes.runner import SceneRunner
    from realtime_mer.scenes.settings import clocks_needed

    show = Show()
    statuses = [
        OutputStatus(output.name, output.kind, Health.STARTING, 0, 0, "") for output in outputs
    ]
    show.statuses = lambda: statuses

    def check_action(name: str, action: Action) -> None:
        for output in outputs_named(name, outputs):
            output.check_action(action)

    try:
        if "link" in clocks_needed(configuration.scenes):
            link_clock_class()
        SceneRunner(
            Hub(), configuration.scenes, act=lambda *_: None, check=check_action, show=show
        ).close()
    except UserError as error:
        return [str(error)]
    return []
