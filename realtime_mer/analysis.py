"""The result of `realtime_mer.analyze`: tables, a summary and a plot."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio.source import Input, SourceLost
from realtime_mer.core.types import VALUES, Estimate
from realtime_mer.errors import UserError
from realtime_mer.library.summary import summarise

if TYPE_CHECKING:
    import pandas

TABLE = np.dtype(
    [
        ("seq", np.int64),
        ("t", np.float64),
        *((name, np.float64) for name in VALUES),
        ("mood", "U8"),
        ("state", "U8"),
        ("level_db", np.float64),
        *((f"fast_{name}", np.float64) for name in VALUES),
        ("whole_valence", np.float64),
        ("whole_arousal", np.float64),
        *((f"scaled_{name}", np.float64) for name in VALUES),
    ]
)


class Analysis(Sequence[Estimate]):
    """The estimates of a file or an array, in order of time. A sequence; a slice is a list.

    Attributes:
        input: the file or the array.
        duration_s: length of the audio in seconds.
        hop_s: seconds between estimates.
        window_s: length of the lag window in seconds.
    """

    def __init__(
        self, estimates: Iterable[Estimate], *, input: Input, duration_s: float, hop_s: float
    ) -> None:
        self._estimates = tuple(estimates)
        self.input = input
        self.duration_s = duration_s
        self.hop_s = hop_s
        self.window_s = self._estimates[0].latency.window_s

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate of the audio in Hz."""
        return self.input.sample_rate_hz

    @property
    def channels(self) -> int:
        """Channels of the audio."""
        return self.input.channels

    @overload
    def __getitem__(self, index: int) -> Estimate: ...
    @overload
    def __getitem__(self, index: slice) -> list[Estimate]: ...
    def __getitem__(self, index: int | slice) -> Estimate | list[Estimate]:
        if isinstance(index, slice):
            return list(self._estimates[index])
        return self._estimates[index]

    def __len__(self) -> int:
        return len(self._estimates)

    def __repr__(self) -> str:
        return f"<Analysis of {self.input.name}: {len(self)} estimates, {self.duration_s:.1f} s>"

    def to_dict(self) -> dict[str, object]:
        """Return the analysis as plain values, ready for `json.dumps`.

        Keys: `input`, `sample_rate_hz`, `channels`, `duration_s`, `hop_s`, `window_s`, `summary`
        (see `summary`) and `estimates` (a list of `Estimate.to_dict`).
        """
        return {
            "input": self.input.name,
            "sample_rate_hz": self.sample_rate_hz,
            "channels": self.channels,
            "duration_s": round(self.duration_s, 3),
            "hop_s": self.hop_s,
            "window_s": self.window_s,
            "summary": self.summary(),
            "estimates": [estimate.to_dict() for estimate in self],
        }

    def to_numpy(self) -> NDArray[np.void]:
        """Return a structured array [n] with one row per estimate; `array["valence"]` is a column.

        Fields: `seq` (int64), `t` (s), `valence`, `arousal`, `valence_low`, `valence_high`,
        `arousal_low`, `arousal_high`, `mood` (empty before any music) and `state` (text),
        `level_db` (dBFS),
        `fast_valence` to `fast_arousal_high` (the values of the short window), `whole_valence` and
        `whole_arousal` (on the scale of ratings of whole pieces), `scaled_valence` to
        `scaled_arousal_high` (the place of the values among music). Numbers are float64, and NaN if
        the model has no such output or the range is raw. Values and interval bounds lie in [-1, 1].
        """
        return np.array([_row(estimate) for estimate in self], dtype=TABLE)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with the fields of `to_numpy` as columns and `t` (s) as the index.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UserError(
                "to_pandas needs pandas, which is not installed: run `python -m pip install "
                "pandas`, or use to_numpy, which needs nothing more"
            ) from error
        return pandas.DataFrame(self.to_numpy()).set_index("t")

    def save_plot(self, path: str | os.PathLike[str]) -> None:
        """Draw both values over time, with their intervals and the moods, into a PNG file.

        Args:
            path: must end in `.png`; an existing file is overwritten.

        Raises:
            UserError: the path has another ending, or the file cannot be written.
        """
        from realtime_mer.outputs.plot import save_plot

        if Path(path).suffix.lower() != ".png":
            raise UserError(f"the plot {path} must end in .png: that is the format it has")
        save_plot(self, self.input.name, Path(path))

    def summary(self) -> dict[str, Any]:
        """Return a summary of the piece, ready for `json.dumps`.

        Each estimate is weighted with the time since the one before. Keys:

        * `duration_s`, `estimates`: length in seconds, number of estimates;
        * `valence`, `arousal`: `mean`, `sd` (standard deviation), `min` and `max` over the music,
          without silence, speech and noise; None if there is no music;
        * `moods`: share of each mood in the music, largest first, summing to 1;
        * `states`: share of each state in the audio, largest first, summing to 1;
        * `whole`: mean `valence` and `arousal` on the scale of ratings of whole pieces; None if the
          model has no such output;
        * `largest_change`: the time `t` in seconds at which the windows before and after differ
          most, and the differences of `valence` and `arousal`; None if the piece is shorter than
          two windows.
        """
        found = summarise(self, duration_s=self.duration_s, hop_s=self.hop_s)
        lengths_s = np.diff([estimate.t for estimate in self], prepend=0.0)
        states = dict.fromkeys((str(estimate.state) for estimate in self), 0.0)
        for estimate, length_s in zip(self, lengths_s, strict=True):
            states[estimate.state] += float(length_s) / self[-1].t
        has_music = found.valence is not None
        return {
            "duration_s": found.duration_s,
            "estimates": len(self),
            **{
                name: {
                    "mean": getattr(found, name),
                    **{of: getattr(found, f"{name}_{of}") for of in ("sd", "min", "max")},
                }
                if has_music
                else None
                for name in VALUES[:2]
            },
            "moods": _descending({word: n for word, n in found.mood_shares.items() if n}),
            "states": _descending({state: round(n, 6) for state, n in states.items()}),
            "whole": {"valence": found.whole_valence, "arousal": found.whole_arousal}
            if found.whole_valence is not None
            else None,
            "largest_change": {
                "t": found.change_t_s,
                "valence": found.change_valence,
                "arousal": found.change_arousal,
            }
            if found.change_t_s is not None
            else None,
        }


class DamagedFileError(SourceLost):
    """A file breaks off in the middle.

    Attributes:
        analysis: what was heard before the damage.
    """

    def __init__(self, message: str, analysis: Analysis) -> None:
        self.analysis = analysis
        super().__init__(message, recoverable=False)


def _row(estimate: Estimate) -> tuple[object, ...]:
    fast, scaled = estimate.fast, estimate.scaled
    whole = estimate.whole or (np.nan, np.nan)
    return (
        estimate.seq,
        estimate.t,
        *(getattr(estimate, name) for name in VALUES),
        estimate.mood or "",
        str(estimate.state),
        estimate.level_db,
        *(np.nan if fast is None else getattr(fast, name) for name in VALUES),
        *whole,
        *(np.nan if scaled is None else getattr(scaled, name) for name in VALUES),
    )


def _descending(shares: dict[str, float]) -> dict[str, float]:
    """Return shares with the largest first."""
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
