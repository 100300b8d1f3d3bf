import pytest

from realtime_mer.core.silence import NEW_PIECE_TICKS, SILENCE_TICKS, SilenceDetector

LOUD, QUIET = 0.1, 1e-9


class Stream:
    """A detector and the ticks that it has had."""

    def __init__(self) -> None:
        self.detector = SilenceDetector(silence_db=-60.0, level_ticks=10)
        self.tick = 0
        self.starts: list[int] = []

    def play(self, power: float, ticks: int) -> None:
        for _ in range(ticks):
            self.tick += 1
            if self.detector.add(power, self.tick):
                self.starts.append(self.tick - 1)


def test_a_piece_starts_with_the_first_loud_tick() -> None:
    stream = Stream()
    stream.play(QUIET, 7)
    assert stream.detector.silent
    assert stream.detector.piece_ticks(stream.tick) == 0
    stream.play(LOUD, 4)
    assert stream.starts == [7]
    assert not stream.detector.silent
    assert stream.detector.piece_ticks(stream.tick) == 4


def test_a_short_pause_is_silence_within_the_piece() -> None:
    stream = Stream()
    stream.play(LOUD, 5)
    stream.play(QUIET, SILENCE_TICKS - 1)
    assert not stream.detector.silent
    stream.play(QUIET, NEW_PIECE_TICKS - SILENCE_TICKS)
    assert stream.detector.silent
    assert not stream.detector.between_pieces
    stream.play(LOUD, 1)
    assert stream.starts == [0]
    assert not stream.detector.silent


def test_after_a_long_pause_a_new_piece_starts() -> None:
    stream = Stream()
    stream.play(LOUD, 5)
    stream.play(QUIET, NEW_PIECE_TICKS)
    assert stream.detector.between_pieces
    stream.play(LOUD, 3)
    assert stream.starts == [0, 5 + NEW_PIECE_TICKS]
    assert stream.detector.piece_ticks(stream.tick) == 3


def test_after_a_loss_a_new_piece_starts() -> None:
    stream = Stream()
    stream.play(LOUD, 5)
    stream.detector.forget_piece()
    assert stream.detector.silent
    assert stream.detector.between_pieces
    stream.play(LOUD, 1)
    assert stream.starts == [0, 5]


def test_level_of_the_last_ticks() -> None:
    stream = Stream()
    assert stream.detector.level_db == -120.0
    stream.play(0.01, 25)
    assert stream.detector.level_db == pytest.approx(-20.0)
    stream.play(0.0, 5)
    assert stream.detector.level_db == pytest.approx(-23.0, abs=0.02)
    stream.detector.reset()
    assert stream.detector.level_db == -120.0
