"""Checks of sizes: many rows, long inputs, and every number of inputs, closely.

Axes: B batch, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch

from mmkit.contract import Modality
from mmkit.errors import ContractError
from mmkit.modalities.audio import Audio
from mmkit.modalities.series import Series
from mmkit.modalities.text import Text
from mmkit.testing.checks import company, construction, evaluation, gradients, missing, precision
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.fusion import FusionSpecimen
from mmkit.testing.specimens.head import HeadSpecimen
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.specimens.objective import ObjectiveSpecimen
from mmkit.testing.trees import comparable, expect_finite, expect_same, rows

ROWS = 19
"""Of a batch that is no longer small."""


def large(specimen: ModuleSpecimen) -> str | None:
    """Nineteen rows, and inputs of 50 tokens and more, work as few do; the last tokens count where tokens are read."""
    inputs = specimen.draw(ROWS, long=True, absent={specimen.names[-1]: (11,)})
    together = specimen.evaluate(inputs)
    construction.expect_shapes(specimen, together, ROWS, f"{ROWS} rows in evaluation")
    if not isinstance(specimen, ObjectiveSpecimen):  # whose rows may see each other
        for part in (range(8), range(8, ROWS)):
            apart = specimen.independent(specimen.evaluate(rows(inputs, part)))
            expected = rows(specimen.independent(together), part)
            expect_same(apart, expected, f"rows {part[0]} to {part[-1]} of {ROWS} without the others")
    outputs, found = specimen.differentiate(inputs)
    construction.expect_shapes(specimen, outputs, ROWS, f"{ROWS} rows in training")
    expect_finite(found, f"{ROWS} rows, gradient")
    if not isinstance(specimen, FusionSpecimen | HeadSpecimen):
        return None
    _, found = specimen.differentiate(specimen.draw(ROWS, long=True, ragged=False))
    for place, gradient in found.items():
        if place.startswith("input ") and place.endswith(".tokens") and gradient is not None and gradient.any():
            ends = gradient[:, -gradient.shape[1] // 3 :]
            if not ends.any():
                raise ContractError(f"of {place[6:]} [{' '.join(map(str, gradient.shape))}] the last third is not read")
    return None


LONGEST = 600
"""Steps, words, or frames of ten milliseconds, of a long sample: more than a table of 512 positions holds."""


def long_samples(specimen: EncoderSpecimen) -> str | None:
    """A sample of some hundred tokens works as a short one does, and of what its transform leaves the end is read.

    Long are texts, series [T C] and sounds; of other modalities the kit knows no longer example. A transform may cut.
    """
    values = specimen.values(64, seed=4)
    long = _longer(specimen.modality, values)
    if long is None:
        return "the kit knows no longer example of its modality"
    inputs = (dict(specimen.transform([long, values[0]])),)
    mask = inputs[0]["mask"]
    outputs = specimen.evaluate(inputs)
    construction.expect_shapes(specimen, outputs, 2, "a long sample in evaluation")
    expect_finite(specimen.differentiate(inputs)[1], "a long sample, gradient")
    if mask.ndim < 2 or mask.shape[1] < ROWS:
        return None
    other = specimen.end_changed(inputs)
    before, after = (comparable(rows(found, [0])) for found in (outputs, specimen.evaluate(other)))
    if all(torch.equal(value, after[place]) for place, value in before.items()):
        raise ContractError(f"of a sample of {mask.shape[1]} steps the last quarter is not read")
    return None


def _longer(modality: Modality, values: list[Any]) -> Any:
    """Several examples as one; None of a modality whose values the kit does not know."""
    first = values[0]
    if isinstance(modality, Text):
        words = " ".join(values).split()
        return " ".join((words * (LONGEST // len(words) + 1))[:LONGEST])
    if isinstance(modality, Series):
        steps = torch.cat(values)
        return steps.repeat(LONGEST // len(steps) + 1, 1)[:LONGEST]
    if isinstance(modality, Audio):
        wave = torch.cat([value[0] for value in values], 1)
        return wave[:, : LONGEST * first[1] // 100], first[1]
    return None


# Gradients of parameters are not among them: a scorer has nothing to score where one token stands alone.
CLOSELY = (
    construction.shapes,
    construction.masked,
    evaluation.deterministic,
    evaluation.mutation,
    evaluation.state_dict,
    company.one_sample,
    company.mates,
    company.padding,
    company.order,
    missing.missing_rows,
    missing.missing_inputs,
    gradients.influence,
    gradients.reach,
    precision.autocast,
    precision.float64,
)


def every_count(specimen: FusionSpecimen) -> str | None:
    """With every number of inputs from 1 to 5 that its spec allows, it keeps the other rules as well."""
    for count in range(specimen.spec.min_inputs, min(specimen.spec.max_inputs or 5, 5) + 1):
        other = specimen.of_inputs(count)
        for rule in CLOSELY:
            try:
                rule(other)
            except ContractError as error:
                raise ContractError(f"{count} inputs, {rule.__name__.replace('_', '-')}: {error}") from error
    return None
