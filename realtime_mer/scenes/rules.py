"""Which scene is active, and why: the rules alone, without threads and clocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from realtime_mer.core.events import Event
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.steady_time import SteadyTime
from realtime_mer.scenes.conditions import Finding, Moment, Watch
from realtime_mer.scenes.settings import SceneSettings

_TOLERANCE_S = 1e-6
_BY_HAND = Finding(False, "by hand", "started by hand only")


@dataclass(frozen=True, slots=True)
class SceneChange:
    """A scene starts or ends.

    Attributes:
        t: stream time in seconds.
        scene: its settings.
        starts: whether it starts; else it ends.
        reason: in words.
    """

    t: float
    scene: SceneSettings
    starts: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.scene.name} {'starts' if self.starts else 'ends'}: {self.reason}"


class SceneRules:
    """Decides from estimates and events which scene is active: one at a time, or none.

    A scene starts when its conditions hold, its cooldown is over, and the active scene has a lower
    priority or there is none. Of several, the one with the highest priority starts, then the first
    of the list. It ends when its conditions no longer hold, by more than the hysteresis, and its
    dwell is over. Durations also pass in a stall (`SteadyTime`).

    Args:
        scenes: their settings, with names of their own.

    Raises:
        UserError: two scenes have the same name.

    Attributes:
        findings: for each scene, whether it is active and why (not), after the newest update.
    """

    def __init__(self, scenes: Sequence[SceneSettings]) -> None:
        names = [scene.name for scene in scenes]
        for name in names:
            if names.count(name) > 1:
                raise UserError(
                    f"there are {names.count(name)} scenes {name}; give each its own name"
                )
        self._scenes = [_Scene(settings) for settings in scenes]
        self._by_rank = sorted(self._scenes, key=lambda scene: -scene.settings.priority)
        self._active: _Scene | None = None
        self._time = SteadyTime()
        self._started_s = 0.0
        self._t = 0.0
        self._estimate: Estimate | None = None
        self.findings: dict[str, Finding] = {
            name: Finding(False, "no estimate", "no estimate has come yet") for name in names
        }

    @property
    def active(self) -> str | None:
        """Name of the active scene; None for none."""
        return None if self._active is None else self._active.settings.name

    @property
    def names(self) -> list[str]:
        """Names of all scenes."""
        return [scene.settings.name for scene in self._scenes]

    def update(self, item: Estimate | Event) -> list[SceneChange]:
        """Take in the next estimate or event; return what ends and what starts, in this order."""
        if isinstance(item, Estimate):
            self._estimate = item
            self._time.update(item)
        self._t = max(self._t, item.t if isinstance(item, Estimate) else item.detected_t)
        if self._estimate is None:
            return []
        event = item if isinstance(item, Event) else None
        for scene in self._scenes:
            raw = scene.settings.values == "raw"
            moment = Moment.of(self._time.now_s, self._estimate, event, raw=raw)
            scene.check(moment, active=scene is self._active)
        changes = self._end_if_over()
        for scene in self._by_rank:
            if scene.finding.holds and self._is_free_for(scene):
                changes += self._start(scene, scene.finding.text)
                break
        self._explain()
        return changes

    def start(self, name: str) -> list[SceneChange]:
        """Start a scene by hand, whatever its conditions, its cooldown and the priorities.

        Raises:
            UserError: there is no such scene.
        """
        if name not in self.names:
            raise UserError(f"there is no scene {name!r}; there are: {', '.join(self.names)}")
        scene = self._scenes[self.names.index(name)]
        changes = self._start(scene, "it was started by hand")
        self._explain()
        return changes

    def continue_from(self, earlier: SceneRules) -> list[SceneChange]:
        """Take over the time, the estimate, cooldowns and, where it still exists, the active scene.

        Returns:
            The end of the active scene, if it was removed.
        """
        self._t, self._time, self._estimate = earlier._t, earlier._time, earlier._estimate
        scenes = {scene.settings.name: scene for scene in self._scenes}
        for scene in earlier._scenes:
            if scene.settings.name in scenes:
                scenes[scene.settings.name].ended_s = scene.ended_s
        if earlier.active in scenes:
            self._active = scenes[earlier.active]
            self._active.finding = Finding(True, "holds", "it was active before")
            self._started_s = earlier._started_s
            self._explain()
        elif earlier._active is not None:
            return [SceneChange(self._t, earlier._active.settings, False, "it was removed")]
        return []

    def _start(self, scene: _Scene, reason: str) -> list[SceneChange]:
        changes = self._end(f"{scene.settings.name} starts") if self._active else []
        self._active, self._started_s = scene, self._time.now_s
        scene.finding = Finding(True, "holds", reason)
        return [*changes, SceneChange(self._t, scene.settings, True, reason)]

    def _end(self, reason: str) -> list[SceneChange]:
        scene, self._active = self._active, None
        assert scene is not None
        scene.ended_s = self._time.now_s
        return [SceneChange(self._t, scene.settings, False, reason)]

    def _end_if_over(self) -> list[SceneChange]:
        active = self._active
        if active is None or active.finding.holds or self._dwell_left_s(active) > 0.0:
            return []
        lasts = not active.by_hand and "event" not in active.finding.key
        return self._end(active.finding.text if lasts else "its dwell is over")

    def _dwell_left_s(self, active: _Scene) -> float:
        return _left_s(active.settings.dwell_s, self._time.now_s - self._started_s)

    def _is_free_for(self, scene: _Scene) -> bool:
        """Return whether nothing but its conditions keeps a scene from starting."""
        if scene is self._active or scene.cooldown_left_s(self._time.now_s) > 0.0:
            return False
        return self._active is None or scene.settings.priority > self._active.settings.priority

    def _explain(self) -> None:
        self.findings = {scene.settings.name: self._explained(scene) for scene in self._scenes}

    def _explained(self, scene: _Scene) -> Finding:
        finding, active = scene.finding, self._active
        if scene is active:
            if finding.holds:
                return Finding(True, "active", f"active: {finding.text}")
            left_s = self._dwell_left_s(scene)
            text = f"active for another {left_s:.0f} s (dwell): {finding.text}"
            return Finding(True, f"dwell {finding.key}", text)
        if not finding.holds:
            return finding
        left_s = scene.cooldown_left_s(self._time.now_s)
        if left_s > 0.0:
            of_s = scene.settings.cooldown_s
            return Finding(False, "cooldown", f"{left_s:.0f} s of its {of_s:g} s cooldown are left")
        if active is None:  # between two lists of scenes
            return Finding(False, "next", "starts with the next estimate")
        text = f"{active.settings.name} is active and has no lower priority"
        return Finding(False, f"active {active.settings.name}", text)


class _Scene:
    """One scene: its settings, and what is known of it.

    Attributes:
        finding: whether its conditions hold.
        by_hand: whether it has no conditions.
        ended_s: when it ended last, in steady seconds.
    """

    def __init__(self, settings: SceneSettings) -> None:
        when, any_of = settings.conditions()
        self.settings = settings
        self.ended_s = -math.inf
        self.by_hand = when is None and not any_of
        self.finding = _BY_HAND
        self._when = None if when is None else Watch(when)
        self._any_of = [Watch(condition) for condition in any_of]

    def check(self, moment: Moment, *, active: bool) -> None:
        """Find out whether the conditions hold at the next moment."""
        margin = self.settings.hysteresis if active else None
        found = [] if self._when is None else [self._when.update(moment, margin=margin)]
        others = [watch.update(moment, margin=margin) for watch in self._any_of]
        if others:
            holding = next((each for each in others if each.holds), None)
            text = "; ".join(each.text for each in others)
            found.append(holding or Finding(False, " or ".join(e.key for e in others), text))
        if self.by_hand:
            self.finding = _BY_HAND
            return
        failing = next((each for each in found if not each.holds), None)
        self.finding = failing or Finding(True, "holds", ", ".join(each.text for each in found))

    def cooldown_left_s(self, now_s: float) -> float:
        """Return how long the scene may not start, in seconds."""
        return _left_s(self.settings.cooldown_s, now_s - self.ended_s)


def _left_s(whole_s: float, passed_s: float) -> float:
    """Return what is left of a time; 0 if only a rounding error is."""
    left_s = whole_s - passed_s
    return left_s if left_s > _TOLERANCE_S else 0.0
