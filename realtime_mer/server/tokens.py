"""Tokens with roles: the file that keeps them, and how one is recognised.

The server itself keeps no token, only what it takes to check one.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import sys
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from realtime_mer.errors import UserError, printable
from realtime_mer.user_folder import user_folder, write_private

MIN_CHARACTERS, MAX_CHARACTERS = 16, 512
FILE_SUFFIX = ".toml"
ENVIRONMENT = "env"
"""The value of `--token` that takes the tokens from variables."""
# A cookie can be tried out offline. These rounds only matter for a token that is easy to guess.
_COOKIE_KEY_ROUNDS = 20_000
_MAX_FILE_BYTES = 65_536
_NEW_FILE = """\
# The tokens of this machine's realtime-mer server. Whoever has one may, with
#   view: watch,  send: also send sound,  control: everything.
# To get new ones, delete this file and start the server again: tokens and cookies given out end.
"""


class Role(StrEnum):
    """What a client may do; each role includes those before it."""

    VIEW = "view"
    SEND = "send"
    CONTROL = "control"

    def includes(self, other: Role) -> bool:
        """Return whether this role may do all that the other one may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


VARIABLES = {
    Role.VIEW: "REALTIME_MER_TOKEN_VIEW",
    Role.SEND: "REALTIME_MER_TOKEN_SEND",
    Role.CONTROL: "REALTIME_MER_TOKEN",
}


class Tokens:
    """Recognises tokens, and makes and recognises cookies in their place.

    A cookie does not contain the token, because browsers send it to every port of a host. It is
    void when its role's token changes.

    Args:
        by_role: a token for `control`, and perhaps for others.
        origin: where they come from, for messages.

    Raises:
        UserError: a token is missing, too short, too long or equal to another, or contains
            characters that no HTTP header carries. The message does not contain it.
    """

    def __init__(self, by_role: Mapping[Role, str], origin: str) -> None:
        if Role.CONTROL not in by_role:
            raise UserError(f"{origin} has no token for control; {_REMEDY}")
        for role, token in by_role.items():
            if not MIN_CHARACTERS <= len(token) <= MAX_CHARACTERS:
                raise UserError(
                    f"the token for {role} in {origin} has {len(token)} characters; it must have "
                    f"{MIN_CHARACTERS} to {MAX_CHARACTERS}; {_REMEDY}"
                )
            if not all("!" <= character <= "~" for character in token):
                raise UserError(
                    f"the token for {role} in {origin} has a space or a character outside ASCII; "
                    f"use letters, digits, - and _, or {_REMEDY}"
                )
        if len(set(by_role.values())) < len(by_role):
            raise UserError(f"two roles in {origin} have the same token; {_REMEDY}")
        self.origin = printable(origin)
        self._digests = {role: _digest(token) for role, token in by_role.items()}
        keys = {
            role: hashlib.pbkdf2_hmac(
                "sha256", token.encode(), b"realtime-mer cookie", _COOKIE_KEY_ROUNDS
            )
            for role, token in by_role.items()
        }
        self._cookie_keys = {role: keys.get(role, keys[Role.CONTROL]) for role in Role}

    def __repr__(self) -> str:
        return f"<Tokens of {self.origin}>"

    def role_of(self, token: str) -> Role | None:
        """Return the role of a token, or None. The time does not depend on where it differs."""
        digest = _digest(token)
        found = None
        for role, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = role
        return found

    def new_cookie(self, role: Role, expires_at: int) -> str:
        """Make the value of a cookie that gives a role.

        Args:
            role: the role.
            expires_at: seconds since 1970.
        """
        content = f"{role}.{expires_at}.{secrets.token_urlsafe(9)}"
        return f"{content}.{self._signature(role, content)}"

    def role_of_cookie(self, value: str, now: float) -> Role | None:
        """Return the role that a cookie gives, or None for one that is wrong or expired.

        Args:
            value: of the cookie.
            now: seconds since 1970.
        """
        content, _, signature = value.rpartition(".")
        role_name, _, rest = content.partition(".")
        expires_at = rest.partition(".")[0]
        if role_name not in tuple(Role) or not value.isascii():
            return None
        role = Role(role_name)
        if not hmac.compare_digest(signature, self._signature(role, content)):
            return None
        # Signed by this server, so it is a number.
        return role if now < int(expires_at) else None

    def _signature(self, role: Role, content: str) -> str:
        return hmac.new(self._cookie_keys[role], content.encode(), "sha256").hexdigest()


_REMEDY = "mend it, or name a file that does not exist yet to get new tokens"


def default_path() -> Path:
    """Return the file that keeps the tokens of this user."""
    return user_folder() / f"tokens{FILE_SUFFIX}"


def tokens_from_file(path: Path) -> Tokens:
    """Read the tokens of a file; where there is none, make it.

    Raises:
        UserError: the file cannot be read, can be read by others, or holds no valid tokens.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    lines = [f'{role} = "{secrets.token_urlsafe(32)}"\n' for role in Role]
    try:
        # Of several servers that start at once, one makes the file.
        with contextlib.suppress(FileExistsError):
            write_private(path, (_NEW_FILE + "".join(lines)).encode(), keep=True)
        return _read(path)
    except OSError as error:
        raise UserError(
            f"the tokens cannot be written to {path} ({error.strerror}); name another file with "
            f"--token FILE, or set {VARIABLES[Role.CONTROL]} and give --token {ENVIRONMENT}"
        ) from error


def tokens_from_environment() -> Tokens:
    """Take the tokens out of the environment, so that child processes do not get them.

    Raises:
        UserError: there is none for `control`, or one is not valid.
    """
    by_role = {
        role: token
        for role, name in VARIABLES.items()
        if (token := os.environ.pop(name, None)) is not None
    }
    if Role.CONTROL not in by_role:
        raise UserError(
            f"the variable {VARIABLES[Role.CONTROL]} is not set; put a token of at least "
            f"{MIN_CHARACTERS} characters into it, or give --token FILE"
        )
    return Tokens(by_role, "the environment")


def _read(path: Path) -> Tokens:
    try:
        with path.open("rb") as file:
            _check_private(path, os.fstat(file.fileno()))
            content = file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(
            f"the tokens cannot be read from {path} ({error.strerror}); name a file of your own "
            "with --token FILE"
        ) from error
    try:
        table = tomllib.loads(content.decode())
    except (ValueError, RecursionError):
        # The reason might quote a token.
        raise UserError(f'{path} is not TOML with lines like view = "..."; {_REMEDY}') from None
    for name, token in table.items():
        if name not in tuple(Role) or not isinstance(token, str):
            raise UserError(
                f"{path} has the entry {name[:40]!r}; there may only be texts for "
                f"{', '.join(Role)}; {_REMEDY}"
            )
    return Tokens({Role(name): token for name, token in table.items()}, str(path))


def _check_private(path: Path, status: os.stat_result) -> None:
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        raise UserError(f"{path} is a device, not a file of tokens; give another file")
    if sys.platform == "win32":  # has no such modes; a user's folder is private there
        return
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077 or status.st_uid not in (0, os.geteuid()):
        raise UserError(
            f"other users can read {path} (mode {mode:04o}); make it your own with "
            f"chmod 600 {path}, and delete it for new tokens if they may have"
        )


def _digest(token: str) -> bytes:
    # Of equal length, so that comparing takes the same time for every token.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
