import numpy as np

from realtime_mer.core.sound_gate import LEAD, LEAVE_MUSIC, RETURN_TO_MUSIC, SoundGate
from realtime_mer.core.types import State


def states(*outputs: tuple[float, float, float]) -> list[State | None]:
    """Return the gate's states after each output (music, speech, noise)."""
    gate = SoundGate()
    found = []
    for output in outputs:
        gate.update(np.array([output], np.float32))
        found.append(gate.state)
    return found


def test_without_a_sound_output_everything_is_music() -> None:
    gate = SoundGate()
    gate.update(None)
    assert gate.state is None


def test_music_is_left_only_when_it_is_clearly_low() -> None:
    assert LEAVE_MUSIC < RETURN_TO_MUSIC
    low, high = LEAVE_MUSIC - 0.01, LEAVE_MUSIC + 0.01
    assert states((high, 1 - high, 0.0)) == [None]  # speech over music
    assert states((low, 1 - low, 0.0)) == [State.SPEECH]
    assert states((low, 0.0, 1 - low)) == [State.NOISE]


def test_between_the_thresholds_the_state_stays() -> None:
    between = (LEAVE_MUSIC + RETURN_TO_MUSIC) / 2
    mixed = (between, 1 - between, 0.0)
    assert states(mixed, (0.0, 1.0, 0.0), mixed, (0.6, 0.4, 0.0), mixed) == [
        None, State.SPEECH, State.SPEECH, None, None,
    ]  # fmt: skip


def test_speech_and_noise_do_not_flicker() -> None:
    close = LEAD / 2
    found = states(
        (0.0, 0.6, 0.4), (0.0, 0.5 - close / 2, 0.5 + close / 2), (0.0, 0.3, 0.7), (0.0, 0.5, 0.5)
    )
    assert found == [State.SPEECH, State.SPEECH, State.NOISE, State.NOISE]


def test_a_new_piece_begins_as_music() -> None:
    gate = SoundGate()
    gate.update(np.array([[0.0, 1.0, 0.0]], np.float32))
    gate.reset()
    assert gate.state is None
