"""All outputs of a session, each in a thread of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from realtime_mer.clock import Clock
from realtime_mer.closable import Closable
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import OutputStatus, Show
from realtime_mer.outputs.output import Action, Output, OutputSettings
from realtime_mer.outputs.output_thread import OutputThread
from realtime_mer.outputs.registry import make_output
from realtime_mer.outputs.shaping import Shaper


class OutputSet(Closable):
    """Starts the outputs of a session and tells how they do. Callable from any thread.

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
        outputs = [(make_output(each), each) for each in settings]
        self._threads = [
            OutputThread(
                hub,
                output,
                _shaper(each, output, hop_s, show),
                rate_hz=each.rate_hz,
                clock=clock,
            )
            for output, each in outputs
        ]
        show.statuses = self.statuses

    def statuses(self) -> list[OutputStatus]:
        """Return how the outputs do."""
        return [thread.status for thread in self._threads]

    def act(self, name: str, action: Action) -> None:
        """Let an output do what a scene rule asks for.

        Raises:
            UserError: there is no output of this name.
        """
        for thread in self._threads:
            if name in (thread.output.name, thread.output.kind):
                thread.act(action)
                return
        names = ", ".join(thread.output.name for thread in self._threads) or "none"
        raise UserError(f"there is no output {name}; there are: {names}")

    def close(self) -> None:
        """Stop all outputs; safe to call twice."""
        with contextlib.ExitStack() as stack:
            for thread in self._threads:
                stack.callback(thread.close)


def _shaper(settings: OutputSettings, output: Output, hop_s: float, show: Show) -> Shaper:
    return Shaper(settings, hop_s=hop_s, control=partial(show.state, output.name))
