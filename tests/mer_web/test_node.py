"""Runs the tests of the page's logic with Node.js."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2] / "web" / "test"


def test_logic_of_the_page() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    files = sorted(TESTS.glob("*.test.mjs"))
    assert len(files) >= 10
    done = subprocess.run(
        [node, "--test", *map(str, files)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    # TAP or spec, depending on the version of Node.js.
    count = re.search(r"^(?:#|ℹ) pass (\d+)", done.stdout, flags=re.M)
    assert count is not None
    assert int(count.group(1)) >= 80
