import os
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine, environment
from mer_engine.engine import shipped_model
from mer_engine.processor import processor


def test_the_default_runs_on_the_processor() -> None:
    engine = OnnxRuntimeEngine(shipped_model())
    assert engine.backend == "onnxruntime"
    assert engine.provider == "CPUExecutionProvider"
    assert engine.warning == ""


def test_nothing_is_reported_to_the_maker_of_the_library(tmp_path: Path) -> None:
    """ONNX Runtime would keep an identifier of this machine, and complain if it cannot."""
    program = "from mer_engine import load_engine; load_engine()"
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "CI")
    }
    for home in (tmp_path, Path(os.devnull)):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={
                **environment,
                "HOME": str(home),
                "PYTHONPATH": os.pathsep.join(sys.path),
                "REALTIME_MER_CACHE": str(home / "cache"),
            },
            capture_output=True,
            text=True,
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_the_environment_names_library_and_processor() -> None:
    assert ort.__version__ in environment()
    assert processor() in environment()
    assert processor()
