"""The compared methods, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mer_research.paper.bcrsn import SparseRecurrentNetwork
from mer_research.paper.code_network import KERNELS, CodeNetwork, CodeNetworkConfig
from mer_research.paper.described_network import DescribedNetwork
from mer_research.paper.mcan import CompositeAttention
from mer_research.paper.regressor import Regressor
from mer_research.paper.tpa import TemporalPatternAttention
from mer_research.paper.triplet import TripletRegressor

CODE, DESCRIBED = "code", "described"
BASELINES = ("tpa", "mcan", "bcrsn", "tnn_svr")
# Options of the network of the public code, by ablation.
ABLATIONS: dict[str, dict[str, bool]] = {
    "full": {},
    "without CNN": {"cnn": False},
    "without BiLSTM": {"lstm": False},
    "without CNN and BiLSTM": {"cnn": False, "lstm": False},
}


def make_method(
    name: str, columns: int, lag: int, dimension: str, options: Mapping[str, Any]
) -> Regressor:
    """Make an untrained method.

    Args:
        name: `CODE`, `DESCRIBED` or one of `BASELINES`.
        columns: features per half second.
        lag: half seconds in a window.
        dimension: "arousal" or "valence"; the public code has different kernels for each.
        options: fields of `CodeNetworkConfig` to change; only for `CODE`.

    Raises:
        ValueError: the name is unknown, or the method takes no options.
    """
    if name == CODE:
        fields = {"kernels": KERNELS[dimension], **options}
        fields["kernels"] = tuple(fields["kernels"])
        return CodeNetwork(columns, CodeNetworkConfig(**fields))
    if options:
        raise ValueError(f"{name} takes no options, but {dict(options)} were given")
    if name == "tpa":
        return TemporalPatternAttention(columns, lag)
    others: dict[str, type[Any]] = {
        DESCRIBED: DescribedNetwork,
        "mcan": CompositeAttention,
        "bcrsn": SparseRecurrentNetwork,
        "tnn_svr": TripletRegressor,
    }
    if name not in others:
        raise ValueError(f"there is no method {name!r}; there are {CODE}, tpa, {', '.join(others)}")
    method: Regressor = others[name](columns)
    return method
