import importlib.util
from pathlib import Path

import pytest
from mer_engine.backends import cuda
from mer_engine.backends.tensorrt import build
from mer_engine.cache import read_file
from mer_engine.install_hint import install_hint

from realtime_mer.cli import main

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt-rtx is not installed (no wheel for here)",
)
no_card = pytest.mark.skipif(cuda.missing() is None, reason="this machine has an NVIDIA driver")


def test_without_the_package_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "PACKAGES", {"tensorrt-rtx": "no_such_package"})
    assert main(["compile", "--target", "sm89"]) == 2
    assert install_hint("tensorrt") in capsys.readouterr().err


@needs_rtx
@no_card
def test_without_a_card_the_error_lists_the_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile"]) == 2
    error = capsys.readouterr().err
    assert "there is no" in error
    assert "--target (sm75, sm80, sm86, sm89, sm120, sm121)" in error


@needs_rtx
def test_an_unknown_target_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--target", "sm12"]) == 2
    assert "not for sm12" in capsys.readouterr().err


@needs_rtx
@pytest.mark.timeout(600)
def test_an_engine_for_another_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--target", "SM75", "--out", str(tmp_path / "engines")]) == 0
    (path,) = (tmp_path / "engines").iterdir()
    header, plan = read_file(path)
    assert (header["target"], header["precision"]) == ("sm75", "fp16")
    assert len(plan) > 5_000_000
    error = capsys.readouterr().err
    assert "compiling mer-2 for sm75 in fp16" in error
    assert "each engine is checked against the reference" in error


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime-cuda"])
@no_card
def test_a_backend_that_is_not_available(capsys: pytest.CaptureFixture[str], backend: str) -> None:
    assert main(["analyze", "demo", "--backend", backend]) == 2
    assert f"the backend {backend} cannot run here: " in capsys.readouterr().err


def test_an_unknown_backend_lists_the_backends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["analyze", "demo", "--backend", "gpu"])
    assert "onnxruntime-cuda" in capsys.readouterr().err
