"""The recipes in deploy/: what they name exists, and nginx and systemd take their files."""

from __future__ import annotations

import http.client
import json
import plistlib
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from live_support import TIMEOUT_S, receive_kind
from local_nginx import missing_for_nginx, running_nginx
from page_support import ServerProcess, free_port
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from realtime_mer.cli import build_parser
from realtime_mer.server.tokens import VARIABLES
from realtime_mer.tls_socket import TlsConnection

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "realtime-mer.service"
NAME = "mer.test"


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def command_lines() -> dict[str, list[str]]:
    """Return the arguments with which each recipe starts the program."""
    dockerfile = text("Dockerfile")
    entry, command = (
        json.loads(re.findall(rf"^{word} (\[.*\])$", dockerfile, re.MULTILINE)[-1])
        for word in ("ENTRYPOINT", "CMD")
    )
    composed = re.search(r"^ +command: (\[.*\])$", text("compose.yaml"), re.MULTILINE)
    assert composed is not None
    composed_line = re.sub(r"\$\{INPUT:-(\w+)\}", r"\1", composed[1])
    composed_line = re.sub(r"\$\{SERVER_NAME:[^}]*\}", NAME, composed_line)
    composed_line = re.sub(r"\$\{SUBNET:-([0-9./]+)\}", r"\1", composed_line)
    unit = dict(re.findall(r"^(ExecStart|Environment=ARGUMENTS)=(.*)$", text(UNIT.name), re.M))
    started = unit["ExecStart"].replace("$ARGUMENTS", unit["Environment=ARGUMENTS"].strip('"'))
    agent = plistlib.loads((DEPLOY / "realtime-mer.plist").read_bytes())["ProgramArguments"]
    service = ElementTree.parse(DEPLOY / "realtime-mer-winsw.xml").getroot()
    windows = service.findtext("arguments")
    assert windows is not None
    return {
        "Dockerfile": [*entry[1:], *command],
        "compose": [*entry[1:], *json.loads(composed_line)],
        "systemd": shlex.split(started)[1:],
        "launchd": agent[1:],
        "Windows": windows.split(),
    }


@pytest.mark.parametrize("recipe", ["Dockerfile", "compose", "systemd", "launchd", "Windows"])
def test_the_program_takes_the_arguments_of_each_recipe(recipe: str) -> None:
    arguments = command_lines()[recipe]
    if "--token" in arguments:
        at = arguments.index("--token")
        del arguments[at : at + 2]
    parsed = build_parser().parse_args(arguments)
    # A container is reached from outside itself; everything else stays on the machine.
    contained = recipe in ("Dockerfile", "compose")
    assert parsed.host == ("0.0.0.0" if contained else "127.0.0.1")
    assert parsed.port == 8765


def test_the_image_gets_all_that_the_wheel_needs(tmp_path: Path) -> None:
    copied = re.findall(r"^COPY (?!--from)(.*)$", text("Dockerfile"), re.MULTILINE)
    for line in copied:
        *sources, target = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(
                    ROOT / source, tmp_path / target,
                    ignore=shutil.ignore_patterns("__pycache__"),
                )  # fmt: skip
            else:
                shutil.copy(ROOT / source, tmp_path / target)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*wheel["packages"], *project["project"]["license-files"], "README.md"]
    for path in needed:
        assert (tmp_path / path).exists(), path


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    process = ServerProcess(
        "--input", "demo", "--port", "0", "--allow-origin", f"https://{NAME}",
        "--proxy", "127.0.0.1", "--no-token",
    )  # fmt: skip
    yield process
    process.stop()


def test_the_health_check_of_the_image(server: ServerProcess) -> None:
    check = re.search(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", text("Dockerfile"), re.MULTILINE)
    assert check is not None
    _, *arguments = json.loads(check[1])

    def code(port: int) -> int:
        command = [sys.executable, *(a.replace("8765", str(port)) for a in arguments)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert code(server.port) == 0
    assert code(free_port()) == 1


class Proxy(NamedTuple):
    """A running nginx with the template of deploy/."""

    port: int
    context: ssl.SSLContext

    def get(self, path: str, name: str = NAME) -> tuple[int, bytes]:
        """Return status and body of a request to the site, as a browser sends it."""
        connection = http.client.HTTPSConnection(name, self.port, timeout=TIMEOUT_S)
        with self.context.wrap_socket(self._socket(), server_hostname=name) as connection.sock:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def viewer(
        self,
        origin: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        client: str = "",
        query: str = "",
    ) -> ClientConnection:
        """Open a websocket, as a page of the site or of another origin does.

        Args:
            origin: of the page; default: the site.
            headers: more headers.
            client: the address of the client.
            query: of the websocket's address.
        """
        address = f"{NAME}:{self.port}"
        return connect(
            f"wss://{address}/ws{query}",
            sock=self._socket(client),
            ssl=self.context,
            create_connection=TlsConnection,
            additional_headers={"Origin": origin or f"https://{address}", **(headers or {})},
        )

    def _socket(self, client: str = "") -> socket.socket:
        return socket.create_connection(
            ("127.0.0.1", self.port), TIMEOUT_S, source_address=(client, 0)
        )


@pytest.fixture(scope="module")
def proxy(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    if missing := missing_for_nginx():
        pytest.skip(missing)
    with running_nginx(tmp_path_factory.mktemp("nginx"), NAME, [server.port]) as nginx:
        yield Proxy(nginx.port, ssl.create_default_context(cafile=str(nginx.ca_file)))


def test_the_page_comes_through_the_proxy(proxy: Proxy) -> None:
    status, page = proxy.get("/")
    assert (status, page) == (200, (ROOT / "web" / "mer_web" / "index.html").read_bytes())


def test_estimates_come_through_the_proxy(proxy: Proxy) -> None:
    with proxy.viewer() as viewer:
        assert receive_kind(viewer, "hello")["schema"] == 1
        estimate = receive_kind(viewer, "estimate")
    assert -1.0 <= estimate["valence"] <= 1.0


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_the_server_still_refuses_other_pages(proxy: Proxy, scheme: str) -> None:
    """The scheme counts: nobody but nginx tells the server that a page came over https."""
    origin = "https://evil.example" if scheme == "https" else f"http://{NAME}:{proxy.port}"
    claim = {"X-Forwarded-Proto": scheme}
    with pytest.raises(InvalidStatus) as refused, proxy.viewer(origin, claim):
        pass
    assert refused.value.response.status_code == 403


def test_the_server_knows_the_client_behind_the_proxy(proxy: Proxy, server: ServerProcess) -> None:
    """And does not believe what the client says of itself."""
    claim = {"X-Forwarded-For": "203.0.113.66"}
    with (
        pytest.raises(InvalidStatus) as refused,
        proxy.viewer(headers=claim, client="127.0.0.9", query="?since=x"),
    ):
        pass
    assert refused.value.response.status_code == 400
    assert "refused a request from 127.0.0.9 (400): since must be" in server.errors()


def test_the_proxy_serves_no_other_name(proxy: Proxy) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        proxy.get("/", "other.test")


def test_kubernetes_leaves_a_replica_the_time_to_drain() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    parts = {part["kind"]: part for part in yaml.safe_load_all(text("kubernetes.yaml"))}
    pod = parts["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    dockerfile = text("Dockerfile")
    entry = json.loads(re.findall(r"^ENTRYPOINT (\[.*\])$", dockerfile, re.MULTILINE)[-1])
    parsed = build_parser().parse_args([*entry[1:], *container["args"]])
    assert (parsed.port, parsed.token) == (container["ports"][0]["containerPort"], "env")
    sleep_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    ending_s = pod["spec"]["terminationGracePeriodSeconds"] - sleep_s - parsed.drain
    assert parsed.drain > 0
    # The end of the server, with what `stop` waits for at most.
    assert ending_s >= 10
    # Probes are made faster than the load balancers are given to notice.
    readiness = container["readinessProbe"]
    assert readiness["httpGet"]["path"] == "/readyz"
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < sleep_s
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert {each["name"] for each in container["env"]} == set(VARIABLES.values())
    labels = pod["metadata"]["labels"]
    service = parts["Service"]["spec"]
    assert parts["Deployment"]["spec"]["selector"]["matchLabels"] == service["selector"] == labels
    (rule,) = parts["Ingress"]["spec"]["rules"]
    target = rule["http"]["paths"][0]["backend"]["service"]
    assert target["name"] == parts["Service"]["metadata"]["name"]
    assert parsed.allow_origin == [f"https://{rule['host']}"]


def systemd_analyze() -> str:
    command = shutil.which("systemd-analyze")
    if command is None:
        pytest.skip("systemd-analyze is not installed")
    return command


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    program = re.compile(r"^ExecStart=\S+", re.MULTILINE)
    copy.write_text(program.sub(f"ExecStart={sys.executable}", text(UNIT.name)))
    run = subprocess.run(
        [systemd_analyze(), "verify", "--man=no", str(copy)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [line for line in run.stderr.splitlines() if UNIT.name in line]
    assert (run.returncode, ours) == (0, [])


def test_the_unit_is_exposed_little() -> None:
    command = [systemd_analyze(), "security", "--offline=true", "--no-pager"]
    # The threshold is in tenths: the command fails above 3.0 of 10.
    run = subprocess.run(
        [*command, "--threshold=30", str(UNIT)], capture_output=True, text=True, check=False
    )
    if "unrecognized option" in run.stderr:
        pytest.skip("this systemd-analyze reads no unit that is not installed")
    assert run.returncode == 0, run.stdout + run.stderr
