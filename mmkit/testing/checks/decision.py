"""The check of fusions whose result is the output of the model: they give its size, and read the outputs of heads.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

from mmkit.errors import ContractError
from mmkit.testing.checks.gradients import BATCHES
from mmkit.testing.specimens.fusion import TARGET, FusionSpecimen
from mmkit.testing.trees import expect_same


def decision(specimen: FusionSpecimen) -> str | None:
    """A fusion of outputs, alone or beside features, gives as many numbers as the target, and reads each output."""
    if specimen.spec.combines == "features":
        return "it combines features"
    if specimen.module.width != TARGET.size:
        raise ContractError(
            f"its width is {specimen.module.width}, and the target's size {TARGET.size}: it gives the model's output"
        )
    for name in specimen.names:
        if not any(_reads(specimen, name, seed) for seed in range(BATCHES)):
            raise ContractError(f"the output of the head of {name} changes nothing: then it combines features")
    return None


def _reads(specimen: FusionSpecimen, name: str, seed: int) -> bool:
    inputs, other = (specimen.draw(4, seed=at, ragged=False) for at in (seed, seed + BATCHES))
    changed = (*inputs[:-1], {**inputs[-1], name: other[-1][name]})
    try:
        expect_same(specimen.evaluate(changed), specimen.evaluate(inputs), "")
    except ContractError:
        return True  # they differ, as they should
    return False
