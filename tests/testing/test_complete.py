"""What a component does where it is told that no input is missing: planted defects are caught, sound ones pass."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit.modalities.series import Series
from mmkit.plugin import EncoderSpec, FusionSpec
from mmkit.testing import Examination, checks_of
from mmkit.transforms.series import SeriesTransform


class Fusion(nn.Module):
    """A mean of projections, plain where nothing is missing."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.width = 8
        self.maps = nn.ModuleDict({name: nn.Linear(d, 8) for name, d in widths.items()})

    def whole(self, features: Mapping[str, Features]) -> bool:
        return all(features[name].complete for name in self.maps)

    def forward(self, features: Mapping[str, Features]) -> Features:
        terms = [linear(features[name].vector()) for name, linear in self.maps.items()]
        if self.whole(features):
            return Features.of(torch.stack(terms).mean(0))
        there = [features[name].present().unsqueeze(1) for name in self.maps]
        total = torch.stack([term * real for term, real in zip(terms, there, strict=True)]).sum(0)
        return Features.of(total / torch.stack(there).sum(0).clamp(min=1))


class AnyWillDo(Fusion):
    def whole(self, features: Mapping[str, Features]) -> bool:
        return any(features[name].complete for name in self.maps)


class ForgetsTheMean(Fusion):
    def forward(self, features: Mapping[str, Features]) -> Features:
        fused = super().forward(features)
        return Features.of(fused.vector() * len(self.maps)) if self.whole(features) else fused


class SaysSoAlways(Fusion):
    def forward(self, features: Mapping[str, Features]) -> Features:
        fused = super().forward(features)
        there = torch.stack([one.present() for one in features.values()]).all(0)
        return replace(Features.of(fused.vector(), there), complete=True)


class Encoder(nn.Module):
    """A map of each step."""

    reads = SeriesTransform

    def __init__(self, transform: SeriesTransform) -> None:
        super().__init__()
        self.width = 4
        self.map = nn.Linear(transform.channels, 4)

    def tokens(self, batch: Batch) -> Tensor:
        return self.map(batch["steps"])

    def forward(self, batch: Batch) -> Features:
        return Features.of(self.tokens(batch), batch["mask"])


class Claims(Encoder):
    def forward(self, batch: Batch) -> Features:
        return replace(super().forward(batch), complete=True)


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (Fusion, None),
        (AnyWillDo, "told which inputs are complete, where only c is missing"),
        (ForgetsTheMean, "told which inputs are complete, where nothing is missing"),
        (SaysSoAlways, "say that they are complete, and a row is missing"),
        (Encoder, None),
        (Claims, "its features say that they are complete"),
    ],
)
def test_what_is_done_where_nothing_is_missing(component: type, message: str | None) -> None:
    if issubclass(component, Encoder):
        spec = EncoderSpec("e", "", "", modality="series")
        examination = Examination("encoder", component, spec=spec, modality=Series)
    else:
        examination = Examination("fusion", component, spec=FusionSpec("f", "", ""))
    (check,) = (c for c in checks_of(examination.kind) if c.name == "complete")
    result = examination.result(check)
    assert result.status == ("passed" if message is None else "failed"), result
    assert message is None or re.search(message, result.message), result.message
