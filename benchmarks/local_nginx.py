"""Runs nginx on this machine with the file of deploy/, in front of servers of this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

TEMPLATE = Path(__file__).parents[1] / "deploy" / "nginx.conf.template"
START_TIMEOUT_S = 60.0


class Nginx(NamedTuple):
    """A running nginx.

    Attributes:
        port: of its https, on 127.0.0.1.
        ca_file: the certificate to trust.
        errors: its log.
    """

    port: int
    ca_file: Path
    errors: Path


def missing_for_nginx() -> str:
    """Return why nginx cannot run here; empty if it can."""
    missing = [name for name in ("nginx", "openssl") if _program(name) is None]
    return f"{' and '.join(missing)} is not installed" if missing else ""


@contextmanager
def running_nginx(folder: Path, name: str, ports: Sequence[int]) -> Iterator[Nginx]:
    """Run nginx until the end of the `with` block.

    Args:
        folder: an empty folder for its files.
        name: the host name that it serves.
        ports: of the servers on 127.0.0.1 behind it.

    Raises:
        RuntimeError: it does not accept the file, or does not start.
    """
    nginx, openssl = _program("nginx"), _program("openssl")
    assert nginx is not None
    assert openssl is not None
    ca_file, errors = folder / "cert.pem", folder / "errors"
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
            "-keyout", folder / "key.pem", "-out", ca_file,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    port = _free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_configuration(folder, name, port, ports), encoding="utf-8")
    command = [nginx, "-e", "stderr", "-c", str(configuration)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        raise RuntimeError(f"nginx does not take the file: {checked.stderr}")
    with errors.open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        _wait_until_it_listens(port, process)
        yield Nginx(port, ca_file, errors)
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def _configuration(folder: Path, name: str, port: int, ports: Sequence[int]) -> str:
    site = TEMPLATE.read_text(encoding="utf-8")
    line = next(line for line in site.splitlines() if "server ${UPSTREAM} " in line)
    for old, new in {
        line: "\n".join(line.replace("${UPSTREAM}", f"127.0.0.1:{each}") for each in ports),
        "${SERVER_NAME}": name,
        "/etc/nginx/tls": str(folder),
        "listen 8443": f"listen 127.0.0.1:{port}",
    }.items():
        if old not in site:
            raise RuntimeError(f"{TEMPLATE.name} has no {old!r}")
        site = site.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    return (
        f"daemon off; pid {folder}/pid; error_log stderr;\n"
        # A worker that is not root could not enter a private folder.
        f"user root;\nevents {{}}\nhttp {{\naccess_log off;\n{folders}{site}}}\n"
    )


def _program(name: str) -> str | None:
    return shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("nginx does not start")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
