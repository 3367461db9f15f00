"""Batches on their way to the device, indexed there or made anew on the host; features kept for frozen encoders."""

import pytest
import torch
from torch import nn

import mmkit
from mmkit.data.dataset import Dataset
from mmkit.data.loader import Loader
from mmkit.data.packed import Packed
from mmkit.data.sampling import augmentation
from mmkit.data.splits import splits_of
from mmkit.encoders.tcn import TcnEncoder
from mmkit.features.cache import cache_entries
from mmkit.model.assembly import Transforms
from mmkit.model.combination import Combination
from mmkit.model.network import Model, OnlyFusion, encoder_widths
from mmkit.plugin import EncoderSpec
from mmkit.registry.catalog import installed
from mmkit.system.settings import Settings
from mmkit.training.frozen import Frozen

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]  # a warning of a new device breaks nothing

AUGMENTED = "cnn:shift=2,flip=0.5"
SMALL = {"epochs": 2, "min_steps": 0, "lr": 2e-3}


def datasets(encoder, device):
    """The training split of `digits` here, and on the device."""
    catalog = installed()
    splits = splits_of(catalog.choose("task", "digits"), catalog, Settings("cpu"))
    train = splits.with_truth("train")
    chosen = {
        "written": catalog.choose("encoder", encoder),
        "spoken": catalog.choose("encoder", "tcn:noise=0,time_mask=0"),
    }
    combination = Combination(chosen, catalog.choose("fusion", "concat"), catalog.choose("head", "linear"))
    transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth)
    here = Dataset.of(train, transforms.inputs, transforms.truth, augment=True)
    return here, here.to(device)


def same(there, here):
    for name, batch in here.items():
        for leaf, tensor in batch.items():
            assert torch.equal(there[name][leaf].cpu(), tensor), (name, leaf)


def test_batches_are_those_of_the_cpu(device):
    here, there = datasets("cnn", device)
    index = torch.randperm(here.size)[:32]
    batch, truth = there.batch(index.to(device))
    expected, known = here.batch(index)
    assert {leaf.device.type for leaves in (*batch.values(), truth) for leaf in leaves.values()} == {device.type}
    same({**batch, "truth": truth}, {**expected, "truth": known})


def test_what_is_made_anew_is_pinned_on_the_host_and_fetched_without_waiting(device):
    here, there = datasets(AUGMENTED, device)
    index = torch.arange(48)
    made = there.made_ahead(index, augmentation(0, 1, 0))
    assert list(made) == ["written"]
    assert all(leaf.is_pinned() == (device.type == "cuda") for leaf in made["written"].values())
    batch, _ = there.batch(index.to(device), ahead=made)
    same(batch, here.batch(index, augmentation(0, 1, 0))[0])


def test_threads_make_the_same_batches_while_the_device_is_busy(device):
    here, there = datasets(AUGMENTED, device)
    shown = torch.arange(here.size).split(16)
    busy = torch.randn(512, 512, device=device)
    found = []
    with Loader(2) as load:
        for number, made in enumerate(load(lambda i: there.made_ahead(shown[i], augmentation(0, 1, i)), len(shown))):
            batch, _ = there.batch(shown[number].to(device), ahead=made)
            found.append(batch)
            for _ in range(10):
                busy = busy @ busy * 1e-3
    for number, batch in enumerate(found):
        same(batch, here.batch(shown[number], augmentation(0, 1, number))[0])


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("lengths", [(3, 0, 5, 1), (2, 2, 2, 2), (0, 0, 0, 0)], ids=["ragged", "even", "missing"])
def test_rows_of_kept_features_are_those_of_the_cpu(lengths, pooled, device):
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    stored = Packed.of(torch.randn(int(offsets[-1]), 6), offsets, torch.randn(len(lengths), 6) if pooled else None)
    index = torch.tensor([2, 0, 3, 0, 1])
    for here, there in ((stored, stored.to(device)), (stored.vectors, stored.to(device).vectors)):
        expected, found = here.rows(index), there.rows(index.to(device))
        assert found.tokens.device.type == device.type
        torch.testing.assert_close(found.tokens.cpu(), expected.tokens)
        assert torch.equal(found.mask.cpu(), expected.mask)
        torch.testing.assert_close(found.vector().cpu(), expected.vector())


class FrozenTcn(TcnEncoder):
    """An encoder whose weights never change."""

    calls = 0

    def __init__(self, transform, *, width: int = 16):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            super().__init__(transform, width=width)
        self.requires_grad_(requires_grad=False)
        self.frozen = True

    def train(self, mode=True):
        return super().train(mode=False)

    def forward(self, batch):
        type(self).calls += 1
        with torch.no_grad():
            return super().forward(batch)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("fusion", ["concat", "attention"], ids=["vectors", "tokens"])
def test_features_of_a_frozen_encoder_are_computed_on_the_device_once_and_kept(fusion, precision, device, tmp_path):
    spec = EncoderSpec("frozen-tcn", "x:X", "Frozen", modality="series")
    choice = mmkit.installed().choose("encoder", FrozenTcn, {"noise": 0.0, "time_mask": 0.0}, spec=spec)

    def bench(folder, device):
        suite = mmkit.bench(
            task="synthetic-unique:train=64,missing=0.2", encoders={"series": choice}, fusion=fusion, seeds=1,
            baselines=False, training=SMALL, device=device, precision=precision, cost=False,
            yardsticks=False,
            out=tmp_path / folder, cache=tmp_path / "kept" / device,
        )  # fmt: skip
        assert [record.error for record in suite.records] == [None]
        return suite.records[0]

    first = bench("first", device.type)
    kept = {one.key: one.size for one in cache_entries(tmp_path / "kept" / device.type)}
    assert len(kept) == 6  # two inputs, three splits
    calls = FrozenTcn.calls
    again = bench("again", device.type)
    rehearsal = 2  # a forward of each input, whose features are not kept
    paced = 4  # two of each input, for the estimate of the time
    assert FrozenTcn.calls == calls + rehearsal + paced
    assert again.metrics == pytest.approx(first.metrics, abs=1e-6 if device.type == "cpu" else 0.02)
    on_cpu = bench("cpu", "cpu")
    assert first.history[0]["loss"] == pytest.approx(on_cpu.history[0]["loss"], rel=0.05)
    for one in cache_entries(tmp_path / "kept" / device.type):
        assert one.about["of"]["device"] == device.type


def test_kept_features_are_those_that_the_cpu_computes(device, tmp_path):
    """The copy from the device is waited for: what is kept is what was computed, in every batch."""
    catalog = installed()
    splits = splits_of(catalog.choose("task", "synthetic-unique:train=512"), catalog, Settings("cpu"))
    train = splits.with_truth("train")
    name = next(iter(splits.task.inputs))
    spec = EncoderSpec("frozen-tcn", "x:X", "Frozen", modality="series")
    choice = catalog.choose("encoder", FrozenTcn, {"noise": 0.0, "time_mask": 0.0, "width": 64}, spec=spec)
    combination = Combination({name: choice}, None, catalog.choose("head", "linear"))
    transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth)
    found = {}
    for place in ("cpu", device.type):
        encoder = FrozenTcn(transforms.inputs[name], width=64)
        model = Model({name: encoder}, OnlyFusion(encoder_widths({name: encoder})), nn.Identity()).to(place).eval()
        kept = Frozen(model, combination, transforms).dataset(train, augment=False).inputs[name]
        assert isinstance(kept, Packed)
        found[place] = kept.to(torch.device("cpu"))
    torch.testing.assert_close(found[device.type].tokens, found["cpu"].tokens, rtol=1e-3, atol=1e-4)
    assert torch.equal(found[device.type].offsets, found["cpu"].offsets)
