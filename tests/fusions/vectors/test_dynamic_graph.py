"""The dynamic fusion graph, against its formula one sample and one vertex at a time."""

from itertools import combinations

import pytest
import torch

from mmkit.fusions.vectors.dynamic_graph import DynamicGraphFusion


def _parts(names):
    return [part for size in range(1, len(names) + 1) for part in combinations(names, size)]


def test_each_vertex_is_built_of_its_subsets(case, perturbed, same):
    fusion = perturbed(DynamicGraphFusion(case.widths, width=5))
    expected = []
    for sample in range(case.batch):
        found = {}
        for name in case.widths:
            linear, vector = fusion.project[name], case.vector(name, sample)
            found[(name,)] = torch.zeros(5).double() if vector is None else linear.weight @ vector + linear.bias
        first, _, last = fusion.edges
        hidden = torch.clamp(first.weight @ torch.cat(list(found.values())) + first.bias, min=0)
        edges = iter(last.weight @ hidden + last.bias)
        for vertex in _parts(list(case.widths)):
            if len(vertex) == 1:
                continue
            layer = fusion.vertices["+".join(vertex)]
            joined = torch.cat([next(edges) * found[part] for part in _parts(vertex)[:-1]])
            whole = all(case.vector(name, sample) is not None for name in vertex)
            found[vertex] = torch.clamp(layer.weight @ joined + layer.bias, min=0) * whole
        joined = torch.cat([next(edges) * found[vertex] for vertex in _parts(list(case.widths))])
        assert next(edges, None) is None
        expected.append(fusion.mix.weight @ joined + fusion.mix.bias)
    same(fusion(case.features).vector(), expected)


@pytest.mark.parametrize(("inputs", "vertices", "edges"), [(1, 1, 1), (2, 3, 5), (3, 7, 19), (4, 15, 65)])
def test_the_number_of_vertices_and_edges(inputs, vertices, edges):
    fusion = DynamicGraphFusion(dict.fromkeys("abcd"[:inputs], 3), width=4)
    assert len(fusion.sets) == vertices
    assert fusion.edges[2].out_features == edges


def test_all_vertices_are_trained():
    """Published code keeps their networks in a plain dict, out of reach of the optimiser."""
    fusion = DynamicGraphFusion(dict.fromkeys("abc", 3), width=4)
    names = {name for name, _ in fusion.named_parameters()}
    assert {f"vertices.{vertex}.weight" for vertex in ("a+b", "a+c", "b+c", "a+b+c")} < names


def test_details_are_the_weights_of_the_edges_which_start_open(make):
    case = make("two")
    fusion = DynamicGraphFusion(case.widths, width=4).double().eval()
    torch.nn.init.zeros_(fusion.edges[2].weight)
    assert not fusion(case.features).details
    fusion.detailed = True
    assert torch.equal(fusion(case.features).details["edges"], torch.ones(case.batch, 5).double())


def test_it_is_for_four_inputs_at_most():
    with pytest.raises(ValueError, match=r"for 4 inputs at most, since .*; got 5 \(a, b, c, d, e\)"):
        DynamicGraphFusion(dict.fromkeys("abcde", 2))


def test_the_number_of_parameters():
    fusion = DynamicGraphFusion({"a": 128, "b": 128})
    of_vertices = 2 * (128 * 128 + 128) + 256 * 128 + 128
    of_edges = 256 * 128 + 128 + 128 * 5 + 5
    assert sum(parameter.numel() for parameter in fusion.parameters()) == of_vertices + of_edges + 3 * 128 * 128 + 128
