"""The audio of a whole file through a pipeline, as fast as possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import Computation
from realtime_mer.core.resample import without_bad_samples
from realtime_mer.core.types import Estimate
from realtime_mer.errors import BadSamplesError, EngineError, UserError


def analyze_requests(
    name: str,
    blocks: Iterable[NDArray[np.float32]],
    pipeline: Pipeline,
    add: Callable[[list[Estimate]], None],
) -> Computation[int]:
    """Process all blocks of a file and end the stream.

    Args:
        name: of the file, for messages.
        blocks: float32 [n, channels], or [n] for one channel. What they raise is passed on.
        pipeline: a new one; the one of `file_pipeline` is the fastest.
        add: receives the estimates as they are computed.

    Returns:
        Number of sample frames.

    Raises:
        UserError: a sample is not finite, or the file is too short for an estimate. At the
            end, after all estimates: samples were far too large and counted as silence.
        EngineError: the engine failed. The estimates so far have been added, and no repeated ones:
            a table has no holes that look like values.
    """
    frames = count = 0
    problem = ""
    for block in blocks:
        try:
            estimates = yield from pipeline.feed_requests(block)
        except BadSamplesError as error:
            position = frames + error.position
            if not math.isfinite(error.value):
                add((yield from pipeline.finish_requests()))  # of the audio before
                raise UserError(
                    f"{name}: sample {position} is not a finite number ({error.value}); repair "
                    "the audio"
                ) from error
            problem = problem or (
                f"{name}: sample {position} is {error.value:g}, far above the full scale of 1; "
                "such values count as silence; repair the audio"
            )
            estimates = yield from pipeline.feed_requests(without_bad_samples(block))
        _check_engine(name, pipeline)
        add(estimates)
        count += len(estimates)
        frames += len(block)
    estimates = yield from pipeline.finish_requests()
    _check_engine(name, pipeline)
    add(estimates)
    count += len(estimates)
    if not count:
        duration_s = frames / pipeline.sample_rate_hz
        raise UserError(f"{name} lasts {duration_s:.2f} s; at least half a second is needed")
    if problem:
        raise UserError(problem)
    return frames


def _check_engine(name: str, pipeline: Pipeline) -> None:
    if pipeline.failure is not None:
        raise EngineError(
            f"{name}: {pipeline.failure} after {pipeline.t:.1f} s of the audio, also when the call "
            "was repeated; try again, or choose another --backend"
        ) from pipeline.failure
