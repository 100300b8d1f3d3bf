from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from support import ManualClock, music

from realtime_mer.audio.input_check import InputCheckResult, check_input
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    InputKind,
    SourceBase,
    SourceLost,
)

RATE_HZ = 8_000


class FakeSource(SourceBase):
    """Returns prepared blocks; each read advances the test's clock."""

    def __init__(
        self,
        blocks: Iterable[Block | Exception | None],
        clock: ManualClock,
        *,
        live: bool = True,
        seconds_per_read: float = 0.1,
    ) -> None:
        self._blocks = iter(blocks)
        self._clock = clock
        self._seconds = seconds_per_read
        self._info = Input(
            InputKind.MICROPHONE if live else InputKind.FILE,
            "thing", RATE_HZ, 2, paced=not live, live=live,
        )  # fmt: skip

    def read(self, timeout_s: float) -> Block | None:
        self._clock.advance(self._seconds)
        block = next(self._blocks, EndOfStream("thing ended"))
        if isinstance(block, Exception):
            raise block
        return block


def cut(signal: NDArray[np.float32]) -> Iterator[Block]:
    for start in range(0, len(signal), 800):
        yield Block(signal[start : start + 800])


def check(signal: NDArray[np.float32]) -> tuple[InputCheckResult, list[str]]:
    clock = ManualClock()
    source = FakeSource(cut(signal), clock)
    result, blocks = check_input(source, 2.0, clock=clock)
    np.testing.assert_array_equal(np.concatenate([b.samples for b in blocks]), signal[:16_000])
    return result, result.problems(source.info)


def test_good_music_has_no_problems() -> None:
    signal = music(2.5, RATE_HZ, channels=2)
    result, problems = check(signal)
    assert problems == []
    assert result.audio_s == 2.0
    used = signal[:16_000].astype(float)
    assert result.level_db == pytest.approx(20 * np.log10(np.sqrt(np.mean(used**2))), abs=0.01)
    assert result.peak_db == pytest.approx(20 * np.log10(np.abs(used).max()), abs=0.01)


def test_levels_are_per_channel() -> None:
    signal = music(2.5, RATE_HZ, channels=2)
    signal[:, 1] = 0
    result, _ = check(signal)
    assert result.channel_levels_db[0] > -40
    assert result.channel_levels_db[1] == -120


@pytest.mark.parametrize(
    ("gain", "offset", "sentence"),
    [
        (0.0, 0.0, "only digital silence"),
        (1e-4, 0.0, "the input is silent"),
        (0.02, 0.0, "the input is very quiet"),
        (50.0, 0.0, "the input is too loud"),
        (0.5, 0.1, "constant offset of +0.10"),
    ],
)
def test_problems_of_the_level(gain: float, offset: float, sentence: str) -> None:
    signal = np.clip(music(2.5, RATE_HZ, channels=2) * gain + offset, -1, 1).astype(np.float32)
    _, problems = check(signal)
    assert len(problems) == 1
    assert sentence in problems[0]


def test_losses_are_counted() -> None:
    clock = ManualClock()
    signal = music(2.5, RATE_HZ, channels=2)
    blocks = [Block(block.samples, RATE_HZ // 100, 1) for block in cut(signal)]
    result, _ = check_input(FakeSource(blocks, clock), 2.0, clock=clock)
    assert (result.overflows, result.dropped) == (20, RATE_HZ // 5)
    assert "input was lost (20 overflows, 0.20 s dropped)" in " ".join(
        result.problems(FakeSource([], clock).info)
    )


def test_an_input_without_data_times_out() -> None:
    clock = ManualClock()
    source = FakeSource([None] * 10_000, clock)
    result, blocks = check_input(source, 2.0, timeout_s=3.0, clock=clock)
    assert blocks == []
    assert clock.now == pytest.approx(105, abs=0.2)
    assert result.problems(source.info) == ["no audio arrives from thing: no data"]


def test_a_device_that_stalls_is_found() -> None:
    clock = ManualClock()
    blocks: list[Block | None] = []
    for block in cut(music(2.5, RATE_HZ, channels=2)):
        blocks += [block, None, None]
    source = FakeSource(blocks, clock)
    result, _ = check_input(source, 2.0, clock=clock)
    assert "the device stalls" in result.problems(source.info)[0]


def test_an_input_that_fails_gives_the_reason() -> None:
    clock = ManualClock()
    gone = SourceLost("the input device 'thing' is gone", recoverable=True)
    source = FakeSource([*cut(music(0.5, RATE_HZ, channels=2)), gone], clock)
    result, _ = check_input(source, 2.0, clock=clock)
    assert result.problems(source.info)[0] == (
        "the input broke off after 0.5 s: the input device 'thing' is gone"
    )
    short = FakeSource(cut(music(0.5, RATE_HZ, channels=2)), clock, live=False)
    result, _ = check_input(short, 2.0, clock=clock)
    assert result.problems(short.info) == []  # a file may be short


def test_values_that_cannot_be_samples_are_counted() -> None:
    clock = ManualClock()
    signal = music(2.5, RATE_HZ, channels=2)
    signal[5, 0] = np.nan
    signal[9, 1] = np.inf
    signal[11, 1] = -1e20
    source = FakeSource(cut(signal), clock)
    result, _ = check_input(source, 2.0, clock=clock)
    assert result.bad_samples == 3
    assert "3 values cannot be samples" in result.problems(source.info)[0]
    assert result.peak_db < 0
