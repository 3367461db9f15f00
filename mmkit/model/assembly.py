"""From a combination to a model: transforms built and fitted, then encoders, fusion and heads."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from torch import nn

from mmkit.contract import Encoder, Samples, Transform, TruthTransform
from mmkit.data.bad_values import TRUTH, fit_transform, transform_batch
from mmkit.data.columns import Column
from mmkit.errors import ContractError, UsageError
from mmkit.features.scaling import Scaling
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.model.network import Model, OnlyFusion, encoder_widths, fusion_width
from mmkit.registry.options import Choice


@dataclass(frozen=True)
class Transforms:
    """The transforms of a combination: of each input, and of the truth."""

    inputs: dict[str, Transform]
    truth: TruthTransform

    @staticmethod
    def fitted(
        combination: Combination,
        target: str,
        inputs: Mapping[str, Sequence[Any]],
        truth: Sequence[Any],
        ids: Sequence[str] | None = None,
        shared: Shared | None = None,
    ) -> Transforms:
        """Built, and fitted on values of the training split, in memory; None is a missing one.

        Args:
            combination: names them.
            target: the kind that the task asks for.
            inputs: values by input.
            truth: likewise.
            ids: of the samples; None numbers them.
            shared: has those that another run fitted on the same lists.

        Raises:
            RejectedError: values that a transform cannot be fitted on, by the ids of their samples.
        """
        shared = shared or Shared()
        ids = [str(i) for i in range(len(truth))] if ids is None else ids

        def made(name: str, choice: Choice) -> Any:
            transform = built(choice, reads(choice))
            fit_transform(name, transform, inputs[name], ids)
            return transform

        found = {
            name: shared.transform(name, choice, Column.of(inputs[name]), partial(made, name, choice))
            for name, choice in combination.encoders.items()
        }
        of_truth = built(combination.head, reads(combination.head), target)
        fit_transform(TRUTH, of_truth, truth, ids, of_truth=True)
        return Transforms(found, of_truth)

    def check_truth(self, samples: Samples) -> None:
        """See that all truth can be used, which costs little, before anything is computed that costs more.

        Raises:
            RejectedError: it cannot, by the ids of the samples.
        """
        transform_batch(TRUTH, self.truth, samples.truth, column=samples.truth, ids=samples.ids, of_truth=True)

    @staticmethod
    def of(combination: Combination, target: str) -> Transforms:
        """Built, not yet fitted."""
        inputs = {name: built(choice, reads(choice)) for name, choice in combination.encoders.items()}
        return Transforms(inputs, built(combination.head, reads(combination.head), target))


def build_model(
    combination: Combination, transforms: Transforms, shared: Shared | None = None
) -> tuple[Model, dict[str, nn.Module]]:
    """A new model of the combination, and its objectives; drawn from torch's global generator.

    Args:
        combination: names its parts.
        transforms: fitted.
        shared: has the frozen encoders of other runs.

    Raises:
        UsageError: options that cannot work together, in the component's own words.
    """
    target = transforms.truth.target()
    shared = shared or Shared()
    encoders = {}
    for name, choice in combination.encoders.items():
        transform = transforms.inputs[name]
        encoders[name] = shared.encoder(name, choice, transform, partial(built, choice, None, transform))
    widths = encoder_widths(encoders)

    def head(width: int) -> nn.Module:
        return cast(nn.Module, built(combination.head, None, width, target, transforms.truth))

    heads = {name: head(cast(Encoder, e).width) for name, e in encoders.items()} if combination.reads_unimodal else {}
    if combination.fusion is None:
        fusion: nn.Module = OnlyFusion(widths)
    elif combination.combines_outputs:
        fusion = built(combination.fusion, None, dict.fromkeys(widths, target.size), target)
    else:
        fusion = built(combination.fusion, None, widths)
    width = fusion_width(fusion)
    last = None if combination.combines_outputs else head(width)
    objectives = {choice.name: built(choice, None, widths, width, target) for choice in combination.objectives}
    scalings = {
        name: Scaling(cast(Encoder, encoder).width, vectors=combination.reads_vectors)
        for name, encoder in encoders.items()
        if getattr(encoder, "frozen", False)
    }
    return Model(encoders, fusion, last, heads, scalings), objectives


def reads(choice: Choice) -> type:
    """The transform that an encoder or a head names.

    Raises:
        ContractError: it names none.
    """
    named = getattr(choice.component, "reads", None)
    if not inspect.isclass(named):
        raise ContractError(f"{choice.kind} {choice.name} names no transform: it needs a class attribute `reads`")
    return cast(type, named)


def built(choice: Choice, factory: type | None, *given: Any) -> Any:
    """The chosen component, or its transform, with the options that are its own.

    Raises:
        UsageError: it refuses its options, in its own words.
    """
    factory = factory or choice.component
    try:
        return factory(*given, **choice.part(factory))
    except ValueError as error:
        raise UsageError(f"{choice.kind} {choice}: {error}") from error
