import dataclasses

import numpy as np
import pytest
from mer_engine import Engine

from realtime_mer.core.decoder import Decoder


@pytest.mark.parametrize("sharpness", [0.1, 3.0, 30.0])
def test_values_equal_those_of_the_model_info(engine: Engine, sharpness: float) -> None:
    """From flat distributions to distributions in one bin, at every window length."""
    info = engine.info
    decoder = Decoder(info)
    rng = np.random.default_rng(3)
    for steps in range(1, info.lag_order_max + 1):
        logits = sharpness * rng.standard_normal((1, len(info.scores), len(info.bins)))
        probabilities = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
        probabilities = probabilities.astype(np.float32)
        intervals, _ = decoder.decode(probabilities, steps)
        values = info.values(probabilities, steps)
        expected = np.stack([values.mean[0], values.low[0], values.high[0]], axis=1)
        np.testing.assert_allclose(intervals, expected, atol=1e-7)


def test_values_of_the_whole_piece_where_the_model_has_them(engine: Engine) -> None:
    whole_scores = ("whole_valence", "whole_arousal")
    info = dataclasses.replace(
        engine.info,
        bins=(-1.0, 0.0, 1.0),
        scores=("valence", "arousal", *whole_scores),
        line={"whole_arousal": ((0.0, 1.0),) * 3 + ((0.0, 3.0),) * 17},
    )
    rows = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.75, 0.25], [0.5, 0.5, 0.0]]
    probabilities = np.array([rows], dtype=np.float32)
    assert Decoder(info).decode(probabilities, 1)[1] == (0.25, -0.5)
    assert Decoder(info).decode(probabilities, 4)[1] == (0.25, -1.0)  # -1.5, clipped
    without = dataclasses.replace(info, scores=("valence", "arousal"), line={})
    assert Decoder(without).decode(probabilities[:, :2], 1)[1] is None
