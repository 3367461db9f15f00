"""Low-rank fusion, against tensor fusion with the weight that its factors stand for."""

import pytest
import torch

from mmkit.fusions.vectors.low_rank import LowRankFusion


@pytest.mark.parametrize("rank", [1, 4])
def test_is_tensor_fusion_with_the_weight_rebuilt(case, perturbed, same, rank):
    fusion = perturbed(LowRankFusion(case.widths, width=3, rank=rank))
    weight = torch.zeros(3, *(d + 1 for d in case.widths.values()), dtype=torch.float64)  # [H D1+1 D2+1 ...]
    for h in range(3):
        for r in range(rank):
            outer = fusion.mix[r]  # grows by one axis an input
            for name in case.widths:
                column = torch.cat([fusion.factors[name], fusion.constants[name].unsqueeze(0)])[:, r * 3 + h]
                outer = torch.tensordot(outer, column, dims=0)
            weight[h] += outer.squeeze(0)
    expected = []
    for sample in range(case.batch):
        total = weight
        for name in reversed(case.widths):
            total = total @ torch.cat([case.filled(name, sample), torch.ones(1, dtype=torch.float64)])
        expected.append(total + fusion.bias)
    same(fusion(case.features).vector(), expected)


def test_a_missing_input_is_neutral_where_training_starts(make):
    case = make("two")
    fusion = LowRankFusion(case.widths, width=3, rank=2).double()
    sample = 1  # image is there, text is missing
    assert case.vector("text", sample) is None
    image = case.vector("image", sample) @ fusion.factors["image"] + 1
    expected = image.unflatten(0, (2, 3)).sum(0) * 2**-0.5
    torch.testing.assert_close(fusion(case.features).vector()[sample], expected)


def test_every_factor_is_trained_and_saved():
    fusion = LowRankFusion({"a": 2, "b": 5}, width=3, rank=4)
    trained = {name: list(parameter.shape) for name, parameter in fusion.named_parameters()}
    factors = {"factors.a": [2, 12], "factors.b": [5, 12], "constants.a": [12], "constants.b": [12]}
    assert trained == {**factors, "mix": [4, 1], "bias": [3]}
    assert trained == {name: list(value.shape) for name, value in fusion.state_dict().items()}
