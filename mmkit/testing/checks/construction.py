"""Checks of how a component is made and what it gives: the door of the contract.

Axes: B batch, T tokens, D width, C size of the target.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.errors import ContractError
from mmkit.registry.options import options_of
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.fusion import FusionSpecimen
from mmkit.testing.specimens.head import HeadSpecimen
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.trees import expect_finite


def builds(specimen: Any) -> str | None:
    """It is built from what the core hands over, and has the attributes of its kind."""
    if isinstance(specimen, EncoderSpecimen | HeadSpecimen) and not inspect.isclass(
        getattr(specimen.component, "reads", None)
    ):
        raise ContractError("`reads` names the class of the transform; it is missing or is no class")
    component = specimen.build()
    if isinstance(specimen, ModuleSpecimen) and not isinstance(component, nn.Module):
        raise ContractError(f"a component is an nn.Module; this one is a {type(component).__name__}")
    if isinstance(specimen, EncoderSpecimen | FusionSpecimen):
        width = getattr(component, "width", None)
        if not isinstance(width, int) or width < 1:
            raise ContractError(f"`width` is the width of the result, an int of 1 or more; got {width!r}")
    return None


def options(specimen: Any) -> str | None:
    """Every option is keyword-only, with a default, an annotation that can be read, and a line under `Args:`."""
    factories = [specimen.component, getattr(specimen.component, "reads", None)]
    for factory in [f for f in factories if inspect.isclass(f)]:
        for parameter in inspect.signature(factory).parameters.values():
            if parameter.kind in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
                raise ContractError(
                    f"{factory.__name__} takes {parameter}: the signature is the schema, name its options"
                )
        for name, option in options_of(factory).items():
            if not option.help:
                raise ContractError(f"option {name} of {factory.__name__} has no line under `Args:` in the docstring")
    return None


def shapes(specimen: ModuleSpecimen) -> str | None:
    """What it gives has the contract's shapes and dtypes, and is finite, in training and in evaluation."""
    inputs = specimen.draw(4, absent={specimen.names[0]: (2,)})
    expect_shapes(specimen, specimen.evaluate(inputs), 4, "in evaluation")
    expect_shapes(specimen, specimen.differentiate(inputs)[0], 4, "in training")
    return None


def expect_shapes(specimen: ModuleSpecimen, outputs: dict[str, Any], count: int, situation: str) -> None:
    """Shapes, dtypes and finite numbers of all outputs of `count` samples.

    Raises:
        ContractError: one is wrong.
    """
    for name, value in outputs.items():
        if name in {"features", "fused"}:
            _expect_features(value, count, getattr(specimen.module, "width", None), situation)
        elif name == "loss":
            _expect_tensor(f"{situation}: the loss", value, [count])
        elif name == "output" and isinstance(specimen, HeadSpecimen):
            # What a head for texts hands to its loss and prediction is its own affair.
            own = list(value.shape[1:]) if specimen.target == "text" and isinstance(value, Tensor) else None
            _expect_tensor(f"{situation}: the output", value, [count, *(own or [specimen.transform.target().size])])
    expect_finite(outputs, situation)


def _expect_features(found: object, count: int, width: Any, situation: str) -> None:
    if not isinstance(found, Features):
        raise ContractError(f"{situation}: gives a {type(found).__name__} instead of Features")
    tokens = found.tokens
    if tokens.ndim != 3 or tokens.shape[0] != count or tokens.shape[1] < 1 or tokens.shape[2] != width:
        raise ContractError(f"{situation}: tokens are {list(tokens.shape)} instead of [{count} T {width}], T >= 1")
    if not tokens.is_floating_point():
        raise ContractError(f"{situation}: tokens are {tokens.dtype} instead of a floating dtype")
    if found.mask.shape != tokens.shape[:2] or str(found.mask.dtype) != "torch.bool":
        raise ContractError(
            f"{situation}: the mask is {found.mask.dtype} {list(found.mask.shape)} instead of bool "
            f"{list(tokens.shape[:2])}"
        )
    if found.pooled is not None:
        _expect_tensor(f"{situation}: pooled", found.pooled, [count, width])
    for name, penalty in found.penalties.items():
        _expect_tensor(f"{situation}: penalty {name}", penalty, [count])


def _expect_tensor(what: str, found: object, shape: list[Any]) -> None:
    if not isinstance(found, Tensor) or list(found.shape) != shape or not found.is_floating_point():
        got = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ContractError(f"{what} is {got} instead of floating {shape}")


def masked(specimen: ModuleSpecimen) -> str | None:
    """Its features are zero under a False mask; an encoder's mask is False in a row that is missing, and only there."""
    for outputs in [
        specimen.evaluate(inputs)
        for inputs in (
            specimen.draw(4, absent=specimen.all_absent(1)),
            specimen.draw(2, absent=dict.fromkeys(specimen.names, (0, 1))),
        )
    ]:
        found: Features = next(iter(outputs.values()))
        if found.tokens[~found.mask].any():
            raise ContractError("tokens are not zero under a False mask; make features with Features.of")
        if found.pooled is not None and found.pooled[~found.present()].any():
            raise ContractError("pooled is not zero where nothing is there; make features with Features.of")
        if isinstance(specimen, EncoderSpecimen):
            expected = [row != 1 and len(found.mask) == 4 for row in range(len(found.mask))]
            if found.present().tolist() != expected:
                raise ContractError(
                    f"rows there are {expected}, and its mask has a True in the rows {found.present().tolist()}"
                )
    return None
