"""The check of every number of inputs, closely."""

from __future__ import annotations

from mmkit.errors import ContractError
from mmkit.testing.checks import company, construction, evaluation, gradients, missing, precision
from mmkit.testing.specimens.fusion import FusionSpecimen

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
