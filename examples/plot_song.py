"""A song in pictures, in the manner of a notebook: run it whole, or cell by cell (# %%).

    python examples/plot_song.py song.flac --output pictures/

Needs nothing but realtime-mer; with matplotlib it also draws the way through the emotion plane.
"""

# %% What to look at
import argparse
from pathlib import Path

import realtime_mer

parser = argparse.ArgumentParser(description="Draw the emotion of a song.")
parser.add_argument("song", nargs="?", default="demo", help="an audio file (default: the demo)")
parser.add_argument("--output", type=Path, default=Path(), help="folder for the pictures")
options = parser.parse_args()
options.output.mkdir(parents=True, exist_ok=True)

# %% Analyse it
try:
    analysis = realtime_mer.analyze(options.song)
except realtime_mer.UserError as error:
    raise SystemExit(str(error)) from None
table = analysis.to_numpy()
print(analysis)

# %% In a few numbers
summary = analysis.summary()
for name in ("valence", "arousal"):
    if summary[name] is not None:
        print(f"{name}: {summary[name]['mean']:+.2f} ± {summary[name]['sd']:.2f}")
print("moods:", ", ".join(f"{mood} {share:.0%}" for mood, share in summary["moods"].items()))
if summary["largest_change"] is not None:
    print(f"largest change: at {summary['largest_change']['t']:.0f} s")

# %% Both values over time, with the 80 % intervals
over_time = options.output / "over_time.png"
analysis.save_plot(over_time)
print(f"drawn: {over_time}")

# %% The way through the plane
try:
    import matplotlib
except ImportError:
    print(
        "matplotlib is not installed, so the plane is not drawn: python -m pip install matplotlib"
    )
else:
    matplotlib.use("agg")  # in a notebook: leave this line out
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 6))
    points = axes.scatter(table["valence"], table["arousal"], c=table["t"], s=12)
    axes.plot(table["valence"], table["arousal"], linewidth=0.5, alpha=0.5)
    axes.set(xlim=(-1, 1), ylim=(-1, 1), xlabel="valence", ylabel="arousal", title=options.song)
    figure.colorbar(points, label="time [s]")
    plane = options.output / "plane.png"
    figure.savefig(plane)
    print(f"drawn: {plane}")
