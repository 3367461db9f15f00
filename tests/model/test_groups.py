"""A batch in groups of like length gives what the padded batch gives, and the same gradients."""

import pytest
import torch

from mmkit.contract import Samples
from mmkit.data.dataset import Dataset
from mmkit.data.grouping import Grouped
from mmkit.model.assembly import Transforms, build_model, reads
from mmkit.model.combination import Combination
from mmkit.model.network import TrainingStep
from mmkit.registry.catalog import installed
from mmkit.training.micro_batches import micro_batches, parts_of

TEXTS = ["a b", "c d e", None, "a b c d e f g " * 30, "b"]


def prepared(encoder, fusion):
    choose = installed().choose
    combination = Combination(
        {"one": choose("encoder", encoder), "two": choose("encoder", encoder)},
        choose("fusion", fusion),
        choose("head", "linear"),
    )
    samples = Samples([*"vwxyz"], {"one": TEXTS, "two": TEXTS[::-1]}, ["u", "v", "u", "v", "u"])
    transforms = Transforms.fitted(combination, "classes", samples.inputs, samples.truth)
    torch.manual_seed(0)
    step = TrainingStep(*build_model(combination, transforms)).double()
    return step, Dataset.of(samples, transforms.inputs, transforms.truth, augment=False)


@pytest.mark.parametrize("fusion", ["concat", "attention", "late"])
@pytest.mark.parametrize("encoder", ["text-transformer:dropout=0", "text-rnn:dropout=0"])
def test_losses_and_gradients_are_those_of_the_padded_batch(encoder, fusion):
    step, data = prepared(encoder, fusion)
    step.eval()  # the dropout of the fusion
    assert step.model.rowwise == ["one", "two"]
    found = []
    for one in (data, data.grouped(step.model.rowwise)):
        batch, truth = one.batch(torch.arange(5))
        assert all(isinstance(batch[name], Grouped) is (one is not data) for name in batch)
        step.zero_grad()
        loss = torch.stack(list(step(batch, truth)[0].values())).sum()
        loss.backward()
        found.append((loss, {name: p.grad.clone() for name, p in step.named_parameters() if p.grad is not None}))
    torch.testing.assert_close(found[0], found[1], atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("encoder", ["text-rnn", "text-transformer"])
def test_in_training_nothing_of_a_row_hangs_on_its_mates(encoder):
    choice = installed().choose("encoder", f"{encoder}:dropout=0")
    transform = reads(choice)()
    transform.fit(TEXTS)
    module = choice.component(transform, **choice.part(choice.component)).train()
    together = module(transform(TEXTS))
    for row, text in enumerate(TEXTS):
        alone = module(transform([text]))
        steps = alone.tokens.shape[1]
        torch.testing.assert_close(together.tokens[row : row + 1, :steps], alone.tokens, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_batch_in_groups_divides_into_micro_batches(most):
    step, data = prepared("text-rnn:dropout=0", "concat")
    step.eval()
    found = []
    for one in (data, data.grouped(step.model.rowwise)):
        batch, truth = one.batch(torch.arange(5))
        parts = [step.model(part).output for part, _ in micro_batches(batch, truth, parts_of(5, most))]
        assert len(parts) == -(-5 // most)
        found.append(torch.cat(parts))
    torch.testing.assert_close(found[0], found[1], atol=1e-9, rtol=1e-7)
