"""Features of frozen encoders come out centred, at one norm, and the same whether a model encodes or is given them."""

import numpy as np
import pytest
import torch
from torch import nn

import mmkit
from mmkit.contract import Features
from mmkit.data.packed import Packed
from mmkit.encoders.fcn import FcnEncoder
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.features.scaling import NORM, Scaling, moments
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.model.network import Model
from mmkit.plugin import EncoderSpec, FusionSpec
from mmkit.system.settings import Settings

LENGTHS = [1, 4, 0, 2, 3, 4]


def features(width=5, *, pooled=True, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(4) < torch.tensor(LENGTHS).unsqueeze(1)
    tokens = scale * (torch.randn(*mask.shape, width, generator=generator) + 3)
    summary = scale * (torch.randn(len(LENGTHS), width, generator=generator) - 2) if pooled else None
    return Features.of(tokens, mask, summary)


def stored(whole):
    offsets = torch.cat((torch.zeros(1, dtype=torch.int64), whole.mask.sum(1).cumsum(0)))
    return Packed.of(whole.tokens[whole.mask], offsets, whole.pooled)


def fitted(whole, *, vectors):
    scaling = Scaling(whole.width, vectors=vectors)
    scaling.fit(stored(whole).vectors if vectors else stored(whole))
    return scaling


def expected(rows):
    """The slow form in float64."""
    wide = rows.double()
    centred = wide - wide.mean(0)
    return (NORM * centred / centred.square().sum(1).mean().sqrt()).float()


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_tokens_and_pooled_vectors_are_centred_and_scaled_to_the_norm(scale):
    whole = features(scale=scale)
    found = fitted(whole, vectors=False)(whole)
    torch.testing.assert_close(found.tokens[found.mask], expected(whole.tokens[whole.mask]), atol=1e-5, rtol=1e-4)
    there = whole.present()
    torch.testing.assert_close(found.pooled[there], expected(whole.pooled[there]), atol=1e-5, rtol=1e-4)
    assert not found.tokens[~found.mask].any()
    assert not found.pooled[~there].any()
    assert torch.equal(found.mask, whole.mask)


@pytest.mark.parametrize("pooled", [True, False])
def test_with_vectors_the_result_is_one_token(pooled):
    whole = features(pooled=pooled)
    found = fitted(whole, vectors=True)(whole)
    there = whole.present()
    assert found.tokens.shape == (len(LENGTHS), 1, 5)
    torch.testing.assert_close(found.vector()[there], expected(whole.vector()[there]), atol=1e-5, rtol=1e-4)
    assert not found.vector()[~there].any()


def test_unfitted_it_is_the_identity():
    whole = features()
    found = Scaling(5, vectors=False)(whole)
    assert torch.equal(found.tokens, whole.tokens)
    assert torch.equal(found.pooled, whole.pooled)


@pytest.mark.parametrize("rows", [torch.zeros(0, 3), torch.ones(1, 3), torch.full((7, 3), 2.5)])
def test_constant_features_are_only_centred(rows):
    scaling = Scaling(3, vectors=True)
    scaling.fit(Packed.of(rows, torch.arange(len(rows) + 1), None))
    assert scaling(Features.of(torch.ones(2, 3))).tokens.isfinite().all()


def test_moments_are_those_of_numpy_over_many_parts():
    rows = torch.randn(150_000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0]) + 100
    mean, norm = moments(rows)
    wide = rows.double().numpy()
    np.testing.assert_allclose(mean, wide.mean(0), rtol=1e-12)
    np.testing.assert_allclose(norm, np.sqrt(wide.var(0).sum()), rtol=1e-9)


def test_a_model_scales_encoded_and_given_features_alike():
    class Encode(nn.Module):
        width, frozen = 5, True

        def forward(self, batch):
            return Features.of(batch["values"], batch["mask"])

    whole = features(pooled=False)
    scaling = fitted(whole, vectors=True)
    fusion = ConcatFusion({"a": 5}, width=4)
    model = Model({"a": Encode()}, fusion, nn.Identity(), scalings={"a": scaling}).eval()
    raw = model.encode({"a": {"values": whole.tokens, "mask": whole.mask}})["a"]
    ready = model.encode({"a": stored(whole).vectors.rows(torch.arange(len(LENGTHS)))})["a"]
    torch.testing.assert_close(raw.tokens, ready.tokens)
    assert torch.equal(raw.mask, ready.mask)


class Large(FcnEncoder):
    """Frozen, with features of any scale."""

    def __init__(self, transform, *, scale: float = 1.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            super().__init__(transform, width=16)
        self.requires_grad_(requires_grad=False)
        self.scale, self.frozen = scale, True

    def train(self, mode=True):
        return super().train(mode=False)

    def forward(self, batch):
        with torch.no_grad():
            found = super().forward(batch)
        return Features.of(self.scale * found.tokens, found.mask)


def trained(fusion, tmp_path, **options):
    series = mmkit.installed().choose(
        "encoder",
        Large,
        {"noise": 0.0, "time_mask": 0.0, **options},
        spec=EncoderSpec("large", "", "", modality="series"),
    )
    asked = plan(
        mmkit.installed(),
        task="synthetic-unique:train=64,missing=0.2",
        encoders={"series": [series]},
        fusions=[fusion],
        training={"epochs": 3, "min_steps": 0},
        seeds=1,
        baselines=False,
        settings=Settings("cpu"),
    )
    record, model = execute(asked.runs()[0])
    return record, model, series


@pytest.mark.parametrize("fusion", ["concat", "attention", "late"])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_results_do_not_depend_on_the_scale_of_an_encoder(fusion, noise, tmp_path):
    one, other = (trained(fusion, tmp_path, scale=scale, noise=noise)[0] for scale in (1.0, 4096.0))
    for epoch, same in zip(one.history, other.history, strict=True):
        assert epoch["loss"] == pytest.approx(same["loss"], rel=1e-3)


def test_a_saved_model_keeps_its_scale(tmp_path):
    _, model, series = trained("concat", tmp_path, scale=100.0)
    scaling = model.module.scalings["left"]
    assert float(scaling.tokens_scale) != 1
    model.save(tmp_path / "model")
    again = mmkit.load(tmp_path / "model", components={series.name: series})
    torch.testing.assert_close(again.module.scalings["left"].state_dict(), scaling.state_dict(), rtol=0, atol=0)
    sample = [{"left": np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)}]
    assert again.predict(sample) == model.predict(sample)


def test_tokens_are_loaded_if_a_component_reads_them(tmp_path):
    class Whole(ConcatFusion):
        pass

    catalog = mmkit.installed()
    plain = catalog.choose("fusion", Whole, {}, spec=FusionSpec("whole", "", ""))
    flags = {
        name: trained(name, tmp_path)[1].module.scalings["left"].vectors for name in ("concat", "late", "attention")
    }
    assert flags == {"concat": True, "late": True, "attention": False}
    assert not trained(plain, tmp_path)[1].module.scalings["left"].vectors
