"""A game with a loop of 60 frames a second whose world follows the music that it plays itself.

    python examples/game_loop.py                 a tune made of sines, 20 s
    python examples/game_loop.py song.wav --seconds 60

The audio callback of a real game hands its blocks to a queue and returns at once. A thread feeds
them to a `Tracker`; the loop reads the newest estimate and never waits.
"""

import argparse
import math
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

import realtime_mer

FRAMES_PER_SECOND = 60
Block = NDArray[np.float32]


class EmotionThread(threading.Thread):
    """Feeds blocks to a tracker; `latest` is the newest estimate."""

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        super().__init__(name="emotion", daemon=True)
        self.latest: realtime_mer.Estimate | None = None
        self.dropped = 0
        self._blocks: queue.Queue[Block | None] = queue.Queue(maxsize=600)
        self._tracker = realtime_mer.Tracker(sample_rate_hz, channels)

    def put(self, block: Block) -> None:
        """Take a block from the audio callback; never waits."""
        try:
            self._blocks.put_nowait(block)
        except queue.Full:
            self.dropped += 1

    def finish(self) -> None:
        """Analyse what is waiting, then end the thread."""
        self._blocks.put(None)
        self.join()

    def run(self) -> None:
        while (block := self._blocks.get()) is not None:
            try:
                for estimate in self._tracker.feed(block):
                    self.latest = estimate
            except realtime_mer.BadSamplesError:  # NaN from an effect: go on with the next block
                self.dropped += 1


@dataclass
class World:
    """What the player sees: values that glide towards the newest estimate."""

    light: float = 0.0
    pace: float = 0.0

    def update(self, estimate: realtime_mer.Estimate | None, dt: float) -> None:
        """Move a step of `dt` seconds; about 1 s makes two thirds of the way."""
        if estimate is None or estimate.state.repeats:
            return
        share = 1.0 - math.exp(-dt / 1.0)
        self.light += share * (estimate.valence - self.light)
        self.pace += share * (estimate.arousal - self.pace)


def tune(seconds: float, sample_rate_hz: int = 44_100) -> Block:
    """Return a tune that grows faster: float32 [n, 2]."""
    time_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    beats = 1.5 * time_s + 0.05 * time_s**2
    pitch = 220.0 * 2.0 ** (np.array([0, 4, 7, 12, 7, 4])[beats.astype(int) % 6] / 12)
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate_hz
    signal = 0.3 * np.sin(phase) * np.exp(-3.0 * (beats % 1.0))
    return np.stack([signal, signal], axis=1).astype(np.float32)


def frames(samples: Block, sample_rate_hz: int) -> Iterator[Block]:
    """Yield the audio of one frame of the game after the other."""
    for frame in range(len(samples) * FRAMES_PER_SECOND // sample_rate_hz):
        start, end = (n * sample_rate_hz // FRAMES_PER_SECOND for n in (frame, frame + 1))
        yield samples[start:end]


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a game loop that follows its own music.")
    parser.add_argument("song", nargs="?", help="an audio file (default: a tune)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the game")
    options = parser.parse_args()
    samples, rate = tune(options.seconds), 44_100
    if options.song is not None:
        try:
            samples, rate = soundfile.read(options.song, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise SystemExit(str(error)) from None
        samples = samples[: round(options.seconds * rate)]
    emotion = EmotionThread(rate, samples.shape[1])
    emotion.start()
    world = World()
    start = time.monotonic()
    count = 0
    for count, block in enumerate(frames(samples, rate), start=1):
        emotion.put(block)  # a real game: in the audio callback
        world.update(emotion.latest, 1 / FRAMES_PER_SECOND)
        if count % FRAMES_PER_SECOND == 0:
            mood = emotion.latest.mood if emotion.latest is not None else None
            print(
                f"{count / FRAMES_PER_SECOND:4.0f} s  light {world.light:+.2f}  "
                f"pace {world.pace:+.2f}  {mood or '...'}",
                flush=True,
            )
        time.sleep(max(0.0, start + count / FRAMES_PER_SECOND - time.monotonic()))
    emotion.finish()
    print(f"{count} frames, {emotion.dropped} blocks dropped")
    if emotion.latest is not None:
        print(f"last: {emotion.latest.mood or 'no music'} at {emotion.latest.t:.1f} s")


if __name__ == "__main__":
    main()
