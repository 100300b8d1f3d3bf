"""Outputs, scenes and controls of a configuration run with `listen` and `serve`, and follow it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from live_support import TIMEOUT_S, wait_for
from osc_support import free_udp_port, osc_server
from pythonosc.udp_client import SimpleUDPClient
from support import ESTIMATE

from realtime_mer.cli import main
from realtime_mer.commands.show import running_show
from realtime_mer.configuration.configuration import load
from realtime_mer.core.types import State
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub, Notice

COMMAND = [sys.executable, "-m", "realtime_mer"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_outputs_scenes_and_controls_work_together() -> None:
    file, control_port = Path("show.toml"), free_udp_port()
    with osc_server() as server:
        file.write_text(
            f"""
            [[osc]]
            to = "127.0.0.1:{server.port}"
            name = "visuals"
            [[scene]]
            name = "storm"
            when = {{ mood = "tense" }}
            do = [{{ output = "visuals", address = "/storm", args = [1] }}]
            [control.osc]
            port = {control_port}
            """
        )
        hub = Hub()
        with running_show(hub, load(file), hop_s=1.0) as show:
            hub.publish(replace(ESTIMATE, mood="tense", state=State.TRACKING))
            server.wait_for("/mer/mood", "tense")
            server.wait_for("/storm", 1)
            client = SimpleUDPClient("127.0.0.1", control_port)
            client.send_message("/mer/control/output/visuals/mute", 1)
            wait_for(lambda: show.state("visuals").mute, "the output is muted")
            client._sock.close()
        assert show.to_dict()["outputs"]


def test_a_running_show_follows_the_file() -> None:
    file = Path("show.toml")
    with osc_server() as first, osc_server() as second:
        output = '[[osc]]\nto = "127.0.0.1:{}"\nprefix = "/{}"\n'
        scene = '[[scene]]\nname = "{}"\ndo = [{{ output = "{}", address = "/x" }}]\n'
        file.write_text(output.format(first.port, "a"))
        hub = Hub()
        notices = hub.subscribe_lossless()
        with running_show(hub, load(file), hop_s=1.0) as show:

            def notice() -> tuple[str, str]:
                found: list[Notice] = []

                def arrived() -> bool:
                    found.extend(item for item in notices.take() if isinstance(item, Notice))
                    return bool(found)

                wait_for(arrived, "a notice")
                (item,) = found
                return item.code, item.message

            hub.publish(replace(ESTIMATE, mood="calm"))
            first.wait_for("/a/mood", "calm")
            both = output.format(first.port, "b") + output.format(second.port, "c")
            file.write_text(both + scene.format("one", "osc"))
            code, message = notice()
            assert code == "configuration_changed"
            assert f"the outputs are osc 127.0.0.1:{first.port}, osc 127" in message
            assert message.endswith("the scenes are one")
            hub.publish(replace(ESTIMATE, mood="sad"))
            first.wait_for("/b/mood", "sad")
            second.wait_for("/c/mood", "sad")
            # A scene that names no output: all of the file counts as wrong.
            file.write_text(output.format(first.port, "d") + scene.format("two", "lamp"))
            code, message = notice()
            assert code == "configuration_refused"
            assert "two" in message
            assert "lamp" in message
            assert len(show.statuses()) == 2
            show.start_scene("one")
            second.wait_for("/x")
            file.write_text("[[jsonl]]")
            assert "[[jsonl]] is added or removed, which needs a restart" in notice()[1]
            file.write_text("")
            assert notice()[1].endswith("the outputs are none; the scenes are none")
            assert show.statuses() == []
            with pytest.raises(UserError, match="one"):
                show.start_scene("one")


def test_a_scene_that_goes_together_with_its_output_undoes_what_it_did() -> None:
    file = Path("show.toml")
    with osc_server() as server:
        output = f'[[osc]]\nto = "127.0.0.1:{server.port}"\nname = "lamps"\n'
        file.write_text(
            f"""{output}
            [[scene]]
            name = "dark"
            when = {{ mood = "sad" }}
            do = [{{ output = "lamps", blackout = true }}]
            at_end = [
              {{ output = "lamps", blackout = false }},
              {{ output = "lamps", address = "/light", args = [1] }},
            ]
            """
        )
        hub = Hub()
        notices = hub.subscribe_lossless()
        with running_show(hub, load(file), hop_s=1.0) as show:
            hub.publish(replace(ESTIMATE, mood="sad", state=State.TRACKING))
            wait_for(lambda: show.state("lamps").blackout, "the scene acts")
            # Refused as a whole: the scene goes on, or begins again.
            file.write_text(
                output + '[[scene]]\nname = "x"\ndo = [{ output = "y", address = "/x" }]'
            )
            wait_for(
                lambda: any(
                    isinstance(item, Notice) and item.code == "configuration_refused"
                    for item in notices.take()
                ),
                "the notice",
            )
            hub.publish(replace(ESTIMATE, mood="sad", state=State.TRACKING, seq=1))
            wait_for(lambda: show.state("lamps").blackout, "the scene is active")
            file.write_text("")
            server.wait_for("/light", 1)
            wait_for(lambda: not show.statuses(), "the output is gone")
            assert not show.state("lamps").blackout


def test_listen_with_an_output_of_the_command_line() -> None:
    with osc_server() as server:
        arguments = ["listen", "--input", "demo", "--duration", "1"]
        run = subprocess.run(
            [*COMMAND, *arguments, "--osc", f"127.0.0.1:{server.port}"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert run.returncode == 0, run.stderr
        # A slow machine may say first that nothing has come yet.
        assert run.stdout.splitlines()[-1].startswith("0:01.0  valence ")
        addresses = {address for address, _ in server.received}
        assert {"/mer/valence", "/mer/arousal", "/mer/state"} <= addresses


def test_listen_leaves_standard_output_to_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Path("realtime-mer.toml").write_text("[[jsonl]]\n[input]\ninput = 'demo'")
    run = subprocess.run(
        [*COMMAND, "listen", "--duration", "1"], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert run.returncode == 0, run.stderr
    rows = [json.loads(line) for line in run.stdout.splitlines()]  # all lines are JSON
    assert any(row["type"] == "values" and 0.0 <= row["valence"] <= 1.0 for row in rows)
    assert "fails" not in run.stderr
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            run = subprocess.run(
                [*COMMAND, "listen", "--duration", "1"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=TIMEOUT_S,
            )
        assert run.returncode == 0, run.stderr
        assert "the output standard output fails: standard output cannot be wr" in run.stderr
    assert main(["listen", "--format", "jsonl"]) == 2
    assert "--format jsonl and [[jsonl]] both write standard output" in capsys.readouterr().err


def test_serve_follows_the_file_and_its_outputs_its_input() -> None:
    with osc_server() as server:
        file = Path("realtime-mer.toml")
        text = f"""
            [input]
            input = "demo"
            [[scene]]
            name = "start"
            when = {{ level = ">0" }}
            do = [{{ output = "osc", address = "/start" }}]
            [[osc]]
            to = "127.0.0.1:{server.port}"
        """
        file.write_text(text)
        command = [*COMMAND, "serve", "--port", "0"]
        run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            server.wait_for("/start")
            file.write_text(f"{text}prefix = '/other'\n[server]\nport = 1\n")
            wait_for(
                lambda: any(address == "/other/valence" for address, _ in server.received),
                "messages with the other prefix",
            )
        finally:
            os.kill(run.pid, signal.SIGINT)
            _, errors = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, errors
    assert re.search("scene start starts", errors)
    assert re.search(
        r"realtime-mer.toml has changed: the outputs are .*; \[server\] port needs a restart",
        errors,
    )


def test_serve_leaves_standard_output_to_json_lines() -> None:
    Path("realtime-mer.toml").write_text("[[jsonl]]")
    options = ["--input", "demo", "--exit-at-end", "--speed", "90", "--port", "0"]
    run = subprocess.run(
        [*COMMAND, "serve", *options], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert run.returncode == 0, run.stderr
    types = {json.loads(line)["type"] for line in run.stdout.splitlines()}
    assert "values" in types
    assert "realtime-mer is at http" in run.stderr


def test_serve_without_an_input_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--input", "browser", "--osc", "127.0.0.1:7000"]) == 2
    assert "--input browser has none; choose another input" in capsys.readouterr().err
