"""Try a fusion of your own from a notebook: a class is enough, and nothing has to be installed or registered."""

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

import mmkit
from mmkit.testing import check


class PairwiseFusion(nn.Module):
    """Sum of the inputs' projections and of the products of every two of them.

    Args:
        widths: D of each input.
        width: H, of the fused features.
    """

    def __init__(self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 64) -> None:
        super().__init__()
        self.width = width  # keyword-only parameters are options: "PairwiseFusion:width=32" on the command line
        self.project = nn.ModuleDict({name: nn.Linear(d, width, bias=False) for name, d in widths.items()})
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, features: Mapping[str, mmkit.Features]) -> mmkit.Features:
        parts = [project(features[name].vector()) for name, project in self.project.items()]  # zero where missing
        total = torch.stack(parts).sum(0)
        squares = torch.stack([part.square() for part in parts]).sum(0)
        return mmkit.Features.of(self.bias + total + (total.square() - squares) / 2)  # (a + b)² - a² - b² = 2ab


report = check("fusion", PairwiseFusion)
print(f"the contract is kept: {report.ok}")

suite = mmkit.bench(
    task="synthetic-xor:train=256",
    fusion=[PairwiseFusion, "concat"],
    options=["fusion.width=32"],
    training={"epochs": 10, "lr": 0.002},
    seeds=2,
    protocol="full",  # every fusion is measured on test
    cost=False,
    out="runs/pairwise",
)
for row in sorted(suite.rows, key=lambda row: row.fusion):
    spread = row.spread("accuracy")
    print(f"{row.fusion:<34} accuracy on test {spread.mean:.2f}" if spread else f"{row.fusion} failed")
