"""What docs/stage.md and the pages of OSC programs print works as it stands there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from live_support import wait_for
from osc_support import FRAME, FRAME_MESSAGES, free_udp_port, osc_server
from pythonosc.udp_client import SimpleUDPClient
from support import running_program

from realtime_mer.core.events import Event, EventKind, Marker, RhythmEvent, RhythmKind
from realtime_mer.live.show import OVERRIDABLE, Show
from realtime_mer.outputs.jsonl import JsonlSettings
from realtime_mer.outputs.osc import FLOATS, WORDS, OscOutput, OscSettings
from realtime_mer.outputs.osc_control import OscControl, OscControlSettings
from realtime_mer.outputs.output import Action
from realtime_mer.outputs.wled import WledSettings
from realtime_mer.scenes.settings import SceneSettings

DOCS = Path(__file__).parent.parent / "docs"
STAGE = DOCS / "stage.md"
PROGRAMS = ("touchdesigner", "resolume", "qlcplus", "max", "unity", "godot")
PAGES = (STAGE, *(DOCS / "stage" / f"{name}.md" for name in PROGRAMS))
SWITCHES = ("mute", "freeze", "blackout")
SENT = {
    *(f"/mer/{name}" for name in (*FLOATS, *WORDS, *RhythmKind)),
    *(f"/mer/event/{kind}" for kind in EventKind),
    "/mer/marker",
    *(f"/mer/color_{index}" for index in range(3)),  # the names of QLC+
}
TAKEN = {
    "/mer/control",
    *(f"/mer/control/{name}" for name in (*SWITCHES, "scene", "marker")),
    *(f"/mer/control/override/{name}" for name in OVERRIDABLE),
    *(f"/mer/control/output/NAME/{name}" for name in SWITCHES),
}
UTC = "2026-01-02T03:04:05.000Z"


def blocks(page: Path, language: str) -> list[str]:
    """Return the examples of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def tables(page: Path) -> dict[str, list[dict[str, object]]]:
    """Return the lists of tables of all TOML examples of a page, by their names."""
    found: dict[str, list[dict[str, object]]] = {}
    for block in blocks(page, "toml"):
        for name, table in tomllib.loads(block).items():
            found.setdefault(name, []).extend(table if isinstance(table, list) else [table])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_outputs_of_a_page_reach_a_server(page: Path) -> None:
    outputs = [OscSettings(**table) for table in tables(page)["osc"]]  # type: ignore[arg-type]
    for settings in outputs:
        with osc_server() as server:
            # The ports of the pages may be in use on the machine of the tests.
            output = OscOutput(replace(settings, to=f"127.0.0.1:{server.port}"))
            output.open()
            output.send(FRAME)
            output.send_event(Event(EventKind.RISE, 3.0, 4.0, UTC, 0.5))
            output.send_event(RhythmEvent(RhythmKind.BEAT, 3.0, 1.0, 120.0))
            output.send_event(Marker(3.0, UTC, "opens eyes"))
            for address, arguments in FRAME_MESSAGES.items():
                name = address.removeprefix("/mer/")
                server.wait_for(settings.addresses.get(name, address), *arguments)
            server.wait_for("/mer/event/rise", 0.5)
            server.wait_for("/mer/beat", 1.0)
            server.wait_for("/mer/marker", "opens eyes")
            output.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_only_addresses_that_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    named = set(re.findall(r"/mer/[a-z_]+(?:/[a-zA-Z_]+)*(?![\w/…])", text))
    assert named <= SENT | TAKEN, named - SENT - TAKEN
    ports = {table["to"] for table in tables(page)["osc"]}
    assert set(re.findall(r"nobody listens at ([\w.:]+)", text)) - {"HOST:PORT"} <= ports


def test_the_page_has_every_control() -> None:
    page = STAGE.read_text("utf-8")
    same = {f"/mer/control/output/NAME/{name}" for name in SWITCHES[1:]}
    for address in TAKEN - same - {"/mer/control"}:
        assert f"| `{address}` |" in page, address


def test_the_control_of_the_page() -> None:
    (table,) = tables(STAGE)["control"]
    printed = table["osc"]
    assert isinstance(printed, dict)
    settings = replace(OscControlSettings(**printed), port=free_udp_port())
    show = Show()
    with OscControl(show, settings):
        client = SimpleUDPClient("127.0.0.1", settings.port)
        client.send_message("/mer/control/override/level", 0.5)
        wait_for(lambda: show.state().override == {"level": 0.5}, "the override")
        client.close()


def test_the_other_examples_of_the_page() -> None:
    found = tables(STAGE)
    for table in found["wled"]:
        WledSettings(**table)  # type: ignore[arg-type]
    for table in found["jsonl"]:
        JsonlSettings(**table)  # type: ignore[arg-type]
    (lines,) = blocks(STAGE, "json")
    values, event, beat = (json.loads(line) for line in lines.splitlines())
    assert values.keys() == {"type"} | asdict(FRAME).keys()
    assert event.keys() == Event(EventKind.RISE, 3.0, 4.0, UTC, 0.5).to_dict().keys()
    assert beat.keys() == {"type"} | asdict(RhythmEvent(RhythmKind.BEAT, 3.0, 1.0)).keys()


def test_the_column_of_resolume() -> None:
    (scene,) = (SceneSettings(**table) for table in tables(DOCS / "stage" / "resolume.md")["scene"])  # type: ignore[arg-type]
    (action,) = (dict(action) for action in scene.do)
    assert action.pop("output") == "resolume"
    with osc_server() as server:
        output = OscOutput(OscSettings(to=f"127.0.0.1:{server.port}"))
        output.open()
        output.act(Action("storm", action))
        server.wait_for("/composition/columns/4/connect", 1)
        output.close()


def crc(data: bytes) -> int:
    """Return the CRC-16 of ISO 3309, by which QLC+ numbers the addresses."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0x8408 if value & 1 else value >> 1
    return value ^ 0xFFFF


def test_the_profile_of_qlcplus() -> None:
    assert crc(b"/1/toggle3") == 944  # of a profile that comes with QLC+
    path = DOCS / "stage" / "realtime-mer.qxi"
    space = {"q": "http://www.qlcplus.org/InputProfile"}
    channels = ElementTree.parse(path).getroot().findall("q:Channel", space)
    names = [channel.findtext("q:Name", "", space) for channel in channels]
    for channel, name in zip(channels, names, strict=True):
        assert int(channel.attrib["Number"]) == crc(name.encode())
    words = {f"/mer/{name}" for name in (*WORDS, "marker", "event/mood_enter", "event/mood_leave")}
    no_fit = {"/mer/bipolar/valence", "/mer/bipolar/arousal", "/mer/bpm", "/mer/color"}
    assert set(names) == SENT - words - no_fit


@pytest.mark.skipif(shutil.which("godot3-server") is None, reason="godot3-server is not installed")
def test_the_script_of_godot(tmp_path: Path) -> None:
    port = free_udp_port()
    (script, *_) = blocks(DOCS / "stage" / "godot.md", "gdscript")
    for new, old in (("_udp.bind(", "_udp.listen("), ("PORT = 7400", f"PORT = {port}")):
        assert new in script
        script = script.replace(new, old)
    (tmp_path / "mer.gd").write_text(script)
    (tmp_path / "project.godot").write_text("")
    (tmp_path / "run.gd").write_text(
        "extends SceneTree\n"
        "func _initialize():\n"
        '\tvar mer = load("res://mer.gd").new()\n'
        '\tmer.connect("received", self, "_received")\n'
        "\troot.add_child(mer)\n"
        '\tprint("ready")\n'
        "func _received(address, arguments):\n"
        '\tprint("got ", to_json([address, arguments]))\n'
        '\tif address == "/end":\n'
        "\t\tquit()\n"
    )
    command = ["godot3-server", "--path", str(tmp_path), "-s", "run.gd"]
    with running_program(command, stdout=subprocess.PIPE, text=True) as godot:
        assert godot.stdout is not None
        while godot.stdout.readline() != "ready\n":
            assert godot.poll() is None
        for bundle in (True, False):
            output = OscOutput(OscSettings(to=f"127.0.0.1:{port}", bundle=bundle))
            output.open()
            output.send(FRAME)
            output.close()
        output.open()
        output.act(Action("end", {"address": "/end", "args": [1]}))
        printed, _ = godot.communicate(timeout=60.0)
        output.close()
    found = [json.loads(line[4:]) for line in printed.splitlines() if line.startswith("got ")]
    expected = [[address, arguments] for address, arguments in FRAME_MESSAGES.items()]
    assert found == [*expected, *expected, ["/end", [1]]]


@pytest.mark.skipif(
    shutil.which("oscdump") is None, reason="oscdump (liblo-tools) is not installed"
)
def test_another_reader_understands_the_messages() -> None:
    port = free_udp_port()
    command = ["stdbuf", "-oL", "oscdump", str(port)]
    with running_program(command, stdout=subprocess.PIPE, text=True) as dump:
        assert dump.stdout is not None
        output = OscOutput(OscSettings(to=f"127.0.0.1:{port}"))

        def is_taken() -> bool:
            output.open()
            output.send(FRAME)
            return output.answer == ""

        wait_for(is_taken, "oscdump listens")
        lines = [dump.stdout.readline().split(" ", 1)[1] for _ in FRAME_MESSAGES]
        dump.kill()
        output.close()
    assert "/mer/valence f 0.750000\n" in lines
    assert "/mer/color fff 1.000000 0.500000 0.000000\n" in lines
    assert '/mer/mood s "calm"\n' in lines
