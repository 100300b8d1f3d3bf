"""A result is found by its own configuration and by no other."""

from __future__ import annotations

from pathlib import Path

from mer_research.paper.store import Store

ONE = {"method": "code", "lag": 3, "budget": {"epochs": 2}}


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "units")
    assert store.get(ONE) is None
    store.put(ONE, {"r2": 0.5})
    assert Store(tmp_path / "units").get(dict(reversed(ONE.items()))) == {"r2": 0.5}
    for other in ({**ONE, "lag": 4}, {**ONE, "budget": {"epochs": 3}}, {**ONE, "more": None}):
        assert store.get(other) is None
    assert [path.suffix for path in store.folder.iterdir()] == [".json"]


def test_a_damaged_or_foreign_file_is_no_result(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(ONE, {"r2": 0.5})
    path = store.path(ONE)
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    assert store.get(ONE) is None
    # As if two configurations had met in one name.
    path.write_text(whole.replace('"lag": 3', '"lag": 5'))
    assert store.get(ONE) is None
    store.put(ONE, {"r2": 0.6})
    assert store.get(ONE) == {"r2": 0.6}
