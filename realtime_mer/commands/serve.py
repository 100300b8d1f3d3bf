"""`realtime-mer serve`: live, in the browser."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import threading
import webbrowser
from collections.abc import Iterator
from typing import TYPE_CHECKING

from realtime_mer.commands.options import (
    add_input_arguments,
    add_pipeline_arguments,
    chosen_engine,
    pcm_format,
    pipeline_config,
)

if TYPE_CHECKING:
    from realtime_mer.audio.source import Source
    from realtime_mer.live.hub import LatestSlot
    from realtime_mer.live.runner import LiveRunner
    from realtime_mer.server.server import MerServer

HELP = "listen and show the emotion in the browser"
DESCRIPTION = """\
Listens live and serves the page that shows valence and arousal, at
http://127.0.0.1:8765 unless told otherwise. On the same port: /ws, the messages
for programs (docs/protocol.md), /healthz and /metrics (Prometheus).

The page's visitors can also send their own microphone, each as a session of its
own. Ctrl-C ends.
"""
EXAMPLES = """\
  realtime-mer serve --open
  realtime-mer serve --input "USB Audio" --hop 0.5
  realtime-mer serve --input song.flac --exit-at-end
  realtime-mer serve --input browser --max-sessions 4
  realtime-mer serve --host 0.0.0.0 --port 8080 --allow-origin https://vj.example
"""
STATUS_PERIOD_S = 2.0
FLUSH_TIMEOUT_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_input_arguments(parser)
    add_pipeline_arguments(parser)
    group = parser.add_argument_group("server")
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on; 0.0.0.0 lets every device of your networks in "
        "(default: 127.0.0.1, this machine only)",
    )
    group.add_argument(
        "--port", type=int, default=8765, help="TCP port; 0 takes a free one (default: 8765)"
    )
    group.add_argument(
        "--max-sessions",
        type=int,
        default=64,
        metavar="N",
        help="audio streams of browsers at once, at most 4096 (default: 64)",
    )
    group.add_argument(
        "--max-viewers", type=int, default=200, metavar="N",
        help="connections at once (default: 200)",
    )  # fmt: skip
    group.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="also serve pages from there, for example https://vj.example; "
        "'null' is a page opened from a file; may be repeated",
    )
    group.add_argument("--open", action="store_true", help="open the page in the browser")
    group.add_argument(
        "--exit-at-end",
        action="store_true",
        help="leave when the file or pipe is over, and play the demo once (default: stay)",
    )
    group.add_argument(
        "--speed",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="play files and the demo so many times faster than real time, for tests (default: 1)",
    )
    group.add_argument("--quiet", action="store_true", help="print the address and warnings only")


def run(args: argparse.Namespace) -> int:
    from realtime_mer.live.runner import LiveRunner
    from realtime_mer.server.server import MerServer, ServerConfig

    server_config = ServerConfig(
        host=args.host,
        port=args.port,
        max_sessions=args.max_sessions,
        max_viewers=args.max_viewers,
        allowed_origins=tuple(args.allow_origin),
    )
    config = pipeline_config(args)
    try:
        engine, choice = chosen_engine(args)
        with contextlib.ExitStack() as stack:
            source = _open_source(args)
            runner = None
            if source is not None:
                stack.enter_context(source)
                runner = LiveRunner(source, engine, config=config, speed=args.speed)
            server = MerServer(engine, runner, config=server_config, pipeline=config)
            asyncio.run(_Serving(args, server, runner, choice).run())
    except KeyboardInterrupt:
        # Before the signal handlers stood, while the model was loading.
        print("stopped", file=sys.stderr)
    return 0


def _open_source(args: argparse.Namespace) -> Source | None:
    """The server's own input; None where only browsers bring audio."""
    from realtime_mer.audio.open_input import default_input, input_kind, open_source
    from realtime_mer.audio.source import InputKind

    spec = args.input
    if spec is None:
        spec, sentence = default_input()
        print(sentence, file=sys.stderr)
    kind = input_kind(spec)
    if kind is InputKind.BROWSER:
        return None
    loop = args.loop or (kind is InputKind.DEMO and not args.exit_at_end)
    return open_source(spec, pcm=pcm_format(args), loop=loop)


class _Serving:
    """One run of the server, from the bound port to the summary."""

    def __init__(
        self,
        args: argparse.Namespace,
        server: MerServer,
        runner: LiveRunner | None,
        choice: str,
    ) -> None:
        self._args = args
        self._choice = choice
        self._server = server
        self._runner = runner
        self._status_shown = False
        self._stop = asyncio.Event()
        self._news = asyncio.Event()

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        with _signals(self._loop, self._stop):
            async with self._server:
                slot = None
                if self._runner is not None:
                    slot = self._runner.hub.subscribe_latest(self._wake)
                    self._runner.start()
                self._greet()
                await self._watch(slot)
                if self._runner is not None:
                    await asyncio.to_thread(self._runner.stop)
                await self._server.flush(FLUSH_TIMEOUT_S)
        self._clear_status()
        if not self._args.quiet:
            print(self._summary(), file=sys.stderr)

    def _wake(self) -> None:
        # In the listener's thread; after the loop has ended there is nothing to wake.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.set)

    def _greet(self) -> None:
        from realtime_mer.server.server import binding_warning

        print(f"realtime-mer is at {self._server.url}", flush=True)
        warning = binding_warning(self._args.host)
        if warning is not None:
            print(warning, file=sys.stderr)
        if not self._args.quiet:
            print(f"input: {self._input()}   (Ctrl-C ends)", flush=True)
            print(self._choice, file=sys.stderr)
        elif self._server.backend_note:
            print(self._server.backend_note, file=sys.stderr)
        if self._args.open:
            threading.Thread(target=webbrowser.open, args=(self._server.url,), daemon=True).start()

    def _input(self) -> str:
        if self._runner is None:
            return "the microphones of browsers that visit the page"
        info = self._runner.info
        channels = "mono" if info.channels == 1 else f"{info.channels} channels"
        return f"{info.kind}, {info.name}, {info.sample_rate_hz} Hz, {channels}"

    async def _watch(self, slot: LatestSlot | None) -> None:
        """Prints what happens until a signal comes, or the input ends and that is to be the end."""
        stopped = asyncio.create_task(self._stop.wait())
        try:
            while not stopped.done():
                news = asyncio.create_task(self._news.wait())
                await asyncio.wait(
                    (stopped, news),
                    timeout=STATUS_PERIOD_S if self._has_status() else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                news.cancel()
                self._news.clear()
                if slot is not None and self._tell(slot):
                    return
                self._show_status()
        finally:
            stopped.cancel()

    def _tell(self, slot: LatestSlot) -> bool:
        """Prints notices; True where the input has ended and so shall we."""
        from realtime_mer.live.hub import End, Notice
        from realtime_mer.server.server import BACKEND_NOTICE

        for item in slot.take():
            if isinstance(item, Notice):
                if item.code == BACKEND_NOTICE:
                    continue  # the engine has said so itself, at once
                self._clear_status()
                print(item.message, file=sys.stderr)
            elif isinstance(item, End):
                if self._args.exit_at_end:
                    return True
                self._clear_status()
                print(f"{item.reason}; the page stays open (Ctrl-C ends)", file=sys.stderr)
        return False

    def _has_status(self) -> bool:
        return not self._args.quiet and self._runner is not None and sys.stderr.isatty()

    def _show_status(self) -> None:
        if not self._has_status() or self._runner is None:
            return
        latest = self._runner.hub.latest
        if latest is None:
            return
        lost = sum(self._runner.stats.losses().values())
        line = (
            f"{latest.state}  {latest.mood:8}  valence {latest.valence:+.2f}  "
            f"arousal {latest.arousal:+.2f}  {latest.level_db:6.1f} dB  "
            f"viewers {self._server.viewers}  losses {lost}"
        )
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        self._status_shown = True

    def _clear_status(self) -> None:
        if self._status_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._status_shown = False

    def _summary(self) -> str:
        from realtime_mer.live.stats import Counter

        stats = self._server.stats
        lost = [f"{name} {count}" for name, count in stats.losses().items() if count]
        return (
            f"stopped after {self._server.uptime_s:.0f} s: {stats[Counter.ESTIMATES]} estimates, "
            f"at most {self._server.peak_viewers} viewer(s), "
            f"{', '.join(lost) if lost else 'nothing lost'}"
        )


@contextlib.contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> Iterator[None]:
    """Lets SIGINT and SIGTERM set an event instead of interrupting anything."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        # Not loop.add_signal_handler: Windows has none.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
