"""A tagger with the architecture of MusiCNN and random weights."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from bundle_support import write_bundle
from mer_engine.training.teacher import Affine, Convolution, TaggerWeights
from numpy.typing import NDArray

Array = NDArray[Any]


def make_tagger(seed: int = 0, live: tuple[int, ...] = (5, 4, 2, 3, 6)) -> TaggerWeights:
    """Return random weights. `live` is the number of live filters in each front-end group."""
    rng = np.random.default_rng(seed)

    def affine(size: int) -> Affine:
        # As in the published weights, some normalisations have a negative scale.
        sign = np.where(rng.random(size) < 0.3, -1, 1)
        return Affine(
            (sign * rng.uniform(0.5, 1.5, size)).astype(np.float32),
            rng.normal(0, 0.3, size).astype(np.float32),
        )

    def convolution(outputs: int, inputs: int, time: int, bands: int, alive: int) -> Convolution:
        size = (inputs * time * bands) ** -0.5
        mask = np.zeros(outputs, bool)
        mask[rng.choice(outputs, alive, replace=False)] = True
        return Convolution(
            kernel=rng.normal(0, size, (outputs, inputs, time, bands)).astype(np.float32),
            bias=rng.normal(0, 0.2, outputs).astype(np.float32),
            norm=affine(outputs),
            constant=rng.normal(0, 0.5, outputs).astype(np.float32),
            alive=mask,
        )

    shapes = [(204, 1, 7, 38), (204, 1, 7, 67), (51, 1, 128, 1), (51, 1, 64, 1), (51, 1, 32, 1)]
    front = [convolution(*shape, alive) for shape, alive in zip(shapes, live, strict=True)]
    residual = [(64, 561, 7, 1), (64, 64, 7, 1), (64, 64, 7, 1)]
    return TaggerWeights(
        name="made_up",
        input=Affine(np.array([0.44], np.float32), np.array([-1.1], np.float32)),
        timbral=tuple(front[:2]),
        temporal=tuple(front[2:]),
        residual=tuple(convolution(*shape, 64) for shape in residual),
        pooled=affine(1506),
        dense=(
            rng.normal(0, 0.03, (1506, 200)).astype(np.float32),
            np.zeros(200, np.float32),
            affine(200),
        ),
        tags=(rng.normal(0, 0.1, (200, 50)).astype(np.float32), np.zeros(50, np.float32)),
    )


def write_wheel(path: Path, weights: TaggerWeights, name: str = "MSD_musicnn") -> Path:
    """Write a wheel like that of musicnn, with the weights as TensorFlow variables."""
    variables: dict[str, NDArray[np.generic]] = {}

    def numbered(stem: str, number: int) -> str:
        return f"{stem}_{number}" if number else stem

    def normalisation(number: int, affine: Affine, constant: float | Array, alive: Array) -> None:
        prefix = numbered("batch_normalization", number)
        variance = np.where(alive, 2.0, 1e-9).astype(np.float32)
        mean = (constant - affine.shift) / affine.scale
        variables[f"{prefix}/gamma"] = affine.scale * np.sqrt(variance + np.float32(1e-3))
        variables[f"{prefix}/beta"] = affine.shift + affine.scale * mean
        variables[f"{prefix}/moving_mean"] = mean
        variables[f"{prefix}/moving_variance"] = variance

    normalisation(0, weights.input, 0.0, np.ones(1))
    for number, layer in enumerate((*weights.timbral, *weights.temporal, *weights.residual)):
        prefix = numbered("conv2d", number)
        kernel = layer.kernel.transpose(2, 3, 1, 0)  # [time, frequency, inputs, outputs]
        variables[f"{prefix}/kernel"] = kernel if number < 5 else kernel.transpose(0, 2, 1, 3)
        variables[f"{prefix}/bias"] = layer.bias
        normalisation(number + 1, layer.norm, layer.constant, layer.alive)
    normalisation(9, weights.pooled, 0.0, np.ones(1506))
    normalisation(10, weights.dense[2], 0.0, np.ones(200))
    variables["dense/kernel"], variables["dense/bias"] = weights.dense[:2]
    variables["dense_1/kernel"], variables["dense_1/bias"] = weights.tags
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path, "w") as wheel:
        write_bundle(Path(folder), variables, prefix="")
        for file in Path(folder).iterdir():
            wheel.write(file, f"musicnn/{name}/{file.name}")
    return path
