from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
from live_support import wait_for
from support import ESTIMATE, ManualClock

from realtime_mer.core.events import RhythmEvent, RhythmKind
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import ControlCommand, Health, OutputStatus, Show
from realtime_mer.live.tempo_clock import BeatClock
from realtime_mer.outputs.output import Action
from realtime_mer.scenes.runner import SceneRunner
from realtime_mer.scenes.settings import SceneSettings, clocks_needed

LIGHTS = OutputStatus("lights", "osc", Health.OK, 0, 0, "")
LINES = OutputStatus("lines", "jsonl", Health.OK, 0, 0, "")


class Metronome:
    """A clock whose beats lie at whole seconds of a manual clock, unless it has no tempo."""

    def __init__(self) -> None:
        self.runs = True
        self.late_s = 0.0

    def seconds_to_beat(self, now_s: float, beats: int = 1) -> float | None:
        return (self.late_s - now_s) % beats if self.runs else None


def check(output: str, action: Action) -> None:
    """Know the output `lights`, of the kind `osc`, and `lines`, which has no actions."""
    if output not in ("lights", "osc", "lines"):
        raise UserError(f"there is no output {output}; there are: lights, lines")
    if output == "lines":
        raise UserError("the output lines has no actions for scenes")


class Stage:
    """A session with scenes, and what they let the outputs do."""

    def __init__(self, *scenes: SceneSettings) -> None:
        self.hub = Hub()
        self.show = Show()
        self.show.statuses = lambda: [LIGHTS, LINES]
        self.clock = ManualClock()
        self.metronomes = {kind: Metronome() for kind in clocks_needed(scenes)}
        self.acts: list[tuple[str, Action]] = []
        self._seq = 0
        self.runner = SceneRunner(
            self.hub,
            scenes,
            act=lambda output, action: self.acts.append((output, action)),
            check=check,
            show=self.show,
            clocks=self.metronomes,
            clock=self.clock,
        )

    def hear(self, mood: str) -> None:
        """Publish an estimate, one second after the one before, and wait until it is handled."""
        self._seq += 1
        t = float(self._seq)
        self.hub.publish(replace(ESTIMATE, seq=self._seq, t=t, mood=mood, state=State.TRACKING))

    def done(self) -> list[str]:
        return [f"{output} {action.scene} {action.values}" for output, action in self.acts]


def why(runner: SceneRunner) -> dict[str, str]:
    return {scene.name: scene.reason for scene in runner.statuses()}


def active(runner: SceneRunner) -> str | None:
    return next((scene.name for scene in runner.statuses() if scene.active), None)


STORM = SceneSettings(
    name="storm",
    when={"mood": "tense"},
    do=({"output": "lights", "color": "red"}, {"override": {"dimmer": 1.0}, "output": "lights"}),
    at_end=({"output": "osc", "color": "blue"}, {"override": {"dimmer": "music"}}),
    dwell_s=0.0,
)


def test_actions_and_controls_at_the_start_and_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "realtime_mer.scenes")
    stage = Stage(STORM)
    with stage.runner as runner:
        assert why(runner) == {"storm": "no estimate has come yet"}
        stage.hear("tense")
        wait_for(lambda: len(stage.acts) == 1, "the scene starts")
        wait_for(lambda: dict(stage.show.state("lights").override) == {"dimmer": 1.0}, "control")
        assert stage.acts == [("lights", Action("storm", {"color": "red"}))]
        assert active(runner) == "storm"
        assert why(runner) == {"storm": "active: mood is tense"}
        stage.hear("calm")
        wait_for(lambda: len(stage.acts) == 2, "the scene ends")
        assert stage.acts[1] == ("osc", Action("storm", {"color": "blue"}))
        wait_for(lambda: why(runner) == {"storm": "mood is calm, not tense"}, "it says why")
    assert [record.message for record in caplog.records] == [
        "scene storm starts: mood is tense",
        "scene storm ends: mood is calm, not tense",
    ]
    assert stage.hub.subscribers == 0
    runner.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A session with a scene that waits for a beat, at 0.4 s before one."""
    stage = Stage(replace(STORM, quantise="beat"))
    stage.clock.now = 100.6
    with stage.runner:
        yield stage


def test_a_start_waits_for_the_beat(stage: Stage) -> None:
    stage.hear("tense")
    wait_for(lambda: why(stage.runner) == {"storm": "waits for the beat (0.4 s)"}, "it waits")
    assert active(stage.runner) == "storm"
    assert stage.acts == []
    stage.clock.now = 101.0
    wait_for(lambda: stage.done() == ["lights storm {'color': 'red'}"], "it starts")
    assert why(stage.runner) == {"storm": "active: mood is tense"}


def test_a_start_follows_a_change_of_the_tempo(stage: Stage) -> None:
    stage.hear("tense")
    wait_for(lambda: why(stage.runner) == {"storm": "waits for the beat (0.4 s)"}, "it waits")
    stage.metronomes["beat"].late_s = 0.3
    wait_for(lambda: why(stage.runner) == {"storm": "waits for the beat (0.7 s)"}, "it follows")
    stage.clock.now = 101.0
    wait_for(lambda: why(stage.runner) == {"storm": "waits for the beat (0.3 s)"}, "it waits on")
    assert stage.acts == []
    stage.clock.now = 101.3
    wait_for(lambda: stage.done() == ["lights storm {'color': 'red'}"], "it starts")


def test_the_beats_of_the_music() -> None:
    hub, show, clock = Hub(), Show(), ManualClock()
    storm = SceneSettings(name="storm", when={"mood": "tense"}, quantise="beat")
    with (
        BeatClock(hub, clock=clock) as beats,
        SceneRunner(
            hub,
            [storm],
            act=lambda *_: None,
            check=check,
            show=show,
            clocks={"beat": beats},
            clock=clock,
        ) as runner,
    ):
        for beat in range(4):
            clock.now = 100.0 + 0.5 * beat
            hub.publish(RhythmEvent(RhythmKind.BEAT, 0.5 * beat, 1.0, bpm=120.0))
        clock.now = 101.7
        hub.publish(replace(ESTIMATE, mood="tense"))
        wait_for(lambda: why(runner) == {"storm": "waits for the beat (0.3 s)"}, "it waits")
        clock.now = 102.0
        wait_for(lambda: why(runner) == {"storm": "active: mood is tense"}, "it starts")


def test_a_scene_that_ends_before_its_beat_does_nothing(stage: Stage) -> None:
    stage.hear("tense")
    wait_for(lambda: why(stage.runner) == {"storm": "waits for the beat (0.4 s)"}, "it waits")
    stage.hear("calm")
    wait_for(lambda: active(stage.runner) is None, "it ends")
    stage.clock.now = 101.0
    stage.hear("tense")
    wait_for(lambda: len(stage.acts) == 1, "the next start")
    assert stage.done() == ["lights storm {'color': 'red'}"]


def test_without_a_tempo_a_scene_starts_at_once(stage: Stage) -> None:
    stage.metronomes["beat"].runs = False
    stage.hear("tense")
    wait_for(lambda: len(stage.acts) == 1, "the scene starts")


@pytest.mark.parametrize(
    ("wait_s", "text"),
    [
        (4.0, "waits for the bar (3.4 s)"),
        (1.0, "waits for the beat (0.4 s)"),
        (0.1, "active: mood is tense"),
    ],
)
def test_a_bar_that_is_too_far_is_a_beat_and_a_beat_that_is_too_far_is_now(
    wait_s: float, text: str
) -> None:
    stage = Stage(replace(STORM, quantise="link", beats_per_bar=4, wait_s=wait_s))
    stage.clock.now = 100.6
    with stage.runner as runner:
        assert list(stage.metronomes) == ["link"]
        stage.hear("tense")
        wait_for(lambda: why(runner) == {"storm": text}, text)


def test_a_start_by_hand_waits_for_nothing(stage: Stage) -> None:
    stage.show.control(ControlCommand(scene="storm"))
    wait_for(lambda: len(stage.acts) == 1, "the scene starts")
    with pytest.raises(UserError, match="there is no scene 'calm'; there are: storm"):
        stage.show.control(ControlCommand(scene="calm"))


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (SceneSettings(name="a", do=({"output": "light", "color": "red"},)),
         "do of the scene a: there is no output light; there are: lights, lines"),
        (SceneSettings(name="a", do=({"output": "lines", "color": "red"},)),
         "do of the scene a: the output lines has no actions for scenes"),
        (SceneSettings(name="a", at_end=({"output": "osc", "mute": True},)),
         "at_end of the scene a: there is no output osc"),
    ],
)  # fmt: skip
def test_outputs_that_do_not_exist_are_told_before_the_start(
    stage: Stage, scene: SceneSettings, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Stage(scene)
    with pytest.raises(UserError, match=message):
        stage.runner.replace([scene])
    assert list(why(stage.runner)) == ["storm"]


def test_other_scenes_while_it_runs(stage: Stage) -> None:
    stage.hear("tense")
    wait_for(lambda: active(stage.runner) == "storm", "the scene is decided")
    calm = SceneSettings(name="calm", when={"mood": "tense"}, do=({"output": "lights", "x": 1},))
    stage.runner.replace([calm])
    assert why(stage.runner) == {"calm": "no estimate has come yet"}
    stage.hear("tense")
    wait_for(lambda: stage.done() == ["lights calm {'x': 1}"], "the new scene starts")


def test_a_burst_loses_no_start() -> None:
    """As of a recording that is replayed fast."""
    stage = Stage(replace(STORM, at_end=()))
    with stage.runner:
        for _ in range(1000):
            stage.hear("tense")
            stage.hear("calm")
    assert len(stage.acts) == 1000


def test_a_scene_that_is_removed_undoes_what_it_did() -> None:
    dark = SceneSettings(
        name="dark",
        when={"mood": "tense"},
        dwell_s=0,
        cooldown_s=600,
        do=({"blackout": True},),
        at_end=({"blackout": False},),
    )
    stage = Stage(dark)
    with stage.runner as runner:
        stage.hear("tense")
        wait_for(lambda: stage.show.state().blackout, "the scene starts")
        runner.replace([replace(dark, hysteresis=0.1)])
        assert stage.show.state().blackout
        runner.replace([])
        assert not stage.show.state().blackout


def test_a_changed_scene_keeps_its_cooldown_and_waits_with_its_new_actions(stage: Stage) -> None:
    settings = replace(STORM, dwell_s=0, cooldown_s=600, quantise="none")
    stage.runner.replace([settings])
    for mood in ("tense", "calm"):
        stage.hear(mood)
    wait_for(lambda: len(stage.acts) == 2, "it has started and ended")
    stage.runner.replace([replace(settings, priority=1)])
    stage.hear("tense")
    wait_for(lambda: "cooldown" in why(stage.runner)["storm"], "its cooldown goes on")
    stage.runner.replace([])
    stage.acts.clear()
    quantised = replace(STORM, quantise="beat")
    stage.clock.now = 100.6
    stage.runner.replace([quantised])
    stage.hear("tense")
    wait_for(lambda: why(stage.runner)["storm"].startswith("waits"), "it waits")
    stage.runner.replace([replace(quantised, do=({"output": "lights", "color": "blue"},))])
    stage.clock.now = 101.0
    stage.hear("tense")
    wait_for(lambda: stage.done() == ["lights storm {'color': 'blue'}"], "its beat")


def test_an_output_that_was_removed_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def act(output: str, action: Action) -> None:
        raise UserError(f"there is no output {output}")

    hub, show = Hub(), Show()
    show.statuses = lambda: [LIGHTS]
    storm = replace(STORM, at_end=())
    with SceneRunner(hub, [storm], act=act, check=check, show=show):
        estimate: Estimate = replace(ESTIMATE, mood="tense")
        hub.publish(estimate)
        wait_for(lambda: show.state("lights").override == {"dimmer": 1.0}, "the next action")
    assert [record.message for record in caplog.records] == [
        "scene storm: there is no output lights"
    ]
