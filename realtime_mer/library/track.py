"""One file of a library: its place, and what its analysis gave in short."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ARC_PARTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The music of a file in short; without silence, speech and noise.

    Attributes:
        duration_s: length of the audio in seconds.
        music_share: share of the audio that is music, 0 to 1.
        valence, arousal: means in [-1, 1]; these and what follows are None without music.
        valence_sd, arousal_sd: standard deviations.
        valence_min, valence_max, arousal_min, arousal_max: in [-1, 1].
        whole_valence, whole_arousal: on the scale of ratings of whole pieces; None too if the model
            has no such output.
        valence_arc, arousal_arc: means of the eight equal parts of the duration; None for a part
            without music.
        mood: the word with the largest share; "" for none.
        mood_shares: share of each mood in the music, summing to 1; every word of `mood.WORDS`.
        change_t_s: when the values change most, in seconds; None for less than two windows.
        change_valence, change_arousal: the differences there.
    """

    duration_s: float
    music_share: float
    valence: float | None
    valence_sd: float | None
    valence_min: float | None
    valence_max: float | None
    arousal: float | None
    arousal_sd: float | None
    arousal_min: float | None
    arousal_max: float | None
    whole_valence: float | None
    whole_arousal: float | None
    valence_arc: tuple[float | None, ...]
    arousal_arc: tuple[float | None, ...]
    mood: str
    mood_shares: Mapping[str, float]
    change_t_s: float | None
    change_valence: float | None
    change_arousal: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A file of a library, and its summary or why it has none.

    Attributes:
        path: absolute path, or an address such as s3://bucket/song.flac.
        size_bytes, modified_ns: of the file when it was analysed (`stat`); with the settings, they
            say whether its row still holds.
        settings: what the values depend on besides the file: model, hash, hop, lag order and range,
            in one text.
        analysed_utc: ISO 8601.
        summary: None for a file that was skipped.
        skipped: why; "" for an analysed file.
    """

    path: str
    size_bytes: int
    modified_ns: int
    settings: str
    analysed_utc: str
    summary: Summary | None
    skipped: str = ""
