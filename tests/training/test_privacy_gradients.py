"""Gradients of rows against a loop over them in float64, and the bound that clipping sets."""

import pytest
import torch

from mmkit.errors import UsageError
from mmkit.model.missing import Absence
from mmkit.training import privacy_gradients
from mmkit.training.privacy import Private
from mmkit.training.privacy_accounting import Account
from mmkit.training.privacy_checks import check_batch
from mmkit.training.privacy_descent import PrivateDescent
from mmkit.training.privacy_gradients import clipped_sum, gradients_by_row, trained
from mmkit.training.privacy_noise import BYTES, Secret
from tests.model.network_cases import FUSIONS, absent, in_float64, part, total, trained_from

QUICK = ["attention", "concat", "gated", "late", "low-rank", "perceiver"]
ENCODERS = {"series": "tcn:width=8,layers=1,dropout=0"}
ROWS = 6


def double(fusion, **rest):
    """A step without dropout in float64, in training, and a batch with missing inputs."""
    step, data = trained_from(fusion, encoders=ENCODERS, **rest)
    for module in step.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    batch, truth = data.batch(torch.arange(ROWS))
    batch["left"] = absent(batch["left"], [1, 4])
    truth = {name: leaf.double() if leaf.is_floating_point() else leaf for name, leaf in truth.items()}
    return step.double().train(), in_float64(batch), {**truth, "index": torch.arange(ROWS)}


def by_loop(step, batch, truth):
    """The gradients of each row by backward passes, as batches of one."""
    found = []
    for row in range(ROWS):
        step.zero_grad()
        total(step(part(batch, [row]), {name: leaf[[row]] for name, leaf in truth.items()})[0]).backward()
        named = [(name, one) for name, one in step.named_parameters() if one.requires_grad]
        found.append({name: torch.zeros_like(one) if one.grad is None else one.grad.clone() for name, one in named})
    return found


def refused(step, batch, truth):
    """Why a model cannot be trained privately; empty where it can."""
    try:
        check_batch(step, batch, truth, "float32")
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("fusion", [f if f in QUICK else pytest.param(f, marks=pytest.mark.full) for f in FUSIONS])
def test_gradients_of_rows_are_those_of_a_loop_and_clipped_sums_too(fusion):
    step, batch, truth = double(fusion)
    if why := refused(step, batch, truth):
        assert fusion not in QUICK
        pytest.skip(why)
    alone = by_loop(step, batch, truth)
    if any(
        not torch.equal(one, other)
        for row in zip(alone, by_loop(step, batch, truth), strict=True)
        for one, other in zip(*(each.values() for each in row), strict=True)
    ):
        assert fusion not in QUICK
        pytest.skip("it draws random numbers beside dropout")
    found = gradients_by_row(step, trained(step), batch, truth)
    for row, gradients in enumerate(alone):
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name][row], gradient, atol=1e-9, rtol=1e-7)
    norms = [torch.cat([one.flatten() for one in row.values()]).norm() for row in alone]
    clip = float(sorted(norms)[ROWS // 2])  # some rows are clipped, some not
    for most in (None, 1, 4):
        summed = clipped_sum(step, batch, truth, clip=clip, most=most)
        for name, one in summed.items():
            expected = sum(row[name] * min(1, clip / norm) for row, norm in zip(alone, norms, strict=True))
            torch.testing.assert_close(one, expected, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("kind", ["token", "bank"])
def test_learned_tokens_of_missing_inputs_have_gradients_of_their_rows(kind):
    step, batch, truth = double("concat", absence=Absence(kind))
    alone = by_loop(step, batch, truth)
    found = gradients_by_row(step, trained(step), batch, truth)
    assert any("missing" in name and one.abs().sum() > 0 for name, one in found.items())
    for row, gradients in enumerate(alone):
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name][row], gradient, atol=1e-9, rtol=1e-7)


def descent(step, *, clip=1.0, noise=1.0, samples=64, steps=4):
    account = Account(Private(noise=noise, delta=1e-5, clip=clip), noise, 1 / steps)
    return PrivateDescent(account, samples, steps, Secret(bytes(BYTES)))


def flat(step):
    return torch.cat([one.grad.flatten() for one in step.parameters() if one.grad is not None])


def test_no_row_moves_the_sum_by_more_than_the_norm(monkeypatch):
    step, batch, truth = double("concat")
    clip = 0.01

    def distances():
        whole = clipped_sum(step, batch, truth, clip=clip)
        found = []
        for row in range(ROWS):
            rest = [other for other in range(ROWS) if other != row]
            without = clipped_sum(
                step, part(batch, rest), {name: leaf[rest] for name, leaf in truth.items()}, clip=clip
            )
            found.append(float(torch.cat([(whole[name] - without[name]).flatten() for name in whole]).norm()))
        return found

    assert max(distances()) <= clip * (1 + 1e-9)
    assert min(distances()) > clip * 0.99  # all are longer than that
    with monkeypatch.context() as planted:  # without clipping the bound is broken, and that is seen
        planted.setattr(
            privacy_gradients, "_clipped", lambda gradients, _: {name: one.sum(0) for name, one in gradients.items()}
        )
        assert max(distances()) > clip * 10
    # A clipping that clips each parameter alone, in place of all together, is seen.
    together = privacy_gradients._clipped
    monkeypatch.setattr(
        privacy_gradients,
        "_clipped",
        lambda gradients, norm: {name: together({name: one}, norm)[name] for name, one in gradients.items()},
    )
    assert max(distances()) > clip * 1.5


def test_a_row_without_a_finite_gradient_adds_nothing():
    step, batch, truth = double("concat")
    spoilt = {name: dict(leaves) for name, leaves in batch.items()}
    values = next(leaf for leaf in spoilt["right"] if leaf != "mask" and spoilt["right"][leaf].is_floating_point())
    spoilt["right"][values] = spoilt["right"][values].clone()
    spoilt["right"][values][2] = float("inf")
    rest = [0, 1, 3, 4, 5]
    found = clipped_sum(step, spoilt, truth, clip=1.0)
    expected = clipped_sum(step, part(batch, rest), {name: leaf[rest] for name, leaf in truth.items()}, clip=1.0)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-7)


def test_the_gradient_is_the_clipped_sum_with_noise_by_the_expected_number_of_rows():
    step, batch, truth = double("concat")
    made = descent(step, clip=0.5, noise=2.0)
    sums = clipped_sum(step, batch, truth, clip=0.5)
    made.set_gradients(step, batch, truth, number=3)
    whole = torch.cat([sums[name].flatten() for name, _ in step.named_parameters()])
    noise = Secret(bytes(BYTES)).noise(3, len(whole))
    torch.testing.assert_close(flat(step), (whole + 0.5 * 2.0 * noise) / 16, atol=1e-12, rtol=1e-9)


def test_an_empty_batch_is_noise_alone_of_the_right_deviation():
    step, _, _ = double("concat")
    made = descent(step, clip=0.5, noise=2.0)
    before = {name: one.clone() for name, one in step.named_parameters()}
    made.set_gradients(step, {}, {}, number=0)
    found = flat(step) * 16  # of 64 rows with a rate of a quarter
    assert len(found) == sum(one.numel() for one in before.values())
    assert float(found.std()) == pytest.approx(0.5 * 2.0, rel=0.1)
    assert float(found.mean()) == pytest.approx(0, abs=4 / len(found) ** 0.5)


def test_a_part_holds_no_more_gradients_than_its_bound(monkeypatch):
    step, batch, truth = double("concat")
    seen = []
    ours = privacy_gradients.gradients_by_row

    def watched(step, parameters, batch, truth, precision):
        seen.append(len(truth["mask"]))
        return ours(step, parameters, batch, truth, precision)

    monkeypatch.setattr(privacy_gradients, "gradients_by_row", watched)
    numbers = sum(one.numel() for one in trained(step).values())
    monkeypatch.setattr(privacy_gradients, "GRADIENTS", 2 * numbers)
    clipped_sum(step, batch, truth, clip=1.0)
    assert seen == [2, 2, 2]


def test_nothing_of_the_model_is_changed():
    step, batch, truth = double("concat")
    before = {name: one.clone() for name, one in step.state_dict().items()}
    clipped_sum(step, batch, truth, clip=1.0)
    assert all(torch.equal(one, before[name]) for name, one in step.state_dict().items())
    assert all(one.grad is None for one in step.parameters())
