"""Checks of sizes: many rows, long inputs, and every number of inputs, closely.

Axes: B batch, T tokens.
"""

from __future__ import annotations

from mmkit.errors import ContractError
from mmkit.testing.checks import company, construction, evaluation, gradients, missing, precision
from mmkit.testing.specimens.fusion import FusionSpecimen
from mmkit.testing.specimens.head import HeadSpecimen
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.specimens.objective import ObjectiveSpecimen
from mmkit.testing.trees import expect_finite, expect_same, rows

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
