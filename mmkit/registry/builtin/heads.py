"""Heads that ship with mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import HeadSpec, hookimpl


@hookimpl
def mmkit_heads() -> Iterator[HeadSpec]:
    """One method, one file."""
    yield HeadSpec(
        "linear",
        "mmkit.heads.linear:LinearHead",
        "Linear classifier: one linear layer to classes or labels",
        targets=("classes", "labels"),
        vectors=True,
    )
    yield HeadSpec(
        "mlp",
        "mmkit.heads.mlp:MlpHead",
        "Multilayer perceptron to classes or labels",
        targets=("classes", "labels"),
        vectors=True,
    )
    yield HeadSpec(
        "regression",
        "mmkit.heads.regression:RegressionHead",
        "Multilayer perceptron to numbers",
        targets=("scalar",),
        vectors=True,
    )
