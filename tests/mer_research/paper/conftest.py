"""Fixtures: a small table of songs, and torch on one thread."""

from __future__ import annotations

import pytest
import torch
from mer_research.paper.step_table import StepTable
from paper_support import make_table


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def table() -> StepTable:
    return make_table()
