"""KL alignment, against torch's divergence of the rows that have both, in both directions."""

import pytest
import torch
from torch import nn

from mmkit.contract import Features, ModelOutput, Target
from mmkit.objectives.kl_align import KlAlignObjective

TARGET = Target("classes", 3)


def _output(features):
    return ModelOutput(features, next(iter(features.values())), torch.zeros(len(next(iter(features.values())).mask), 3))


@pytest.mark.parametrize("names", [["image", "text"], ["audio", "image", "text"]])
def test_a_sample_takes_the_mean_over_the_ordered_pairs_it_has(given, names):
    objective = KlAlignObjective({n: given.widths[n] for n in names}, 8, TARGET, space=5, weight=0.5).double()
    output = given.output(names=names)
    found = objective(output, given.truth(8))
    for sample in range(8):
        logs = [
            (output.features[name].vector()[sample] @ projection.weight).log_softmax(0)
            for name, projection in zip(names, objective.projections, strict=True)
            if given.masks[name][sample]
        ]
        terms = [
            nn.functional.kl_div(b, a, reduction="sum", log_target=True)
            for i, a in enumerate(logs)
            for j, b in enumerate(logs)
            if i != j
        ]
        expected = 0.5 * sum(terms) / len(terms) if terms else torch.zeros(()).double()
        torch.testing.assert_close(found[sample], expected)


@pytest.mark.parametrize("inputs", [2, 3])
def test_without_maps_and_with_nothing_missing_it_is_autogluons(inputs):
    """Its loop, with the mean over the batch."""
    torch.manual_seed(0)
    parts = [torch.randn(6, 4).double() for _ in range(inputs)]
    kl_loss, loss, count = nn.KLDivLoss(reduction="batchmean", log_target=True), 0, 0
    for i in range(inputs):
        for j in range(inputs):
            if i != j:
                loss = loss + kl_loss(parts[i].log_softmax(1), parts[j].log_softmax(1))
                count += 1
    features = {name: Features.of(part) for name, part in zip("abc", parts, strict=False)}
    objective = KlAlignObjective(dict.fromkeys(features, 4), 8, TARGET, space=None, weight=0.5)
    torch.testing.assert_close(objective(_output(features), {}).mean(), 0.5 * loss / count)
    assert not objective.state_dict()


def test_equal_inputs_lose_nothing_and_a_shift_of_all_numbers_does_not_count():
    one = torch.randn(5, 4).double()
    features = {"a": Features.of(one), "b": Features.of(one + 3)}
    found = KlAlignObjective({"a": 4, "b": 4}, 8, TARGET, space=None)(_output(features), {})
    torch.testing.assert_close(found, torch.zeros(5).double())


def test_maps_are_saved_and_never_trained(given):
    objective = KlAlignObjective(given.widths, 8, TARGET, space=5)
    assert not list(objective.parameters())
    other = KlAlignObjective(given.widths, 8, TARGET, space=5)
    other.load_state_dict(objective.state_dict())
    output = given.output(dtype=torch.float32)
    assert torch.equal(other(output, given.truth(8)), objective(output, given.truth(8)))


def test_unequal_widths_need_maps(given):
    with pytest.raises(
        ValueError, match="space=none compares features of one width; they have audio 3, image 4, text 6"
    ):
        KlAlignObjective(given.widths, 8, TARGET, space=None)
