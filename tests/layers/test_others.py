"""All inputs but the anchor."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.layers.others import Others

WIDTHS = {"a": 2, "b": 3, "c": 4}


@pytest.mark.parametrize(("anchor", "names"), [(None, "bc"), ("a", "bc"), ("b", "ac"), ("c", "ab")])
def test_joins_all_but_the_anchor(anchor, names):
    features = {n: Features.of(torch.randn(5, d), torch.rand(5) < 0.7) for n, d in WIDTHS.items()}
    others = Others(WIDTHS, anchor)
    assert others.names == tuple(names)
    assert others.anchor not in names
    assert others.width == sum(WIDTHS[name] for name in names)
    assert torch.equal(others(features), torch.cat([features[name].vector() for name in names], 1))


def test_an_anchor_must_be_an_input():
    with pytest.raises(ValueError, match=r"anchor d is no input; there are a, b, c: name one of them"):
        Others(WIDTHS, "d")


def test_an_anchor_needs_another():
    with pytest.raises(ValueError, match=r"an anchor needs another input beside it; got 1 \(a\)"):
        Others({"a": 2})
