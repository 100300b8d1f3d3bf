"""The written file holds every key, changes nothing as it is, and is valid without its `#`."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from realtime_mer.cli import build_parser, main
from realtime_mer.commands.configured import section_class
from realtime_mer.commands.init import configuration_text
from realtime_mer.configuration.configuration import (
    CONTROLS,
    SECTIONS,
    Configuration,
    control_class,
    load,
)
from realtime_mer.errors import UserError
from realtime_mer.outputs.output import OutputSettings
from realtime_mer.outputs.registry import KINDS, settings_class
from realtime_mer.scenes.settings import SceneSettings

EXTRAS = ["mido", "sacn", "paho.mqtt", "pylsl"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for package in EXTRAS:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def uncommented(text: str) -> str:
    """All settings of the file, those of all outputs in the table `[[osc]]`."""
    settings = re.findall(r"^# (\w+ = .*\n)", common_keys(text), re.MULTILINE)
    text = text.replace("#[[osc]]\n", f"#[[osc]]\n{''.join(settings)}")
    return re.sub(r"^#(?! |$)", "", text, flags=re.MULTILINE)


def common_keys(text: str) -> str:
    """The part of the file with the keys of all outputs."""
    return text.split("The keys of all outputs.")[1].split("\n# -----")[0]


def test_a_new_file_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    assert "realtime-mer.toml is written" in capsys.readouterr().out
    file = Path("realtime-mer.toml")
    assert tomllib.loads(file.read_text()) == {}
    found = load(file)
    assert (found.outputs, found.scenes, found.controls) == ((), (), {})
    with_file = vars(build_parser().parse_args(["serve"]))
    without = vars(build_parser().parse_args(["serve", "--config", "/dev/null"]))
    for options in (with_file, without):
        del options["configuration"], options["config"]
    assert with_file == without


def test_a_file_is_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    Path("realtime-mer.toml").write_text("mine")
    assert main(["init"]) == 2
    assert "realtime-mer.toml exists and is not replaced" in capsys.readouterr().err
    assert Path("realtime-mer.toml").read_text() == "mine"
    assert main(["init", "-o", "other.toml"]) == 0
    assert Path("other.toml").exists()
    assert main(["init", "-o", "no/such/folder.toml"]) == 2


def test_without_its_comments_the_file_is_valid() -> None:
    Path("realtime-mer.toml").write_text(uncommented(configuration_text()))
    args = build_parser().parse_args(["serve"])
    found: Configuration = args.configuration
    assert len(found.outputs) == len(KINDS)
    assert len(found.scenes) == 1
    assert set(found.controls) == set(CONTROLS)
    assert args.input == "USB Audio"
    assert found.document is not None
    assert found.document.profiles == ("NAME",)


def test_every_key_is_explained() -> None:
    text = configuration_text()
    classes: list[tuple[str, type[Any]]] = [
        *((f"[[{kind}]]", settings_class(kind)) for kind in KINDS),
        ("[[scene]]", SceneSettings),
        *((f"[control.{name}]", control_class(name)) for name in CONTROLS),
        *((f"[{name}]", section_class(name)) for name in SECTIONS),
    ]
    for header, settings in classes:
        part = text.split(f"\n#{header}\n")[1].split("\n# -----")[0]
        if issubclass(settings, OutputSettings):
            part = common_keys(text) + part
        for field in dataclasses.fields(settings):
            explained = re.search(rf"^# {field.name}: (.*)$", part, re.MULTILINE)
            assert explained, f"{header} {field.name}"
            assert explained[1] not in (
                "a number",
                "a table",
                "a text in quotes",
                "true or false",
            ), f"the docstring of {settings.__name__} does not explain {field.name}"
    assert all(len(line) <= 100 for line in text.splitlines() if line.startswith("# "))


def test_a_wrong_value_of_any_key_is_a_sentence_with_its_line() -> None:
    file, parts = Path("realtime-mer.toml"), uncommented(configuration_text()).split("\n# -----")
    sentences = []
    for part in parts:
        lines = part.splitlines()
        for place, line in enumerate(lines):
            name = line.split(" = ")[0]
            if not re.fullmatch(r"\w+ = .*", line):
                continue
            for value in ("-1", '"x"', "[{ a = 1 }]", "nan", "1979-05-27"):
                wrong = f"{name} = {value}"
                file.write_text("\n".join(("#", *lines[1:place], wrong, *lines[place + 1 :])))
                try:
                    build_parser().parse_args(["serve"])
                except UserError as error:
                    sentences.append(str(error))
    assert len(sentences) > 250
    assert any("decay_s" in sentence for sentence in sentences)
    for sentence in sentences:
        assert re.fullmatch(r"realtime-mer\.toml line \d+: \[.*\] .*", sentence), sentence
