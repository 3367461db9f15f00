"""The joint pool, against products of probabilities and means of values, and its reductions."""

import pytest
import torch

from mmkit.contract import Features, Target
from mmkit.fusions.both.joint_pool import JointPoolFusion
from mmkit.fusions.outputs.log_pool import LogPoolFusion


def joint(fusion, case, sample):
    """The joint part, number by number."""
    row = torch.cat([case.filled(name, sample) for name in case.widths])
    first, second = fusion.joint.first, fusion.joint.second
    numbers = [max(float((w * row).sum() + b), 0.0) for w, b in zip(first.weight, first.bias, strict=True)]
    hidden = torch.tensor(numbers, dtype=torch.float64)
    return torch.stack([(w * hidden).sum() + b for w, b in zip(second.weight, second.bias, strict=True)])


def test_classes_are_the_normalised_product_of_all_probabilities(case, outputs, said, perturbed, same):
    fusion = perturbed(JointPoolFusion(case.widths, Target("classes", 3), hidden=5))
    expected = []
    for sample in range(case.batch):
        product = joint(fusion, case, sample).softmax(0)
        for name in case.widths:
            if said(outputs, name, sample) is not None:
                product = product * said(outputs, name, sample).softmax(0)
        expected.append(product / product.sum())
    same(fusion(case.features, outputs).vector().softmax(1), expected)


def test_labels_are_the_normalised_product_of_all_probabilities(case, outputs, said, perturbed, same):
    fusion = perturbed(JointPoolFusion(case.widths, Target("labels", 3), hidden=5))
    expected = []
    for sample in range(case.batch):
        views = [joint(fusion, case, sample)]
        views += [said(outputs, n, sample) for n in case.widths if said(outputs, n, sample) is not None]
        yes, no = (torch.stack([(s * v).sigmoid() for v in views]).prod(0) for s in (1, -1))
        expected.append(yes / (yes + no))
    same(fusion(case.features, outputs).vector().sigmoid(), expected)


def test_scalars_are_the_mean_of_all_values(case, outputs, said, perturbed, same):
    fusion = perturbed(JointPoolFusion(case.widths, Target("scalar", 3), hidden=5))
    expected = []
    for sample in range(case.batch):
        views = [joint(fusion, case, sample)]
        views += [said(outputs, n, sample) for n in case.widths if said(outputs, n, sample) is not None]
        expected.append(sum(views) / len(views))
    same(fusion(case.features, outputs).vector(), expected)


def test_with_a_silent_joint_part_it_is_the_pool_of_logits(case, outputs):
    fusion = JointPoolFusion(case.widths, Target("classes", 3)).double()
    for parameter in fusion.joint.second.parameters():
        torch.nn.init.zeros_(parameter)
    pooled = LogPoolFusion(dict.fromkeys(case.widths, 3), Target("classes", 3))(outputs)
    torch.testing.assert_close(fusion(case.features, outputs).vector(), pooled.vector())


def test_with_silent_heads_it_is_the_joint_part(case, outputs):
    fusion = JointPoolFusion(case.widths, Target("classes", 3)).double()
    silent = {name: Features.of(torch.zeros_like(o.tokens), o.mask) for name, o in outputs.items()}
    torch.testing.assert_close(fusion(case.features, silent).vector(), fusion.joint(case.features))


@pytest.mark.parametrize("inputs", [1, 2, 3, 5])
def test_the_number_of_its_parameters(inputs):
    fusion = JointPoolFusion({f"i{i}": 16 + i for i in range(inputs)}, Target("classes", 10), hidden=32)
    joined = sum(16 + i for i in range(inputs))
    assert sum(p.numel() for p in fusion.parameters()) == joined * 32 + 32 + 32 * 10 + 10


def test_it_multiplies_what_a_sum_of_two_opinions_cannot():
    """XOR of the signs of two inputs: a pool of single heads stays at chance, and the joint part learns it."""
    torch.manual_seed(0)
    values = torch.randn(256, 2)
    label = (values.prod(1) > 0).long()
    features = {name: Features.of(values[:, [i]]) for i, name in enumerate("ab")}
    silent = {name: Features.of(torch.zeros(256, 2)) for name in "ab"}
    fusion = JointPoolFusion({"a": 1, "b": 1}, Target("classes", 2), hidden=32)
    optimizer = torch.optim.Adam(fusion.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(fusion(features, silent).vector(), label).backward()
        optimizer.step()
    right = (fusion(features, silent).vector().argmax(1) == label).float().mean()
    assert right > 0.95


def test_what_has_no_pool_is_refused():
    with pytest.raises(ValueError, match="the target is 'text': take a fusion of features"):
        JointPoolFusion({"a": 9}, Target("text", 9))
