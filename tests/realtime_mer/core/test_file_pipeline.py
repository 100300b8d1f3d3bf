"""A whole file gives the estimates of a live stream, at less cost."""

import dataclasses
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
import pytest
from mer_engine import Engine, Inference
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.engine import CARD_SIZES, EngineParts, PartSizes, parts_of, shipped_model
from numpy.typing import NDArray
from support import FaultyEngine, blocks, fast_values, music, values

from realtime_mer.audio.demo import DemoSource
from realtime_mer.audio.source import blocks_of
from realtime_mer.core.audio_requests import analyze_requests
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.file_pipeline import CHUNK_S, FilePipeline, file_pipeline
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import run
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import EngineError

P = ParamSpec("P")
T = TypeVar("T")
RATE_HZ = 16_000
# As for blocks of different sizes (see test_pipeline.py).
TOLERANCE = 2e-5


def estimates_of(
    pipeline: Pipeline, signal: NDArray[np.float32], size: int = RATE_HZ
) -> list[Estimate]:
    found = [e for block in blocks(signal, [size]) for e in pipeline.feed(block)]
    return found + pipeline.finish()


def assert_equal(found: list[Estimate], expected: list[Estimate]) -> None:
    for name in ("seq", "t", "state", "mood"):
        assert [getattr(e, name) for e in found] == [getattr(e, name) for e in expected]
    np.testing.assert_allclose(values(found), values(expected), atol=TOLERANCE)
    for name in ("level_db", "novelty"):
        first, second = (
            np.array([getattr(e, name) for e in each], dtype=np.float64)  # None is NaN
            for each in (found, expected)
        )
        np.testing.assert_allclose(first, second, atol=1e-4)
    assert [e.fast is None for e in found] == [e.fast is None for e in expected]
    np.testing.assert_allclose(
        [fast_values(e) for e in found if e.fast],
        [fast_values(e) for e in expected if e.fast],
        atol=TOLERANCE,
    )


def session() -> NDArray[np.float32]:
    """Return music with a short and a long pause, noise, and a piece that starts within a step."""
    rng = np.random.default_rng(3)
    noise = (0.1 * rng.standard_normal((round(9.27 * RATE_HZ), 1))).astype(np.float32)
    pause = np.zeros((round(1.73 * RATE_HZ), 1), np.float32)
    return np.concatenate(
        [
            np.zeros((round(0.33 * RATE_HZ), 1), np.float32),
            music(14.1, RATE_HZ),
            pause,
            music(8.0, RATE_HZ, seed=1),
            np.repeat(pause, 3, axis=0),
            noise,
            music(13.0, RATE_HZ, seed=2),
        ]
    )


@pytest.mark.parametrize(
    ("hop_s", "lag_order"), [(1.0, None), (0.5, None), (0.3, None), (0.1, 7), (0.7, 3)]
)
def test_a_file_gives_the_estimates_of_a_live_stream(
    engine: Engine, hop_s: float, lag_order: int | None
) -> None:
    config = PipelineConfig(hop_s=hop_s, lag_order=lag_order)
    live = Pipeline(engine, sample_rate_hz=RATE_HZ, config=config)
    file = file_pipeline(engine, sample_rate_hz=RATE_HZ, channels=1, config=config)
    assert isinstance(file, FilePipeline)
    signal = session()
    expected = estimates_of(live, signal)
    states = {e.state for e in expected}
    assert {State.SETTLING, State.TRACKING, State.SILENCE, State.NOISE} <= states
    assert_equal(estimates_of(file, signal), expected)
    file.reset()
    assert_equal(estimates_of(file, signal, size=len(signal)), expected)


def test_torch_gives_the_estimates_of_a_live_stream() -> None:
    pytest.importorskip("torch", reason="torch comes with the train extra")
    from mer_engine.backends.torch import TorchEngine

    reference = TorchEngine.open(shipped_model())
    file = file_pipeline(reference, sample_rate_hz=RATE_HZ)
    assert isinstance(file, FilePipeline)
    signal = session()
    assert_equal(
        estimates_of(file, signal),
        estimates_of(Pipeline(reference, sample_rate_hz=RATE_HZ), signal),
    )


def test_a_live_stream_that_classifies_fewer_sounds_has_the_same_estimates(engine: Engine) -> None:
    """The engine of the fixture runs in parts; this one runs the whole graph in each call."""
    pipelines = (
        Pipeline(each, sample_rate_hz=RATE_HZ)
        for each in (engine, OnnxRuntimeEngine(shipped_model()))
    )
    found, expected = (estimates_of(pipeline, session()) for pipeline in pipelines)
    assert_equal(found, expected)


class CountingParts:
    """The parts of an engine; counts the steps that are classified and the calls of the head."""

    def __init__(self, parts: EngineParts) -> None:
        self.info, self.sizes, self._parts = parts.info, parts.sizes, parts
        self.maps, self.describe = parts.maps, parts.describe
        self.classified = self.heads = 0

    def sound_logits(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        self.classified += len(maps)
        return self._parts.sound_logits(maps)

    def head(
        self, windows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        self.heads += 1
        return self._parts.head(windows)


def test_of_clear_music_few_steps_are_classified(engine: Engine) -> None:
    parts = parts_of(engine)
    assert parts is not None
    counting = CountingParts(parts)
    with DemoSource(block_s=1.0) as source:
        rate_hz, channels = source.info.sample_rate_hz, source.info.channels
        samples = [block for block, _ in zip(blocks_of(source), range(30), strict=False)]
    file = FilePipeline(engine, counting, sample_rate_hz=rate_hz, channels=channels)
    live = Pipeline(engine, sample_rate_hz=rate_hz, channels=channels)
    found = [e for block in samples for e in file.feed(block)] + file.finish()
    expected = [e for block in samples for e in live.feed(block)] + live.finish()
    assert_equal(found, expected)
    steps = 2 * len(expected)
    assert steps / 4 <= counting.classified < steps / 2
    # A window of each length while the first one grows, and then common calls.
    assert counting.heads < len(expected)


def test_a_stream_shorter_than_its_hop_gives_one_estimate(engine: Engine) -> None:
    signal = music(0.85, RATE_HZ)
    live = Pipeline(engine, sample_rate_hz=RATE_HZ)
    file = file_pipeline(engine, sample_rate_hz=RATE_HZ, channels=1)
    expected = estimates_of(live, signal)
    assert len(expected) == 1
    assert_equal(estimates_of(file, signal), expected)
    file.reset()
    assert estimates_of(file, signal[: round(0.4 * RATE_HZ)]) == []


def test_estimates_share_the_compute_time(engine: Engine) -> None:
    file = file_pipeline(engine, sample_rate_hz=RATE_HZ, channels=1)
    found = file.feed(music(CHUNK_S, RATE_HZ))
    assert len(found) == CHUNK_S
    assert all(e.latency.compute_ms > 0.0 for e in found)


def test_a_backend_without_parts_gets_the_pipeline_of_streams(engine: Engine) -> None:
    whole = FaultyEngine(engine, "steps", ())
    pipeline = file_pipeline(whole, sample_rate_hz=RATE_HZ, channels=1)
    assert type(pipeline) is Pipeline


class FaultyParts(CountingParts):
    """Parts of which some calls of the head fail."""

    def __init__(self, parts: EngineParts, faulty: set[int]) -> None:
        super().__init__(parts)
        self._faulty = faulty

    def head(
        self, windows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        result = super().head(windows)
        if self.heads - 1 in self._faulty:
            raise RuntimeError("the processor is on fire")
        return result


def test_a_failed_call_is_repeated_and_a_second_failure_ends_the_file(engine: Engine) -> None:
    parts = parts_of(engine)
    assert parts is not None
    signal = music(2.5 * CHUNK_S, RATE_HZ)

    def analyze(faulty: set[int], found: list[Estimate]) -> int:
        pipeline = FilePipeline(engine, FaultyParts(parts, faulty), sample_rate_hz=RATE_HZ)
        requests = analyze_requests("song", blocks(signal, [RATE_HZ]), pipeline, found.extend)
        return run(engine, requests)

    once: list[Estimate] = []
    assert analyze({1}, once) == len(signal)
    assert len(once) == 2.5 * CHUNK_S
    # The windows of the first seconds have ten lengths, so calls 10 and on are of the second part.
    before: list[Estimate] = []
    with pytest.raises(EngineError, match=r"song: .*the processor is on fire"):
        analyze({10, 11}, before)
    assert len(before) == CHUNK_S
    timeless = [dataclasses.replace(e, utc="", latency=once[0].latency) for e in (*before, *once)]
    assert timeless[: len(before)] == timeless[len(before) : 2 * len(before)]


class Card:
    """A backend with parts, of which every call fails from a number on."""

    backend = "card"

    def __init__(self, engine: Engine, good_calls: int) -> None:
        parts = parts_of(engine)
        assert parts is not None
        self.info, self.engine = engine.info, engine
        self._parts, self.good_calls = parts, good_calls
        self.calls = 0

    def infer(self, *arrays: NDArray[np.float32]) -> Inference:
        raise AssertionError("a file takes the parts")

    def parts(self) -> EngineParts:
        return self

    @property
    def sizes(self) -> PartSizes:
        return CARD_SIZES

    def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.calls += 1
        if self.calls > self.good_calls:
            raise RuntimeError("an illegal memory access was encountered")
        return function(*args, **kwargs)

    def maps(
        self, frames: NDArray[np.float32], cached_maps: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        return self._call(self._parts.maps, frames, cached_maps)

    def describe(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._call(self._parts.describe, maps)

    def sound_logits(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._call(self._parts.sound_logits, maps)

    def head(
        self, windows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        return self._call(self._parts.head, windows)


@pytest.mark.parametrize("good_calls", [1000, 0, 3])
def test_the_parts_of_a_card_that_fails_are_replaced(engine: Engine, good_calls: int) -> None:
    signal = music(1.25 * CHUNK_S, RATE_HZ)
    expected = estimates_of(Pipeline(engine, sample_rate_hz=RATE_HZ), signal)
    card, messages = Card(engine, good_calls), list[str]()
    guarded = FallbackEngine(card, engine, messages.append)
    file = file_pipeline(guarded, sample_rate_hz=RATE_HZ)
    assert isinstance(file, FilePipeline)
    assert_equal(estimates_of(file, signal), expected)
    assert file.failure is None
    failed = good_calls < 1000
    assert len(messages) == failed
    assert card.calls == (good_calls + 1 if failed else card.calls)
    assert guarded.backend == ("onnxruntime" if failed else "card")


def test_where_one_backend_has_no_parts_hops_are_computed_one_by_one(engine: Engine) -> None:
    whole = FaultyEngine(engine, "steps", ())
    for first, replacement in ((whole, engine), (Card(engine, 0), whole)):
        guarded = FallbackEngine(first, replacement, print)
        assert type(file_pipeline(guarded, sample_rate_hz=RATE_HZ)) is Pipeline


def test_a_file_has_no_losses(engine: Engine) -> None:
    with pytest.raises(TypeError):
        file_pipeline(engine, sample_rate_hz=RATE_HZ, channels=1).skip(1)
