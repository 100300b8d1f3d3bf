"""The estimates of one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mer_engine import Engine

from realtime_mer.audio.open_input import open_file_or_demo
from realtime_mer.audio.source import Samples, SourceLost, blocks_of
from realtime_mer.core.audio_requests import analyze_requests
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.file_pipeline import file_pipeline
from realtime_mer.core.requests import Computation
from realtime_mer.core.types import Estimate
from realtime_mer.library.remote_files import on_this_machine

# Long blocks cost less and do not change the estimates.
BLOCK_S = 1.0


def file_requests(
    name: str,
    engine: Engine,
    config: PipelineConfig,
    add: Callable[[list[Estimate]], None],
    advance: Callable[[float, float | None], None],
) -> Computation[float]:
    """Analyse a file; the generator is for `core.requests.run`.

    Args:
        name: path of the file, its address in a storage, or "demo".
        engine, config: of its pipeline.
        add: receives the estimates as they are computed, also those before damage.
        advance: receives the seconds that were read so far and the duration, None where it is
            unknown; first at the start.

    Returns:
        The length of the audio in seconds.

    Raises:
        UserError: the file cannot be opened, or `core.audio_requests.analyze_requests` refuses it.
        SourceLost: it breaks off (a `UserError`).
        OSError: the system does not let it be read.
    """
    with on_this_machine(name) as path, open_file_or_demo(path, block_s=BLOCK_S) as source:
        info = source.info
        pipeline = file_pipeline(
            engine, sample_rate_hz=info.sample_rate_hz, channels=info.channels, config=config
        )

        def blocks() -> Iterator[Samples]:
            advance(0.0, info.duration_s)
            frames = 0
            for samples in blocks_of(source):
                yield samples
                frames += len(samples)
                advance(frames / info.sample_rate_hz, info.duration_s)

        try:
            frames = yield from analyze_requests(name, blocks(), pipeline, add)
        except SourceLost:
            # Keep the estimates of the audio before the damage.
            add((yield from pipeline.finish_requests()))
            raise
        return frames / info.sample_rate_hz
