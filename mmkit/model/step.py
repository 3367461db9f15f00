"""A model with all that trains it: objectives, a balance method, teachers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from mmkit.errors import ContractError, UsageError
from mmkit.features.sharing import Shared
from mmkit.model.assembly import Transforms, build_model, built
from mmkit.model.balancing import Balancing
from mmkit.model.combination import Combination
from mmkit.model.missing import Absence
from mmkit.model.mixup import TARGETS as MIXED
from mmkit.model.network import Model, TrainingStep, encoder_widths, fusion_width
from mmkit.model.teachers import teachers_of
from mmkit.plugin import BalanceSpec, ObjectiveSpec


def build_step(
    combination: Combination,
    transforms: Transforms,
    shared: Shared | None = None,
    absence: Absence | None = None,
    mixup: float = 0.0,
) -> TrainingStep:
    """Build a new model of the combination with all that trains it. Weights come from torch's global generator.

    Args:
        combination: as for `build_model`.
        transforms: as for `build_model`.
        shared: as for `build_model`.
        absence: as for `build_model`.
        mixup: alpha of the mixup of features; 0 is none.

    Raises:
        UsageError: as `build_model`; balance is asked for where no encoder is trained, mixup where losses cannot be
            mixed or beside a balance method that takes none, or teachers that are not there or do not fit.
        DataError: a teacher is damaged.
    """
    kind = transforms.truth.target().kind
    if mixup and kind not in MIXED:
        raise UsageError(f"train.mixup mixes {', '.join(sorted(MIXED))}; the target of the task is {kind}")
    if mixup and combination.balance is not None and not getattr(combination.balance.spec, "mixup", True):
        raise UsageError(
            f"balance {combination.balance.name} takes the features of a sample for those of its truth, and "
            "train.mixup mixes them; leave out one"
        )
    model, objectives = build_model(combination, transforms, shared, absence)
    balance = _balancing(combination, transforms, model)
    teachers = teachers_of(combination, transforms, model)
    objectives |= _taught(combination, transforms, model, teachers)
    compares = [
        one.name for one in (*combination.objectives, *combination.taught) if getattr(one.spec, "compares", False)
    ]
    return TrainingStep(model, objectives, balance, mixup, teachers, compares)


def _balancing(combination: Combination, transforms: Transforms, model: Model) -> Balancing | None:
    """The balance method of a combination, with its heads; it comes last, so that the model starts as without it."""
    choice = combination.balance
    if choice is None:
        return None
    if not any(parameter.requires_grad for parameter in model.encoders.parameters()):
        raise UsageError(
            f"balance {choice.name} changes how encoders are trained, and none is: those of "
            f"{' and '.join(model.names)} are frozen; leave it out, or choose an encoder that is trained"
        )
    spec = choice.spec if isinstance(choice.spec, BalanceSpec) else BalanceSpec(choice.name, "", "")
    target = transforms.truth.target()
    widths = encoder_widths({given: model.encoders[name] for given, name in model.names.items()})
    heads = {
        name: built(combination.head, None, width, target, transforms.truth)
        for name, width in (widths.items() if spec.unimodal else ())
    }
    method = built(choice, None, widths, fusion_width(model.fusion), target)
    balancing = Balancing(method, heads, spec)
    if balancing.turns:
        _check_turns(balancing, combination, model)
    return balancing


def _check_turns(balancing: Balancing, combination: Combination, model: Model) -> None:
    """Check that inputs can be shown in turns.

    Raises:
        ContractError: the turns are not those of the inputs.
        UsageError: of a combination whose parts see several inputs beside the fusion, or have no head in common.
    """
    named = [name for turn in balancing.turns for name in turn]
    if set(named) != set(model.encoders):
        raise ContractError(f"the turns of balance {balancing.name} name {named}; inputs are {list(model.encoders)}")
    takes = f"balance {balancing.name} takes turns, in each of which"
    if model.head is None:
        raise UsageError(
            f"{takes} one head for all learns, and fusion {combination.fusion} has a head an input; choose a fusion "
            "of features"
        )
    if model.fuses_within:
        raise UsageError(
            f"{takes} one input is there, and fusion {combination.fusion} mixes inputs within their encoders; choose "
            "another fusion"
        )
    for objective in combination.objectives:
        if isinstance(objective.spec, ObjectiveSpec) and objective.spec.min_inputs > 1:
            raise UsageError(
                f"{takes} one input is there, and objective {objective.name} compares several; leave out one"
            )


def _taught(
    combination: Combination, transforms: Transforms, model: Model, teachers: Mapping[str, Model]
) -> dict[str, nn.Module]:
    """The objectives that read teachers; they come last, so that the model starts as without them."""
    widths = encoder_widths({given: model.encoders[name] for given, name in model.names.items()})
    taught = {name: fusion_width(teacher.fusion) for name, teacher in teachers.items()}
    target = transforms.truth.target()
    return {
        choice.name: built(choice, None, widths, fusion_width(model.fusion), target, taught)
        for choice in combination.taught
    }
