"""Where each key of a TOML document is, which `tomllib` does not tell."""

from __future__ import annotations

import re
import tomllib

KeyPath = tuple[str | int, ...]
"""Keys from the top, and the places in lists, from 0: `("osc", 0, "rate_hz")`."""

_TOKEN = re.compile(
    r'''(?P<comment>\#[^\n]*)
      | (?P<text>"""(?:\\.|[^\\])*?"{3,5} | \'\'\'.*?'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*')
      | (?P<mark>[\[\]{}=,.\n])
      | (?P<bare>[^\s\[\]{}=,.\#"']+)''',
    re.VERBOSE | re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, in which each table, key and element of a list begins.

    Args:
        text: a document that `tomllib` accepts.
    """
    return _Scanner(text).lines


class _Scanner:
    """Goes through the tokens of a valid document once."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._tokens: list[tuple[str, int]] = []
        line, counted = 1, 0
        for match in _TOKEN.finditer(text):
            line += text.count("\n", counted, match.start())
            counted = match.start()
            if match["comment"] is None:
                self._tokens.append((match[0], line))
        self._at = 0
        self._sizes: dict[KeyPath, int] = {}  # of lists of tables
        self._document()

    def _document(self) -> None:
        table: KeyPath = ()
        while self._at < len(self._tokens):
            if self._take("\n"):
                continue
            if self._take("["):
                is_list = self._take("[")
                keys, line = self._keys()
                while self._take("]"):
                    pass
                table = self._resolved(keys, is_list=is_list)
                self._note(table, line)
            else:
                self._pair(table)

    def _resolved(self, keys: list[str], *, is_list: bool) -> KeyPath:
        """Return the place of a header: the newest element of each list of tables in it."""
        path: KeyPath = ()
        for number, key in enumerate(keys, 1):
            path = (*path, key)
            if is_list and number == len(keys):
                self._sizes[path] = self._sizes.get(path, 0) + 1
            if size := self._sizes.get(path):
                path = (*path, size - 1)
        return path

    def _pair(self, table: KeyPath) -> None:
        keys, line = self._keys()
        self._take("=")
        path = (*table, *keys)
        self._note(path, line)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._take("["):
            self._list(path)
        elif self._take("{"):
            while not self._take("}"):
                if not (self._take(",") or self._take("\n")):
                    self._pair(path)
        else:  # a text, or the parts of a number or date
            while self._token() not in ("", "\n", ",", "]", "}"):
                self._at += 1

    def _list(self, path: KeyPath) -> None:
        place = 0
        while not self._take("]"):
            if not (self._take(",") or self._take("\n")):
                self._note((*path, place), self._tokens[self._at][1])
                self._value((*path, place))
                place += 1

    def _keys(self) -> tuple[list[str], int]:
        """Return the parts of a dotted key, and its line."""
        line = self._tokens[self._at][1]
        keys = []
        while True:
            token = self._token()
            quoted = token.startswith(('"', "'"))
            keys.append(str(tomllib.loads(f"x = {token}")["x"]) if quoted else token)
            self._at += 1
            if not self._take("."):
                return keys, line

    def _note(self, path: KeyPath, line: int) -> None:
        for end in range(1, len(path) + 1):
            self.lines.setdefault(path[:end], line)

    def _token(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _take(self, token: str) -> bool:
        """Go past a token if it is the next one."""
        found = self._token() == token
        self._at += found
        return found
