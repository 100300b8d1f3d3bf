"""Every method accepts windows of any length, learns a simple relation, and is deterministic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mer_research.paper.code_network import CodeNetwork, CodeNetworkConfig
from mer_research.paper.fitting import Budget, Fitted, WindowData, fit
from mer_research.paper.methods import ABLATIONS, BASELINES, CODE, DESCRIBED, make_method
from mer_research.paper.protocols import NEW, make_windows, split_windows
from mer_research.paper.regressor import Regressor
from mer_research.paper.scores import score
from mer_research.paper.step_table import StepTable

ALL = (CODE, DESCRIBED, *BASELINES)
LAG = 3


def fitted(table: StepTable, name: str, budget: Budget, seed: int = 0) -> tuple[Fitted, float]:
    windows = make_windows(table, "arousal", LAG)
    parts = split_windows(table, windows, NEW, 0)
    torch.manual_seed(seed)
    method = make_method(name, table.features.shape[1], LAG, "arousal", {})
    result = fit(method, WindowData(table.features, windows), parts, budget, seed)
    return result, score(windows.labels[parts["test"]], result.predictions["test"]).r2


@pytest.mark.parametrize("name", ALL)
def test_each_method_learns_a_simple_relation(table: StepTable, name: str) -> None:
    rate = 0.005 if name == "bcrsn" else 0.002  # BCRSN needs more steps than the others
    budget = Budget(epochs=8, batch=16, rate=rate, halve_every=3, patience=8)
    result, r2 = fitted(table, name, budget)
    assert r2 > 0.3
    assert 1 <= result.best_epoch <= result.epochs <= 8
    assert {part: len(values) for part, values in result.predictions.items()} == {
        "train": 120, "validation": 36, "test": 36,
    }  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_predictions(table: StepTable, name: str) -> None:
    budget = Budget(epochs=2, batch=32, noise=0.1)
    first, _ = fitted(table, name, budget)
    repeated, _ = fitted(table, name, budget)
    other, _ = fitted(table, name, budget, seed=1)
    np.testing.assert_array_equal(first.predictions["test"], repeated.predictions["test"])
    assert not np.array_equal(first.predictions["test"], other.predictions["test"])


@pytest.mark.parametrize("name", [n for n in ALL if n != "tnn_svr"])
@pytest.mark.parametrize("lag", [1, 2, 26])
def test_windows_of_any_length(name: str, lag: int) -> None:
    for dimension in ("arousal", "valence"):
        method = make_method(name, 7, lag, dimension, {}).eval()
        values = method(torch.randn(4, lag, 7))
        assert values.shape == (4,)
        assert torch.isfinite(values).all()


@pytest.mark.parametrize("options", ABLATIONS.values(), ids=ABLATIONS.keys())
def test_an_ablation_removes_its_part(options: dict[str, bool]) -> None:
    network = make_method(CODE, 7, 5, "arousal", options)
    names = {name.split(".")[0] for name, _ in network.named_parameters()}
    assert ("blocks" in names) == options.get("cnn", True)
    assert ({"first", "second"} <= names) == options.get("lstm", True)
    assert network.eval()(torch.randn(2, 5, 7)).shape == (2,)


def test_convolutions_are_causal() -> None:
    torch.manual_seed(0)
    network = CodeNetwork(4, CodeNetworkConfig()).eval()
    x = torch.randn(1, 4, 9)
    later = x.clone()
    later[:, :, 6:] += 1
    before, after = network.blocks(x), network.blocks(later)
    torch.testing.assert_close(before[:, :, :6], after[:, :, :6])
    assert not torch.allclose(before[:, :, 6], after[:, :, 6])


def test_sizes_match_the_public_code() -> None:
    arousal, valence = (make_method(CODE, 9, 26, d, {}) for d in ("arousal", "valence"))
    shapes = [{n: p.shape for n, p in m.named_parameters()} for m in (arousal, valence)]
    assert shapes[0]["blocks.0.long.convolve.weight"] == (20, 9, 10)
    assert shapes[0]["blocks.0.short.convolve.weight"] == (20, 9, 5)
    assert shapes[1]["blocks.0.long.convolve.weight"] == (20, 9, 15)
    assert shapes[1]["blocks.0.short.convolve.weight"] == (20, 9, 6)
    assert shapes[0]["second.weight_hh_l0_reverse"] == (400, 100)


def test_training_stops_early(table: StepTable) -> None:
    class Worsening(Regressor):
        """A model whose validation loss grows with every epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.value = torch.nn.Parameter(torch.zeros(()))
            self.calls = 0

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            return self.value.expand(len(windows))

        def validation_loss(self, windows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return torch.tensor(float(self.calls))

    windows = make_windows(table, "arousal", LAG)
    parts = split_windows(table, windows, NEW, 0)
    model = Worsening()
    budget = Budget(epochs=30, patience=3)
    result = fit(model, WindowData(table.features, windows), parts, budget, 0)
    assert (result.best_epoch, result.epochs) == (1, 4)


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no method 'svm'"):
        make_method("svm", 3, 2, "arousal", {})
    with pytest.raises(ValueError, match="takes no options"):
        make_method("tpa", 3, 2, "arousal", {"hidden": 3})
