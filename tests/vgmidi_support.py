"""Small synthetic renderings and labels in the layout of VGMIDI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from own_data_support import write_audio

HEADER = "set,piece,midi,measure,t0_s,t1_s,valence_mean,arousal_mean"


def write_vgmidi(folder: Path, names: Sequence[str], seconds: float) -> Path:
    """Write two renderings of each piece. Measures last two seconds; arousal rises with each."""
    lines = [HEADER]
    for number, name in enumerate(names):
        for synthesizer in ("One", "Two"):
            write_audio(folder / f"{synthesizer}-{name}.flac", seconds, seed=number)
        lines += [
            f"1,piece{number},{name}.mid,{m},{2 * m},{2 * m + 2},{0.25 - number / 10:.3f},{m / 100}"
            for m in range(int(seconds / 2))
        ]
    (folder / "measure_curves.csv").write_text("\n".join(lines) + "\n")
    return folder
