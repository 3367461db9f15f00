"""A bilinear form, against torch's."""

import torch
from torch.nn import functional as F

from mmkit.layers.bilinear import Bilinear


def test_it_is_the_form_of_torch():
    layer = Bilinear(5, 3, 8).double()
    first, second = torch.randn(7, 5).double(), torch.randn(7, 3).double()
    torch.testing.assert_close(layer(first, second), F.bilinear(first, second, layer.weight.transpose(0, 1)))


def test_it_keeps_the_size_of_its_vectors_at_the_start():
    torch.manual_seed(0)
    found = Bilinear(64, 48, 32)(torch.randn(2000, 64), torch.randn(2000, 48))
    assert 0.9 < float(found.detach().square().mean()) < 1.1
