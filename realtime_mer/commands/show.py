"""What `serve`, `listen` and `replay` run beside the music: outputs, scenes, controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from realtime_mer.closable import Closable
from realtime_mer.configuration.configuration import Configuration, control_class
from realtime_mer.configuration.watch import ConfigurationWatch
from realtime_mer.errors import UserError
from realtime_mer.live.show import Show
from realtime_mer.outputs.output_set import OutputSet
from realtime_mer.outputs.registry import kind_of, needing
from realtime_mer.scenes.runner import SceneRunner
from realtime_mer.scenes.settings import clocks_needed

if TYPE_CHECKING:
    from realtime_mer.live.hub import Hub
    from realtime_mer.live.link_clock import LinkClock
    from realtime_mer.live.tempo_clock import BeatClock
    from realtime_mer.scenes.settings import SceneSettings


@contextmanager
def running_show(hub: Hub, configuration: Configuration, *, hop_s: float) -> Iterator[Show]:
    """Run the outputs, scenes and controls of a session until the `with` block ends.

    While it runs, the outputs and scenes follow the configuration file.

    Args:
        hub: of the session; its source starts later.
        configuration: what to run.
        hop_s: seconds between estimates.

    Raises:
        UserError: an output, a scene or a control cannot be used here.
    """
    show = Show()
    show.mark = lambda text, t=None: hub.mark(text, datetime.now(UTC), t)
    with ExitStack() as stack:
        outputs = OutputSet(hub, configuration.outputs, hop_s=hop_s, show=show)
        stack.enter_context(outputs)
        scenes = stack.enter_context(_Scenes(hub, outputs, show))
        scenes.change(configuration.scenes)
        for name in configuration.controls:
            stack.enter_context(_control(name, show, configuration))
        if configuration.file is not None:
            follower = _Follower(show, outputs, scenes, configuration)
            stack.enter_context(ConfigurationWatch(configuration, follower.apply, hub))
        yield show


def writes_standard_output(configuration: Configuration) -> bool:
    """Return whether an output needs standard output for itself."""
    return any(kind_of(settings) == "jsonl" for settings in configuration.outputs)


def _control(name: str, show: Show, configuration: Configuration) -> Closable:
    control_class(name)  # says which package is missing
    if name == "osc":
        from realtime_mer.outputs.osc_control import OscControl

        return OscControl(show, configuration.controls[name])
    from realtime_mer.outputs.midi_control import MidiControl

    return MidiControl(show, configuration.controls[name])


class _Scenes(Closable):
    """The scenes of a running show, and the clocks that they wait for."""

    def __init__(self, hub: Hub, outputs: OutputSet, show: Show) -> None:
        self._hub = hub
        # Beats cost time, so there is no clock that no scene waits for.
        self._clocks: dict[str, BeatClock | LinkClock] = {}
        self._runner = SceneRunner(hub, (), act=outputs.act, check=outputs.check, show=show)

    def change(self, scenes: Sequence[SceneSettings]) -> None:
        """Go on with these scenes; one that is active and still exists stays.

        Raises:
            UserError: they cannot be used here; nothing has changed.
        """
        before = self._clocks
        with ExitStack() as new:
            clocks: dict[str, BeatClock | LinkClock] = {}
            for kind in clocks_needed(scenes):
                clocks[kind] = before.get(kind) or _clock(kind, self._hub)
                if kind not in before:
                    new.callback(clocks[kind].close)
            self._runner.replace(scenes, clocks)
            new.pop_all()
        self._clocks = clocks
        for kind in before.keys() - clocks.keys():
            before[kind].close()

    def close(self) -> None:
        """Stop all scenes; safe to call twice."""
        self._runner.close()
        for clock in self._clocks.values():
            clock.close()


def _clock(kind: str, hub: Hub) -> BeatClock | LinkClock:
    if kind == "beat":
        from realtime_mer.live.tempo_clock import BeatClock

        return BeatClock(hub)
    return link_clock_class()()


def link_clock_class() -> type[LinkClock]:
    """Return the class of the clock of Ableton Link.

    Raises:
        UserError: its package is not installed.
    """
    with needing('a scene with quantise = "link"', "link"):
        from realtime_mer.live.link_clock import LinkClock
    return LinkClock


class _Follower:
    """Lets the outputs and scenes of a running show follow the configuration."""

    def __init__(
        self, show: Show, outputs: OutputSet, scenes: _Scenes, configuration: Configuration
    ) -> None:
        self._show = show
        self._outputs = outputs
        self._scenes = scenes
        self._now = configuration

    def apply(self, new: Configuration) -> list[str]:
        """Make a configuration hold; return what has changed, in words.

        Raises:
            UserError: it cannot hold; nothing has changed.
        """
        old = self._now
        told = []
        if writes_standard_output(new) != writes_standard_output(old):
            raise UserError("[[jsonl]] is added or removed, which needs a restart")
        if new.outputs != old.outputs:
            # What a scene that is gone does at its end may need an output that is gone too.
            names_kept = {scene.name for scene in new.scenes}
            self._scenes.change([scene for scene in old.scenes if scene.name in names_kept])
            try:
                self._outputs.replace(new.outputs)
            except UserError:
                self._scenes.change(old.scenes)
                raise
            names = [status.name for status in self._show.statuses()]
            told.append(f"the outputs are {', '.join(names) or 'none'}")
        if new.scenes != old.scenes or new.outputs != old.outputs:
            try:
                self._scenes.change(new.scenes)  # they name outputs
            except UserError:
                self._outputs.replace(old.outputs)
                self._scenes.change(old.scenes)
                raise
        if new.scenes != old.scenes:
            names = [scene.name for scene in new.scenes]
            told.append(f"the scenes are {', '.join(names) or 'none'}")
        self._now = new
        return told
