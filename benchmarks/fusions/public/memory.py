"""The authors' code in MMSA's collection, with our last layer in place of its two."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.fusions.hand import Inputs
from mmkit.fusions.tokens.memory import MemoryFusion

REPOSITORY, FILE, INPUTS = "thuiar/MMSA", "src/MMSA/models/singleTask/MFN.py", 3
PADDED = False
NOTE = "it takes every step, and reads the last one, so there is no padding"


def published(module: Any, fusion: MemoryFusion) -> tuple[nn.Module, Callable[[Inputs], Tensor]]:
    inner = {"shapes": fusion.keep.in_features, "drop": 0.0}
    network = module.MFN(
        SimpleNamespace(
            feature_dims=[linear.in_features for linear in fusion.project.values()],
            hidden_dims=[fusion.hidden] * len(fusion.project),
            memsize=fusion.memory,
            windowsize=2,
            train_mode="regression",
            **dict.fromkeys(("NN1Config", "NN2Config", "gamma1Config", "gamma2Config", "outConfig"), inner),
        )
    )
    network.out_fc1 = network.out_fc2 = nn.Identity()
    with torch.no_grad():
        cells = (network.lstm_l, network.lstm_a, network.lstm_v)
        for cell, linear, recur in zip(cells, fusion.project.values(), fusion.recur.values(), strict=True):
            cell.weight_ih.copy_(_ordered(linear.weight))
            cell.weight_hh.copy_(_ordered(recur.T))
            cell.bias_ih.copy_(_ordered(linear.bias))
            cell.bias_hh.zero_()
        for layer, part in zip((network.gamma1_fc1, network.gamma2_fc1), range(2), strict=True):
            layer.weight.copy_(fusion.gates.weight.chunk(2)[part])
            layer.bias.copy_(fusion.gates.bias.chunk(2)[part])
    theirs = (network.att1_fc1, network.att1_fc2, network.att2_fc1, network.att2_fc2)
    theirs = (*theirs, network.gamma1_fc2, network.gamma2_fc2)
    ours = (fusion.attend[0], fusion.attend[3], fusion.propose[0], fusion.propose[3], fusion.keep, fusion.take)
    for one, other in zip(theirs, ours, strict=True):
        one.load_state_dict(other.state_dict())
    mix = deepcopy(fusion.mix)
    return nn.ModuleList([network, mix]), lambda inputs: mix(network(*(tokens for tokens, _ in inputs))["L"])


def _ordered(ours: Tensor) -> Tensor:
    """The four parts of the first axis in PyTorch's order, where ours has what is shown before what is new."""
    read, kept, shown, new = ours.chunk(4)
    return torch.cat([read, kept, new, shown])
