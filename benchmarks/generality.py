"""Other music: pop choruses, excerpts with chosen emotions, game scores from two synthesizers.

python benchmarks/generality.py --pmemo DIR --emotify DIR --vgmidi DIR

Any of the three may be left out. Game scores are rendered with fluidsynth; --songs N takes N of the
pieces and of the excerpts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from mer_engine import Engine, ModelError, load_engine
from mer_engine.training.collection import load_collection
from mer_engine.training.problem import DataError

from realtime_mer.benchmarks.generality import (
    load_emotify,
    load_pieces,
    measure_choruses,
    measure_emotify,
    measure_vgmidi,
)
from realtime_mer.benchmarks.study import record, show_progress, study_parser, write_result
from realtime_mer.errors import UserError

SOUNDFONTS = ("/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/sounds/sf2/TimGM6mb.sf2")


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("generality", __doc__ or "", split=None)
    for name in ("pmemo", "emotify", "vgmidi"):
        parser.add_argument(f"--{name}", type=Path, metavar="DIR")
    parser.add_argument(
        "--soundfont", type=Path, action="append", metavar="FILE",
        help=f"for VGMIDI, may be repeated (default: {' and '.join(SOUNDFONTS)})",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    if not (args.pmemo or args.emotify or args.vgmidi):
        parser.error("give at least one of --pmemo, --emotify and --vgmidi")
    try:
        engine = load_engine(args.model)
        result = record(engine, args.seed)
        if args.pmemo:
            collection = load_collection(f"pmemo={args.pmemo}")
            result["pmemo"] = measure_choruses(engine, collection)
        if args.emotify:
            excerpts, missing = load_emotify(args.emotify)
            found = measure_emotify(engine, _some(excerpts, args.songs), show_progress)
            result["emotify"] = {**found, "left_out": missing + found["left_out"]}
        if args.vgmidi:
            soundfonts = args.soundfont or [Path(name) for name in SOUNDFONTS]
            result["vgmidi"] = _vgmidi(engine, args.vgmidi, soundfonts, args.songs)
        write_result(args.out, result)
    except (DataError, ModelError, UserError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _vgmidi(
    engine: Engine, folder: Path, soundfonts: list[Path], songs: int | None
) -> list[dict[str, Any]]:
    pieces, missing = load_pieces(folder)
    results = []
    for soundfont in soundfonts:
        if not soundfont.is_file():
            print(f"skipped: there is no soundfont {soundfont}", file=sys.stderr)
            continue
        found = measure_vgmidi(engine, _some(pieces, songs), soundfont, show_progress)
        results.append({**found, "left_out": missing + found["left_out"]})
    return results


def _some(items: list[Any], count: int | None) -> list[Any]:
    """At most so many, evenly spaced."""
    if count is None or count >= len(items):
        return items
    return [items[place] for place in np.linspace(0, len(items) - 1, count).round().astype(int)]


if __name__ == "__main__":
    raise SystemExit(main())
