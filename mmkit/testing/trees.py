"""Nested inputs and outputs of components, walked tensor by tensor, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmkit.contract import Features, ModelOutput
from mmkit.errors import ContractError

TOLERANCE = 1e-4
"""Of the largest number: what float32 may lose between two orders of summation."""


def mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same tree with every tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Features):
        tokens, mask, pooled, penalties, details, inner = mapped(
            [tree.tokens, tree.mask, tree.pooled, dict(tree.penalties), dict(tree.details), dict(tree.inner)], change
        )
        return Features(tokens, mask, pooled, penalties, tree.complete, details, inner)
    if isinstance(tree, ModelOutput):
        parts = [tree.features, tree.fused, tree.output, tree.unimodal, tree.teachers, tree.seen]
        return ModelOutput(*mapped(parts, change))
    if isinstance(tree, Mapping):
        return {key: mapped(value, change) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(mapped(value, change) for value in tree)
    return tree


def as_vectors(tree: Any) -> Any:
    """The same tree with one token in the place of all Features: their vector."""
    if isinstance(tree, Features):
        return Features.of(tree.vector(), tree.present(), None, tree.penalties, inner=tree.inner)
    if isinstance(tree, ModelOutput):
        return replace(tree, features=as_vectors(tree.features), teachers=as_vectors(tree.teachers))
    if isinstance(tree, Mapping):
        return {key: as_vectors(value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(as_vectors(value) for value in tree)
    return tree


def told_complete(tree: Any) -> Any:
    """The same tree, with what has no missing row told so."""
    if isinstance(tree, Features):
        return replace(tree, complete=bool(tree.present().all()))
    if isinstance(tree, ModelOutput):
        features, fused, teachers = map(told_complete, (tree.features, tree.fused, tree.teachers))
        return replace(tree, features=features, fused=fused, teachers=teachers)
    if isinstance(tree, Mapping):
        return {key: told_complete(value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(told_complete(value) for value in tree)
    return tree


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor with its place: "image.tokens"."""
    if isinstance(tree, Tensor):
        yield path, tree
        return
    if isinstance(tree, Features):
        tree = {
            "tokens": tree.tokens,
            "mask": tree.mask,
            "pooled": tree.pooled,
            "penalties": tree.penalties,
            "inner": tree.inner,
        }
    elif isinstance(tree, ModelOutput):
        tree = {
            "features": tree.features,
            "fused": tree.fused,
            "details": tree.fused.details,
            "output": tree.output,
            "unimodal": tree.unimodal,
            "teachers": tree.teachers,
            "seen": tree.seen,
        }
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        tree = dict(enumerate(tree))
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))


def rows(tree: Any, index: Sequence[int]) -> Any:
    """The samples `index` of every tensor."""
    return mapped(tree, lambda tensor: tensor[list(index)])


def copied(tree: Any) -> Any:
    """A copy that shares nothing."""
    return mapped(tree, lambda tensor: tensor.detach().clone())


def floats_to(tree: Any, dtype: torch.dtype) -> Any:
    """Every floating tensor in another dtype."""
    return mapped(tree, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def with_gradient(tree: Any) -> Any:
    """A copy whose floating tensors ask for a gradient."""
    return mapped(tree, lambda t: t.detach().clone().requires_grad_() if t.is_floating_point() else t.clone())


def comparable(tree: Any) -> dict[str, Tensor]:
    """What may be compared across paddings: real tokens, their count, the vector. Penalties are training's alone."""
    if isinstance(tree, Features):
        return {"count": tree.mask.sum(1), "tokens": tree.tokens[tree.mask], "vector": tree.vector()}
    if isinstance(tree, Mapping):
        return {
            f"{key}.{name}" if name else str(key): value
            for key, part in tree.items()
            for name, value in comparable(part).items()
        }
    return {"": tree}


def expect_same(found: Any, expected: Any, situation: str, tolerance: float = TOLERANCE) -> None:
    """Compare two outputs.

    Raises:
        ContractError: they differ; `situation` begins the message.
    """
    ours, theirs = comparable(found), comparable(expected)
    if set(ours) != set(theirs):
        raise ContractError(f"{situation}: gives {sorted(ours)}, and {sorted(theirs)} otherwise")
    for name, value in ours.items():
        other = theirs[name]
        if value.shape != other.shape:
            raise ContractError(f"{situation}: {name} is {list(value.shape)}, and {list(other.shape)} otherwise")
        if not value.numel():
            continue
        off = (value.double() - other.double()).abs().max().item()
        allowed = tolerance * max(other.double().abs().max().item(), 0.01)
        if not off <= allowed:  # NaN is not
            raise ContractError(f"{situation}: {name} is off by {off:.3g}, {allowed:.3g} allowed")


def expect_finite(tree: Any, situation: str) -> None:
    """Look for NaN and infinity.

    Raises:
        ContractError: there is one.
    """
    for path, tensor in leaves(tree):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            bad = int((~tensor.isfinite()).sum())
            raise ContractError(f"{situation}: {path} has {bad} of {tensor.numel()} values that are NaN or infinite")
