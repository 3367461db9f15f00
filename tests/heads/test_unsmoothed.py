"""While encoders are tuned, the loss of classes is the plain cross-entropy, unless smoothing was asked for."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Target
from mmkit.heads.linear import LinearHead
from mmkit.heads.loss import unsmoothed
from mmkit.heads.mlp import MlpHead

TARGET = Target("classes", 3, ("a", "b", "c"))
TRUTH = {"label": torch.tensor([0, 2, 1, 1]), "mask": torch.ones(4, dtype=torch.bool)}


def loss(head, smoothing):
    output = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(output, TRUTH["label"], label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(head.loss(output, TRUTH), expected)


@pytest.mark.parametrize("kind", [LinearHead, MlpHead])
def test_the_usual_smoothing_is_off_inside_and_back_afterwards(kind):
    head = kind(5, TARGET, None)
    loss(head, 0.1)
    with unsmoothed(nn.ModuleList([head])):
        loss(head, 0.0)
    loss(head, 0.1)


@pytest.mark.parametrize("kind", [LinearHead, MlpHead])
@pytest.mark.parametrize("asked", [0.1, 0.3])
def test_smoothing_that_was_asked_for_stays(kind, asked):
    head = kind(5, TARGET, None, label_smoothing=asked)
    with unsmoothed(head):
        loss(head, asked)


def test_it_is_back_after_an_error():
    head = LinearHead(5, TARGET, None)

    def stop():
        with unsmoothed(head):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop()
    loss(head, 0.1)
