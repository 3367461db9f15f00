"""Block fusion, against its formula one chunk and one number at a time, and against the core that it stands for."""

import math

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.block import BlockFusion


def _rooted(numbers):
    roots = [math.copysign(math.sqrt(abs(z) + 1e-6) - 1e-3, z) for z in numbers]
    length = math.sqrt(sum(root * root for root in roots))
    return [root / length for root in roots]


def _products(fusion, case, sample):
    """z of each chunk: a list of lists."""
    size = fusion.mix.in_features // fusion.chunks
    found = []
    for chunk in range(fusion.chunks):
        numbers = [0.0] * size
        for r in range(fusion.rank):
            for i in range(size):
                product, place = 1.0, r * size + i
                for name in case.widths:
                    if case.vector(name, sample) is None:
                        continue
                    linear = fusion.project[name]
                    part = (linear.weight @ case.vector(name, sample) + linear.bias)[chunk * size : (chunk + 1) * size]
                    *column, constant = fusion.factors[name][chunk, :, place]
                    product *= float(torch.stack(column) @ part + constant)
                numbers[i] += product
        found.append(numbers)
    return found


@pytest.mark.parametrize("norm", ["chunk", "join"])
@pytest.mark.parametrize(("inner", "chunks", "rank"), [(6, 3, 2), (4, 1, 3), (4, 4, 1)])
def test_each_chunk_is_a_sum_of_products(make, perturbed, same, norm, inner, chunks, rank):
    case = make("two")
    fusion = perturbed(BlockFusion(case.widths, width=3, inner=inner, chunks=chunks, rank=rank, norm=norm))
    expected = []
    for sample in range(case.batch):
        products = _products(fusion, case, sample)
        if norm == "chunk":
            joined = [number for numbers in products for number in _rooted(numbers)]
        else:
            joined = _rooted([number for numbers in products for number in numbers])
        expected.append(fusion.mix.weight @ torch.tensor(joined, dtype=torch.float64) + fusion.mix.bias)
    same(fusion(case.features).vector(), expected)


def test_it_is_a_bilinear_form_with_blocks_along_the_diagonal_of_its_core(perturbed):
    """Without constants: z is the contraction of u and v with a core that is zero outside its blocks."""
    fusion = perturbed(BlockFusion({"a": 5, "b": 4}, width=6, inner=6, chunks=3, rank=2, norm="join"))
    for factor in fusion.factors.values():
        factor[:, -1] = 0
    torch.manual_seed(0)
    a, b = torch.randn(7, 5).double(), torch.randn(7, 4).double()
    u, v = fusion.project["a"](a), fusion.project["b"](b)
    core = torch.zeros(6, 6, 6).double()  # [of z, of u, of v]
    for chunk in range(3):
        part = slice(2 * chunk, 2 * chunk + 2)
        first, second = (fusion.factors[n][chunk, :-1].view(2, 2, 2) for n in "ab")  # [from, rank, to]
        core[part, part, part] = torch.einsum("irk,jrk->kij", first, second)
    z = torch.einsum("kij,bi,bj->bk", core, u, v)
    rooted = z.sign() * ((z.abs() + 1e-6).sqrt() - 1e-3)
    expected = fusion.mix(rooted / rooted.norm(dim=1, keepdim=True))
    torch.testing.assert_close(fusion({"a": Features.of(a), "b": Features.of(b)}).vector(), expected)


def test_a_chunk_has_length_one_before_the_last_layer(make):
    case = make("two")
    fusion = BlockFusion(case.widths, width=3, inner=12, chunks=4, rank=2).double().eval()
    seen = []
    fusion.mix.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    fusion(case.features)
    torch.testing.assert_close(seen[0].unflatten(1, (4, 3)).norm(dim=2), torch.ones(case.batch, 4).double())


@pytest.mark.parametrize("names", ["a", "abc"])
def test_it_is_for_two_inputs(names):
    with pytest.raises(ValueError, match=rf"for two inputs; got {len(names)} \({', '.join(names)}\)"):
        BlockFusion(dict.fromkeys(names, 4))


def test_chunks_divide_the_inner_width():
    with pytest.raises(ValueError, match="inner 320 is not divisible by chunks 7; take chunks that divide it"):
        BlockFusion({"a": 4, "b": 4}, chunks=7)


def test_the_number_of_parameters():
    fusion = BlockFusion({"a": 128, "b": 128})
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 286_848
