"""Compare folders of music: which album is calmer, which one changes more? Needs pandas.

    python examples/folder_study.py music/              a folder of folders
    python examples/folder_study.py music/ --csv songs.csv

Read in docs/accuracy.md how accurate the means of songs are before you report a difference.
"""

import argparse
from pathlib import Path

import realtime_mer

try:
    import pandas
except ImportError:
    raise SystemExit("this study needs pandas: python -m pip install pandas") from None

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a"}


def songs_of(place: str) -> list[Path]:
    """Return the audio files in a folder and the folders below it; "demo" is the built-in piece."""
    if place == "demo":
        return [Path(place)]
    return sorted(path for path in Path(place).rglob("*") if path.suffix.lower() in SUFFIXES)


def study(songs: list[Path], hop_s: float) -> pandas.DataFrame:
    """Return a row for each song that can be analysed."""
    rows = []
    for song in songs:
        try:
            summary = realtime_mer.analyze(song, hop_s=hop_s).summary()
        except realtime_mer.UserError as error:
            print(f"left out: {error}")
            continue
        folder, minutes = song.parent.name or ".", summary["duration_s"] / 60
        row = {"folder": folder, "song": song.name, "minutes": minutes}
        for name in ("valence", "arousal"):
            if summary[name] is not None:
                row |= {name: summary[name]["mean"], f"{name}_sd": summary[name]["sd"]}
        row["mood"] = next(iter(summary["moods"]), "")
        rows.append(row)
    return pandas.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the emotion of folders of music.")
    parser.add_argument("folder", nargs="?", default="demo", help="(default: only the demo)")
    parser.add_argument("--hop", type=float, default=1.0, help="seconds between estimates")
    parser.add_argument("--csv", type=Path, help="also write the table of the songs there")
    options = parser.parse_args()
    songs = study(songs_of(options.folder), options.hop)
    if songs.empty:
        raise SystemExit(f"there is no song in {options.folder}")
    print(songs.to_string(index=False, float_format="{:.2f}".format))
    numbers = [name for name in songs.columns if name.startswith(("valence", "arousal"))]
    print()
    print(songs.groupby("folder")[numbers].mean().to_string(float_format="{:+.2f}".format))
    if options.csv is not None:
        songs.to_csv(options.csv, index=False)


if __name__ == "__main__":
    main()
