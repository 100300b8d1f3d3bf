"""Follow a running server from another program or another machine, with asyncio.

    realtime-mer serve
    python examples/follow_server.py ws://127.0.0.1:8765

A lost connection is opened again, and so is one to a server that was restarted.
"""

import argparse
import asyncio

import realtime_mer


async def follow(url: str, count: int | None) -> None:
    async with realtime_mer.connect(url) as connection:
        print(f"{connection.input.kind} {connection.input.name}, session {connection.session}")
        async for estimate in connection:
            while connection.notices:
                print(f"({connection.notices.popleft().message})")
            print(
                f"{estimate.t:7.1f} s  valence {estimate.valence:+.2f}  "
                f"arousal {estimate.arousal:+.2f}  {estimate.mood or ''}",
                flush=True,
            )
            if count is not None:
                count -= 1
                if count == 0:
                    break
    if connection.missed:
        print(f"{connection.missed} estimates were missed")
    if connection.reason is not None:
        print(connection.reason)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the estimates of a running server.")
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:8765")
    parser.add_argument("--count", type=int, help="stop after so many estimates")
    options = parser.parse_args()
    asyncio.run(follow(options.url, options.count))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except realtime_mer.UserError as error:
        raise SystemExit(str(error)) from None
