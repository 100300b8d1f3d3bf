"""Frames of the page, measured in a real browser beside a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from page_support import chromium

ROOT = Path(__file__).parents[2]


def test_a_page_is_measured_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium() is None:
        pytest.skip("no Chromium in PATH")
    if not Path("/proc/self/stat").is_file():
        pytest.skip("the processor time of a process is read from /proc")
    import page_frames
    from speed_tables import page_frames as page_table

    monkeypatch.setattr(page_frames, "VIEWS", page_frames.VIEWS[:2])
    monkeypatch.setattr(page_frames, "SIZES", page_frames.SIZES[:1])
    monkeypatch.setattr(page_frames, "views_of", lambda tree: list(page_frames.VIEWS))
    path = tmp_path / "frames.json"
    assert page_frames.main(["--seconds", "1", "--json", str(path)]) == 0
    result = json.loads(path.read_text(encoding="utf-8"))
    assert [row["view"] for row in result["rows"]] == ["page", "page without pulses"]
    for row in result["rows"]:
        assert row["frames"] > 2
        assert row["interval_ms"]["p50"] > 0.0
        assert row["renderer_share"] > 0.0
    assert len(result["model"]["sha256"]) == 64
    assert "| page | " in page_table(result)


def test_the_ratio_to_an_earlier_revision() -> None:
    from speed_tables import _ratios

    row = {"size": "1 x 1", "view": "page", "renderer_share": 0.2, "gpu_share": 0.1}
    now = {**row, "revision": "now", "renderer_share": 0.5}
    assert "page at 1 x 1: 2.00" in _ratios([{**row, "revision": "before"}, now])


def test_views_are_those_of_the_source_tree(tmp_path: Path) -> None:
    from page_frames import VIEWS, views_of

    folder = tmp_path / "web" / "mer_web"
    (folder / "scenes").mkdir(parents=True)
    (folder / "app.js").touch()
    (folder / "scenes" / "rings.js").touch()
    names = [view.name for view in views_of(tmp_path)]
    assert names[0] == "page"
    assert "page without pulses" not in names
    assert names[-1] == "stage, rings"
    (folder / "pulse.js").touch()
    assert VIEWS[1] in views_of(tmp_path)


def test_bad_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    from page_frames import main

    with pytest.raises(SystemExit):
        main(["--seconds", "0"])
    assert "--seconds is 0; it must be at least 1" in capsys.readouterr().err
