import json

import pytest

from realtime_mer.audio import microphone
from realtime_mer.audio.microphone import InputDevice
from realtime_mer.cli import main
from realtime_mer.commands import devices as command


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[InputDevice]:
    devices = [
        InputDevice(0, "Built-in [Microphone]", "Core Audio", 1, 44_100, True, False),
        InputDevice(3, "BlackHole 2ch", "Core Audio", 2, 48_000, False, True),
    ]
    monkeypatch.setattr(microphone, "list_input_devices", lambda: devices)
    return devices


@pytest.mark.usefixtures("devices")
def test_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    assert capsys.readouterr().out == (
        "0\tBuilt-in [Microphone]\tCore Audio\t1\t44100\tdefault\n"
        "3\tBlackHole 2ch\tCore Audio\t2\t48000\tloopback\n"
    )


@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_are_shown_and_not_obeyed(
    devices: list[InputDevice],
    is_terminal: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    devices[:] = [InputDevice(0, "[red]x[/]\x1b[2J", "[/]\x07", 1, 44_100, True, True)]
    assert main(["devices"]) == 0
    out = capsys.readouterr().out
    assert "[red]x[/]\ufffd[2J" in out
    assert "[/]\ufffd" in out
    assert "\x1b[2J" not in out


@pytest.mark.usefixtures("devices")
def test_json_has_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[1] == {
        "index": 3,
        "name": "BlackHole 2ch",
        "host_api": "Core Audio",
        "channels": 2,
        "sample_rate_hz": 48_000,
        "is_default": False,
        "is_loopback": True,
        "source": None,
    }


def test_a_table_in_a_terminal(
    devices: list[InputDevice], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.platform", "darwin")
    assert main(["devices"]) == 0
    out = capsys.readouterr().out
    assert "index" in out
    assert "Built-in [Microphone]" in out  # brackets are not taken as markup
    assert command._LOOPBACK_TIPS["darwin"] not in out  # a loopback device is present
    devices.pop()
    assert main(["devices"]) == 0
    assert command._LOOPBACK_TIPS["darwin"] in capsys.readouterr().out.replace("\n", " ")


def test_without_devices_it_succeeds(
    devices: list[InputDevice], capsys: pytest.CaptureFixture[str]
) -> None:
    devices.clear()
    assert main(["devices"]) == 0
    assert "no input device found" in capsys.readouterr().out
    assert main(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_without_portaudio_the_error_names_the_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    real_import = builtins.__import__

    def refuse(name: str, *args: object, **kwargs: object) -> object:
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real_import(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert main(["devices"]) == 2
    assert "PortAudio is missing" in capsys.readouterr().err


@pytest.mark.usefixtures("virtual_microphone")
def test_real_devices_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert "virtmic.monitor" in [device["source"] for device in listed]
    assert sum(device["is_default"] for device in listed) == 1
