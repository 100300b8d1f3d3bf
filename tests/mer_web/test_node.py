"""Run the JavaScript tests of the page with Node.js."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2] / "web" / "test"


@pytest.mark.timeout(600)  # more than its own limit
def test_javascript() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    files = sorted(TESTS.glob("*.test.mjs"))
    assert files
    done = subprocess.run(
        [node, "--test", *map(str, files)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    # TAP or spec reporter, depending on the version of Node.js.
    count = re.search(r"^(?:#|ℹ) pass (\d+)", done.stdout, flags=re.M)
    assert count is not None
    assert int(count.group(1)) >= len(files)
