"""The options `--token` and `--no-token` of `serve`, and the link that it shows."""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from typing import TYPE_CHECKING

from realtime_mer.errors import UserError

if TYPE_CHECKING:
    from realtime_mer.server.tokens import Tokens

_DEFAULT_FILE = ""
# White on black whatever the terminal's colours are: a dark code on a light ground.
_QR_COLOURS, _END_COLOURS = "\x1b[38;5;231;48;5;16m", "\x1b[0m"
_QR_BORDER = 2


def add_token_arguments(group: argparse._ActionsContainer) -> None:
    """Add `--token` and `--no-token`."""
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--token",
        nargs="?",
        const=_DEFAULT_FILE,
        metavar="FILE",
        help="ask every client for a token of this file, also on this machine; a FILE.toml that "
        "does not exist is made, with a new token for each role (view, send, control); 'env' "
        "takes the token from REALTIME_MER_TOKEN (default: where other machines can connect, also "
        "through --proxy, tokens.toml in the user's configuration folder)",
    )
    either.add_argument(
        "--no-token",
        action="store_true",
        help="let everyone who reaches the server watch and send sound",
    )


def chosen_tokens(args: argparse.Namespace) -> Tokens | None:
    """Return the tokens of the server; None where it needs none.

    Raises:
        UserError: they cannot be used.
    """
    from realtime_mer.audio.local_path import exists, local_path
    from realtime_mer.server.http import is_loopback
    from realtime_mer.server.tokens import (
        ENVIRONMENT,
        FILE_SUFFIX,
        default_path,
        tokens_from_environment,
        tokens_from_file,
    )

    reachable = not is_loopback(args.host) or bool(args.proxy)
    if args.no_token or (args.token is None and not reachable):
        return None
    if args.token == ENVIRONMENT:
        return tokens_from_environment()
    if args.token in (None, _DEFAULT_FILE):
        return tokens_from_file(default_path())
    path = local_path(args.token)
    if not exists(path) and path.suffix != FILE_SUFFIX:
        # It may be a token: it is not repeated, and no file gets its name.
        raise UserError(
            f"--token takes a file that exists, a new one whose name ends with {FILE_SUFFIX}, or "
            f"{ENVIRONMENT}; never the token itself, which the list of processes would show"
        )
    return tokens_from_file(path)


def qr_code(link: str) -> str | None:
    """Return a link as a QR code for the terminal; None where standard output cannot show it."""
    import segno

    text = io.StringIO()
    segno.make(link, error="l", micro=False).terminal(text, border=_QR_BORDER, compact=True)
    lines = text.getvalue().splitlines()
    if shutil.get_terminal_size().columns < len(lines[0]):
        return None
    try:
        lines[0].encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return None
    return "\n".join(f"{_QR_COLOURS}{line}{_END_COLOURS}" for line in lines)
