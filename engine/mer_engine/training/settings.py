"""Settings of a training run and of a fit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from mer_engine.training.export import ModelText


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Hyperparameters of a fit.

    Attributes:
        steps: optimiser steps.
        batch: clips per batch.
        learning_rate: highest learning rate.
        warmup: share of the steps over which the learning rate rises.
        weight_decay: of AdamW.
        target_std: standard deviation of the target distribution over the score bins.
        squared_error_weight: weight of the squared error of the expectation.
        margin: least distance from zero, on the right side, of the value of a clip of which only
            the sign is known.
        averaging: decay of the running average of the weights.
        versions: versions of every clip: the original and its augmentations.
        original_share: share of the batches with original clips; the others use one augmentation.
        augmented_weight: weight of an augmented clip in the kernel regressor; the original has 1.
        support: support windows of the kernel regressor; 0 for no regressor.
    """

    steps: int = 700
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.05
    target_std: float = 0.15
    squared_error_weight: float = 4.0
    margin: float = 0.3
    averaging: float = 0.998
    versions: int = 2
    original_share: float = 0.6
    augmented_weight: float = 0.1
    support: int = 2000


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run.

    Attributes:
        data: collections, as `load_collection` takes them. The numbers of the first are taken as
            they are; those of others have an offset, which is learnt.
        out: the model file to write.
        encoder: the model file whose encoder is used; None for the shipped one. The head is new.
        init: a model file whose head is trained further, gently, with its own encoder; None for a
            new head.
        seed: of every random choice.
        steps: optimiser steps of each fit; None for the default of `FitSettings`.
        quick: use few steps, as a test run.
        device: torch device, for example "cpu" or "cuda".
        fresh: ignore the checkpoint of an interrupted run.
        keep_checkpoint: keep the checkpoint of a finished run.
        text: name, licence and notice of the model file.
    """

    data: tuple[str, ...]
    out: Path
    encoder: Path | None = None
    init: Path | None = None
    seed: int = 0
    steps: int | None = None
    quick: bool = False
    device: str = "cpu"
    fresh: bool = False
    keep_checkpoint: bool = False
    text: ModelText = field(default_factory=ModelText)

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint of the unfinished run."""
        return self.out.with_name(f"{self.out.name}.checkpoint")

    def fit_settings(self) -> FitSettings:
        """Return the hyperparameters of the fits of this run."""
        settings = FitSettings()
        if self.init is not None:
            settings = replace(settings, steps=300, learning_rate=2e-4, support=0)
        if self.quick:
            settings = replace(settings, steps=20, versions=1, support=min(settings.support, 50))
        if self.steps is not None:
            settings = replace(settings, steps=self.steps)
        return settings
