"""How long clients are without estimates when a server goes away, measured with real servers."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from local_nginx import missing_for_nginx


@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_replicas_are_measured_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing := missing_for_nginx():
        pytest.skip(missing)
    import replicas
    from proof_tables import replicas as table_of

    monkeypatch.setattr(replicas, "SIGNALS", {"SIGTERM": signal.SIGTERM})
    monkeypatch.setattr(replicas, "PERIOD_S", 2.0)
    path = tmp_path / "replicas.json"
    # 1: a busy machine may miss the goal.
    arguments = ["--viewers", "1", "--senders", "1", "--restarts", "2", "--json", str(path)]
    assert replicas.main(arguments) in (0, 1)
    result = json.loads(path.read_text(encoding="utf-8"))
    (row,) = result["rows"]
    # The first stop moves what is on the first server, the second one all.
    assert row["before"]["count"] == row["viewers"]["count"] + row["senders"]["count"] >= 2
    assert row["viewers"]["max_s"] > 0.0
    assert f"| SIGTERM | viewers | {row['viewers']['count']} |" in table_of(result)


def test_bad_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    from replicas import main

    with pytest.raises(SystemExit):
        main(["--restarts", "0"])
    assert "must be at least 2" in capsys.readouterr().err
