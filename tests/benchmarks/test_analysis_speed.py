"""What the analysis of whole files costs, measured with a real file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from support import music


def test_worker_processes_need_files(capsys: pytest.CaptureFixture[str]) -> None:
    from analysis_speed import main

    with pytest.raises(SystemExit):
        main(["--jobs"])
    assert "--jobs needs files" in capsys.readouterr().err


def test_whole_files_are_measured_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from analysis_speed import main
    from speed_tables import whole_files

    (tmp_path / "music").mkdir()
    soundfile.write(tmp_path / "music" / "a.wav", music(20.0, 22_050, channels=2), 22_050)
    path = tmp_path / "result.json"
    assert main([str(tmp_path / "music"), "--rounds", "1", "--json", str(path)]) == 0
    result = json.loads(path.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == result
    assert result["ms_per_s"] == pytest.approx(sum(result["parts_ms_per_s"].values()), abs=1e-3)
    assert min(result["parts_ms_per_s"].values()) > 0.0
    assert result["audio_s"] == 20.0
    assert result["estimates"] == 20
    assert result["largest_difference_from_live"] < 2e-5
    assert result["states_that_differ_from_live"] == 0
    assert 0.0 < result["classified_share"] <= 1.0
    assert len(result["model"]["sha256"]) == 64
    text = whole_files(result)
    assert f"| **all of them** | **{result['ms_per_s']:.2f}** |" in text
    assert "worker process" not in text
    result["wall_s_by_jobs"] = {"1": 9.0, "2": 4.5}
    result["jobs_audio_s"] = 3600.0
    assert "2.00 times as fast" in whole_files(result)
