"""Runs on frozen encoders: features are computed once, and never met by anything that differs."""

import pytest
import torch

import mmkit
import mmkit.cli
from mmkit.encoders.fcn import FcnEncoder
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.features.cache import cache_entries
from mmkit.features.sharing import Shared
from mmkit.plugin import EncoderSpec
from mmkit.pretrained.tuning import Decay
from mmkit.system.settings import Settings

TASK = "synthetic-unique:train=48,missing=0.2"
SMALL = {"epochs": 3, "min_steps": 0}


class FrozenFcn(FcnEncoder):
    """An encoder whose weights come from elsewhere and never change."""

    calls = 0

    def __init__(self, transform, *, width: int = 16, origin: int = 0, decay: Decay = 1.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(origin)
            super().__init__(transform, width=width)
        self.requires_grad_(requires_grad=False)
        self.frozen = True

    def train(self, mode=True):
        return super().train(mode=False)

    def forward(self, batch):
        type(self).calls += 1
        with torch.no_grad():
            return super().forward(batch)


def chosen(**options):
    spec = EncoderSpec("frozen-fcn", "x:X", "Frozen", modality="series")
    return mmkit.installed().choose("encoder", FrozenFcn, {"noise": 0.0, "time_mask": 0.0, **options}, spec=spec)


def fit(cache=None, fusion="concat", precision="float32", training=SMALL, **options):
    asked = plan(
        mmkit.installed(),
        task=TASK,
        encoders={"series": [chosen(**options)]},
        fusions=[fusion],
        training=training,
        seeds=1,
        settings=Settings("cpu", precision),
    )
    FrozenFcn.calls = 0
    return execute(asked.runs()[0], shared=Shared(cache))


class TestRun:
    def test_each_sample_is_encoded_once_and_never_again(self, tmp_path):
        fit(tmp_path)
        batches = sum(-(-size // 64) for size in (48, 256, 512)) * 2
        assert FrozenFcn.calls == batches
        fit(tmp_path, fusion="gated")
        assert FrozenFcn.calls == 0
        assert all(one.about["samples"] in {48, 256, 512} for one in cache_entries(tmp_path))
        assert len(cache_entries(tmp_path)) == 6

    def test_the_cache_changes_nothing(self, tmp_path):
        first, model = fit(tmp_path)
        again, other = fit(tmp_path)
        without, third = fit(None)
        for record, one in ((again, other), (without, third)):
            assert record.history == first.history
            assert record.metrics == first.metrics
            for name, tensor in model.module.state_dict().items():
                assert torch.equal(tensor, one.module.state_dict()[name])
        assert first.encoded_once == ["left", "right"]

    def test_tokens_of_missing_inputs_learn_beside_features_from_the_cache(self, tmp_path):
        tokens = {**SMALL, "missing": "bank", "modality_dropout": 0.3, "lr": 0.05}
        first, model = fit(tmp_path, training=tokens)
        again, other = fit(tmp_path, training=tokens)
        assert FrozenFcn.calls == 0
        assert again.history == first.history
        found = {n: t for n, t in model.module.state_dict().items() if n.startswith("missing.tokens.")}
        assert len(found) == 2
        for name, token in found.items():
            assert torch.equal(token, other.module.state_dict()[name])
            assert (token.abs().amax(1) > 0.06).any()  # three deviations of where they began

    def test_frozen_weights_stay_to_the_bit_and_a_saved_model_holds_them(self, tmp_path):
        _, model = fit(tmp_path / "cache")
        fresh = FrozenFcn(model.transforms.inputs["left"])
        for name, tensor in fresh.state_dict().items():
            assert torch.equal(tensor, model.module.encoders["left"].state_dict()[name])
        model.save(tmp_path / "model")
        name = model.combination.encoders["left"].name
        again = mmkit.load(tmp_path / "model", components={name: chosen()})
        assert again.predict([{}]) == model.predict([{}])

    @pytest.mark.parametrize("options", [{"origin": 1}, {"width": 8}, {"max_length": 3}])
    def test_other_weights_options_or_transforms_never_meet_old_features(self, tmp_path, options):
        fit(tmp_path)
        fit(tmp_path, **options)
        assert FrozenFcn.calls > 0
        assert len(cache_entries(tmp_path)) == 12

    def test_options_of_training_alone_do_not_matter(self, tmp_path):
        fit(tmp_path)
        fit(tmp_path, decay=0.5)
        assert FrozenFcn.calls == 0
        assert len(cache_entries(tmp_path)) == 6

    def test_another_version_of_a_library_never_meets_old_features(self, tmp_path, monkeypatch):
        fit(tmp_path)
        monkeypatch.setattr("mmkit.features.extraction.of_features", lambda _: {"timm": "1.0.99"})
        fit(tmp_path)
        assert FrozenFcn.calls > 0
        assert len(cache_entries(tmp_path)) == 12

    def test_with_augmentation_training_samples_are_encoded_anew_and_that_is_said(self, tmp_path):
        record, _ = fit(tmp_path, noise=0.1)
        assert record.encoded_anew == ["left", "right"]
        assert len(cache_entries(tmp_path)) == 6  # validation and test, and what the scale is fitted on
        assert record.encoded_once == record.encoded_in_copies == []


def test_a_run_goes_on_in_memory_and_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match=r"cannot write features to .*: Not a directory; make room") as told:
        record, _ = fit(tmp_path / "file" / "cache")
    assert len(told) == 1
    assert record.metrics == fit(None)[0].metrics


def test_the_list_tells_splits_and_precisions_apart(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path))
    fit(tmp_path)
    fit(tmp_path, precision="bfloat16")
    with pytest.raises(SystemExit):
        mmkit.cli.main(["cache", "list"])
    lines = capsys.readouterr().out.splitlines()[:-1]
    assert {line.split("\t")[6] for line in lines} == {str(chosen())}
    assert sorted(line.split("\t")[4:6] for line in lines) == [
        [f"{name} of {split}", precision]
        for name in ("left", "right")
        for split in ("test", "train", "validation")
        for precision in ("bfloat16", "float32")
    ]
