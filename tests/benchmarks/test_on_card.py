"""The measurement of a machine with a card: here with none, and with the processor in its place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import on_card
import pytest
from support import running_program

DRIVER = """\
#!/bin/sh
if [ $# -gt 0 ]
then echo "Stand-in 1, 580.1, 81559 MiB, 9.0"
else echo "| NVIDIA-SMI 580.1  Driver Version: 580.1  CUDA Version: 13.0 |"
fi
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a program in the place of nvidia-smi, in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(DRIVER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return program


def test_without_a_card_it_says_so(
    tmp_path: Path,
    driver: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--out", str(tmp_path / "card.json")]
    driver.write_text("#!/bin/sh\necho No devices were found\nexit 6\n")
    assert on_card.main(arguments) == 2
    assert "finds no card that works (No devices were found)" in capsys.readouterr().err
    driver.write_text("#!/bin/sh\n")
    assert on_card.main(arguments) == 2
    assert "the NVIDIA driver lists no card" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "")
    assert on_card.main(arguments) == 2
    assert "this machine has no NVIDIA driver" in capsys.readouterr().err
    assert not (tmp_path / "card.json").exists()


def test_the_script_runs_it(tmp_path: Path, driver: Path, scripts: Path) -> None:
    driver.write_text("#!/bin/sh\n")
    done = subprocess.run(
        [scripts / "on_card.sh", "--quick", "--out", tmp_path / "card.json"],
        capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr == "on_card: the NVIDIA driver lists no card; see what nvidia-smi says\n"


@pytest.mark.timeout(600)
def test_every_part_is_measured(
    tmp_path: Path, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine that is very busy may not keep the time limits, which have a test of their own.
    parts = list(on_card._parts(["onnxruntime"]))
    unlimited = [(kind, name, 3600.0) for kind, name, _ in parts]
    monkeypatch.setattr(on_card, "_parts", lambda names: unlimited)
    monkeypatch.setattr(on_card, "MOST_S", 3600.0)
    out = tmp_path / "benchmarks" / "results" / "card.json"
    arguments = ["--quick", "--backends", "onnxruntime", "--out", str(out)]
    assert on_card.main(arguments) == 0
    result: dict[str, Any] = json.loads(out.read_text())
    assert result["failed"] == {}
    assert result["card"] == {
        "name": "Stand-in 1", "driver": "580.1", "memory": "81559 MiB",
        "compute_capability": "9.0", "cuda": "13.0",
    }  # fmt: skip
    assert len(result["model"]["sha256"]) == 64
    assert "onnxruntime" in result["packages"]
    gate = result["parts"]["gate"]["onnxruntime"]
    assert gate["may_run"] is True
    assert gate["update_ms"] > 0.0
    batches = result["parts"]["batches"]["onnxruntime"]["rows"]
    assert [row["batch"] for row in batches] == [1, 8]
    for name in ("onnxruntime", "auto"):
        (row,) = result["parts"]["streams"][name]["rows"]
        assert row["backend"] == "onnxruntime"
    from write_readme import main

    assert main(tmp_path) == 0
    readme = (tmp_path / "benchmarks" / "README.md").read_text()
    assert "## Graphics card" in readme
    assert "Stand-in 1, 81559 MiB" in readme


def test_a_part_that_hangs_or_ends_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "part.py"
    monkeypatch.setattr(on_card, "__file__", str(program))
    values: list[object] = []

    def run(text: str, limit_s: float) -> str:
        program.write_text(text)
        return on_card._run_process("gate", "torch", False, limit_s, values.append)

    assert run("print('{\"value\": 1}', flush=True); import os; os.abort()", 60.0) == (
        f"its process ended with exit code {-signal.SIGABRT}"
    )
    assert run('print(\'{"failed": "no memory"}\')', 60.0) == "no memory"
    assert run("import time; time.sleep(600)", 0.5).startswith("stopped after ")
    assert run("print('a line of a library'); print('{\"value\": 2}')", 60.0) == ""
    assert values == [1, 2]


def test_a_result_that_cannot_be_written_is_a_sentence(
    driver: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert on_card.main(["--out", f"{os.devnull}/a/card.json"]) == 2
    assert "card.json cannot be written (Not a directory); name another" in capsys.readouterr().err


def test_the_tables_of_a_card_are_no_wider_than_a_terminal() -> None:
    from tables import TABLES

    gate = {"missing": "", "warning": "it says why " * 20, "update_ms": 1.24, "may_run": True}
    gate["differences"] = "valence 1e-5, arousal 2e-5, interval 3e-5, sound 4e-6; allowed are 1e-4"
    rows = [{"batch": batch, "ms_per_window": 0.0946} for batch in on_card.BATCHES]
    streams = {
        "streams": 2400,
        "lateness_ms": {"p50": 1234.5, "p95": 1234.5, "p99": 1234.5},
        "core_share": 12.34,
        "in_time": False,
    }
    names = [name for variants in on_card.VARIANTS.values() for name in variants]
    result = {
        "card": dict.fromkeys(("name", "memory", "compute_capability", "driver", "cuda"), "1"),
        "parts": {
            "gate": {"onnxruntime-cuda": gate},
            "batches": {name: {"rows": rows} for name in names},
            "streams": {name: {"rows": [streams]} for name in names},
        },
        "failed": {},
    }
    for marker in ("card gates", "card batches", "card streams"):
        text = TABLES[marker][1](result)
        assert text is not None
        assert max(map(len, text.splitlines())) <= 80
    assert "| onnxruntime-cuda | 1.24 | yes |" in str(TABLES["card gates"][1](result))
    assert "* onnxruntime-cuda: it says why" in str(TABLES["card gates"][1](result))
    assert "* onnxruntime-cuda: valence 1e-5" in str(TABLES["card gates"][1](result))


@pytest.mark.timeout(300)
def test_what_was_measured_stays_when_it_is_stopped(
    tmp_path: Path, driver: Path, scripts: Path
) -> None:
    out = tmp_path / "card.json"
    command = [sys.executable, str(scripts / "on_card.py"), "--quick", "--out", str(out)]
    with running_program(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("batches onnxruntime-cuda"):
                process.send_signal(signal.SIGINT)
                break
        told = process.stderr.read()
    assert process.returncode == 130
    assert f"stopped; what was measured is in {out}" in told
    result = json.loads(out.read_text())
    assert result["stopped"] is True
    assert result["card"]["name"] == "Stand-in 1"
    assert "auto" not in result["parts"].get("streams", {})


def test_torch_runs_on_a_device_as_it_does_without() -> None:
    pytest.importorskip("torch", reason="torch comes with the train extra")
    pytest.importorskip("onnx", reason="onnx comes with the train extra")
    from mer_engine.backends.parity import check

    assert check(on_card.TorchOnDevice("cpu")).passed
