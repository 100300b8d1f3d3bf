"""A whole recording through a pipeline, as fast as possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import Computation
from realtime_mer.core.types import Estimate
from realtime_mer.errors import BadSamplesError, UserError


def analyze_requests(
    name: str,
    blocks: Iterable[NDArray[np.float32]],
    pipeline: Pipeline,
    add: Callable[[list[Estimate]], None],
) -> Computation[int]:
    """Process all blocks of a recording and end the stream.

    Args:
        name: name of the recording, for messages.
        blocks: float32 [n, channels], or [n] for one channel. What they raise is passed on.
        pipeline: a new one.
        add: receives the estimates as they are computed.

    Returns:
        Number of sample frames.

    Raises:
        UserError: a sample is not finite, or the recording is too short for an estimate.
    """
    frames = count = 0
    for block in blocks:
        try:
            estimates = yield from pipeline.feed_requests(block)
        except BadSamplesError as error:
            raise UserError(
                f"{name}: sample {frames + error.position} is not a finite number "
                f"({error.value}); repair the audio"
            ) from error
        add(estimates)
        count += len(estimates)
        frames += len(block)
    estimates = yield from pipeline.finish_requests()
    add(estimates)
    count += len(estimates)
    if not count:
        duration_s = frames / pipeline.sample_rate_hz
        raise UserError(f"{name} lasts {duration_s:.2f} s; at least half a second is needed")
    return frames
