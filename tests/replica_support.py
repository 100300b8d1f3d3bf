"""Two real servers behind a real nginx, where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from local_nginx import missing_for_nginx
from replica_clients import Replicas


@contextmanager
def replicas(folder: Path, *arguments: str) -> Iterator[Replicas]:
    """Run two servers that wait a minute for their clients to leave; skip without nginx.

    Args:
        folder: an empty folder for nginx.
        arguments: further options of the servers.
    """
    if missing := missing_for_nginx():
        pytest.skip(missing)
    with Replicas(folder, "--hop", "0.2", *arguments) as running:
        yield running
