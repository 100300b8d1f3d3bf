from dataclasses import replace
from pathlib import Path

import pytest
from mer_engine import Engine
from mer_engine.backends import plans
from mer_engine.backends.plans import PlanKey, StaleError, load_plan, save_plan, side_file
from mer_engine.cache import DamagedError, cache_folder, write_file
from mer_engine.errors import BackendError


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: Engine) -> PlanKey:
    monkeypatch.setenv("REALTIME_MER_CACHE", str(tmp_path / "cache"))
    return PlanKey.of(engine.info, "tensorrt-rtx", "1.7.1", "sm89", "", "fp16")


def test_a_plan_is_found_again(key: PlanKey) -> None:
    path = save_plan(key, b"plan")
    assert path.parent == cache_folder() / "engines"
    assert path.name == f"{key.model[:16]}-tensorrt-rtx-sm89-fp16.plan"
    assert load_plan(key) == b"plan"


@pytest.mark.parametrize("field", ["model", "library", "target", "precision"])
def test_another_model_card_or_precision_has_a_plan_of_its_own(key: PlanKey, field: str) -> None:
    save_plan(key, b"plan")
    with pytest.raises(FileNotFoundError):
        load_plan(replace(key, **{field: "0" * 64}))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("version", "1.8.0", "version 1.7.1 instead of 1.8.0"),
        ("frontend", "abc", "frontend .* instead of abc"),
        ("device", "RTX 4090", "device none instead of RTX 4090"),
    ],
)
def test_a_plan_of_another_version_is_stale(
    key: PlanKey, field: str, value: str, message: str
) -> None:
    save_plan(key, b"plan")
    with pytest.raises(StaleError, match=message):
        load_plan(replace(key, **{field: value}))


def test_a_plan_of_an_older_layout_is_stale(key: PlanKey, monkeypatch: pytest.MonkeyPatch) -> None:
    save_plan(key, b"plan")
    monkeypatch.setattr(plans, "LAYOUT", plans.LAYOUT + 1)
    with pytest.raises(StaleError, match="layout 1 instead of 2"):
        load_plan(key)


def test_a_damaged_plan_is_discarded(key: PlanKey) -> None:
    path = save_plan(key, b"plan")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedError, match="damaged"):
        load_plan(key)
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_reported(key: PlanKey, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BackendError, match=r"cannot be written to .*free some space"):
        save_plan(key, b"plan", tmp_path / "file" / "x.plan")


def test_a_side_file_is_used_for_its_owner_only(key: PlanKey) -> None:
    path = side_file(key, "kernels")
    assert path.name.endswith("-fp16.kernels")
    owner = {"plan": plans.digest(b"plan"), "device": "RTX 4090"}
    assert plans.load_side(path, owner) == b""
    write_file(path, owner, b"kernels")
    assert plans.load_side(path, owner) == b"kernels"
    assert plans.load_side(path, {**owner, "device": "RTX 3060"}) == b""
    path.write_bytes(b"damaged")
    assert plans.load_side(path, owner) == b""
