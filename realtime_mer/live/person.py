"""A person's taps and map, kept in a file; taps are paired with the estimates of a session."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mer_engine.model_file import ModelInfo
from mer_engine.strict_json import load_json, to_json

from realtime_mer import __version__
from realtime_mer.audio.local_path import local_path
from realtime_mer.clock import iso_utc
from realtime_mer.core.personal_map import PersonalMap, Tap, fit_personal_map
from realtime_mer.core.types import VALUES, Estimate, State
from realtime_mer.errors import UserError, printable
from realtime_mer.live.hub import Hub
from realtime_mer.user_folder import user_folder, write_private

SCHEMA = 1
KIND = "personal map"
REACTION_S = 1.0
"""A tap belongs to the estimate of so many seconds before: the time to decide, aim and tap."""
MAX_AGE_S = 6.0
"""Older estimates are no longer those of the music; a busy server makes one in 4.5 s."""
PIECE_S = 120.0
"""Longer stretches without a pause, as in a mix, count as another piece."""
MAX_TAPS = 1000
_MAX_BYTES = 1_000_000
_NAME = re.compile(r"[^\W_][\w .-]{0,59}")

_NOT_NOW = {
    State.SILENCE: "there is no music now; tap while music plays",
    State.SPEECH: "someone talks, without music; tap while music plays",
    State.NOISE: "this is no music; tap while music plays",
    State.STALLED: "no audio arrives; tap when the music is back",
    State.SETTLING: "this piece has just begun; tap again in a few seconds",
}


@dataclass(frozen=True, slots=True)
class _LastTap:
    """Where the last tap was: its session, its estimate, and when its piece was tapped first."""

    hub: Hub
    seq: int
    piece_t: float


class Person:
    """The taps and the map of one person. Callable from any thread.

    The file is read again before each change and written after it, so nothing is lost if the
    program ends. What a change raises goes to viewers, so it does not name the file: its name is
    that of the person, who may be a patient.

    Args:
        file: where they are kept; it may not exist yet.
        model: whose estimates the taps are paired with.

    Raises:
        UserError: the file cannot be used, or belongs to another model.
    """

    def __init__(self, file: Path, model: ModelInfo) -> None:
        self.file = file
        self._model = model
        self._lock = threading.Lock()
        self._last: _LastTap | None = None
        try:
            taps = self._read()
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        self.map = self._fit(taps)

    def tap(self, valence: float, arousal: float, hub: Hub, utc: datetime) -> None:
        """Add a tap, now, on the plane.

        Args:
            valence, arousal: where, in [-1, 1].
            hub: of the session whose music the person hears.
            utc: now.

        Raises:
            UserError: there is no music that the tap can belong to, or the file cannot be written.
        """
        with self._lock:
            taps = self._read()
            if len(taps) >= MAX_TAPS:
                raise UserError(f"there are {MAX_TAPS} taps, the most that a map takes")
            latest = hub.latest
            since = -1 if latest is None else latest.seq
            if self._last is not None and self._last.hub is hub:
                since = min(since, self._last.seq)
            # Also those before: a fast server makes ten estimates within a second.
            estimates, _ = hub.history(max(-1, since - 100))
            estimate = paired_estimate(estimates, utc)
            last = self._last
            number = max((tap.piece for tap in taps), default=-1)
            same = last is not None and last.hub is hub and self._same_piece(estimates, estimate)
            piece_t = last.piece_t if last is not None and same else estimate.t
            values = tuple(round(float(getattr(estimate, name)), 6) for name in VALUES)
            piece = max(number, 0) if same else number + 1
            self._keep([*taps, Tap(iso_utc(utc), piece, valence, arousal, values)])
            self._last = _LastTap(hub, estimate.seq, piece_t)

    def undo(self) -> None:
        """Remove the last tap.

        Raises:
            UserError: there is none, or the file cannot be written.
        """
        with self._lock:
            taps = self._read()
            if not taps:
                raise UserError("there is no tap to take back")
            self._keep(taps[:-1])
            if not any(tap.piece == taps[-1].piece for tap in taps[:-1]):
                self._last = None

    def reset(self) -> None:
        """Begin anew. The file stays beside the new one, with `.before` after its name.

        Raises:
            UserError: the file cannot be renamed.
        """
        with self._lock:
            try:
                self.file.replace(self.file.with_name(f"{self.file.name}.before"))
            except FileNotFoundError:
                pass
            except OSError as error:
                raise UserError(
                    f"the file of the person cannot be renamed ({error.strerror}); nothing has "
                    "changed"
                ) from error
            self._last = None
            self.map = self._fit([])

    def _same_piece(self, estimates: Sequence[Estimate], now: Estimate) -> bool:
        """Return whether the music has gone on without a pause since the last tap."""
        last = self._last
        assert last is not None
        between = [each for each in estimates if last.seq < each.seq <= now.seq]
        return (
            now.t - last.piece_t < PIECE_S
            and len(between) == now.seq - last.seq  # all of them are still known
            and not any(each.state in (State.SILENCE, State.SETTLING) for each in between)
        )

    def _fit(self, taps: Sequence[Tap]) -> PersonalMap:
        return fit_personal_map(taps, coverage=self._model.coverage)

    def _keep(self, taps: Sequence[Tap]) -> None:
        """Write the file, then use the taps."""
        fitted = self._fit(taps)
        document = {
            "type": KIND,
            "schema": SCHEMA,
            "version": __version__,
            "model": self._model_object(),
            **fitted.to_dict(),
            "every_tap": [tap.to_dict() for tap in taps],
        }
        try:
            write_private(self.file, to_json(document, indent=1).encode() + b"\n")
        except OSError as error:
            raise UserError(
                f"the file of the person cannot be written ({error.strerror}); the taps are as "
                "they were"
            ) from error
        self.map = fitted

    def _model_object(self) -> dict[str, str]:
        info = self._model
        return {"name": info.name, "version": info.version, "sha256": info.sha256}

    def _read(self) -> list[Tap]:
        """Return the taps of the file; none without a file."""
        try:
            with self.file.open("rb") as file:
                data = load_json(file.read(_MAX_BYTES + 1), limit=_MAX_BYTES)
            if not isinstance(data, dict) or data.get("type") != KIND:
                raise ValueError(f"its type is not {KIND!r}")
            self._check_origin(data)
            return [Tap.from_dict(each) for each in data["every_tap"]]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"the file of the person cannot be read ({error.strerror})") from error
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"this is not the file of a person ({printable(str(error))}); name another person, "
                "or move the file away to begin anew"
            ) from error

    def _check_origin(self, data: dict[str, Any]) -> None:
        schema = data["schema"]
        if schema != SCHEMA:
            raise UserError(
                f"the file of the person has schema {printable(str(schema))}, and this version of "
                f"realtime-mer reads schema {SCHEMA}; use the version that wrote it"
            )
        model = data["model"]
        if model["sha256"] != self._model.sha256:
            named = printable(f"{model['name']} {model['version']} ({str(model['sha256'])[:12]})")
            info = self._model
            raise UserError(
                f"the taps of the person belong to the model {named}, and this is {info.name} "
                f"{info.version} ({info.sha256[:12]}), whose values differ; name another person, "
                "or use that model with --model"
            )


def person_file(name_or_file: str) -> Path:
    """Return the file of a person.

    Args:
        name_or_file: a name, whose file is in the user's folder, or a path that ends in `.json`.

    Raises:
        UserError: it is neither.
    """
    if name_or_file.endswith(".json"):
        return local_path(name_or_file)
    if not _NAME.fullmatch(name_or_file):
        raise UserError(
            f"{name_or_file!r} is not a name of a person; use up to 60 letters, digits, spaces, "
            "dots, hyphens and underscores, or the path of a file that ends in .json"
        )
    return user_folder() / "people" / f"{name_or_file}.json"


def paired_estimate(estimates: Sequence[Estimate], utc: datetime) -> Estimate:
    """Return the estimate that a tap at a moment belongs to: the newest of a second before.

    A tap within the first second of settled values belongs to the first of them.

    Args:
        estimates: of a session, oldest first.
        utc: when the tap was made.

    Raises:
        UserError: there is none, or its values are not those of music now.
    """
    moment = utc - timedelta(seconds=REACTION_S)
    made = [datetime.fromisoformat(each.utc).astimezone(UTC) for each in estimates]
    count = sum(each <= moment for each in made)
    if not count:
        raise UserError("there are no estimates yet; tap again in a few seconds")
    if moment - made[count - 1] > timedelta(seconds=MAX_AGE_S):
        raise UserError("no new estimates arrive; tap when the music is back")
    estimate = estimates[count - 1]
    if estimate.state is State.SETTLING:
        settled = (each for each in estimates[count:] if each.state is State.TRACKING)
        estimate = next(settled, estimate)
    if estimate.state is not State.TRACKING:
        raise UserError(_NOT_NOW[estimate.state])
    return estimate
