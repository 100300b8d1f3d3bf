"""The tables of docs/configuration.md are those of the program; run this file to renew them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from realtime_mer.commands.init import tables
from realtime_mer.configuration.configuration import load
from realtime_mer.configuration.keys import Key
from realtime_mer.configuration.template import toml_value

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "configuration.md"
MARKED = re.compile(r"(<!-- tables -->\n).*(<!-- /tables -->)", re.DOTALL)
COMMON = "### All outputs"
EXTRAS = ("mido", "sacn", "paho.mqtt", "pylsl")


def rows(keys: Sequence[Key], prefix: str = "") -> Iterator[str]:
    for key in keys:
        default = "needed" if key.required else ""
        if key.default is not None:
            default = f"`{toml_value(key.default)}`"
        text = (key.text or key.type).replace("|", "\\|")
        yield f"| `{prefix}{key.name}` | {default} | {text} |"
        yield from rows(key.keys, f"{prefix}{key.name}.")


def tables_text() -> str:
    common = "All kinds of outputs have these keys. They shape what is sent."
    parts = []
    for table in tables():
        parts += [f"### `{table.header}`", table.text] if table.header else [COMMON, common]
        if table.keys:
            parts.append("\n".join(("| key | default | |", "|---|---|---|", *rows(table.keys))))
    return "\n\n".join(parts) + "\n"


def test_the_tables_are_those_of_the_program() -> None:
    for package in EXTRAS:
        pytest.importorskip(package)
    document = DOCUMENT.read_text(encoding="utf-8")
    assert MARKED.sub(lambda match: match[1] + tables_text() + match[2], document) == document


def test_the_examples_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        file = Path("realtime-mer.toml")
        file.write_text(example)
        found = load(file)
        assert found.document is not None
        for profile in found.document.profiles:
            load(file, profile)


if __name__ == "__main__":
    old = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(MARKED.sub(lambda match: match[1] + tables_text() + match[2], old))
