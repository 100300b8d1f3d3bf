import os
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest
from mer_engine.backends.onnxruntime import (
    CudaEngine,
    OnnxRuntimeEngine,
    cuda_missing,
    environment,
)
from mer_engine.engine import shipped_model
from mer_engine.errors import BackendError
from mer_engine.processor import processor

HAS_CUDA = "CUDAExecutionProvider" in ort.get_available_providers()


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


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has a CUDA provider")
def test_without_a_cuda_provider_the_error_says_what_to_install() -> None:
    assert "install onnxruntime-gpu" in str(cuda_missing())
    # ONNX Runtime itself only warns, and falls back to the processor.
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(BackendError, match="cannot start its CUDA provider"),
    ):
        CudaEngine(shipped_model())


@pytest.mark.skipif(not HAS_CUDA, reason="this onnxruntime has no CUDA provider")
def test_with_a_cuda_provider_nothing_is_missing() -> None:
    assert cuda_missing() is None
