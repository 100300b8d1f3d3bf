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
        batch: labelled clips per batch, and as many unlabelled ones.
        learning_rate: highest learning rate.
        warmup: share of the steps over which the learning rate rises.
        weight_decay: of AdamW.
        target_std: standard deviation of the target distribution over the score bins.
        squared_error_weight: weight of the squared error of the expectation.
        label_weight: weight of the loss against the labels.
        teacher_weight: weight of the loss against the teacher targets of the labelled clips.
        unlabelled_weight: weight of the loss against the teacher targets of the unlabelled clips.
        averaging: decay of the running average of the weights.
        versions: versions of every labelled clip: the original and its augmentations.
        original_share: share of the batches with original clips; the others use one augmentation.
        augmented_weight: weight of an augmented clip in the kernel regressor; the original has 1.
        auxiliary_weight: weight of an auxiliary clip, above 0; other clips have 1.
        regressor: whether to attach a kernel regressor to the fitted head.
    """

    steps: int = 700
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.05
    target_std: float = 0.15
    squared_error_weight: float = 4.0
    label_weight: float = 1.0
    teacher_weight: float = 1.0
    unlabelled_weight: float = 1.0
    averaging: float = 0.998
    versions: int = 3
    original_share: float = 0.6
    augmented_weight: float = 0.1
    auxiliary_weight: float = 0.1
    regressor: bool = True


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run.

    Attributes:
        data: collections, as `load_collection` takes them.
        auxiliary: auxiliary collections, see `Labels`.
        out: the model file to write.
        init: a model file to start from; None starts with a new network.
        teacher: the `musicnn` wheel or its unpacked folder; None trains the encoder on the labels.
        unlabelled: folders of music without labels.
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
    init: Path | None = None
    teacher: Path | None = None
    auxiliary: tuple[str, ...] = ()
    unlabelled: tuple[Path, ...] = ()
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
            # Fine-tune a trained head gently, on the new labels alone.
            settings = replace(
                settings,
                steps=300,
                learning_rate=2e-4,
                teacher_weight=0.0,
                unlabelled_weight=0.0,
                regressor=False,
            )
        if self.quick:
            settings = replace(settings, steps=20, versions=1)
        if self.steps is not None:
            settings = replace(settings, steps=self.steps)
        return settings
