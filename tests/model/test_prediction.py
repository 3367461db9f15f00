"""The loop without gradients gives what the model gives sample by sample."""

import pytest
import torch

from mmkit.contract import Samples
from mmkit.data.dataset import Dataset
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.model.prediction import each_batch, losses_of_samples, predictions
from mmkit.registry.catalog import installed

ROWS = [{"x": float(i), "kind": "ab"[i % 2]} if i != 3 else None for i in range(7)]
TRUTH = ["u", "v", "u", None, "v", "u", "v"]


@pytest.fixture
def made():
    choose = installed().choose
    combination = Combination(
        {"a": choose("encoder", "table-mlp"), "b": choose("encoder", "table-mlp")},
        choose("fusion", "concat"),
        choose("head", "linear"),
    )
    samples = Samples([str(i) for i in range(7)], {"a": ROWS, "b": ROWS[::-1]}, TRUTH)
    transforms = Transforms.fitted(combination, "classes", samples.inputs, samples.truth)
    model, _ = build_model(combination, transforms)
    return model, Dataset.of(samples, transforms.inputs, transforms.truth, augment=False)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
def test_predictions_are_those_of_each_sample_alone(made, batch_size):
    model, data = made
    batches = list(predictions(model, data, batch_size=batch_size))
    found = torch.cat([prediction["probabilities"] for prediction, _ in batches])
    model.eval()
    with torch.no_grad():
        alone = [model.predict_batch(data.batch(torch.tensor([i]))[0])["probabilities"] for i in range(7)]
    torch.testing.assert_close(found, torch.cat(alone))
    assert torch.cat([truth["mask"] for _, truth in batches]).tolist() == [t is not None for t in TRUTH]


def test_losses_are_those_of_each_sample_alone_and_zero_without_truth(made):
    model, data = made
    losses, known = losses_of_samples(model, data, batch_size=2)
    model.eval()
    with torch.no_grad():
        for i in range(7):
            batch, truth = data.batch(torch.tensor([i]))
            torch.testing.assert_close(losses[i], model.output_head.loss(model(batch).output, truth)[0])
    assert known.tolist() == [t is not None for t in TRUTH]
    assert losses[3] == 0


def test_it_runs_in_evaluation_and_keeps_no_graph(made):
    model, data = made
    model.train()
    outputs = list(each_batch(model, data, lambda out, _: (out, torch.is_inference_mode_enabled()), "float32", 4))
    assert not model.training
    assert all(inference and not output.requires_grad for output, inference in outputs)
    assert [len(output) for output, _ in outputs] == [4, 3]


def test_a_lower_precision_is_that_of_the_forward_and_predictions_come_in_float32(made):
    model, data = made
    outputs = list(each_batch(model, data, lambda output, _: output.dtype, "bfloat16", 7))
    assert outputs == [torch.bfloat16]
    ((prediction, _),) = predictions(model, data, "bfloat16")
    assert prediction["probabilities"].dtype == torch.float32
