"""All checks, in the order in which they are run."""

from __future__ import annotations

from mmkit.testing.checks import (
    company,
    construction,
    devices,
    evaluation,
    gradients,
    graphs,
    heads,
    losses,
    missing,
    modalities,
    numerics,
    precision,
    removal,
    rowwise,
    settings,
    sizes,
    surroundings,
    tasks,
    transforms,
)
from mmkit.testing.verdict import Check

MODULES = ("encoder", "fusion", "head", "objective")
KINDS = ("modality", *MODULES, "task")

BUILT = ("builds",)
SOUND = ("builds", "shapes")
STEADY = ("builds", "shapes", "deterministic")

CHECKS: tuple[Check, ...] = (
    Check(construction.options, KINDS),
    Check(construction.builds, KINDS),
    Check(transforms.transform_batch, ("encoder", "head"), BUILT),
    Check(transforms.transform_repeatable, ("encoder", "head"), BUILT),
    Check(transforms.transform_augments, ("encoder", "head"), BUILT),
    Check(transforms.transform_state, ("encoder", "head"), BUILT),
    Check(transforms.transform_pickle, ("encoder", "head"), BUILT),
    Check(transforms.transform_buffer, ("encoder", "head"), BUILT),
    Check(transforms.transform_threads, ("encoder", "head"), (*BUILT, "transform-repeatable")),
    Check(transforms.transform_fit, ("encoder", "head"), BUILT),
    Check(surroundings.global_state, KINDS, BUILT),
    Check(evaluation.deterministic, MODULES, BUILT),
    Check(construction.shapes, MODULES, BUILT),
    Check(construction.masked, ("encoder", "fusion"), SOUND),
    Check(company.one_sample, MODULES, SOUND),
    Check(company.mates, ("encoder", "fusion", "head"), STEADY),
    Check(company.padding, ("fusion", "head"), STEADY),
    Check(company.holes, ("fusion", "head"), STEADY),
    Check(company.vectors, ("fusion", "head", "objective"), STEADY),
    Check(company.alone, ("encoder",), STEADY),
    Check(rowwise.rowwise, ("encoder",), STEADY),
    Check(company.penalties, ("fusion",), SOUND),
    Check(company.order, ("fusion", "objective"), STEADY),
    Check(company.input_counts, ("fusion", "objective"), SOUND),
    Check(missing.garbage, ("encoder",), STEADY),
    Check(missing.missing_rows, MODULES, SOUND),
    Check(missing.missing_inputs, ("fusion", "objective"), SOUND),
    Check(missing.complete, MODULES, STEADY),
    Check(missing.neutral, ("fusion",), STEADY),
    Check(removal.removal, ("fusion", "objective"), (*STEADY, "missing-inputs")),
    Check(sizes.large, MODULES, (*STEADY, "mates")),
    Check(sizes.long_samples, ("encoder",), STEADY),
    Check(gradients.gradients, MODULES, SOUND),
    Check(gradients.influence, ("encoder", "fusion", "head"), STEADY),
    Check(gradients.reach, ("fusion", "head", "objective"), SOUND),
    Check(settings.frozen, ("encoder",), STEADY),
    Check(settings.rates, MODULES, BUILT),
    Check(settings.other_width, ("encoder", "fusion"), SOUND),
    Check(settings.options_act, MODULES, STEADY),
    Check(evaluation.state_dict, MODULES, STEADY),
    Check(numerics.lasting, MODULES, STEADY),
    Check(evaluation.mutation, MODULES, SOUND),
    Check(devices.one_device, MODULES, SOUND),
    Check(precision.autocast, MODULES, SOUND),
    Check(precision.float64, MODULES, STEADY),
    Check(numerics.derivative, ("encoder", "fusion", "head"), (*STEADY, "float64")),
    Check(numerics.large_numbers, MODULES, SOUND),
    Check(numerics.one_sign, ("encoder", "fusion", "head"), STEADY),
    Check(heads.loss, ("head",), SOUND),
    Check(heads.prediction, ("head",), SOUND),
    Check(losses.learns_the_truth, ("head",), (*SOUND, "prediction")),
    Check(losses.not_negative, ("head", "objective"), SOUND),
    Check(losses.size_of_loss, ("head", "objective"), STEADY),
    Check(losses.unknown_truth, ("head", "objective"), STEADY),
    Check(surroundings.transform_hash_order, ("encoder", "head"), BUILT, full=True),
    Check(sizes.every_count, ("fusion",), (*STEADY, "input-counts"), full=True),
    Check(graphs.compiles, ("encoder", "fusion", "head"), STEADY, full=True),
    Check(graphs.exports, ("encoder", "fusion", "head"), STEADY, full=True),
    Check(modalities.example_decodes, ("modality",), BUILT),
    Check(modalities.example_random, ("modality",), BUILT),
    Check(modalities.refuses, ("modality",), BUILT),
    Check(tasks.describes, ("task",), BUILT),
    Check(tasks.metric, ("task",), BUILT),
    Check(tasks.columns, ("task",), BUILT),
    Check(tasks.disjoint, ("task",), BUILT),
    Check(tasks.content_apart, ("task",), (*BUILT, "columns")),
    Check(tasks.seen_classes, ("task",), (*BUILT, "columns")),
    Check(tasks.given_away, ("task",), (*BUILT, "columns")),
    Check(tasks.groups_apart, ("task",), BUILT, advice=True),
    Check(tasks.same_again, ("task",), BUILT),
    Check(tasks.decodes, ("task",), BUILT),
    Check(surroundings.hash_order, ("task",), (*BUILT, "columns")),
)


def checks_of(kind: str, *, full: bool = False) -> tuple[Check, ...]:
    """The checks of one kind of component; with `full`, those that take seconds too."""
    return tuple(check for check in CHECKS if kind in check.kinds and (full or not check.full))
