"""Checks of heads alone: the loss and the prediction.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmkit.contract import Batch
from mmkit.errors import ContractError
from mmkit.testing.specimens.head import HeadSpecimen
from mmkit.testing.trees import expect_finite


def loss(specimen: HeadSpecimen) -> str | None:
    """Where truth is missing the loss is zero and gives no gradient; else it is finite and gives one."""
    module = specimen.module.eval()
    for unknown in ([1, 3], [0, 1, 2, 3, 4]):
        features, truth = specimen.draw(5, unknown=unknown)
        output = module(features).detach().requires_grad_()
        found: Tensor = module.loss(output, truth)  # type: ignore[operator]
        if list(found.shape) != [5]:
            raise ContractError(f"the loss of 5 samples is {list(found.shape)} instead of [5]")
        (gradient,) = torch.autograd.grad(found.sum(), output, allow_unused=True)
        gradient = torch.zeros_like(output) if gradient is None else gradient
        expect_finite({"loss": found, "gradient": gradient}, f"truth missing in rows {unknown}")
        if found[unknown].any() or gradient[unknown].any():
            raise ContractError(
                f"rows {unknown} have no truth; their losses are {found[unknown].tolist()}, not all zero, or they "
                "give a gradient"
            )
        known = [row for row in range(5) if row not in unknown]
        if known and not gradient[known].flatten(1).any(1).all():
            raise ContractError(f"rows {known} have truth, and not all of them give the output a gradient")
    return None


def prediction(specimen: HeadSpecimen) -> str | None:
    """The prediction has the leaves of its kind of target, and its inverse gives one value a sample."""
    target = specimen.transform.target()
    inputs = specimen.draw(4, absent={"features": (2,)})
    found = specimen.evaluate(inputs)["prediction"]
    if specimen.target == "text":
        _texts(specimen, found)
        return None
    leaf = "values" if specimen.target == "scalar" else "probabilities"
    if leaf not in found:
        raise ContractError(f"a prediction of {specimen.target} has the leaf {leaf}; got {sorted(found)}")
    if list(found[leaf].shape) != [4, target.size]:
        raise ContractError(f"{leaf} are {list(found[leaf].shape)} instead of [4, {target.size}]")
    expect_finite(found, "prediction")
    if leaf == "probabilities":
        low, high = found[leaf].min().item(), found[leaf].max().item()
        if low < 0 or high > 1:
            raise ContractError(f"probabilities lie between 0 and 1; got {low:.3g} to {high:.3g}")
        total = found[leaf].sum(1)
        if specimen.target == "classes" and (total - 1).abs().max() > 1e-4:
            raise ContractError(f"the probabilities of the classes sum to one; got {total.tolist()}")
        _graded(specimen)
    _columns(specimen, found, _inverse(specimen, found))
    return None


def _graded(specimen: HeadSpecimen) -> None:
    """A little other output gives little other probabilities; a mere choice would not."""
    module, generator = specimen.module.eval(), torch.Generator().manual_seed(4)
    with torch.no_grad():
        output = module(*specimen.draw(4)[:1])
        other = output + 0.01 * torch.randn(output.shape, generator=generator).to(output)
        found, changed = (module.predict(one)["probabilities"] for one in (output, other))  # type: ignore[operator]
    if torch.equal(found, changed):
        raise ContractError("probabilities say how sure the output is; these are the same for another output")


def _texts(specimen: HeadSpecimen, found: Batch) -> None:
    tokens, mask = found.get("tokens"), found.get("mask")
    if tokens is None or mask is None or tokens.shape != mask.shape or tokens.ndim != 2 or len(tokens) != 4:
        got = {name: list(leaf.shape) for name, leaf in found.items()}
        raise ContractError(f"a prediction of texts has tokens [4 T] and a mask [4 T]; got {got}")
    if tokens.dtype != torch.long or mask.dtype != torch.bool:
        raise ContractError(f"tokens are long and their mask is bool; got {tokens.dtype} and {mask.dtype}")
    answers = _inverse(specimen, found)
    _columns(specimen, found, answers)
    for answer in answers:
        if not isinstance(answer, Mapping) or not isinstance(answer.get("text"), str):
            raise ContractError(f"the inverse gives a mapping with the str `text`; got {answer!r:.80}")


def _columns(specimen: HeadSpecimen, found: Batch, answers: list[Any]) -> None:
    """Where the transform gives the answers as columns, they are one value a sample each, and what its inverse says."""
    if not hasattr(specimen.transform, "columns"):
        return
    columns = specimen.transform.columns(found)
    for name, values in columns.items():
        if len(values) != len(answers):
            raise ContractError(
                f"the columns of {len(answers)} predictions have as many values; {name} has {len(values)}"
            )
        said = [answer[name] for answer in answers if isinstance(answer, Mapping) and name in answer]
        if said and list(values) != said:
            raise ContractError(f"the column {name} says {list(values)!r:.60}, and the inverse {said!r:.60}")


def _inverse(specimen: HeadSpecimen, found: Batch) -> list[Any]:
    values = specimen.transform.inverse(found)
    if not isinstance(values, list) or len(values) != 4:
        raise ContractError(f"the inverse of 4 predictions is a list of 4 values; got {values!r:.80}")
    return values
