"""No check of fusions forbids a sound fusion, however it is built."""

import pytest
import torch
from torch import nn

from mmkit.plugin import FusionSpec
from mmkit.testing import checks_of
from tests.testing.sound_fusions import Beside, Mean, Scorer, Sound


class ZeroGate(Sound):
    """A gate that starts at zero gives what stands behind it no gradient at first."""

    def __init__(self, widths, *, width: int = 16):
        """Build.

        Args:
            widths: D by input.
            width: H.
        """
        super().__init__(widths, width=width)
        self.gate = nn.Parameter(torch.zeros(()))
        self.inner = nn.Linear(width, width)

    def fused(self, features):
        total = self.total(features)
        return self.out(total + torch.tanh(self.gate) * torch.tanh(self.inner(total)))


class Normalised(Sound):
    """BatchNorm refuses a batch of one in training, and that is right."""

    def __init__(self, widths, *, width: int = 16):
        """Build.

        Args:
            widths: D by input.
            width: H.
        """
        super().__init__(widths, width=width)
        self.norm = nn.BatchNorm1d(width)

    def fused(self, features):
        return self.out(torch.relu(self.norm(self.total(features))))


class MissingToken(Sound):
    """A learned token for what is missing has a gradient only where something is."""

    def __init__(self, widths, *, width: int = 16):
        """Build.

        Args:
            widths: D by input.
            width: H.
        """
        super().__init__(widths, width=width)
        self.missing = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in widths})

    def total(self, features):
        return super().total(features) + sum(
            token * ~features[n].present().unsqueeze(1) for n, token in self.missing.items()
        )


class Experts(Sound):
    """Of eight experts each sample asks one: a batch may leave some out."""

    def __init__(self, widths, *, width: int = 16):
        """Build.

        Args:
            widths: D by input.
            width: H.
        """
        super().__init__(widths, width=width)
        self.router = nn.Linear(width, 8)
        self.experts = nn.Parameter(torch.randn(8, width, width) / width**0.5)

    def fused(self, features):
        total = self.total(features)
        weight, chosen = self.router(total).softmax(1).max(1)
        return self.out(torch.einsum("bd,bde->be", total, self.experts[chosen]) * weight.unsqueeze(1))


class FrozenBackbone(Sound):
    """What is not trained needs no gradient."""

    def __init__(self, widths):
        super().__init__(widths)
        self.frozen = nn.Linear(16, 16).requires_grad_(False)  # noqa: FBT003

    def fused(self, features):
        return self.out(self.frozen(self.total(features)))


SPECS = {
    Sound: FusionSpec("sound", "", "", vectors=True),
    Scorer: FusionSpec("scorer", "", "", min_inputs=2),
    Mean: FusionSpec("mean", "", "", combines="outputs"),
    Beside: FusionSpec("beside", "", "", combines="both", vectors=True),
    MissingToken: FusionSpec("missing-token", "", "", vectors=True, removable=False),
}
HEAVY = {c.name for c in checks_of("fusion", full=True) if c.full}
SOUND = [Sound, ZeroGate, Scorer, Normalised, MissingToken, Experts, FrozenBackbone, Mean, Beside]


@pytest.mark.parametrize("component", SOUND)
def test_no_sound_fusion_is_forbidden(examine, component):
    results = examine("fusion", component, spec=SPECS.get(component))
    assert [str(r) for r in results.values() if r.status not in {"passed", "not applicable"}] == []


@pytest.mark.full
@pytest.mark.parametrize("component", SOUND)
def test_sound_fusions_are_captured(examine, component):
    results = examine("fusion", component, spec=SPECS.get(component), names=HEAVY)
    assert {r.status for r in results.values()} == {"passed"}, results
