"""What a device other than the CPU asks of the code, as far as it can be seen without one."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mmkit.contract import Features
from mmkit.data.dataset import Dataset
from mmkit.data.placing import on
from mmkit.data.splits import splits_of
from mmkit.features.scaling import Scaling
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.model.network import TrainingStep
from mmkit.registry.catalog import installed
from mmkit.system.settings import Settings
from mmkit.testing.checks.devices import ELSEWHERE, elsewhere, move
from mmkit.testing.trees import leaves, mapped


@pytest.fixture
def copies(monkeypatch):
    """The device and `non_blocking` of every copy."""
    found, to = [], Tensor.to

    def noting(tensor, *given, **named):
        found.append((torch.device(given[0]).type, named.get("non_blocking", False)))
        return to(tensor, *given, **named)

    monkeypatch.setattr(Tensor, "to", noting)
    return found


@pytest.mark.parametrize(("device", "ahead"), [("cpu", False), ("meta", True)])
def test_a_copy_to_the_cpu_is_waited_for_before_anyone_reads_it(copies, device, ahead):
    """From a GPU such a copy goes to pinned memory, and the call returns before the values are there."""
    Features.of(torch.ones(2, 3), torch.tensor([True, False]), torch.ones(2, 3)).to(device)
    on({"x": torch.ones(2), "mask": torch.ones(2, dtype=torch.bool)}, torch.device(device))
    assert copies == [(device, ahead)] * 5


@pytest.fixture(scope="module")
def train():
    return splits_of(installed().choose("task", "digits"), installed(), Settings("cpu", limit=32)).with_truth("train")


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("fusion", ["concat", "attention:pool=cls", "cross-attention", "late:weights=learned"])
def test_a_whole_step_of_training_stays_on_one_device(train, fusion, scaled):
    """The losses of every part, their sum, gradients and predictions, on tensors that know shape and device alone."""
    catalog = installed()
    encoders = {"written": catalog.choose("encoder", "cnn"), "spoken": catalog.choose("encoder", "tcn")}
    objectives = (catalog.choose("objective", "unimodal"), catalog.choose("objective", "contrastive"))
    combination = Combination(
        encoders, catalog.choose("fusion", fusion), catalog.choose("head", "linear:class_weights=balanced"), objectives
    )
    transforms = Transforms.fitted(combination, "classes", train.inputs, train.truth)
    module, beside = build_model(combination, transforms)
    if scaled:  # as where encoders are frozen
        for name in encoders:
            module.scalings[module.names[name]] = Scaling(64, vectors=False)
    step = TrainingStep(module, beside).train()
    given = Dataset.of(train, transforms.inputs, transforms.truth, augment=False).batch(torch.arange(8))
    with FakeTensorMode(allow_non_fake_inputs=True):
        move(step)
        batch, truth = mapped(given, elsewhere)
        losses, output = step(batch, truth)
        predicted = module.output_head.predict(output.output)
        gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), list(step.parameters()))
        everything = [losses, output, predicted, gradients]
    assert {tensor.device.type for _, tensor in leaves(everything)} == {ELSEWHERE}
