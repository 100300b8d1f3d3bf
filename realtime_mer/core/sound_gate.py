"""Whether a piece is music at the moment, from the model's sound output."""

from __future__ import annotations

import numpy as np
from mer_engine.model_file import SOUNDS
from numpy.typing import NDArray

from realtime_mer.core.types import State

# The model averages its logits over 4.5 s. Below this share of music, most of them were clearly
# something else; a spoken line over music or a cheer stays above it. Thresholds from
# 0.3 to 0.4 hardly differ.
LEAVE_MUSIC = 0.35
# Above this share, half of the seconds are music again: a return takes less time than leaving,
# because values that are held while music plays are the worse error.
RETURN_TO_MUSIC = 0.5
# Speech and noise change places only where the other one leads by this much, so that the word does
# not flicker in a noisy room with talk.
LEAD = 0.1


class SoundGate:
    """Decides between music, speech and noise with hysteresis, from estimate to estimate.

    It says music until the model clearly hears something else, and so always with a model that has
    no sound output. The same piece goes on after speech or noise, however long they were: a passage
    that was taken for speech by mistake then costs nothing of the window, and real speech leaves
    the window within its length.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start a new piece, as music."""
        self._state: State | None = None

    @property
    def state(self) -> State | None:
        """`State.SPEECH` or `State.NOISE`; None for music."""
        return self._state

    def update(self, sound: NDArray[np.float32] | None) -> None:
        """Take the next output of the model.

        Args:
            sound: float32 [1, 3], probabilities of music, speech and noise; None where the model
                has no such output.
        """
        if sound is None:
            return
        probabilities: list[float] = sound[0].tolist()
        music, speech, noise = (probabilities[SOUNDS.index(name)] for name in SOUNDS)
        if music > RETURN_TO_MUSIC:
            self._state = None
        elif self._state is None:
            if music < LEAVE_MUSIC:
                self._state = State.SPEECH if speech >= noise else State.NOISE
        elif abs(speech - noise) > LEAD:
            self._state = State.SPEECH if speech > noise else State.NOISE
