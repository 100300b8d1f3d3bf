"""Lights by emotion: prints the colour that a lamp would have, as a band in the terminal.

    python examples/lights.py                   the microphone
    python examples/lights.py demo --seconds 30

Replace `show` by the call of your lamps.
"""

import argparse
import colorsys
import itertools

import realtime_mer


def colour(valence: float, arousal: float) -> tuple[int, int, int]:
    """Return a colour for a place on the plane: red, green, blue from 0 to 255.

    Valence turns the hue from blue (-1) over green to amber (1); arousal makes it brighter and more
    saturated. This is a convention of ours, not a result: people agree little on the colours of
    emotions. HSV is not even to the eye either; for a show take a table that you like.
    """
    hue = 0.62 - 0.5 * (valence + 1) / 2
    energy = (arousal + 1) / 2
    rgb = colorsys.hsv_to_rgb(hue, 0.4 + 0.6 * energy, 0.3 + 0.7 * energy)
    red, green, blue = (round(255 * part) for part in rgb)
    return red, green, blue


def show(estimate: realtime_mer.Estimate, rgb: tuple[int, int, int]) -> None:
    red, green, blue = rgb
    band = f"\x1b[48;2;{red};{green};{blue}m{' ' * 24}\x1b[0m"
    mood = estimate.mood or ""
    print(f"{estimate.t:6.1f} s {band} #{red:02x}{green:02x}{blue:02x} {mood}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the colour of the music.")
    parser.add_argument("input", nargs="?", default="default", help="a device, a file or demo")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds of music")
    parser.add_argument("--speed", type=float, default=1.0, help="play a file so many times faster")
    options = parser.parse_args()
    seconds = options.seconds or float("inf")
    # Lamps show the present: where one is slow the newest estimate is enough.
    with realtime_mer.listen(options.input, speed=options.speed, latest_only=True) as listener:
        for estimate in itertools.takewhile(lambda e: e.t <= seconds, listener):
            # The fast values follow a change sooner; a session has them or not.
            values = estimate.fast or estimate
            show(estimate, colour(values.valence, values.arousal))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except realtime_mer.UserError as error:
        raise SystemExit(str(error)) from None
