"""Tokens: their file, their environment, their roles and cookies."""

from __future__ import annotations

import hmac
import os
import re
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from realtime_mer.errors import UserError
from realtime_mer.server.tokens import (
    Role,
    Tokens,
    default_path,
    tokens_from_environment,
    tokens_from_file,
)
from realtime_mer.user_folder import write_private

SECRETS = {role: f"the-secret-for-{role}" for role in Role}
modes = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file modes")


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(SECRETS, "a test")


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_each_role_includes_those_before_it() -> None:
    assert [[role.includes(other) for other in Role] for role in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_a_missing_file_is_made_and_then_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tokens.toml"
    made = tokens_from_file(path)
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    assert list(content) == list(Role)
    # token_urlsafe(32): 256 bits.
    assert all(len(token) == 43 for token in content.values())
    again = tokens_from_file(path)
    for role in Role:
        assert made.role_of(content[role]) is again.role_of(content[role]) is role
    assert list(path.parent.iterdir()) == [path]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_servers_that_start_at_once_have_the_same_tokens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.toml"
    target = "realtime_mer.server.tokens.write_private"
    others: list[Tokens] = []

    def another_is_first(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(target, write_private)
        others.append(tokens_from_file(path))
        write_private(*args, **options)

    monkeypatch.setattr(target, another_is_first)
    own = tokens_from_file(path)
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    for role in Role:
        assert own.role_of(content[role]) is others[0].role_of(content[role]) is role
    assert list(tmp_path.iterdir()) == [path]


def test_two_files_have_different_tokens(tmp_path: Path) -> None:
    texts = []
    for name in ("a.toml", "b.toml"):
        tokens_from_file(tmp_path / name)
        texts.append((tmp_path / name).read_text(encoding="utf-8"))
    tokens = [set(tomllib.loads(text).values()) for text in texts]
    assert len(tokens[0] | tokens[1]) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has this variable")
def test_the_file_lies_in_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_path() == tmp_path / "realtime-mer" / "tokens.toml"


@modes
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "tokens.toml", f'control = "{SECRETS[Role.CONTROL]}"', mode)
    with pytest.raises(UserError, match=f"other users can read .*{mode:04o}.*chmod 600"):
        tokens_from_file(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no token for control"),
        ('view = "the-secret-of-view"', "has no token for control"),
        ('control = ""', "has 0 characters; it must have 16 to 512"),
        ('control = "secret"', "has 6 characters; it must have 16 to 512"),
        (f'control = "{"secret" * 100}"', "has 600 characters"),
        ('control = "a secret with spaces"', "has a space or a character outside ASCII"),
        ('control = "secret-schlüssel"', "has a space or a character outside ASCII"),
        ('view = "the-same-secret-1"\ncontrol = "the-same-secret-1"', "two roles in"),
        ("control = 1234567890123456", "the entry 'control'"),
        ('owner = "the-secret-of-owner"', "the entry 'owner'; there may only be texts for view,"),
        ("the-secret-of-control", "is not TOML"),
        ("secret = " + "[" * 20_000, "is not TOML"),
        ('control = "the-secret-of-con', "is not TOML"),
    ],
)
def test_a_bad_file_is_a_sentence_without_its_secrets(
    tmp_path: Path, text: str, words: str
) -> None:
    path = written(tmp_path / "tokens.toml", text)
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        tokens_from_file(path)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)
    assert path.read_text(encoding="utf-8") == text


def test_a_file_of_other_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_bytes(b"\xff\xfe\x00")
    path.chmod(0o600)
    with pytest.raises(UserError, match="is not TOML"):
        tokens_from_file(path)


def test_a_folder_and_a_place_without_permission_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read from"):
        tokens_from_file(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be (read from|written to) .*--token"):
        tokens_from_file(tmp_path / "file" / "tokens.toml")


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="this system has no /dev/null")
def test_nobody_is_told_to_delete_a_device() -> None:
    with pytest.raises(UserError, match=r"^/dev/null is a device, not a file of tokens"):
        tokens_from_file(Path("/dev/null"))


def test_the_environment_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_MER_TOKEN", SECRETS[Role.CONTROL])
    monkeypatch.setenv("REALTIME_MER_TOKEN_VIEW", SECRETS[Role.VIEW])
    tokens = tokens_from_environment()
    assert tokens.role_of(SECRETS[Role.CONTROL]) is Role.CONTROL
    assert tokens.role_of(SECRETS[Role.VIEW]) is Role.VIEW
    # Child processes, such as ffmpeg and the browser, do not get them.
    assert not [name for name in os.environ if name.startswith("REALTIME_MER_TOKEN")]
    with pytest.raises(UserError, match="REALTIME_MER_TOKEN is not set"):
        tokens_from_environment()


def test_tokens_are_recognised(tokens: Tokens) -> None:
    for role, secret in SECRETS.items():
        assert tokens.role_of(secret) is role
    for wrong in ("", "the-secret", SECRETS[Role.VIEW] + " ", "\ud800", "ä" * 20):
        assert tokens.role_of(wrong) is None


def test_every_token_is_compared_in_constant_time(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[Any, Any]] = []

    def record(a: Any, b: Any) -> bool:
        compared.append((a, b))
        return compare(a, b)

    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", record)
    tokens.role_of(SECRETS[Role.VIEW])
    # All of them, also after one that is right; of equal length whatever the client sent.
    assert len(compared) == 3
    assert {len(part) for pair in compared for part in pair} == {32}
    compared.clear()
    tokens.role_of_cookie("view.1.n.forged", 0.0)
    assert [pair[0] for pair in compared] == ["forged"]


def test_nothing_shows_a_token(tokens: Tokens) -> None:
    shown = repr(tokens) + str(tokens) + repr(vars(tokens)) + tokens.new_cookie(Role.VIEW, 1)
    assert not [secret for secret in SECRETS.values() if secret in shown]


def test_a_cookie_gives_its_role_until_it_expires(tokens: Tokens) -> None:
    for role in Role:
        cookie = tokens.new_cookie(role, 1000)
        assert tokens.role_of_cookie(cookie, 999.0) is role
        assert tokens.role_of_cookie(cookie, 1000.0) is None
        assert re.fullmatch(r"[A-Za-z0-9._-]+", cookie)
    assert tokens.new_cookie(Role.VIEW, 1000) != tokens.new_cookie(Role.VIEW, 1000)


def test_a_changed_cookie_is_void(tokens: Tokens) -> None:
    cookie = tokens.new_cookie(Role.VIEW, 1000)
    role, expires_at, nonce, signature = cookie.split(".")
    for changed in (
        f"control.{expires_at}.{nonce}.{signature}",
        f"{role}.9999.{nonce}.{signature}",
        f"{role}.{expires_at}.x.{signature}",
        f"{role}.{expires_at}.{nonce}.{'0' * 64}",
        f"{role}.{expires_at}.{nonce}.",
        f"owner.{expires_at}.{nonce}.{signature}",
        f"{role}.{expires_at}.{nonce}.ä",
        "",
        ".",
        "view",
    ):
        assert tokens.role_of_cookie(changed, 1.0) is None


def test_a_new_token_voids_the_cookies_of_its_role() -> None:
    old = Tokens(SECRETS, "a test")
    new = Tokens({**SECRETS, Role.SEND: "another-secret-for-send"}, "a test")
    cookies = {role: old.new_cookie(role, 1000) for role in Role}
    assert {role: new.role_of_cookie(cookies[role], 1.0) for role in Role} == {
        Role.VIEW: Role.VIEW,
        Role.SEND: None,
        Role.CONTROL: Role.CONTROL,
    }


def test_roles_without_a_token_of_their_own_have_cookies_of_control() -> None:
    tokens = Tokens({Role.CONTROL: SECRETS[Role.CONTROL]}, "a test")
    cookie = tokens.new_cookie(Role.SEND, 1000)
    assert tokens.role_of_cookie(cookie, 1.0) is Role.SEND
    other = Tokens({Role.CONTROL: "another-secret-for-control"}, "a test")
    assert other.role_of_cookie(cookie, 1.0) is None
