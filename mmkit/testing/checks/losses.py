"""Checks of losses: what they pull towards, their sign, their size, and what they may read of the truth.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmkit.contract import Batch, Features
from mmkit.errors import ContractError, DataError
from mmkit.registry.options import options_of
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.fusion import FusionSpecimen
from mmkit.testing.specimens.head import HeadSpecimen
from mmkit.testing.specimens.objective import ObjectiveSpecimen
from mmkit.testing.trees import copied, expect_same, leaves, rows

STEPS = 400
"""Of training on a few samples, at most."""
LOOK = 25
"""Steps between two looks at the answers."""
BATCHES = (16, 128)
"""Sizes over which the loss of a sample stays of its size."""
SURE = 0.6
"""The probability of a truth that was learnt, at least; smoothed labels come near to 0.9."""
ANSWERS = {"classes": ("label",), "labels": ("labels",), "scalar": ("value", "values"), "text": ("text",)}
"""What `inverse` gives, by kind of target."""


def learns_the_truth(specimen: HeadSpecimen) -> str | None:
    """Trained until its loss is small, it predicts the truth, and its inverse says it in the user's words.

    The head and the features of six samples are trained together, so that any head can fit them. A loss of the wrong
    sign, a prediction in other units than the truth, and an inverse that names other classes show here. So do
    probabilities that are not those of the loss: of what is learnt they are sure.
    """
    values = specimen.values(6)
    truth = dict(specimen.transform(values))
    module = specimen.fresh().eval()
    drawn: Features = specimen.draw(6)[0]
    tokens = drawn.tokens.clone().requires_grad_()
    trained = [tokens, *(p for p in module.parameters() if p.requires_grad)]
    optimizer = torch.optim.Adam(trained, lr=0.03)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    losses = []
    for step in range(STEPS):
        output = module(Features.of(tokens, drawn.mask))
        if step % LOOK == 0:
            with torch.no_grad():
                predicted = module.predict(output)  # type: ignore[operator]
                answers = specimen.transform.inverse(predicted)
            right = all(_right(specimen, a, v, values) for a, v in zip(answers, values, strict=True))
            if right and (sure := _sure(specimen, predicted, truth)) > SURE:
                return None
        found: Tensor = module.loss(output, truth).sum()  # type: ignore[operator]
        losses.append(found.item())
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        rate.step()
    if specimen.target == "text" and losses[-1] > losses[0] / 10 and losses[-1] < losses[0]:
        return f"{STEPS} steps took its loss from {losses[0]:.3g} to {losses[-1]:.3g}, too little for texts"
    if right:
        raise ContractError(
            f"trained on six samples its loss went from {losses[0]:.3g} to {losses[-1]:.3g}, and of what is true its "
            f"prediction says {sure:.2f}; probabilities are those that the loss reads"
        )
    row = next(i for i, v in enumerate(values) if not _right(specimen, answers[i], v, values))
    raise ContractError(
        f"trained on six samples its loss went from {losses[0]:.3g} to {losses[-1]:.3g}, and where the truth is "
        f"{values[row]!r} the inverse of its prediction says {answers[row]!r:.80}"
    )


def _sure(specimen: HeadSpecimen, predicted: Batch, truth: Batch) -> float:
    """The least probability of what is true, over samples; one where the target has none."""
    if specimen.target == "classes":
        return float(predicted["probabilities"].gather(1, truth["label"].unsqueeze(1)).min())
    if specimen.target == "labels":
        there = truth["labels"] > 0.5
        return float(torch.where(there, predicted["probabilities"], 1 - predicted["probabilities"]).min())
    return 1.0


def _right(specimen: HeadSpecimen, answer: Any, value: Any, values: list[Any]) -> bool:
    names = ANSWERS[specimen.target]
    if not isinstance(answer, Mapping) or not set(names) & set(answer):
        raise ContractError(
            f"an answer of {specimen.target} is a mapping with {' or '.join(names)}; got {answer!r:.80}"
        )
    said = answer[names[0]] if names[0] in answer else answer[names[-1]]
    if specimen.target == "scalar":
        numbers = torch.as_tensor(said, dtype=torch.float64).flatten()
        return bool((numbers - value).abs().max() < 0.1 * torch.tensor(values, dtype=torch.float64).std())
    if specimen.target == "text":
        return [c for c in said.lower() if c.isalnum()] == [c for c in value.lower() if c.isalnum()]
    try:  # a transform may take two truths for one, such as all that are rare
        batch = specimen.transform([said, value])
    except DataError:
        return False
    return all(torch.equal(leaf[0], leaf[1]) for leaf in batch.values())


def not_negative(specimen: EncoderSpecimen | FusionSpecimen | HeadSpecimen | ObjectiveSpecimen) -> str | None:
    """Its loss is not negative, in training and in evaluation; a head's for numbers may be, as a density's is.

    Where the least value of a loss is known and negative, its constant is added. Penalties of features are losses, too.
    """
    if isinstance(specimen, EncoderSpecimen | FusionSpecimen):
        return _penalties_not_negative(specimen)
    if isinstance(specimen, HeadSpecimen) and specimen.target not in {"classes", "labels", "text"}:
        return "a density of numbers may be above one"
    for seed in range(2):
        inputs = specimen.draw(6, seed=seed, absent={specimen.names[0]: (1,)})
        for when, found in (
            ("evaluation", specimen.evaluate(inputs)["loss"]),
            ("training", specimen.differentiate(inputs)[0]["loss"]),
        ):
            if not (found >= -1e-6).all():  # NaN is not
                raise ContractError(f"in {when} it gives {found.min().item():.3g}; a loss is zero or more")
    return None


def _penalties_not_negative(specimen: EncoderSpecimen | FusionSpecimen) -> str | None:
    said = False
    for seed in range(2):
        inputs = specimen.draw(6, seed=seed, absent={specimen.names[0]: (1,)})
        for place, found in leaves(specimen.differentiate(inputs)[0]):
            if "penalties" in place:
                said = True
                if not (found >= -1e-6).all():  # NaN is not
                    raise ContractError(f"its penalty {place} is {found.min().item():.3g}; a penalty is zero or more")
    return None if said else "it has no penalty"


def weight(specimen: ObjectiveSpecimen) -> str | None:
    """Where it has an option `weight`, the loss is that many times as large."""
    options = options_of(specimen.component)
    if "weight" not in options or not isinstance(options["weight"].default, int | float):
        return "it has no option weight"
    given = float(specimen.options.get("weight", options["weight"].default)) or 1.0
    inputs, losses = specimen.draw(6), []
    for factor in (1, 2):
        specimen.options["weight"] = factor * given
        losses.append(specimen.evaluate(inputs, specimen.build())["loss"])
    expect_same(losses[1], 2 * losses[0], "twice the weight, and the loss", 1e-5)
    return None


def teachers(specimen: ObjectiveSpecimen) -> str | None:
    """Where its spec says `teachers`, the loss hangs on them; and not on that of an input where it is missing."""
    if not getattr(specimen.spec, "teachers", False):
        return "it reads no teachers"
    name = specimen.names[0]
    found, truth = specimen.draw(4, absent={name: (1,)}, ragged=False)
    other = specimen.draw(4, seed=8, ragged=False)[0].teachers[name]
    loss = specimen.evaluate((found, truth))["loss"]
    changed = specimen.evaluate((replace(found, teachers={**found.teachers, name: other}), truth))["loss"]
    if torch.equal(changed, loss):
        raise ContractError(
            f"its spec says teachers=True, and the loss is the same whatever the teacher of {name} says"
        )
    expect_same(changed[1], loss[1], f"another answer of the teacher of {name}, which is missing: the loss", 1e-6)
    return None


def hidden(specimen: ObjectiveSpecimen) -> str | None:
    """Where the own head of an input did not see it (`ModelOutput.seen`), nothing of that head's output is read."""
    if not specimen.spec.unimodal:
        return "it reads no outputs of single inputs"
    name, row = specimen.names[0], 1
    found, truth = specimen.draw(4, ragged=False)
    seen = {other: part.present() for other, part in found.features.items()}
    seen[name] = seen[name] & (torch.arange(4) != row)
    found = replace(found, seen=seen)
    own = found.unimodal[name].clone()
    own[row] = own[row].roll(1) + 1
    changed = replace(found, unimodal={**found.unimodal, name: own})
    losses = [specimen.evaluate((each, truth))["loss"] for each in (found, changed)]
    expect_same(losses[1], losses[0], f"another output of {name}, which its head did not see: the loss", 1e-6)
    return None


def size_of_loss(specimen: HeadSpecimen | ObjectiveSpecimen) -> str | None:
    """The loss of a sample does not grow or shrink with the batch: the core takes the mean itself.

    Of more samples, or of the same ones again: an estimate of a dependence that is not there falls with their number.
    """
    size, larger = BATCHES
    inputs = specimen.draw(size, seed=2)
    few, many, again = (
        float(specimen.evaluate(each)["loss"].abs().mean())
        for each in (inputs, specimen.draw(larger, seed=2), rows(inputs, [*range(size)] * (larger // size)))
    )
    if not any(max(few, other) <= 4 * min(few, other) + 1e-6 for other in (many, again)):  # NaN is not
        raise ContractError(
            f"a sample's loss is {few:.3g} in a batch of {size} and {many:.3g} in one of {larger}; give the "
            "loss of each sample, neither their sum nor a share of it"
        )
    return None


def unknown_truth(specimen: HeadSpecimen | ObjectiveSpecimen) -> str | None:
    """Where the mask says that truth is missing, nothing of the row's truth is read, whatever stands there.

    A head's placeholder is its own transform's, and here becomes the truth of another row. An objective meets that of
    any head: -100 for whole numbers, NaN for others. Of texts, head and transform agree between themselves.
    """
    if specimen.target == "text":
        return "which leaves of a text are truth is the head's affair"
    unknown = [1, 3]
    if isinstance(specimen, HeadSpecimen):
        features, truth = specimen.draw(6, unknown=unknown)
        given, other = (features, truth), (features, _replaced(truth, unknown, None))
    else:
        found, whole = specimen.draw(6)
        mask = whole["mask"].clone()
        mask[unknown] = False
        truth = {**whole, "mask": mask}
        given, other = (found, truth), (found, _replaced(truth, unknown, -100))
    expected, result = (specimen.evaluate(inputs)["loss"] for inputs in (given, other))
    expect_same(result, expected, f"another placeholder for the missing truth of rows {unknown}: the loss", 1e-6)
    return None


def _replaced(truth: Batch, unknown: list[int], number: int | None) -> Batch:
    changed: dict[str, Tensor] = dict(copied(dict(truth)))
    for name, leaf in changed.items():
        if name == "mask":
            continue
        if number is None:
            leaf[unknown] = leaf[:1].expand_as(leaf[unknown])
        else:
            leaf[unknown] = torch.nan if leaf.is_floating_point() else number
    return changed
