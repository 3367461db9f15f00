"""Recurrent layers as an exported graph, against torch's own over packed sequences."""

import pytest
import torch
from torch.export import Dim

from mmkit.layers.recurrent import Recurrent

CASES = [(cell, *rest) for cell in ("lstm", "gru") for rest in ((1, True), (1, False), (2, True))]


def _steps(batch, length):
    generator = torch.Generator().manual_seed(10 * batch + length)
    steps = torch.randn(batch, length, 3, generator=generator, dtype=torch.float64)
    lengths = torch.randint(0, length + 1, (batch, 1), generator=generator)
    return steps, torch.arange(length) < lengths


@pytest.mark.full
@pytest.mark.parametrize(("cell", "layers", "bidirectional"), CASES)
def test_a_scan_gives_what_packing_gives_for_any_batch_and_length(cell, layers, bidirectional):
    torch.manual_seed(0)
    module = Recurrent(3, 8, cell=cell, layers=layers, bidirectional=bidirectional, dropout=0.0).double().eval()
    sizes = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    with torch.no_grad():
        program = torch.export.export(module, _steps(5, 7), dynamic_shapes=(sizes, sizes), strict=False).module()
        for batch, length in ((5, 7), (1, 1), (3, 12)):
            steps, mask = _steps(batch, length)
            packed = module(steps, mask)
            assert packed[mask].numel()
            torch.testing.assert_close(program(steps, mask)[mask], packed[mask], atol=1e-12, rtol=1e-10)
