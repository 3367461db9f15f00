"""Exclusive or separates the fusions that add from those that multiply: without an interaction none beats chance.

Let z be the log-odds of a class, by the bits of two inputs. Where a fusion adds, z(0,0) - z(0,1) - z(1,0) + z(1,1) = 0,
and the mean loss over the four cases is at least log 2, that of a guess: it is convex in z, and the cases of each class
have the same mean. A mean of probabilities is bounded alike, since log is concave.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Features, Target
from mmkit.registry.catalog import installed
from mmkit.registry.options import options_of

WIDTH = 8
BITS = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
XOR = BITS.sum(1) % 2
ADDING = {
    *("concat", "embrace", "gated-cross", "mean", "reconstruction", "shared-specific", "sum"),
    *("energy", "log-pool", "stacking"),
}
"""Those that add what each input says alone; embrace and reconstruction but for what they draw in training."""
AVERAGING = {"late"}
"""Those that add probabilities."""
WEIGHING = {"confidence", "evidential", "modality-attention"}
"""Those that add with weights to which each input contributes alone; they have an interaction that is too weak."""
VARIANTS = [
    ("mfb", {"order": 2}),
    ("multiplicative", {"form": "scalar"}),
    ("multiplicative", {"form": "matrix"}),
    ("mutan", {"rank": None, "inner": 8}),
]
FUSIONS = {
    entry.name: entry for entry in installed().available("fusion") if getattr(entry.spec, "family", "") != "inner"
}


CASES = [(name, {}) for name in FUSIONS] + VARIANTS
TRAINED = [case for case in CASES if case[0] not in WEIGHING]
LEARNT = 0.05
"""A loss."""


class Network(nn.Module):
    """A code for each bit of each input, linear heads of these for fusions that read outputs, a fusion, and a head."""

    def __init__(self, name, options):
        super().__init__()
        entry = FUSIONS[name]
        self.family = getattr(entry.spec, "family", "")
        options = {"width": WIDTH, "dropout": 0.0, **options}
        known = options_of(entry.load())
        target = [Target("classes", 2)] if self.family in {"outputs", "both"} else []
        self.codes = nn.ModuleDict({name: nn.Embedding(2, WIDTH) for name in "ab"})
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, 2) for name in "ab"})
        self.fusion = entry.load()(
            dict.fromkeys("ab", 2 if self.family == "outputs" else WIDTH),
            *target,
            **{option: value for option, value in options.items() if option in known},
        )
        self.head = nn.Identity() if target else nn.Linear(self.fusion.width, 2)

    def forward(self):
        """[4 2], log-probabilities of each case of `BITS`."""
        codes = {name: self.codes[name](BITS[:, at]) for at, name in enumerate("ab")}
        features = {name: Features.of(code) for name, code in codes.items()}
        outputs = {name: Features.of(self.heads[name](code)) for name, code in codes.items()}
        given = {"outputs": [outputs], "both": [features, outputs]}.get(self.family, [features])
        return self.head(self.fusion(*given).vector()).log_softmax(1)


def trained(name, options, seed):
    """The loss of a network as it answers, trained until it has learnt, or for 400 steps."""
    torch.manual_seed(seed)
    network = Network(name, options)
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    for _ in range(8):
        network.train()
        for _ in range(50):
            optimizer.zero_grad()
            F.nll_loss(network(), XOR).backward()
            optimizer.step()
        with torch.no_grad():
            loss = F.nll_loss(network.eval()(), XOR).item()
        if loss < LEARNT:
            break
    return loss


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_those_that_add_have_no_interaction_and_all_others_have_one(name, options):
    interactions = []
    for seed in range(3):
        torch.manual_seed(seed)
        network = Network(name, options).double().eval()
        with torch.no_grad():
            for parameter in network.parameters():  # some begin as if the other input were not there
                parameter.add_(torch.randn_like(parameter))
            found = network()
        if name in ADDING | AVERAGING:
            assert F.nll_loss(found, XOR) >= math.log(2) - 1e-12
        odds = found.exp()[:, 0] if name in AVERAGING else found[:, 0] - found[:, 1]
        interactions.append((odds[0] - odds[1] - odds[2] + odds[3]).abs().item())
    if name in ADDING | AVERAGING:
        assert max(interactions) < 1e-9
    else:
        assert min(interactions) > 1e-6


@pytest.mark.full
@pytest.mark.parametrize(("name", "options"), TRAINED, ids=str)
def test_those_that_multiply_learn_it_and_those_that_add_do_not(name, options):
    if name in ADDING | AVERAGING:
        assert trained(name, options, 0) >= math.log(2) - 1e-5
    else:
        assert any(trained(name, options, seed) < LEARNT for seed in range(4))
