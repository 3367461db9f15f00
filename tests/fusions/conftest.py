"""What the tests of fusions share: features with holes in them, and the slow obvious forms they are compared with.

A slow form never sees a mask: it takes one sample at a time, and of it only the tokens that are really there.
"""

import itertools
import math
from dataclasses import dataclass, field

import pytest
import torch

from mmkit.contract import Features


@dataclass(frozen=True)
class Case:
    """Features of some inputs, and a look at single samples."""

    widths: dict
    features: dict

    @property
    def batch(self):
        return len(next(iter(self.features.values())).mask)

    def tokens(self, name, sample):
        """The real tokens of an input in a sample: a list of vectors, empty where it is missing."""
        each = self.features[name]
        return [token for token, real in zip(each.tokens[sample], each.mask[sample].tolist(), strict=True) if real]

    def vector(self, name, sample):
        """Its vector, or None where it is missing."""
        tokens = self.tokens(name, sample)
        if not tokens:
            return None
        pooled = self.features[name].pooled
        return sum(tokens) / len(tokens) if pooled is None else pooled[sample]

    def filled(self, name, sample):
        """Its vector, zero where it is missing."""
        vector = self.vector(name, sample)
        return torch.zeros(self.widths[name], dtype=torch.float64) if vector is None else vector


def _features(widths, lengths, pooled=(), seed=0, dtype=torch.float64):
    """Every pattern of missing inputs (all there and all missing among them), and holes among the tokens."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.tensor(list(itertools.product([True, False], repeat=len(widths))))[: 2**5]
    features = {}
    for column, (name, width) in enumerate(widths.items()):
        mask = torch.rand(len(patterns), lengths[name], generator=generator) < 0.6
        mask[:, -1] |= ~mask.any(1)
        mask &= patterns[:, column : column + 1]
        tokens = torch.randn(len(patterns), lengths[name], width, generator=generator, dtype=torch.float64)
        summary = torch.randn(len(patterns), width, generator=generator, dtype=torch.float64)
        features[name] = Features.of(tokens.to(dtype), mask, summary.to(dtype) if name in pooled else None)
    return features


CASES = {
    "one": ({"a": 5}, {"a": 4}, ()),
    "one-token": ({"a": 3}, {"a": 1}, ()),
    "two": ({"image": 5, "text": 7}, {"image": 4, "text": 1}, ()),
    "three": ({"audio": 3, "image": 6, "text": 2}, {"audio": 3, "image": 5, "text": 2}, ("image",)),
    "four": (dict.fromkeys("abcd", 4), dict.fromkeys("abcd", 1), "c"),
}


@dataclass(frozen=True)
class Make:
    """Makes cases; a fixture, since a conftest is not imported."""

    names: tuple = tuple(CASES)
    shapes: dict = field(default_factory=lambda: CASES)

    def __call__(self, name, seed=0, dtype=torch.float64):
        widths, lengths, pooled = CASES[name]
        return Case(widths, _features(widths, lengths, pooled, seed, dtype))


@pytest.fixture
def make():
    return Make()


@pytest.fixture(params=CASES)
def case(request):
    return Make()(request.param)


@pytest.fixture
def perturbed():
    """A function: the fusion in float64, frozen, in evaluation, with noise on every parameter."""

    def perturb(fusion):
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in fusion.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        return fusion.double().eval().requires_grad_(False)  # noqa: FBT003

    return perturb


@pytest.fixture
def slow_layer():
    """A function: a transformer or cross layer over lists of tokens, one query, one head and one key at a time."""

    def attend(attention, query, context):
        q = attention.query(query)
        head = len(q) // attention.heads
        seen = []
        for n in range(attention.heads):
            part = slice(n * head, (n + 1) * head)
            keys, values = [], []
            for token in context:
                k, v = attention.key_value(token).chunk(2)
                keys.append(k[part])
                values.append(v[part])
            scores = [math.exp(float(q[part] @ k) / head**0.5) for k in keys]
            mixed = torch.zeros(head, dtype=q.dtype)
            for score, v in zip(scores, values, strict=True):
                mixed = mixed + score / sum(scores) * v
            seen.append(mixed)
        return attention.out(torch.cat(seen))

    def run(layer, tokens, context=None):
        normed = [layer.before_attention(token) for token in tokens]
        others = normed if context is None else [layer.before_context(token) for token in context]
        gates = getattr(layer, "gates", None)
        first, second = (1, 1) if gates is None else gates.tanh()
        result = []
        for token, query in zip(tokens, normed, strict=True):
            state = token + first * attend(layer.attention, query, others)
            result.append(state + second * layer.feed_forward(state))
        return result

    return run


@pytest.fixture
def same():
    """A function: equal to float64's precision, sample by sample."""

    def check(fused, expected):
        torch.testing.assert_close(fused, torch.stack(expected), rtol=1e-10, atol=1e-10)

    return check
