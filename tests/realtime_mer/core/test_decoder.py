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
        intervals, whole = decoder.decode(probabilities, steps)
        values, expected_whole = info.values(probabilities, steps), info.whole(probabilities, steps)
        expected = np.stack([values.mean[0], values.low[0], values.high[0]], axis=1)
        np.testing.assert_allclose(intervals, expected, atol=1e-7)
        assert (whole is None) == (expected_whole is None)
        if whole is not None and expected_whole is not None:
            np.testing.assert_allclose(whole, expected_whole[0], atol=1e-12)
