"""The outputs of the show on the page, and their controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from live_support import HangingSource, RunningServer, running_server, wait_for
from mer_engine import Engine
from page_support import Open, Visit

from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.show import ControlState, Health, OutputStatus, SceneStatus, Show
from realtime_mer.server.server import MerServer, ServerConfig
from realtime_mer.server.tokens import Role, Tokens

pytestmark = pytest.mark.timeout(600)

DESK = OutputStatus("desk", "artnet", Health.OK, 7, 0, "")
WALL = OutputStatus("wall", "osc", Health.FAILING, 3, 2, "nobody listens at 127.0.0.1:7000")
TOKENS = {role: f"a-token-for-{role}" for role in Role}
OPEN = "() => !document.querySelector('#show').hidden"


class Running:
    """A server with two outputs."""

    def __init__(self, server: RunningServer, show: Show, statuses: list[OutputStatus]) -> None:
        self.url = f"http://127.0.0.1:{server.port}/"
        self.show, self.statuses = show, statuses


@pytest.fixture(params=[False])
def running(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Running]:
    show, statuses = Show(), [DESK, WALL]
    show.statuses = lambda: statuses
    tokens = Tokens(TOKENS, "the test") if request.param else None
    server = MerServer(
        engine,
        LiveRunner(HangingSource(), engine),
        config=ServerConfig(port=0, tokens=tokens),
        show=show,
    )
    with running_server(engine, server=server) as found:
        yield Running(found, show, statuses)


def opened(visit: Open, running: Running) -> Visit:
    here = visit(running.url)
    here.wait(OPEN)
    here.page.locator("#show summary").click()
    return here


def test_outputs_show_how_they_do(visit: Open, running: Running) -> None:
    here = opened(visit, running)
    assert here.page.locator("#show-line").inner_text() == "1 of 2 outputs ok · wall failing"
    rows = here.page.get_by_role("list", name="Outputs").get_by_role("listitem")
    texts = [rows.nth(index).locator(".show-health").inner_text() for index in range(2)]
    assert texts[0].startswith("ok · 7 sent")
    assert "2 dropped · nobody listens at 127.0.0.1:7000" in texts[1]
    running.statuses[:] = [replace(WALL, health=Health.OK, answer="")]
    here.wait("() => document.querySelector('#show-line').textContent === '1 of 1 output ok'")
    assert rows.count() == 1
    running.statuses.clear()
    here.wait("() => document.querySelector('#show').hidden")


def test_switches_and_sliders_change_the_show(visit: Open, running: Running) -> None:
    here = opened(visit, running)
    show = running.show
    everything = here.page.get_by_role("group", name="All outputs")
    everything.get_by_role("button", name="black-out").click()
    here.wait("() => document.querySelector('#show-line').textContent.includes('black-out is on')")
    assert show.state() == ControlState(blackout=True)
    button = everything.get_by_role("button", name="black-out")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    wait_for(lambda: show.state() == ControlState(), "the end of the black-out")
    here.page.get_by_role("group", name="wall").get_by_role("button", name="mute").click()
    wait_for(lambda: show.state("wall").mute, "the output to be muted")
    assert not show.state("desk").mute
    here.page.get_by_role("slider", name="arousal", exact=True).fill("0.25")
    wait_for(lambda: show.state().override == {"arousal": 0.25}, "the value set by hand")
    here.wait("() => document.querySelector('#show-line').textContent.includes('arousal by hand')")
    here.page.get_by_role("button", name="give arousal back to the music").click()
    wait_for(lambda: show.state().override == {}, "the value given back")


def test_scenes_say_why_and_start_by_hand(visit: Open, running: Running) -> None:
    started: list[str] = []
    running.show.start_scene = started.append
    running.show.scenes = lambda: [
        SceneStatus("storm", bool(started), "mood is calm, not tense"),
        SceneStatus("sun", False, "valence 0.10 is not above 0.5"),
    ]
    here = opened(visit, running)
    here.wait("() => document.querySelector('#show-line').textContent.endsWith('scene none')")
    scenes = here.page.get_by_role("list", name="Scenes")
    assert "valence 0.10 is not above 0.5" in scenes.inner_text()
    scenes.get_by_role("button", name="storm").click()
    here.wait("() => document.querySelector('#show-line').textContent.endsWith('scene storm')")
    assert started == ["storm"]


@pytest.mark.parametrize("running", [True], indirect=True)
def test_whoever_may_only_watch_sees_the_outputs_and_changes_nothing(
    visit: Open, running: Running
) -> None:
    here = visit(running.url)
    here.page.get_by_label("Token", exact=True).fill(TOKENS[Role.VIEW])
    here.page.keyboard.press("Enter")
    here.wait(OPEN)
    here.page.locator("#show summary").click()
    controls = here.page.locator("#show button, #show input")
    assert controls.count() > 8
    assert all(controls.nth(index).is_disabled() for index in range(controls.count()))
    assert "does not allow to change the show" in here.page.locator("#show-rights").inner_text()
