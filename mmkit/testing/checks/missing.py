"""Checks of what is not there: absent inputs, absent samples, and what stands under a False mask."""

from __future__ import annotations

from mmkit.contract import Features
from mmkit.errors import ContractError
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.fusion import FusionSpecimen
from mmkit.testing.specimens.module import Absent, ModuleSpecimen
from mmkit.testing.specimens.objective import ObjectiveSpecimen
from mmkit.testing.trees import expect_finite, expect_same, told_complete


def garbage(specimen: EncoderSpecimen) -> str | None:
    """What a batch holds under a False mask changes nothing."""
    inputs = specimen.draw(4, absent={"sample": (1,)})
    expect_same(specimen.evaluate(specimen.soiled(inputs)), specimen.evaluate(inputs), "with garbage under the mask")
    return None


def missing_rows(specimen: ModuleSpecimen) -> str | None:
    """Samples that lack everything give finite results and gradients, in training and in evaluation."""
    everything = dict.fromkeys(specimen.names, (0, 1, 2))
    _expect_finite(specimen, specimen.all_absent(1), "one of 3 samples is missing")
    _expect_finite(specimen, everything, "all 3 samples are missing")
    return None


def missing_inputs(specimen: FusionSpecimen | ObjectiveSpecimen) -> str | None:
    """Each input may be missing in the whole batch: results and gradients stay finite."""
    if len(specimen.names) < 2:
        return "it takes one input"
    for name in specimen.names:
        _expect_finite(specimen, {name: (0, 1, 2)}, f"input {name} is missing in all 3 samples")
    return None


def _expect_finite(specimen: ModuleSpecimen, absent: Absent, situation: str) -> None:
    inputs = specimen.draw(3, absent=absent)
    outputs, gradients = specimen.differentiate(inputs)
    expect_finite(outputs, f"{situation}, in training")
    expect_finite(gradients, f"{situation}, gradient")
    expect_finite(specimen.evaluate(inputs), f"{situation}, in evaluation")


def complete(specimen: ModuleSpecimen) -> str | None:
    """Told that inputs have no missing row it gives the same, and it says so only of what has none."""
    last = specimen.names[-1]
    for absent in ({}, {last: (2,)}):
        inputs = specimen.draw(4, absent=absent)
        expected = specimen.evaluate(inputs)
        for outputs in (expected, found := specimen.evaluate(told_complete(inputs))):
            for name, value in outputs.items():
                if isinstance(value, Features) and value.complete and not value.present().all():
                    raise ContractError(f"its {name} say that they are complete, and a row is missing")
        what = "nothing is missing" if not absent else f"only {last} is missing, in one row"
        expect_same(found, expected, f"told which inputs are complete, where {what}")
    return None


def neutral(specimen: FusionSpecimen) -> str | None:
    """Where one input is missing, the others still count: a missing factor is one, not zero."""
    if len(specimen.names) < 2:
        return "it takes one input"
    for name in specimen.names:
        absent = {name: (0, 1, 2)}
        first = specimen.evaluate(specimen.draw(3, absent=absent, ragged=False))
        second = specimen.evaluate(specimen.draw(3, seed=7, absent=absent, ragged=False))
        try:
            expect_same(first, second, "")
        except ContractError:
            continue  # they differ, as they should
        raise ContractError(f"without input {name} the result is the same whatever the others say")
    return None
