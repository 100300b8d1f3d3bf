"""`realtime-mer serve`: show live estimates in the browser."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import threading
import webbrowser
from functools import partial
from typing import TYPE_CHECKING

from realtime_mer.commands.configured import add_configuration_arguments
from realtime_mer.commands.marker_keys import MarkerKeys, marker_text
from realtime_mer.commands.options import (
    add_input_arguments,
    add_pipeline_arguments,
    chosen_engine,
    exit_code,
    pcm_format,
    pipeline_config,
)
from realtime_mer.commands.person_option import add_person_argument, chosen_person_file
from realtime_mer.commands.recording import (
    add_recording_arguments,
    check_recording,
    recording_line,
    start_recording,
)
from realtime_mer.commands.server_options import add_server_arguments, chosen_server
from realtime_mer.commands.signals import on_signals
from realtime_mer.commands.streams import (
    StandardOutputError,
    discard_output,
    drop_late_messages,
    line_room,
)
from realtime_mer.commands.target_option import add_target_argument, chosen_target
from realtime_mer.commands.token_options import qr_code
from realtime_mer.core.events import Marker
from realtime_mer.errors import UserError, printable
from realtime_mer.live.show import outputs_text
from realtime_mer.server.tokens import Role
from realtime_mer.service_manager import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from realtime_mer.audio.source import Source
    from realtime_mer.live.hub import LatestSlot
    from realtime_mer.live.replay import Replay
    from realtime_mer.live.runner import LiveRunner
    from realtime_mer.recording.recorder import Recorder
    from realtime_mer.server.server import MerServer

HELP = "listen and show the emotion in the browser"
DESCRIPTION = """\
Listens live and serves a page that shows valence and arousal, by default at
http://127.0.0.1:8765. The same port serves programs: /ws sends messages
(docs/protocol.md), /healthz the state, /metrics figures for Prometheus.

Visitors of the page can also send the sound of their own microphone; each gets
a separate session. Ctrl-C stops the server.

With --host 0.0.0.0 other devices can connect. They need a token, or a link that
the terminal shows with a QR code and that opens the page once. Without TLS,
whoever can read the network's traffic can read the token too.
"""
EXAMPLES = """\
  realtime-mer serve --open
  realtime-mer serve --input "USB Audio" --hop 0.5
  realtime-mer serve --input song.flac --exit-at-end
  realtime-mer serve --osc 127.0.0.1:7000
  realtime-mer serve --record evening --record-audio
  realtime-mer serve --profile club --check
  realtime-mer serve --person anna
  realtime-mer serve --input browser --max-sessions 4
  realtime-mer serve --host 0.0.0.0 --tls self-signed
  realtime-mer serve --host 0.0.0.0 --allow-origin https://vj.example
  realtime-mer serve --allow-frame http://127.0.0.1:3000
"""
LINK_ROLE = Role.SEND
STATUS_PERIOD_S = 2.0
FLUSH_TIMEOUT_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_input_arguments(parser)
    add_pipeline_arguments(parser)
    add_recording_arguments(parser)
    add_server_arguments(parser)
    add_target_argument(parser)
    add_person_argument(parser)
    add_configuration_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from realtime_mer.commands.check import check
    from realtime_mer.commands.live_report import LiveReport
    from realtime_mer.commands.show import running_show, writes_standard_output
    from realtime_mer.commands.show_messages import show_messages
    from realtime_mer.live.person import Person
    from realtime_mer.live.runner import LiveRunner
    from realtime_mer.server.server import MerServer

    if args.check:
        return check(args)
    server_config = chosen_server(args)
    target = chosen_target(args)
    person_file = chosen_person_file(args)
    check_recording(args)
    config = pipeline_config(args)
    try:
        engine, backend_line = chosen_engine(args)
        person = None if person_file is None else Person(person_file, engine.info)
        with contextlib.ExitStack() as stack:
            source = _open_source(args)
            runner = show = recorder = None
            if source is not None:
                stack.enter_context(source)
                runner = LiveRunner(source, engine, config=config, speed=args.speed)
                recorder = start_recording(args, runner, target)
                if recorder is not None:
                    stack.enter_context(recorder)
                show = stack.enter_context(
                    running_show(runner.hub, args.configuration, hop_s=config.hop_s)
                )
                if not args.quiet:
                    stack.enter_context(show_messages())
            server = MerServer(
                engine,
                runner,
                config=server_config,
                pipeline=config,
                show=show,
                target=target,
                recorded=recorder is not None,
                person=person,
                report=LiveReport(
                    engine,
                    config,
                    recording=None if recorder is None else recorder.folder,
                    target=target,
                ),
            )
            run = ServeRun(
                args,
                server,
                runner,
                backend_line,
                recorder=recorder,
                stdout_taken=writes_standard_output(args.configuration),
            )
            asyncio.run(run.run())
    except KeyboardInterrupt:
        # While the model was loading, before the signal handlers were set.
        print("stopped", file=sys.stderr)
        return 0
    if server.stuck:
        print(server.stuck, file=sys.stderr)
        return 1
    code = exit_code(runner) if args.exit_at_end and runner is not None else 0
    incomplete = recorder is not None and recorder.missing > 0
    return code or (UserError.exit_code if incomplete else 0)


def _open_source(args: argparse.Namespace) -> Source | None:
    """Open the server's own input; None if only browsers send audio."""
    from realtime_mer.audio.open_input import default_input, input_kind, open_source
    from realtime_mer.audio.source import InputKind

    spec = args.input
    if spec is None:
        spec, message = default_input()
        print(message, file=sys.stderr)
    kind = input_kind(spec)
    if kind is InputKind.BROWSER:
        if args.record is not None:
            raise UserError(
                "--record records the server's own input, and --input browser has none; choose "
                "another input, or leave out --record"
            )
        configuration = args.configuration
        if configuration.outputs or configuration.scenes or configuration.controls:
            raise UserError(
                "outputs, scenes and controls follow the server's own input, and --input browser "
                "has none; choose another input, or another file with --config"
            )
        return None
    loop = args.loop or (kind is InputKind.DEMO and not args.exit_at_end)
    return open_source(spec, pcm=pcm_format(args), loop=loop)


class ServeRun:
    """One run of the server, from binding the port to the summary.

    Args:
        args: with those of `add_server_arguments` and the configuration.
        server: not started.
        runner: the server's own input, or the replay of a recording; None where it has neither.
        backend_line: what to say of the engine; "" for nothing.
        recorder: records the session; None where nothing does.
        stdout_taken: whether something else writes standard output.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        server: MerServer,
        runner: LiveRunner | Replay | None,
        backend_line: str,
        *,
        recorder: Recorder | None = None,
        stdout_taken: bool,
    ) -> None:
        self._args = args
        self._backend_line = backend_line
        self._server = server
        self._runner = runner
        self._stdout_taken = stdout_taken
        self._recorder = recorder
        self._keys: MarkerKeys | None = None
        self._status_shown = False
        self._last_message = ""
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._item_arrived = asyncio.Event()

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        stop, stop_now = (
            partial(self._loop.call_soon_threadsafe, event.set)
            for event in (self._stop, self._stop_now)
        )
        # Both end the server regularly.
        with on_signals(lambda _: stop(), (lambda _: stop_now()) if self._args.drain else None):
            async with self._server:
                slot = None
                if self._runner is not None:
                    slot = self._runner.hub.subscribe_latest(self._wake)
                    self._runner.start()
                self._print_start()
                # A ping shows that the event loop turns.
                async with ServiceManager(lambda: self._server.healthy):
                    with self._marker_keys():
                        await self._watch(slot)
                if self._stop.is_set() and self._args.drain:
                    await self._drain()
                if self._runner is not None:
                    await asyncio.to_thread(self._runner.stop)
                if self._recorder is not None:
                    await asyncio.to_thread(self._recorder.close)
                await self._server.flush(FLUSH_TIMEOUT_S)
        self._clear_status()
        if self._recorder is not None:
            print(printable(self._recorder.summary), file=sys.stderr)
        if not self._args.quiet:
            print(self._summary(), file=sys.stderr)

    async def _drain(self) -> None:
        """Let the clients move to another server, until a second signal or the end of the time."""
        self._clear_status()
        viewers = self._server.viewers
        if viewers and not self._args.quiet:
            print(
                f"going away: waiting up to {self._args.drain:g} s until "
                f"{'1 client has' if viewers == 1 else f'{viewers} clients have'} left "
                "(Ctrl-C ends now)",
                file=sys.stderr,
            )
        waits = [
            asyncio.create_task(self._server.drain()),
            asyncio.create_task(self._stop_now.wait()),
        ]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    @contextlib.contextmanager
    def _marker_keys(self) -> Iterator[None]:
        """Let keys of the terminal make markers of live music until the `with` block ends."""
        from realtime_mer.audio.source import InputKind

        if self._runner is None or self._runner.info.kind is InputKind.RECORDING:
            yield
            return
        with MarkerKeys(self._runner.hub, use=self._args.input != "-") as keys:
            descriptor = keys.descriptor
            if descriptor < 0:
                yield
                return
            self._keys = keys
            self._loop.add_reader(descriptor, self._take_keys, keys)
            try:
                yield
            finally:
                self._loop.remove_reader(descriptor)
                self._keys = None

    def _take_keys(self, keys: MarkerKeys) -> None:
        descriptor = keys.descriptor
        keys.poll()
        if keys.descriptor < 0:  # the terminal is gone
            self._loop.remove_reader(descriptor)
        self._item_arrived.set()

    def _wake(self) -> None:
        # Called in the runner's thread; after the event loop has ended there is nothing to wake.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._item_arrived.set)

    def _say(self, line: str) -> None:
        if self._stdout_taken:
            print(line, file=sys.stderr)
        else:
            _print_if_possible(line)

    def _print_start(self) -> None:
        self._say(f"realtime-mer is at {self._server.url}")
        for url in self._server.network_urls:
            self._say(f"other devices find it at {url}")
        tls = self._server.config.tls
        for line in () if tls is None else tls.loaded.warnings:
            print(line, file=sys.stderr)
        if tls is not None and tls.self_signed and not self._args.quiet:
            self._say(
                "browsers warn of the certificate; before you accept it, compare its SHA-256:\n  "
                f"{tls.loaded.fingerprint}"
            )
        self._print_access()
        if (person := self._server.person) is not None and not self._args.quiet:
            self._say(f"{self._args.person} taps at {self._outer_url()}calibrate")
            print(f"{person.map.taps} taps so far; {person.map.advice}", file=sys.stderr)
        if not self._args.quiet:
            self._say(f"input: {self._input()}   (Ctrl-C ends)")
            if self._recorder is not None:
                print(printable(recording_line(self._recorder)), file=sys.stderr)
            if self._backend_line:
                print(self._backend_line, file=sys.stderr)
            if self._args.configuration.file is not None:
                title = printable(self._args.configuration.title)
                print(f"configuration: {title}", file=sys.stderr)
        elif self._server.backend_note:
            print(self._server.backend_note, file=sys.stderr)
        if self._args.open:
            url = self._server.url
            if self._server.config.tokens is not None:
                url = self._server.link(Role.CONTROL, url)
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    def _print_access(self) -> None:
        """Say who may connect and, on a terminal, show a link for the next device."""
        from realtime_mer.server.server import binding_warning

        tokens = self._server.config.tokens
        if tokens is None:
            warning = binding_warning(self._args.host, proxied=bool(self._args.proxy))
            if warning is not None:
                print(warning, file=sys.stderr)
            return
        self._say(f"a token is needed; the tokens are in {tokens.origin}")
        # Elsewhere the output may be a log, which others may read.
        if sys.stdout.isatty():
            self._server.on_link_used(self._replace_link)
            self._print_link()

    def _print_link(self) -> None:
        server = self._server
        link = server.link(LINK_ROLE, self._outer_url())
        self._say(f"this link opens the page once, to watch and to send sound:\n{link}")
        if not self._args.quiet and (code := qr_code(link)) is not None:
            self._say(code)

    def _outer_url(self) -> str:
        """Return the address of the page for other devices."""
        server = self._server
        if server.config.proxies:
            for origin in server.config.allowed_origins:
                if origin.startswith("https://"):
                    return f"{origin}/"
        return next(iter(server.network_urls), server.url)

    def _replace_link(self, role: Role) -> None:
        if role is LINK_ROLE:
            self._clear_status()
            self._print_link()

    def _input(self) -> str:
        from realtime_mer.audio.source import InputKind

        if self._runner is None:
            return "the microphones of browsers that open the page"
        info = self._runner.info
        if info.kind is InputKind.RECORDING:
            return f"recording, {info.name}"
        channels = "mono" if info.channels == 1 else f"{info.channels} channels"
        name = info.kind if info.name == info.kind else f"{info.kind}, {info.name}"
        return f"{name}, {info.sample_rate_hz} Hz, {channels}"

    async def _watch(self, slot: LatestSlot | None) -> None:
        """Print notices and the status until a signal or, with --exit-at-end, the end of input."""
        drop_late_messages()
        stopped = asyncio.create_task(self._stop.wait())
        try:
            while not stopped.done():
                arrived = asyncio.create_task(self._item_arrived.wait())
                await asyncio.wait(
                    (stopped, arrived),
                    timeout=STATUS_PERIOD_S if self._has_status() or self._recorder else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                arrived.cancel()
                self._item_arrived.clear()
                if self._recorder is not None:
                    self._recorder.watch()
                if slot is not None and self._print_items(slot):
                    return
                self._show_status()
        finally:
            stopped.cancel()

    def _print_items(self, slot: LatestSlot) -> bool:
        """Print new notices; return True if the input has ended and the server should stop."""
        from realtime_mer.live.hub import End, Notice
        from realtime_mer.server.server import BACKEND_NOTICE

        for item in slot.take():
            if isinstance(item, Notice):
                if item.code == BACKEND_NOTICE:
                    continue  # the engine has printed it already
                self._clear_status()
                print(item.message, file=sys.stderr)
                self._last_message = item.message
            elif isinstance(item, Marker) and not self._args.quiet:
                self._clear_status()
                print(marker_text(item), file=sys.stderr)
            elif isinstance(item, End):
                if self._args.exit_at_end:
                    return True
                self._clear_status()
                said = "" if item.reason == self._last_message else f"{item.reason}; "
                print(f"{said}the page stays open (Ctrl-C ends)", file=sys.stderr)
        return False

    def _has_status(self) -> bool:
        if self._args.quiet or self._runner is None:
            return False
        return sys.stderr.isatty() and not (self._stdout_taken and sys.stdout.isatty())

    def _show_status(self) -> None:
        if self._keys is not None and self._keys.prompt and sys.stderr.isatty():
            self._show_line(self._keys.prompt)
            return
        if not self._has_status() or self._runner is None:
            return
        latest = self._runner.hub.latest
        if latest is None:
            self._clear_status()
            return
        outputs = outputs_text(self._server.show.statuses())
        line = (
            f"{latest.state} {latest.mood or '–':7}  valence {latest.valence:+.2f}  "
            f"arousal {latest.arousal:+.2f}  {latest.level_db:3.0f} dB  "
            f"{outputs}{'  ' * bool(outputs)}"
            f"viewers {self._server.viewers}  {self._runner.stats.loss_text()}"
        )
        self._show_line(line)

    def _show_line(self, line: str) -> None:
        # A longer line would go on in the next one, and stay there.
        print(f"\r\x1b[K{line[: line_room()]}", end="", file=sys.stderr, flush=True)
        self._status_shown = True

    def _clear_status(self) -> None:
        if self._status_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._status_shown = False

    def _summary(self) -> str:
        from realtime_mer.live.stats import Counter

        stats, outputs = self._server.stats, outputs_text(self._server.show.statuses())
        return (
            f"stopped after {self._server.uptime_s:.0f} s: {stats[Counter.ESTIMATES]} estimates, "
            f"at most {self._server.peak_viewers} viewer(s), "
            f"{'; '.join(filter(None, (stats.loss_text(), outputs)))}"
        )


def _print_if_possible(line: str) -> None:
    """Print a line to standard output; serve without it if that is closed or its disk is full."""
    try:
        print(line, flush=True)
    except StandardOutputError:
        discard_output()
