"""All outputs of a session, each with a queue of its own."""

from __future__ import annotations

import dataclasses
import itertools
import operator
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from realtime_mer.clock import Clock
from realtime_mer.closable import Closable
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import OutputStatus, Show
from realtime_mer.outputs.output import Action, Output, OutputSettings
from realtime_mer.outputs.output_thread import OutputThread
from realtime_mer.outputs.output_worker import CLOSE_TIMEOUT_S, OutputWorker
from realtime_mer.outputs.registry import make_output
from realtime_mer.outputs.shaping import Shaper

# Settings that the thread follows alone; a change of others needs another connection.
_SHAPING = {field.name for field in dataclasses.fields(OutputSettings)} - {"name"}


@dataclass(frozen=True)
class _Running:
    settings: OutputSettings
    worker: OutputWorker


def outputs_named(name: str, outputs: Sequence[Output]) -> list[Output]:
    """Return the output of a name, or all outputs of a kind.

    Raises:
        UserError: there is none.
    """
    found = [output for output in outputs if output.name == name]
    found = found or [output for output in outputs if output.kind == name]
    if not found:
        names = ", ".join(output.name for output in outputs) or "none"
        raise UserError(f"there is no output {name}; there are: {names}")
    return found


class OutputSet(Closable):
    """Starts the outputs of a session and tells how they do. Callable from any thread.

    An output whose name is taken gets a number: `OSC 127.0.0.1:9000 2`.

    Args:
        hub: of the session.
        settings: one for each output.
        hop_s: seconds between estimates.
        show: what people change by hand; it is told how the outputs do.
        clock: the time source.

    Raises:
        UserError: an output needs a package that is not installed, or has a setting that is not
            usable here.
    """

    def __init__(
        self,
        hub: Hub,
        settings: Sequence[OutputSettings],
        *,
        hop_s: float,
        show: Show,
        clock: Clock | None = None,
    ) -> None:
        self._hub = hub
        self._hop_s = hop_s
        self._show = show
        self._clock = clock
        self._shared = OutputThread("outputs", clock=clock)
        self._changing = threading.Lock()
        self._running: tuple[_Running, ...] = ()
        self.replace(settings)
        show.statuses = self.statuses
        show.on_change(self._hurry)

    def replace(self, settings: Sequence[OutputSettings]) -> None:
        """Change to other settings: outputs that stay the same go on undisturbed.

        An output of which only shaping, rate or delay changes goes on with its connection. Others
        are closed and opened.

        Raises:
            UserError: as for the constructor; then nothing has changed.
        """
        with self._changing:
            kept = _matched(self._running, settings)
            names = {running.worker.output.name for running in kept if running is not None}
            # All that may raise comes before the first change.
            outputs = [
                running.worker.output if running is not None else _named(make_output(each), names)
                for running, each in zip(kept, settings, strict=True)
            ]
            shapers = [
                Shaper(each, hop_s=self._hop_s, control=partial(self._show.state, output.name))
                for output, each in zip(outputs, settings, strict=True)
            ]
            # A new output may need the port of an old one.
            _close([each.worker for each in self._running if each not in kept])
            now: list[_Running] = []
            for running, output, shaper in zip(kept, outputs, shapers, strict=True):
                if running is None:
                    worker = OutputWorker(
                        self._hub,
                        output,
                        shaper,
                        thread=None if output.waits else self._shared,
                        clock=self._clock,
                    )
                else:
                    worker = running.worker
                    if running.settings != shaper.settings:
                        worker.reshape(shaper)
                now.append(_Running(shaper.settings, worker))
            self._running = tuple(now)

    def statuses(self) -> list[OutputStatus]:
        """Return how the outputs do."""
        return [running.worker.status for running in self._running]

    def _hurry(self) -> None:
        for running in self._running:
            running.worker.hurry()

    def act(self, name: str, action: Action) -> None:
        """Let an output do what a scene rule asks for.

        Args:
            name: of the output, or a kind for all outputs of it.
            action: what to do.

        Raises:
            UserError: there is no output of this name or kind.
        """
        by_output = {running.worker.output: running.worker for running in self._running}
        for output in outputs_named(name, list(by_output)):
            by_output[output].act(action)

    def check(self, name: str, action: Action) -> None:
        """Check whether outputs can do what a scene rule asks for; arguments as for `act`.

        Raises:
            UserError: there is no output of this name or kind, or it cannot do that.
        """
        for output in outputs_named(name, [running.worker.output for running in self._running]):
            output.check_action(action)

    def close(self) -> None:
        """Send what was published and stop all outputs, within two seconds; safe to call twice.

        A receiver that hangs is left behind.
        """
        _close([running.worker for running in self._running])


def _matched(
    running: Sequence[_Running], settings: Sequence[OutputSettings]
) -> list[_Running | None]:
    """Return for each of the settings the output that can go on with them, None for a new one."""
    left = list(running)
    found: dict[int, _Running] = {}
    for fits in (operator.eq, _same_connection):
        for index, each in enumerate(settings):
            match = next((old for old in left if fits(old.settings, each)), None)
            if index not in found and match is not None:
                left.remove(match)
                found[index] = match
    return [found.get(index) for index in range(len(settings))]


def _same_connection(old: OutputSettings, new: OutputSettings) -> bool:
    others = {field.name for field in dataclasses.fields(old)} - _SHAPING
    return type(old) is type(new) and all(
        getattr(old, name) == getattr(new, name) for name in others
    )


def _named(output: Output, taken: set[str]) -> Output:
    """Give an output a name that is not taken yet, and take it."""
    candidates = (f"{output.name} {number}" for number in itertools.count(2))
    if output.name in taken:
        output.name = next(name for name in candidates if name not in taken)
    taken.add(output.name)
    return output


def _close(workers: Sequence[OutputWorker]) -> None:
    for worker in workers:
        worker.stop()
    deadline = time.monotonic() + CLOSE_TIMEOUT_S
    for worker in workers:
        worker.close(max(0.0, deadline - time.monotonic()))
