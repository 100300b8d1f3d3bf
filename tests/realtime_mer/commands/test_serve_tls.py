"""`realtime-mer serve` over https, as a user runs it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest
from live_support import TIMEOUT_S
from page_support import ServerProcess
from tls_support import make_files

import realtime_mer
from realtime_mer.cli import main
from realtime_mer.errors import UserError

COMMAND = [sys.executable, "-m", "realtime_mer", "serve", "--input", "demo", "--port", "0"]


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if sys.platform != "linux":
        pytest.skip("only Linux takes the user's folder from XDG_CONFIG_HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "realtime-mer"


def test_a_self_signed_server(own_folder: Path) -> None:
    command = [*COMMAND, "--tls", "self-signed", "--host", "0.0.0.0"]
    authority = own_folder / "self-signed-authority.crt"
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert server.stdout is not None
        printed = ""
        while "input:" not in printed:
            line = server.stdout.readline()
            assert line, "the server has ended"
            printed += line
        url = re.findall(r"realtime-mer is at (https://\S+)", printed)[0]
        (shown,) = re.findall(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", printed)
        trusts = ssl.create_default_context(cafile=str(authority))
        port = int(url.rstrip("/").rsplit(":", 1)[1])
        for name in ("localhost", "127.0.0.1", socket.gethostname().lower()):
            raw = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
            with trusts.wrap_socket(raw, server_hostname=name) as client:
                der = client.getpeercert(binary_form=True)
            assert der is not None
            assert hashlib.sha256(der).hexdigest() == shown.replace(":", "").lower()
        with urllib.request.urlopen(url + "healthz", timeout=TIMEOUT_S, context=trusts) as page:
            assert json.load(page)["status"] == "listening"
        # A Python program that is told whom to trust, and one that is not.
        token = tomllib.loads((own_folder / "tokens.toml").read_text())["view"]
        with realtime_mer.connect(url, ca_file=authority, token=token) as connection:
            assert next(iter(connection)).seq >= 0
        with pytest.raises(UserError, match=r"not trusted .*self-signed-authority\.crt as ca_file"):
            realtime_mer.connect(url).__enter__()
        with pytest.raises(UserError, match=r"speaks https, not http"):
            realtime_mer.connect(f"ws://127.0.0.1:{port}").__enter__()
    finally:
        server.terminate()
        assert server.wait(TIMEOUT_S) == 0
        assert server.stdout is not None
        server.stdout.close()


def test_the_certificate_is_the_same_after_a_restart(own_folder: Path) -> None:
    contents = []
    for _ in range(2):
        ServerProcess("--input", "demo", "--port", "0", "--tls", "self-signed").stop()
        contents.append((own_folder / "self-signed.pem").read_bytes())
    assert contents[0] == contents[1]


def test_a_certificate_of_the_user(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    server = ServerProcess(
        "--input", "demo", "--port", "0", "--tls-cert", str(files.certificate),
        "--tls-key", str(files.key),
    )  # fmt: skip
    try:
        assert server.url.startswith("https://")
        trusts = ssl.create_default_context(cafile=str(files.certificate))
        with urllib.request.urlopen(server.url, timeout=TIMEOUT_S, context=trusts) as page:
            assert b"<html" in page.read()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tls-cert", "no.crt", "--tls-key", "no.key"], "certificate no.crt does not exist"),
        (["--tls-cert", "no.crt"], "--tls-key is missing"),
        (["--tls-key", "no.key"], "--tls-cert is missing"),
        (["--tls", "self-signed", "--tls-key", "no.key"], "leave out --tls-cert/--tls-key"),
        (["--proxy", "nginx"], "--proxy: 'nginx' does not appear to be an IPv4 or IPv6"),
    ],
)
def test_wrong_options_are_one_sentence(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--input", "demo", *options]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("url", "ca_file", "words"),
    [
        ("wss://127.0.0.1:1", "no.crt", r"ca_file 'no\.crt' cannot be used"),
        ("ws://127.0.0.1:1", "no.crt", r"ca_file is for https"),
        ("wss://127.0.0.1:1", 5, r"ca_file 5 cannot be used"),
    ],
)
def test_a_file_that_a_client_cannot_trust(url: str, ca_file: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        realtime_mer.connect(url, ca_file=ca_file)


def test_wss_to_a_server_without_tls() -> None:
    server = ServerProcess("--input", "demo", "--port", "0")
    try:
        with pytest.raises(UserError, match=r"does not speak TLS .*write ws://"):
            realtime_mer.connect(f"wss://127.0.0.1:{server.port}").__enter__()
    finally:
        server.stop()
