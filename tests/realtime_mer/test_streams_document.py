"""The example of docs/streams.md works as shown, and its figures are correct."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from mer_engine.engine import PROCESSOR_BATCH

from realtime_mer.live import load_shedding, session_pool
from realtime_mer.live.stats import Counter

PAGE = (Path(__file__).parents[2] / "docs" / "streams.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path) -> None:
    match = re.search(r"<!-- example: streams -->\n```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert match is not None
    done = subprocess.run(
        [sys.executable, "-c", match[1]], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["1.0", "2.0", "3.0"]
    assert all(-1 <= float(value) <= 1 for line in lines for value in line[1:])


def test_the_figures() -> None:
    text = " ".join(PAGE.split())
    assert f"up to {PROCESSOR_BATCH}:" in text
    assert f"from {1 / session_pool.MAX_BATCH_WAIT_SHARE:.0f} sessions" in text
    assert f"at most {100 * session_pool.MAX_BATCH_WAIT_SHARE:.0f} % of the hop" in text
    assert f"more than {load_shedding.LONGEST_PERIOD_S} s apart" in text
    assert load_shedding.rates(1.0) == (1, 2, 4)
    assert load_shedding.rates(0.1) == (1, 5, 10, 20)
    assert load_shedding.TARGET_SHARE == 0.1
    assert load_shedding.CALM_INTERVALS == 10
    assert load_shedding.CALM_BUSY_SHARE == 0.75
    assert f"for {session_pool.IDLE_TIMEOUT_S:.0f} s ends" in text
    for name in ("slowed", "skipped_updates", "dropped_samples"):
        assert f"`{name}`" in text
        assert Counter(name)
