"""Files are read whole, profiles win, and every mistake names the file, its line and its key."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from realtime_mer.configuration.configuration import find_file, load
from realtime_mer.errors import UserError
from realtime_mer.outputs.jsonl import JsonlSettings
from realtime_mer.outputs.osc import OscSettings
from realtime_mer.outputs.osc_control import OscControlSettings
from realtime_mer.user_folder import user_folder

TEXT = """\
[server]
port = 9000
host = "127.0.0.1"

[[osc]]
to = "127.0.0.1:7000"
name = "resolume"
[[osc]]
to = "127.0.0.1:7001"
rate_hz = 10

[[jsonl]]

[[scene]]
name = "storm"
when = { arousal = ">0.5" }

[control.osc]
port = 9001

[profile.club]
control.osc.prefix = "/club"
[profile.club.server]
port = 9100
[[profile.club.osc]]
to = "10.0.0.1:1"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("realtime-mer.toml")


def test_what_a_file_says(file: Path) -> None:
    file.write_text(TEXT)
    found = load(file)
    first = OscSettings(to="127.0.0.1:7000", name="resolume")
    second = OscSettings(to="127.0.0.1:7001", rate_hz=10.0)
    assert found.outputs == (first, second, JsonlSettings())
    assert [scene.name for scene in found.scenes] == ["storm"]
    assert found.controls == {"osc": OscControlSettings(port=9001)}
    assert found.section("server") == {"port": 9000, "host": "127.0.0.1"}
    assert found.section("input") == {}
    assert found.again() == found


def test_a_profile_wins(file: Path) -> None:
    file.write_text(TEXT)
    found = load(file, "club")
    assert found.outputs == (OscSettings(to="10.0.0.1:1"), JsonlSettings())
    assert found.controls == {"osc": OscControlSettings(port=9001, prefix="/club")}
    assert found.section("server") == {"port": 9100, "host": "127.0.0.1"}
    assert str(found.error(("server", "port"), "x")) == "realtime-mer.toml line 24: x"
    assert str(found.error(("server", "host"), "x")) == "realtime-mer.toml line 3: x"
    assert str(found.error(("osc", 0, "to"), "x")) == "realtime-mer.toml line 26: x"
    assert str(found.error(("osc", 1, "to"), "x")) == "realtime-mer.toml line 25: x"


def test_outputs_of_the_command_line_follow_those_of_the_file(file: Path) -> None:
    file.write_text(TEXT)
    assert load(file, osc=["h:1", "h:2"]).outputs[3:] == (
        OscSettings(to="h:1"),
        OscSettings(to="h:2"),
    )
    assert load(None, osc=["h:1"]).outputs == (OscSettings(to="h:1"),)
    with pytest.raises(UserError, match="--osc h: to is 'h'; it must be HOST:PORT"):
        load(None, osc=["h"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\n[[osc]]\nto = 'h:1'\nrat = 1", "line 4: [[osc]] has no key rat; did you mean rate_hz?"),
        ("[[osc]]\n\n[[osc]]", "line 1: [[osc]] needs the key to"),
        ("[[osc]]\nto='h:1'\n\n[[osc]]", "line 4: [[osc]] needs the key to"),
        ("[[ocs]]", "line 1: there is no table [ocs]; did you mean osc?"),
        ("\nrate_hz = 5", "line 2: there is no key rate_hz here; "),
        ("[osc]\nto = 'h:1'", "line 1: write [[osc]]: each has a table of its own"),
        ("osc = [1]", "line 1: write [[osc]]"),
        ("[[server]]", "line 1: write [server]: it is one table"),
        ("control = 5", "line 1: write [control.osc]: it is one table"),
        ("[control.ocs]", "line 1: there is no table [control.ocs]; did you mean osc?"),
        ("[control.osc]\nport = 0", "line 2: [control.osc] port is 0; it must lie between"),
        ("[[control.osc]]\nport = 1", "line 1: [control.osc] is a list; it must be a table"),
        ("[[osc]]\nto = 'h:1'\nname = 'a'\n[[wled]]\nto = 'h'\nleds = 1\nname = 'a'",
         "line 7: [[wled]] name is a, as that of another output; give it its own"),
        ("[[scene]]\nname = 'x'\nwhen = { arousl = '>0' }", "line 3: [[scene]] when"),
        ("profile = 1", "line 1: write a profile as [profile.NAME.TABLE]"),
        ("[profile]\na = 1", "line 2: profile.a must be a table"),
        ("[server]\nport = ", "line 2: this is not valid TOML: invalid value"),
        ("[server]\nport", "this is not valid TOML: expected '='"),
        ('x = """', "this is not valid TOML: unterminated string"),
        ("a = " + 6000 * "[", "is not valid TOML"),
        ("a = " + 6000 * "1", "is not valid TOML"),
        ("\n" + 100_000 * "a." + "a = 1", "line 2: this key has more than 64 parts"),
    ],
)  # fmt: skip
def test_mistakes(text: str, sentence: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load(file)
    assert str(caught.value).startswith("realtime-mer.toml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pad_that_starts_no_scene(file: Path) -> None:
    pytest.importorskip("mido")
    file.write_text('[[scene]]\nname = "storm"\n[control.midi]\nscenes = { strom = 40 }')
    with pytest.raises(UserError) as caught:
        load(file)
    sentence = "line 4: [control.midi] scenes has strom, which is no scene; did you mean storm?"
    assert sentence in str(caught.value)


def test_unknown_profiles(file: Path) -> None:
    file.write_text(TEXT)
    with pytest.raises(UserError, match=r"toml has no profile clb; did you mean club\?"):
        load(file, "clb")
    with pytest.raises(UserError, match="has no profile xyz; there are: club"):
        load(file, "xyz")
    file.write_text("")
    with pytest.raises(UserError, match="has no profile xyz; there is none"):
        load(file, "xyz")
    with pytest.raises(UserError, match="--profile xyz needs a configuration file"):
        load(None, "xyz")


def test_bytes_that_are_no_text(file: Path) -> None:
    file.write_bytes(b"# caf\xe9\n")
    with pytest.raises(UserError, match="line 1: this is not UTF-8"):
        load(file)
    file.write_bytes(1_000_001 * b"\n")
    with pytest.raises(UserError, match="larger than 1 MB"):
        load(file)
    file.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 5\r\n")  # as Windows' editor saves it
    assert load(file).section("server") == {"port": 5}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a variable for the folder")
def test_where_the_file_is_looked_for(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert find_file() is None
    user_folder().mkdir(parents=True)
    (user_folder() / "realtime-mer.toml").touch()
    assert find_file() == tmp_path / "config" / "realtime-mer" / "realtime-mer.toml"
    file.touch()
    assert find_file() == file
    assert load(Path(os.devnull)).outputs == ()


def test_a_package_that_is_missing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    monkeypatch.delitem(sys.modules, "realtime_mer.outputs.mqtt", raising=False)
    file.write_text("\n[[mqtt]]\nbroker = 'h'")
    with pytest.raises(UserError) as caught:
        load(file)
    text = str(caught.value)
    start = (
        "realtime-mer.toml line 2: [[mqtt]]: the output mqtt needs the package paho, which is not"
    )
    assert text.startswith(start)
    assert '[mqtt]"' in text
