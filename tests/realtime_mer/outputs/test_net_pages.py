"""What the pages about MQTT, Lab Streaming Layer and webhooks print works as it is printed."""

from __future__ import annotations

import importlib
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from live_support import TIMEOUT_S, wait_for
from lsl_support import skip_without_lsl
from net_support import EVENT, FRAME
from page_support import free_port

from realtime_mer.outputs.registry import settings_class
from realtime_mer.outputs.webhook import WebhookOutput, WebhookSettings

PAGES = Path(__file__).parents[3] / "docs" / "stage"


def blocks(page: str, language: str) -> list[str]:
    """Return the code of a page in a language."""
    text = (PAGES / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "kind", "package", "count"),
    [
        ("home-assistant.md", "mqtt", "paho.mqtt", 1),
        ("labrecorder.md", "lsl", "pylsl", 1),
        ("webhooks.md", "webhook", "json", 2),
    ],
)
def test_settings_are_valid(page: str, kind: str, package: str, count: int) -> None:
    pytest.importorskip(package, exc_type=ImportError)
    tables = [table for block in blocks(page, "toml") for table in tomllib.loads(block)[kind]]
    assert len(tables) == count
    for table in tables:
        settings_class(kind)(**table)


def test_links_and_drawings_exist() -> None:
    for page in ("home-assistant.md", "labrecorder.md", "webhooks.md"):
        links = re.findall(r"\]\((?!https?://)([^)#]+)", (PAGES / page).read_text(encoding="utf-8"))
        assert links
        assert all((PAGES / link).exists() for link in links), links


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that is ended at the end of the body."""
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        yield run
    finally:
        run.kill()
        run.communicate()


def test_the_receiver_of_webhooks() -> None:
    (program,) = blocks("webhooks.md", "python")
    port = free_port()
    assert "8000" in program
    settings = WebhookSettings(url=f"http://127.0.0.1:{port}/", rate_hz=50.0)
    output = WebhookOutput(settings)
    with running(program.replace("8000", str(port))) as run:
        output.send_event(EVENT)

        def arrives() -> bool:
            output.send(FRAME)
            return output.sent == 1

        wait_for(arrives, "the event")
        assert run.stdout is not None
        assert run.stdout.readline() == "mood_enter 0.75\n"
    assert output.answer == f"127.0.0.1:{port} answers 204"


def test_the_receiver_of_samples() -> None:
    skip_without_lsl()
    lsl: Any = importlib.import_module("realtime_mer.outputs.lsl")
    (program,) = blocks("labrecorder.md", "python")
    name = f"page {free_port()}"
    # Other tests may offer a stream of this type at the same time.
    asks = '"type", "Mood", timeout=10'
    assert asks in program
    source = f"realtime-mer/{socket.gethostname()}/{name}/Mood"
    program = program.replace(asks, f'"source_id", "{source}", timeout={TIMEOUT_S}')
    with closing(lsl.LslOutput(lsl.LslSettings(name=name))) as output:
        output.open()
        with running(program) as run:

            def ends() -> bool:
                output.send(FRAME)
                return run.poll() is not None

            wait_for(ends, "ten samples")
            assert run.returncode == 0
            assert run.stdout is not None
            lines = run.stdout.read().splitlines()
    assert len(lines) == 10
    assert all(line.endswith("  valence +0.50  arousal -0.50") for line in lines)
