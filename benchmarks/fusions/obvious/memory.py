"""Everything in one loop over the steps, the cells of each input one after the other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.fusions.hand import Inputs
from mmkit.fusions.tokens.memory import MemoryFusion


def obvious(fusion: MemoryFusion, inputs: Inputs) -> Tensor:
    first = inputs[0][0]
    states = [first.new_zeros(len(first), fusion.hidden) for _ in inputs]
    cells = list(states)
    memory = first.new_zeros(len(first), fusion.memory)
    there = torch.cat([mask.any(1, keepdim=True).expand(-1, fusion.hidden) for _, mask in inputs], 1).repeat(1, 2)
    weights = zip(fusion.project.values(), fusion.recur.values(), strict=True)
    layers = [(linear.weight, linear.bias, recur.T) for linear, recur in weights]
    for t in range(first.shape[1]):
        before = cells
        cells = []
        for i, ((tokens, mask), (weight, bias, recur)) in enumerate(zip(inputs, layers, strict=True)):
            gates = F.linear(tokens[:, t], weight, bias) + F.linear(states[i], recur)
            read, kept, shown, new = gates.chunk(4, 1)
            cell = kept.sigmoid() * before[i] + read.sigmoid() * new.tanh()
            here = mask[:, t : t + 1]
            states[i] = torch.where(here, shown.sigmoid() * cell.tanh(), states[i])
            cells.append(torch.where(here, cell, before[i]))
        changes = torch.cat([*before, *cells], 1)
        attended = fusion.attend(changes).masked_fill(~there, -1e30).softmax(1) * changes
        keep, take = fusion.gates(torch.cat([attended, memory], 1)).relu().chunk(2, 1)
        after = fusion.keep(keep).sigmoid() * memory + fusion.take(take).sigmoid() * fusion.propose(attended).tanh()
        memory = torch.where(torch.stack([mask[:, t] for _, mask in inputs]).any(0).unsqueeze(1), after, memory)
    return fusion.mix(torch.cat([*states, memory], 1))
