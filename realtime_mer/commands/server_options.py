"""The options of the server itself."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from realtime_mer.audio.local_path import local_path
from realtime_mer.commands.token_options import add_token_arguments, chosen_tokens
from realtime_mer.errors import UserError

if TYPE_CHECKING:
    from realtime_mer.server.server import ServerConfig
    from realtime_mer.server.tls import ServerTls


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the server: its address, limits, tokens, TLS and proxies."""
    group = parser.add_argument_group("server")
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="network address of the server; 0.0.0.0 lets every device of your networks connect "
        "(default: 127.0.0.1, this machine only)",
    )
    group.add_argument(
        "--port", type=int, default=8765, help="TCP port; 0 chooses a free one (default: 8765)"
    )
    group.add_argument(
        "--max-sessions",
        type=int,
        default=64,
        metavar="N",
        help="maximum number of audio streams from browsers at once, up to 4096 (default: 64)",
    )
    group.add_argument(
        "--max-viewers", type=int, default=200, metavar="N",
        help="maximum number of connections at once (default: 200)",
    )  # fmt: skip
    group.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="also accept connections from pages of this origin, for example https://vj.example; "
        "'null' is a page opened from a file; may be given several times",
    )
    group.add_argument(
        "--allow-frame",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of this origin show the page in a frame, for example "
        "https://dashboard.example; may be given several times (default: none may)",
    )
    group.add_argument(
        "--stage-scenes",
        metavar="DIR",
        help="offer the scenes of this folder (NAME.js) in the stage mode of the page",
    )
    add_token_arguments(group)
    group.add_argument(
        "--tls-cert",
        metavar="FILE",
        help="serve https with this certificate (PEM, followed by those of its authorities); "
        "a renewed file is used within seconds",
    )
    group.add_argument(
        "--tls-key", metavar="FILE", help="the key of --tls-cert (PEM, not encrypted)"
    )
    group.add_argument(
        "--tls",
        choices=["self-signed"],
        help="self-signed: serve https with a certificate that the program makes and keeps; "
        "browsers warn of it once",
    )
    group.add_argument(
        "--proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="address or network of a reverse proxy in front of the server, which is believed in "
        "X-Forwarded-For and X-Forwarded-Proto; may be given several times",
    )
    group.add_argument(
        "--drain",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="when stopped, tell all clients to connect to another server behind the proxy, take "
        "no new ones, and wait up to this long until they have left; a second Ctrl-C ends the "
        "wait (default: 0, close at once)",
    )
    group.add_argument("--open", action="store_true", help="open the page in the browser")
    group.add_argument(
        "--exit-at-end",
        action="store_true",
        help="stop when the file or pipe ends, and play the demo once (default: keep serving)",
    )
    group.add_argument(
        "--speed",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="play files, the demo and recordings this many times faster than live (default: 1)",
    )
    group.add_argument(
        "--quiet",
        action="store_true",
        help="print only the address, the link to open it, and warnings",
    )


def checked_server(args: argparse.Namespace) -> ServerConfig:
    """Return what `add_server_arguments` says of the server; nothing is made for it yet.

    Its tokens and the certificate that the program makes are missing.

    Raises:
        UserError: an option is not valid.
    """
    from realtime_mer.live.runner import check_speed
    from realtime_mer.server.server import ServerConfig
    from realtime_mer.server.stage_scenes import StageScenes

    if not args.host:
        raise UserError("the --host is empty; leave it out for this machine only")
    check_speed(args.speed)
    return ServerConfig(
        host=args.host,
        port=args.port,
        max_sessions=args.max_sessions,
        max_viewers=args.max_viewers,
        allowed_origins=tuple(args.allow_origin),
        allowed_frames=tuple(args.allow_frame),
        stage_scenes=StageScenes(
            None if args.stage_scenes is None else local_path(args.stage_scenes)
        ),
        proxies=tuple(args.proxy),
        drain_s=args.drain,
        tls=_tls_of_files(args),
    )


def chosen_server(args: argparse.Namespace) -> ServerConfig:
    """Return where the server listens and whom it lets in.

    Raises:
        UserError: an option is not valid.
    """
    config = checked_server(args)
    # Last: the first start makes files, and a wrong option leaves nothing behind.
    return replace(
        config,
        tls=config.tls if args.tls is None else _self_signed_tls(args),
        tokens=chosen_tokens(args),
    )


def _tls_of_files(args: argparse.Namespace) -> ServerTls | None:
    """Load the certificate that the options name; None for none."""
    given = {"--tls-cert": args.tls_cert, "--tls-key": args.tls_key}
    missing = [option for option, value in given.items() if value is None]
    if len(missing) == 2:
        return None
    if args.tls is not None:
        raise UserError("--tls self-signed makes a certificate; leave out --tls-cert/--tls-key")
    if missing:
        raise UserError(f"{missing[0]} is missing; https needs both --tls-cert and --tls-key")
    from realtime_mer.server.tls import ServerTls

    return ServerTls(local_path(args.tls_cert), local_path(args.tls_key))


def _self_signed_tls(args: argparse.Namespace) -> ServerTls:
    """Make the certificate of this machine, or take the one that was made."""
    from realtime_mer.server import self_signed
    from realtime_mer.server.tls import ServerTls

    names = self_signed.names_of(args.host, args.allow_origin)
    file = self_signed.certificate_file()
    return ServerTls(file, file, renew=lambda: self_signed.ensure(names, datetime.now(UTC)))
