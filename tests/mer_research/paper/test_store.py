"""A result is found by its own configuration only."""

from __future__ import annotations

from pathlib import Path

from mer_research.paper.store import Store

ONE = {"method": "code", "lag": 3, "budget": {"epochs": 2}}


def test_a_stored_result_is_found_by_its_configuration(tmp_path: Path) -> None:
    store = Store(tmp_path / "units")
    assert store.get(ONE) is None
    store.put(ONE, {"r2": 0.5})
    assert Store(tmp_path / "units").get(dict(reversed(ONE.items()))) == {"r2": 0.5}
    for other in ({**ONE, "lag": 4}, {**ONE, "budget": {"epochs": 3}}, {**ONE, "more": None}):
        assert store.get(other) is None
    assert [path.suffix for path in store.folder.iterdir()] == [".json"]


def test_a_damaged_or_foreign_file_is_ignored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(ONE, {"r2": 0.5})
    path = store.path(ONE)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    assert store.get(ONE) is None
    # As if two configurations had the same hash.
    path.write_text(text.replace('"lag": 3', '"lag": 5'))
    assert store.get(ONE) is None
    store.put(ONE, {"r2": 0.6})
    assert store.get(ONE) == {"r2": 0.6}
