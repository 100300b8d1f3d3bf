import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from mer_engine.backends import registry
from support import music
from support_pulse import VirtualMicrophone

from realtime_mer.audio import microphone
from realtime_mer.audio.demo import SAMPLE_RATE_HZ, render_demo
from realtime_mer.audio.microphone import InputDevice
from realtime_mer.cli import main
from realtime_mer.commands import doctor as doctor_command
from realtime_mer.commands.doctor import Check, Report, Status


@pytest.fixture
def no_devices(monkeypatch: pytest.MonkeyPatch) -> list[InputDevice]:
    devices: list[InputDevice] = []
    monkeypatch.setattr(microphone, "list_input_devices", lambda: devices)
    monkeypatch.setattr(microphone, "portaudio_version", lambda: "PortAudio V19")
    return devices


@pytest.fixture
def default_backend_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try no other backend: loading torch takes longer than the rest of a test."""
    default = registry.backends()[0]
    monkeypatch.setattr(registry, "backends", lambda: (default,))


@pytest.fixture
def short_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record for a shorter time from a real microphone, which delivers in real time."""
    monkeypatch.setattr(doctor_command, "LISTEN_S", 1.5)


@pytest.fixture
def port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


def doctor(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["status"] for check in report["checks"]}


@pytest.mark.usefixtures("no_devices")
def test_without_a_microphone_the_demo_is_checked(
    capsys: pytest.CaptureFixture[str], port: int
) -> None:
    code, report = doctor(capsys, "--port", str(port))
    assert code == 0
    assert report["usable"]
    found = statuses(report)
    assert found["versions"] == found["model"] == found["backend"] == found["port"] == "ok"
    assert found["backend onnxruntime"] == "ok"
    details = {check["name"]: check["detail"] for check in report["checks"]}
    assert "allowed are 1e-04 (1e-03 for sound) in fp32" in details["backend onnxruntime"]
    assert details["backend"].startswith("onnxruntime, ")
    assert found["input devices"] == "note"
    assert found["listening"] == found["estimate"] == "ok"
    assert report["verdict"].startswith("Everything needed works. Worth knowing: ")
    assert "playing the demo" in report["verdict"]
    assert report["listening"]["audio_s"] == pytest.approx(5, abs=0.1)
    assert report["estimate"]["t"] == 5.0
    assert -1 <= report["estimate"]["valence"] <= 1
    assert {"numpy", "onnxruntime", "python", "realtime-mer"} <= report["versions"].keys()


@pytest.mark.usefixtures("no_devices", "default_backend_only")
def test_a_missing_microphone_is_broken_if_it_was_chosen(
    capsys: pytest.CaptureFixture[str], port: int
) -> None:
    code, report = doctor(capsys, "--input", "USB Audio", "--port", str(port))
    assert code == 1
    assert not report["usable"]
    assert statuses(report)["input"] == statuses(report)["input devices"] == "broken"
    assert report["verdict"].startswith("Not usable yet. ")
    assert "there is no input device 'USB Audio'" in report["verdict"]


@pytest.mark.usefixtures("no_devices", "default_backend_only")
def test_a_file_that_clips_is_usable_and_noted(
    capsys: pytest.CaptureFixture[str], port: int, tmp_path: Path
) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.clip(music(6, 44_100) * 50, -1, 1), 44_100)
    code, report = doctor(capsys, "--input", str(path), "--port", str(port))
    assert code == 0
    assert statuses(report)["listening"] == "note"
    assert "the input is too loud" in report["verdict"]
    assert report["listening"]["clipped"] > 0.01


@pytest.mark.usefixtures("no_devices", "default_backend_only")
def test_a_broken_model_file_is_broken(
    capsys: pytest.CaptureFixture[str], port: int, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    options = ["--model", str(path), "--no-listen", "--port", str(port)]
    code, report = doctor(capsys, *options)
    assert code == 1
    assert statuses(report)["model"] == "broken"
    assert report["listening"] is None


@pytest.mark.usefixtures("no_devices", "default_backend_only")
def test_without_ffmpeg_only_radio_is_broken(
    capsys: pytest.CaptureFixture[str], port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, report = doctor(capsys, "--no-listen", "--port", str(port))
    assert (code, statuses(report)["ffmpeg"]) == (0, "note")
    code, report = doctor(
        capsys, "--no-listen", "--port", str(port), "--input", "http://127.0.0.1/radio"
    )
    assert (code, statuses(report)["ffmpeg"]) == (1, "broken")


class OtherServer(BaseHTTPRequestHandler):
    """A web server of another program, or a fake of our own."""

    body = b"{}"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def other_server() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), OtherServer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("no_devices", "default_backend_only")
def test_a_port_in_use_is_broken_unless_realtime_mer_uses_it(
    capsys: pytest.CaptureFixture[str], other_server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, report = doctor(capsys, "--no-listen", "--port", str(other_server))
    assert (code, statuses(report)["port"]) == (1, "broken")
    assert "in use by another program" in report["verdict"]
    monkeypatch.setattr(OtherServer, "body", b"[" * 60_000)
    code, report = doctor(capsys, "--no-listen", "--port", str(other_server))
    assert (code, statuses(report)["port"]) == (1, "broken")
    for body in (
        b'{"model": "m", "backend": "b", "sessions": 0}',
        b'{"status": "ok", "token": "required"}',
    ):
        monkeypatch.setattr(OtherServer, "body", body)
        code, report = doctor(capsys, "--no-listen", "--port", str(other_server))
        assert (code, statuses(report)["port"]) == (0, "note")
        assert "realtime-mer already runs at" in report["verdict"]


@pytest.mark.usefixtures("no_devices", "default_backend_only")
def test_without_json_it_prints_lines_and_a_summary(
    capsys: pytest.CaptureFixture[str], port: int
) -> None:
    assert main(["doctor", "--no-listen", "--port", str(port)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ok     model: ") for line in lines)
    assert any(line.startswith("note   input devices: ") for line in lines)
    assert lines[-1].startswith("Everything needed works. ")
    assert "\x1b" not in "".join(lines)  # no colours where there is no terminal


def test_names_and_numbers_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    detail = "[red]USB[/] \x1b[2J \x07 [/]"
    doctor_command._print_report(Report(checks=[Check("listening", Status.NOTE, detail)]))
    out = capsys.readouterr().out
    assert out.count("[red]USB[/] \ufffd[2J \ufffd [/]") == 2  # in its line and in the summary
    assert "\x1b" not in out


@pytest.mark.usefixtures("no_devices", "default_backend_only")
def test_silence_gives_json_that_every_reader_takes(
    capsys: pytest.CaptureFixture[str], port: int, tmp_path: Path
) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(6 * 44_100), 44_100)
    main(["doctor", "--json", "--input", str(path), "--port", str(port)])

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(capsys.readouterr().out, parse_constant=refuse)


def test_an_invalid_port(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--port", "99999"]) == 2
    assert "the port is 99999" in capsys.readouterr().err


def test_the_summary_without_problems_is_short() -> None:
    assert Report([Check("a", Status.OK, "b")]).verdict == "Everything works."


@pytest.mark.usefixtures("short_check", "default_backend_only")
def test_a_real_microphone_with_music(
    virtual_microphone: VirtualMicrophone,
    capsys: pytest.CaptureFixture[str],
    port: int,
    tmp_path: Path,
) -> None:
    path = tmp_path / "music.wav"
    loud = render_demo()[24 * SAMPLE_RATE_HZ : 44 * SAMPLE_RATE_HZ]
    # Longer than the test takes, also on a busy machine; the fixture stops the player.
    soundfile.write(path, np.tile(loud, (9, 1)), SAMPLE_RATE_HZ)
    virtual_microphone.play(path)
    code, report = doctor(capsys, "--port", str(port))
    assert code == 0
    assert report["devices"]
    assert report["listening"]["input"] == {
        "kind": "microphone",
        "name": "Monitor of Null Output",
    }
    assert report["listening"]["level_db"] > -30
    assert statuses(report)["estimate"] == "ok"


@pytest.mark.usefixtures("virtual_microphone", "short_check", "default_backend_only")
def test_a_real_microphone_with_silence(capsys: pytest.CaptureFixture[str], port: int) -> None:
    code, report = doctor(capsys, "--port", str(port), "--input", "default")
    assert code == 0
    assert statuses(report)["listening"] == "note"
    assert "digital silence" in report["verdict"]
