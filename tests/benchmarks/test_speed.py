"""Speed: calculated scale, the comparison with other tools, tables and plots."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from realtime_mer.bench.engine import measure_engine
from realtime_mer.bench.start_up import measure_start_up

MS = {"p50": 10.0, "p95": 20.0, "p99": 30.0}
ABOUT: dict[str, Any] = {
    "model": {"name": "m", "sha256": "ab" * 32},
    "machine": {"processor": "p", "date_utc": "2026-01-02"},
    "method": {"what": "how"},
}


def stream_row(streams: int, **changes: object) -> dict[str, object]:
    row = {
        "streams": streams,
        "lateness_ms": MS,
        "worst_ms": 31.0,
        "missed": 0,
        "losses": {},
        "notices": {},
        "core_share": 0.5,
        "load_core_share": 0.1,
        "memory_per_stream_kb": 400.0,
        "in_time": True,
    }
    return {**row, **changes}


@pytest.fixture
def parts() -> dict[str, Any]:
    row = {"backend": "onnxruntime", "threads": 1, "ms_per_call": MS, "gflops": 50.0}
    return {
        "engine": {
            **ABOUT,
            "rows": [
                {**row, "batch": 1, "ms_per_window": 2.0, "peak_share": 0.5},
                {**row, "batch": 8, "ms_per_window": 1.0, "peak_share": None},
            ],
            "mflop_per_window": 70.0,
            "mflop_by_kind": {"Conv": 60.0, "MatMul": 10.0},
            "peak_gflops_one_thread": 100.0,
            "lower_bound_ms": 0.7,
            "not_measured": {"tensorrt": "no NVIDIA card"},
        },
        "streams": {
            **ABOUT,
            "websockets": [
                stream_row(100),
                stream_row(200, in_time=False, missed=3, notices={"slower": 2}),
            ],
            "inside": [stream_row(500)],
            "most_websocket_streams": 100,
            "most_inside_streams": 500,
            "goal": {"websockets": 300, "inside": 1000, "p99_ms": 250.0},
        },
        "viewers": {
            **ABOUT,
            "levels": [
                {
                    "viewers": n, "delay_ms": MS, "worst_ms": 33.0, "missed": 0,
                    "server_core_share": 0.1, "client_core_share": 0.1,
                    "memory_per_viewer_kb": 20.0, "in_time": True,
                }
                for n in (100, 300)
            ],
            "most_viewers_in_time": 300,
            "stalled": {
                "viewers": 200, "memory_per_viewer_kb": 30.0, "others": 200,
                "others_delay_ms_without": MS, "others_delay_ms_beside": MS,
            },
            "pulses": [
                {
                    "viewers": 1000, "server_core_share_without": 0.1,
                    "server_core_share_with": 0.15, "ratio": 1.5, "messages_per_s": 16.7,
                    "delay_ms_without": MS, "delay_ms_with": MS, "missed": 0,
                }
            ],
            "goal": {"viewers": 3000, "p99_ms": 100.0, "stalled_kb": 64.0, "pulse_ratio": 2.0},
        },
        "latency": {
            **ABOUT,
            "engine_ms": MS, "frontend_ms": MS, "update_ms": MS, "end_to_end_ms": MS,
            "resample_ms": MS, "publish_ms": MS,
            "bounds": {"resample_ms": 1.0, "frontend_ms": 0.5, "engine_ms": None},
            "allocations": {
                "traced_bytes_per_update": 3.0, "traced_peak_of_an_update_kb": 100.0,
                "rss_growth_kb": 0.0, "updates": 5,
            },
            "real_time_factor": 0.004, "core_share": 0.02, "rss_mb": 100.0,
            "first_estimate_s": 1.5, "window_full_to_tracking_s": 0.5,
        },
    }  # fmt: skip


def write(folder: Path, parts: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        (folder / f"{name}.json").write_text(json.dumps(part), encoding="utf-8")


def test_scale_is_calculated_from_the_results(parts: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path, parts)
    main = importlib.import_module("scale").main
    assert main(["--results", str(tmp_path), "--price", "0.1", "--cores", "4"]) == 0
    result = json.loads((tmp_path / "scale.json").read_text())
    per_core = [row["streams_per_core"] for row in result["configurations"]]
    # 1 / 0.004; 100 streams on half a core; 500 on half a core; 1 ms per window.
    assert per_core == [250.0, 200.0, 1000.0, 1000.0]
    assert result["configurations"][1]["cost_per_1000_stream_hours"] == pytest.approx(0.5)
    limits = {row["resource"]: row["streams"] for row in result["limits"]}
    assert limits["processor"] == 800.0
    assert limits["one process"] == 200.0
    assert result["first_limit"] == "one process"
    assert result["card"] is None
    assert result["measured_with"] == dict.fromkeys(parts, "ab" * 32)


CARD = {
    "card": {
        "name": "Card 1", "driver": "5", "memory": "8 GB", "compute_capability": "9.0", "cuda": "13"
    },
    "model": ABOUT["model"],
    "machine": ABOUT["machine"],
    "parts": {
        "gate": {
            "onnxruntime-cuda": {
                "may_run": True, "missing": "", "warning": "", "differences": "valence 1e-05",
                "update_ms": 1.25,
            },
            "tensorrt": {
                "may_run": False, "missing": "no library", "warning": "", "differences": None,
                "update_ms": None,
            },
        },
        "batches": {
            "onnxruntime-cuda": {"rows": [{"batch": 64, "ms_per_window": 0.025}]},
            "onnxruntime": {"rows": [{"batch": 1, "ms_per_window": 4.0}]},
            "tensorrt": {"rows": [], "missing": "no library"},
        },
        "streams": {"auto": {"rows": [stream_row(700), stream_row(900, in_time=False)]}},
    },
    "failed": {"gate torch": "stopped after 40 s"},
}  # fmt: skip


def test_a_card_has_a_column_and_a_section(parts: dict[str, Any], tmp_path: Path) -> None:
    results = tmp_path / "benchmarks" / "results"
    write(results, {**parts, "card": CARD})
    main = importlib.import_module("scale").main
    assert main(["--results", str(results)]) == 0
    assert importlib.import_module("write_readme").main(tmp_path) == 0
    readme = (tmp_path / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for expected in (
        "| per Card 1 |",
        "| processor time of 500 streams | 700 |",
        "| batch 8, one thread | 40000 |",
        "Card 1, 8 GB, compute capability 9.0, driver 5, CUDA 13.",
        "| onnxruntime-cuda | 1.25 | yes |",
        "| tensorrt | | no |",
        "* onnxruntime-cuda: valence 1e-05",
        "* tensorrt: no library",
        "* gate torch: stopped after 40 s",
        "| windows a call | 1 | 64 |",
        "| onnxruntime-cuda | | 0.025 |",
        "| onnxruntime | 4.00 | |",
        "| auto | 900 | 10 | 20 | 30 | 0.50 | no |",
    ):
        assert expected in readme, expected
    # The figures of another model say nothing about this one.
    write(results, {"card": {**CARD, "model": {"name": "m", "sha256": "cd" * 32}}})
    assert main(["--results", str(results)]) == 0
    assert json.loads((results / "scale.json").read_text())["card"] is None


def test_scale_refuses_results_of_different_models(
    parts: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts["streams"]["model"] = {"name": "m", "sha256": "cd" * 32}
    write(tmp_path, parts)
    assert importlib.import_module("scale").main(["--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "engine.json of abababababab, streams.json of cdcdcdcdcdcd" in error
    assert not (tmp_path / "scale.json").exists()


def test_scale_reports_missing_results(
    tmp_path: Path, parts: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    del parts["viewers"]
    write(tmp_path, parts)
    main = importlib.import_module("scale").main
    assert main(["--results", str(tmp_path)]) == 2
    assert "viewers: not measured yet" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--cores", "0"])
    assert "--cores must be above 0" in capsys.readouterr().err


def test_every_speed_result_has_a_table_and_a_plot(parts: dict[str, Any], tmp_path: Path) -> None:
    results = tmp_path / "benchmarks" / "results"
    parts["scale"] = importlib.import_module("scale").scale(
        parts, price=0.04, cores=8, memory_gb=16.0, network_gbit=1.0
    )
    tool = {
        "versions": {"numpy": "2"}, "update_ms": {"p50": 4.0}, "file_ms_per_s": 3.0,
        "start_s": 0.4, "install_mb": 170.0, "peak_rss_mb": 150.0,
    }  # fmt: skip
    parts["side_by_side"] = {
        **ABOUT, "audio": ["a.flac"], "audio_s": 60.0, "runs": 3,
        "rows": [
            {**tool, "tool": "ours"},
            {**tool, "tool": "essentia", "update_ms": {"p50": 200.0}},
        ],
    }  # fmt: skip
    parts["start_up"] = measure_start_up(runs=1)
    write(results, parts)
    assert importlib.import_module("write_readme").main(tmp_path) == 0
    readme = (tmp_path / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for expected in (
        "| realtime-mer | 4.00 | 1.0 |",
        "| essentia (MusiCNN embedding) | 200.00 | 50.0 |",
        "| resampler, 1 s of audio | 10.000 | 1.000 | 10.0 |",
        "| Python memory kept per update | 3 bytes |",
        "| 1 | 2.000 (50%) |",
        "| 8 | 1.000 |",
        "* tensorrt: no NVIDIA card",
        "| 200 | 10 | 20 | 30 | 3 | 0.50 |",
        "* 200 streams: slower 2",
        "In time: **100** (goal 300).",
        "| server memory per stalled viewer | 30 kB | under 64 kB |",
        "| 1000 | 0.10 | 0.15 | 1.50 | 16.7 | 30.0 |",
        "| start to listening |",
        "Streams per card: not measured with this model.",
        "First limit: **",
    ):
        assert expected in readme, expected
    if importlib.util.find_spec("matplotlib") is None:
        return
    names = "engine", "streams", "viewers", "side_by_side", "latency", "start_up", "scale"
    for name in names:
        with Image.open(tmp_path / "benchmarks" / "plots" / f"{name}.png") as image:
            assert image.width <= 900
        assert f"plots/{name}.png" in readme


def test_the_engine_table_accepts_the_result_of_its_command(tmp_path: Path) -> None:
    write(tmp_path / "benchmarks" / "results", {"engine": measure_engine(
        batches=(1,), threads=(1,), seconds=0.02
    )})  # fmt: skip
    assert importlib.import_module("write_readme").main(tmp_path) == 0
    readme = (tmp_path / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert "| batch | onnxruntime | onnxruntime, in parts |" in readme
    # No line is wider than a page of a terminal.
    rows = [line for line in readme.splitlines() if line.startswith("|")]
    assert max(map(len, rows)) <= 80


def test_an_interrupted_installation_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = importlib.import_module("side_by_side")
    complete = tmp_path / "complete"
    complete.touch()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "_pip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        script._install_current(tmp_path)
    assert not complete.exists()
    monkeypatch.setattr(script, "_pip", lambda *_: None)
    script._install_current(tmp_path)
    assert complete.exists()


def test_the_comparison_hears_each_file_alike(tmp_path: Path) -> None:
    script = importlib.import_module("side_by_side")
    files = []
    for name, value, rate_hz in (("a.wav", 0.25, 44_100), ("b.wav", 0.75, 22_050)):
        files.append(tmp_path / name)
        soundfile.write(files[-1], np.full((40 * rate_hz, 2), value), rate_hz, "FLOAT")
    assert script._write_audio(tmp_path, files, 20.0) == pytest.approx(20.0, abs=0.01)
    heard = np.load(tmp_path / "audio.npy")
    assert heard[: 9 * 44_100].mean() == pytest.approx(0.25, abs=0.01)
    assert heard[11 * 44_100 :].mean() == pytest.approx(0.75, abs=0.01)


def test_the_comparison_rejects_unusable_audio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module("side_by_side")
    # Installing takes minutes; the code before and after it does not.
    monkeypatch.setattr(script, "_environment", lambda *_: None)
    monkeypatch.setattr(script, "_install_current", lambda *_: None)
    bad = tmp_path / "a.flac"
    bad.write_bytes(b"no audio")
    options = ["--cache", str(tmp_path), "--tools", "ours", "--out", str(tmp_path / "r.json")]
    assert script.main([*options, "--audio", str(bad)]) == 2
    assert "a.flac cannot be read" in capsys.readouterr().err
    assert script.main([*options, "--seconds", "3"]) == 2
    assert "at least 15 s are needed" in capsys.readouterr().err
