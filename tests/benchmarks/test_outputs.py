"""What outputs cost, measured with real packets."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest


@pytest.mark.skipif(
    not hasattr(time, "pthread_getcpuclockid"), reason="the processor time of a thread needs Linux"
)
def test_outputs_are_measured_and_shown(tmp_path: Path) -> None:
    from outputs import main
    from speed_tables import outputs

    path = tmp_path / "outputs.json"
    assert main(["--seconds", "2", "--rounds", "1", "--json", str(path)]) == 0
    result = json.loads(path.read_text(encoding="utf-8"))
    assert [hop["hop_s"] for hop in result["hops"]] == [1.0, 0.1]
    assert len(result["model"]["sha256"]) == 64
    for hop in result["hops"]:
        assert hop["core_share_with"] > 0.0
        assert hop["estimate_to_packet_ms"]["p50"] > 0.0
        assert hop["between_packets_ms"]["p50"] > 0.0
    text = outputs(result)
    assert "| outputs, share of a core | " in text
    assert "hop 0.1 s" in text


def test_the_next_packet_after_each_estimate() -> None:
    from outputs import first_after

    assert first_after([1.0, 2.0, 3.0], [0.5, 1.25, 2.5]) == [0.25, 0.5]


def test_bad_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    from outputs import main

    with pytest.raises(SystemExit):
        main(["--seconds", "0"])
    assert "--seconds must be at least 2" in capsys.readouterr().err
