import tomllib

import pytest

from realtime_mer.configuration.builder import build
from realtime_mer.errors import UserError
from realtime_mer.live.show import ControlCommand
from realtime_mer.scenes.settings import OutputAction, SceneSettings, clocks_needed


def scene(toml: str) -> SceneSettings:
    """The settings of one table, as the configuration makes them."""
    return build(SceneSettings, tomllib.loads(toml), ())


def test_actions_and_controls() -> None:
    storm = scene("""
        name = "storm"
        do = [
          { output = "resolume", address = "/composition/columns/3/connect", args = [1] },
          { blackout = false, output = "lights" },
          { override = { dimmer = 1, arousal = "music" } },
        ]
        at_end = [{ output = "wled", preset = 2 }]
    """)
    assert storm.actions("do") == (
        OutputAction("resolume", {"address": "/composition/columns/3/connect", "args": [1]}),
        ControlCommand("lights", blackout=False),
        ControlCommand(override={"dimmer": 1.0, "arousal": None}),
    )
    assert storm.actions("at_end") == (OutputAction("wled", {"preset": 2}),)
    assert storm.conditions() == (None, ())


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("name = ' '", "name is empty; give the scene a name"),
        ("name = 'a'\ndwell_s = -1", "dwell_s of the scene a is -1.0; it must lie between 0 and"),
        ("name = 'a'\nhysteresis = 2", "hysteresis of the scene a is 2.0; it must lie between"),
        ("name = 'a'\nbeats_per_bar = 0", "beats_per_bar of the scene a is 0; it must lie between"),
        ("name = 'a'\nwhen = {mood = 'x'}", "when of the scene a: mood is 'x'; there are"),
        ("name = 'a'\nany_of = [{}]", "any_of of the scene a is empty"),
        ("name = 'a'\ndo = [{output = ''}]", "do of the scene a has the output ''"),
        ("name = 'a'\ndo = [{output = 3}]", "do of the scene a has the output 3; write its name"),
        ("name = 'a'\ndo = [{preset = 3}]",
         "do of the scene a has a table without output (preset); add the name or kind"),
        ("name = 'a'\nat_end = [{}]", "at_end of the scene a has a table without output (empty)"),
        ("name = 'a'\ndo = [{output = 'osc'}]", "do of the scene a says nothing to the output osc"),
        ("name = 'a'\ndo = [{blackout = 1}]", "do of the scene a has blackout = 1; write true or"),
        ("name = 'a'\ndo = [{blackout = true, preset = 1}]",
         "do of the scene a has preset beside a control; put it into a table of its own"),
        ("name = 'a'\ndo = [{override = 3}]", "do of the scene a has override = 3; write a table"),
        ("name = 'a'\ndo = [{override = {valence = 2}}]",
         "do of the scene a has an override of valence with 2; write a number between 0 and 1"),
        (f"name = 'a'\ndo = [{{override = {{level = {10**400}}}}}]",
         "do of the scene a has an override of level with 1000"),
        (f"name = 'a'\npriority = {10**400}", "priority of the scene a is 1000"),
        ("name = 'a'\ndo = [{override = {bass = 0}}]",
         "do of the scene a has an override that is not valid: bass cannot be overridden"),
        ("name = 'a'\ndo = [{override = {level = 'loud'}}]",
         "do of the scene a has an override of level with 'loud'; write a number between 0 and 1"),
    ],
)  # fmt: skip
def test_wrong_settings_are_sentences(toml: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        scene(toml)
    assert str(raised.value).startswith(message)


def test_which_clocks_scenes_need() -> None:
    free = SceneSettings(name="free")
    beat, bar, link = (SceneSettings(name=name, quantise=name) for name in ("beat", "bar", "link"))
    assert clocks_needed([free]) == set()
    assert clocks_needed([free, beat, bar]) == {"beat"}
    assert clocks_needed([free, bar, link]) == {"beat", "link"}
