"""Runs the scenes of a session: listens to it and lets the outputs act."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from realtime_mer.clock import Clock, SystemClock
from realtime_mer.closable import Closable
from realtime_mer.core.events import Event
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import ControlCommand, SceneStatus, Show
from realtime_mer.live.tempo_clock import TempoClock
from realtime_mer.outputs.output import Action
from realtime_mer.scenes.rules import SceneChange, SceneRules
from realtime_mer.scenes.settings import ActionKey, OutputAction, SceneSettings

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 2.0
# A start that waits follows changes of the tempo: it looks at the clock this often, and so long
# before its beat no more, so that it does not take the next one for it.
LOOK_S = 0.1
STEADY_S = 0.15
KEYS: tuple[ActionKey, ...] = ("do", "at_end")

Act = Callable[[str, Action], None]


@dataclass(frozen=True)
class _Start:
    """A start that waits.

    Attributes:
        scene: that starts.
        beats: it waits for a beat that is a multiple of this.
        due_s: monotonic time of that beat in seconds.
    """

    scene: SceneSettings
    beats: int
    due_s: float

    @property
    def waits_for(self) -> str:
        return "the beat" if self.beats == 1 else "the bar"


class SceneRunner(Closable):
    """Lets outputs act and sets controls as scenes start and end, in a thread of its own.

    Each start and end is logged with its reason at the level INFO. A start waits for the beat or
    bar that its scene asks for; a scene that ends or is replaced before does nothing.

    Args:
        hub: of the session.
        scenes: their settings.
        act: lets an output act, by its name or kind (`OutputSet.act`).
        check: raises UserError if that is not possible (`OutputSet.check`).
        show: gets the controls of scenes, and starts scenes by hand through this object.
        clocks: that of the music's beats ("beat") and that of Ableton Link ("link"), as far as
            scenes need them (`clocks_needed`); without its clock a scene starts at once.
        clock: the time source.

    Raises:
        UserError: two scenes have the same name, or a scene names an output that is not there
            or cannot do what the scene asks for.
    """

    def __init__(
        self,
        hub: Hub,
        scenes: Sequence[SceneSettings],
        *,
        act: Act,
        check: Act,
        show: Show,
        clocks: Mapping[str, TempoClock] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._hub = hub
        self._act = act
        self._check = check
        self._show = show
        self._clock = clock or SystemClock()
        self._clocks = clocks or {}
        self._rules = self._checked(scenes)
        self._lock = threading.Lock()  # of `_rules` and of the start that waits
        self._waiting: _Start | None = None
        self._by_hand: deque[str] = deque()
        self._closing = threading.Event()
        # A lost event would be a lost scene; nothing here waits, so the queue stays short.
        self._subscription = hub.subscribe_lossless()
        show.start_scene = self.start
        show.scenes = self.statuses
        self._thread = threading.Thread(target=self._run, name="scenes", daemon=True)
        self._thread.start()

    def statuses(self) -> list[SceneStatus]:
        """Return for each scene whether it is active, and why. Callable from any thread."""
        with self._lock:
            texts = {name: finding.text for name, finding in self._rules.findings.items()}
            if self._waiting is not None:
                start = self._waiting
                left_s = max(0.0, start.due_s - self._clock.monotonic())
                texts[start.scene.name] = f"waits for {start.waits_for} ({left_s:.1f} s)"
            active = self._rules.active
            return [SceneStatus(name, name == active, text) for name, text in texts.items()]

    def start(self, name: str) -> None:
        """Start a scene by hand, at once. Callable from any thread.

        Raises:
            UserError: there is no such scene.
        """
        with self._lock:
            names = self._rules.names
        if name not in names:
            raise UserError(f"there is no scene {name!r}; there are: {', '.join(names) or 'none'}")
        self._by_hand.append(name)
        self._subscription.poke()

    def replace(
        self, scenes: Sequence[SceneSettings], clocks: Mapping[str, TempoClock] | None = None
    ) -> None:
        """Go on with other scenes; one that is active and still exists stays, others end.

        Args:
            scenes: their settings.
            clocks: that they need; None for those as before.

        Raises:
            UserError: as for the constructor; then nothing changes.
        """
        rules = self._checked(scenes)
        if clocks is not None:
            self._clocks = clocks
        with self._lock:
            changes = rules.continue_from(self._rules)
            self._rules = rules
            if self._waiting is not None and not changes:
                name = self._waiting.scene.name
                scene = next(each for each in scenes if each.name == name)
                self._waiting = replace(self._waiting, scene=scene)
        self._apply(changes)

    def close(self) -> None:
        """Do what was published, then stop; outputs and controls stay so. Safe to call twice."""
        self._hub.unsubscribe(self._subscription)
        self._closing.set()
        self._subscription.poke()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _checked(self, scenes: Sequence[SceneSettings]) -> SceneRules:
        """Return the rules of scenes whose outputs exist."""
        names = [status.name for status in self._show.statuses()]
        for scene in scenes:
            for key in KEYS:
                for action in scene.actions(key):
                    output = action.output
                    try:
                        if isinstance(action, OutputAction):
                            self._check(output, Action(scene.name, dict(action.values)))
                        elif output and output not in names:
                            raise UserError(
                                f"there is no output {output}; there are: "
                                f"{', '.join(names) or 'none'}"
                            )
                    except UserError as error:
                        raise UserError(f"{key} of the scene {scene.name}: {error}") from error
        return SceneRules(scenes)

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.is_set()
            items = self._subscription.wait(0.0 if closing else self._timeout_s())
            while self._by_hand:
                name = self._by_hand.popleft()
                with self._lock:
                    changes = self._rules.start(name) if name in self._rules.names else []
                self._apply(changes, at_once=True)
            for item in items:
                if isinstance(item, Estimate | Event):
                    with self._lock:
                        changes = self._rules.update(item)
                    self._apply(changes)
            self._start_if_due()

    def _timeout_s(self) -> float | None:
        """Return how long nothing is due, in seconds; None for until something comes."""
        with self._lock:
            if self._waiting is None:
                return None
            left_s = max(0.0, self._waiting.due_s - self._clock.monotonic())
            # The tempo may change meanwhile.
            return left_s if left_s < STEADY_S else min(left_s - STEADY_S / 2.0, LOOK_S)

    def _apply(self, changes: Sequence[SceneChange], *, at_once: bool = False) -> None:
        for change in changes:
            scene = change.scene
            if not change.starts:
                with self._lock:
                    waited = self._waiting is not None and self._waiting.scene.name == scene.name
                    self._waiting = None
                logger.info("scene %s%s", change, " before its beat came" if waited else "")
                if not waited:
                    self._perform(scene, "at_end")
                continue
            start = None if at_once else self._start(scene)
            if start is None:
                logger.info("scene %s", change)
                self._perform(scene, "do")
            else:
                wait_s = start.due_s - self._clock.monotonic()
                logger.info("scene %s; it waits %.1f s for %s", change, wait_s, start.waits_for)
                with self._lock:
                    self._waiting = start

    def _start(self, scene: SceneSettings) -> _Start | None:
        """Return what a start waits for; None where it does not wait."""
        if scene.quantise == "none":
            return None
        now_s = self._clock.monotonic()
        for beats in (1,) if scene.quantise == "beat" else (scene.beats_per_bar, 1):
            wait_s = self._seconds_to_beat(scene, now_s, beats)
            if wait_s is not None and wait_s <= scene.wait_s:
                return _Start(scene, beats, now_s + wait_s)
        return None

    def _seconds_to_beat(self, scene: SceneSettings, now_s: float, beats: int) -> float | None:
        clock = self._clocks.get("link" if scene.quantise == "link" else "beat")
        return None if clock is None else clock.seconds_to_beat(now_s, beats)

    def _start_if_due(self) -> None:
        with self._lock:
            start = self._waiting
            if start is None:
                return
            now_s = self._clock.monotonic()
            if start.due_s - now_s > STEADY_S:
                wait_s = self._seconds_to_beat(start.scene, now_s, start.beats)
                if wait_s is not None:
                    self._waiting = replace(start, due_s=now_s + wait_s)
                return
            if now_s < start.due_s:
                return
            self._waiting = None
        logger.info("scene %s acts: %s is here", start.scene.name, start.waits_for)
        self._perform(start.scene, "do")

    def _perform(self, scene: SceneSettings, key: ActionKey) -> None:
        for action in scene.actions(key):
            try:
                if isinstance(action, ControlCommand):
                    self._show.control(action)
                else:
                    self._act(action.output, Action(scene.name, dict(action.values)))
            except UserError as error:  # an output was removed meanwhile
                logger.warning("scene %s: %s", scene.name, error)
