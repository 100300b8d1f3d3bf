import onnxruntime as ort
import pytest
from mer_engine.backends.onnxruntime_cuda import CudaEngine, missing
from mer_engine.engine import shipped_model
from mer_engine.errors import BackendError

HAS_CUDA = "CUDAExecutionProvider" in ort.get_available_providers()


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has a CUDA provider")
def test_without_a_cuda_provider_the_error_says_what_to_install() -> None:
    assert "install onnxruntime-gpu" in str(missing())
    # ONNX Runtime itself only warns, and falls back to the processor.
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(BackendError, match="cannot start its CUDA provider"),
    ):
        CudaEngine(shipped_model())


@pytest.mark.skipif(not HAS_CUDA, reason="this onnxruntime has no CUDA provider")
def test_with_a_cuda_provider_nothing_is_missing() -> None:
    assert missing() is None
