"""The methods that are compared, by name."""

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
# What the ablations leave out of the network of the public code.
ABLATIONS: dict[str, dict[str, bool]] = {
    "full": {},
    "without CNN": {"cnn": False},
    "without BiLSTM": {"lstm": False},
    "without CNN and BiLSTM": {"cnn": False, "lstm": False},
}


def make_method(
    name: str, columns: int, lag: int, dimension: str, options: Mapping[str, Any]
) -> Regressor:
    """Make a method that is not fitted yet.

    Args:
        name: `CODE`, `DESCRIBED` or one of `BASELINES`.
        columns: features of a half second.
        lag: half seconds in a window.
        dimension: "arousal" or "valence"; the public code has other kernels for each.
        options: fields of `CodeNetworkConfig` that differ, for `CODE` alone.

    Raises:
        ValueError: the name is none of these, or takes no options.
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
    made: Regressor = others[name](columns)
    return made
