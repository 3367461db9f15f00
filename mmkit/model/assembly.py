"""Assembly of a model from a combination: transforms, encoders, fusion, heads and objectives."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from torch import nn

from mmkit.contract import Batch, Encoder, Samples, Transform, TruthTransform
from mmkit.data.bad_values import TRUTH, fit_transform
from mmkit.data.columns import Column
from mmkit.data.whole import Whole, whole
from mmkit.errors import ContractError, UsageError
from mmkit.features.scaling import Scaling
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.model.missing import Absence
from mmkit.model.network import Model, OnlyFusion, encoder_widths, fusion_width, widths_within
from mmkit.pretrained.tuning import is_tuned
from mmkit.registry.options import Choice


@dataclass(frozen=True)
class Transforms:
    """The transforms of a combination: that of each input, and that of the truth."""

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
        """Build the transforms and fit them on the training split.

        Args:
            combination: chooses the transforms.
            target: the kind of target of the task.
            inputs: decoded values by input; None is a missing one.
            truth: raw truth.
            ids: of the samples, for messages; None numbers them.
            shared: has transforms that other runs fitted on the same values.

        Raises:
            RejectedError: values that a transform cannot be fitted on, by the ids of their samples.
        """
        shared = shared or Shared()
        ids = [str(i) for i in range(len(truth))] if ids is None else ids

        def make(name: str, choice: Choice) -> Any:
            transform = built(choice, reads(choice))
            fit_transform(name, transform, inputs[name], ids)
            return transform

        of_inputs = {
            name: shared.transform(name, choice, reads(choice), Column.of(inputs[name]), partial(make, name, choice))
            for name, choice in combination.encoders.items()
        }

        def make_truth() -> TruthTransform:
            transform: TruthTransform = built(combination.head, reads(combination.head), target)
            fit_transform(TRUTH, transform, truth, ids, of_truth=True)
            return transform

        of_truth = shared.transform(TRUTH, combination.head, reads(combination.head), truth, make_truth)
        return Transforms(of_inputs, of_truth)

    def read_truth(self, samples: Samples, shared: Shared | None = None) -> Batch:
        """The truth of all samples. It is cheap, so it comes before expensive work, which bad truth would waste.

        Raises:
            RejectedError: the transform rejects truth, by the ids of the samples.
        """
        make = partial(whole, TRUTH, self.truth, samples.truth, samples.ids, of_truth=True)
        read = (shared or Shared()).whole(TRUTH, self.truth, samples.truth, make)
        return cast(Whole, read).leaves

    @staticmethod
    def of(combination: Combination, target: str) -> Transforms:
        """Build the transforms without fitting them."""
        inputs = {name: built(choice, reads(choice)) for name, choice in combination.encoders.items()}
        return Transforms(inputs, built(combination.head, reads(combination.head), target))


def build_model(
    combination: Combination, transforms: Transforms, shared: Shared | None = None, absence: Absence | None = None
) -> tuple[Model, dict[str, nn.Module]]:
    """Build a new model of the combination, and its objectives but for those that read teachers.

    Weights come from torch's global generator.

    Args:
        combination: chooses the components.
        transforms: fitted.
        shared: has frozen encoders of other runs.
        absence: what the fusion sees in place of missing inputs; None is nothing.

    Raises:
        UsageError: a component rejects its options, or there are too many inputs for what stands in their place.
    """
    target = transforms.truth.target()
    shared = shared or Shared()
    encoders = {}
    for name, choice in combination.encoders.items():
        transform = transforms.inputs[name]
        encoders[name] = shared.encoder(name, choice, transform, partial(built, choice, None, transform))
        if getattr(encoders[name], "frozen", False):
            encoders[name].requires_grad_(requires_grad=False)
    widths = encoder_widths(encoders)

    def head(width: int) -> nn.Module:
        return cast(nn.Module, built(combination.head, None, width, target, transforms.truth))

    heads = {name: head(cast(Encoder, e).width) for name, e in encoders.items()} if combination.reads_unimodal else {}
    alone = combination.combines_outputs and not combination.combines_both
    of_fusion = dict.fromkeys(widths, target.size) if alone else widths
    if combination.combines_both and absence is not None and absence.kind != "neutral":
        raise UsageError(
            f"train.missing={absence.kind} puts features in the place of what is missing, and fusion "
            f"{combination.fusion} reads predictions beside them; take train.missing=neutral"
        )
    if combination.fusion is None:
        fusion: nn.Module = OnlyFusion(widths)
    elif combination.combines_both:
        fusion = built(combination.fusion, None, widths, target)
    elif combination.combines_outputs:
        fusion = built(combination.fusion, None, of_fusion, target)
    elif combination.fuses_within:
        fusion = built(combination.fusion, None, widths, widths_within(encoders))
    else:
        fusion = built(combination.fusion, None, widths)
    width = fusion_width(fusion)
    output_head = None if combination.combines_outputs else head(width)
    own = [choice for choice in combination.objectives if choice not in combination.taught]
    objectives = {choice.name: built(choice, None, widths, width, target) for choice in own}
    scalings = {
        name: Scaling(cast(Encoder, encoder).width, vectors=combination.reads_vectors)
        for name, encoder in encoders.items()
        if getattr(encoder, "frozen", False) or is_tuned(encoder)
    }
    try:  # last, so that all else starts from the same weights with it as without
        missing = (absence or Absence()).module(of_fusion)
    except ValueError as error:
        raise UsageError(str(error)) from error
    model = Model(
        encoders,
        fusion,
        output_head,
        heads,
        scalings,
        missing,
        both=combination.combines_both,
        own_losses=combination.own_losses,
    )
    return model, objectives


def chosen_by(model: Model) -> dict[str, dict[str, Any]]:
    """The options that components chose for themselves, from their attribute `chosen`, by "fusion", "encoder.INPUT"."""
    parts = {f"encoder.{given}": model.encoders[name] for given, name in model.names.items()}
    parts |= {"fusion": model.fusion, "head": cast(nn.Module, model.output_head)}
    return {part: dict(chosen) for part, module in parts.items() if (chosen := getattr(module, "chosen", None))}


def reads(choice: Choice) -> type:
    """The class of the transform that an encoder or a head reads.

    Raises:
        ContractError: the component has no class attribute `reads`.
    """
    transform = getattr(choice.component, "reads", None)
    if not inspect.isclass(transform):
        raise ContractError(f"{choice.kind} {choice.name} names no transform: it needs a class attribute `reads`")
    return cast(type, transform)


def built(choice: Choice, factory: type | None, *arguments: Any) -> Any:
    """Build the chosen component, or its transform `factory`, with the options that its constructor takes.

    Raises:
        UsageError: the constructor rejects the options; the message is its own.
    """
    factory = factory or choice.component
    try:
        return factory(*arguments, **choice.part(factory))
    except ValueError as error:
        raise UsageError(f"{choice.kind} {choice}: {error}") from error
