"""Features of frozen encoders: computed once, the same as without a cache, and never met by anything that differs."""

import json

import numpy as np
import pytest
import torch

import mmkit
import mmkit.cli
from mmkit.cache import Stored, clear, default_folder, digest, encoded, held
from mmkit.contract import Features
from mmkit.encoders.tcn import TcnEncoder
from mmkit.plugin import EncoderSpec

TASK = "synthetic-unique:train=48,missing=0.2"
SMALL = {"epochs": 3, "min_steps": 0}


class FrozenTcn(TcnEncoder):
    """An encoder whose weights come from elsewhere and never change."""

    calls = 0

    def __init__(self, transform, *, width: int = 16, origin: int = 0):
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
    spec = EncoderSpec("frozen-tcn", "x:X", "Frozen", modality="series")
    return mmkit.installed().choose("encoder", FrozenTcn, {"noise": 0.0, "time_mask": 0.0, **options}, spec=spec)


def fit(cache=None, fusion="concat", **options):
    from mmkit.plan import plan
    from mmkit.run import execute

    asked = plan(
        mmkit.installed(),
        task=TASK,
        encoders={"series": [chosen(**options)]},
        fusions=[fusion],
        training=SMALL,
        seeds=1,
        device="cpu",
    )
    FrozenTcn.calls = 0
    return execute(asked.runs()[0], cache=cache)


class TestStored:
    @staticmethod
    def features(lengths, width=3, seed=0):
        generator = torch.Generator().manual_seed(seed)
        mask = torch.arange(max(*lengths, 1)) < torch.tensor(lengths).unsqueeze(1)
        return Features.of(torch.randn(*mask.shape, width, generator=generator), mask)

    def stored(self, lengths):
        whole = self.features(lengths)
        parts = [Features(whole.tokens[i : i + 2], whole.mask[i : i + 2]) for i in range(0, len(lengths), 2)]
        return whole, encoded(
            lambda values: parts[values[0] // 2], list(range(len(lengths))), None, "", {}, batch_size=2
        )

    @pytest.mark.parametrize("lengths", [[4, 4, 4, 4, 4], [1, 4, 0, 2, 3], [0, 0, 0], [1]])
    def test_rows_are_those_of_the_whole(self, lengths):
        whole, stored = self.stored(lengths)
        for index in (torch.arange(len(lengths)), torch.tensor([len(lengths) - 1, 0])):
            found = stored.rows(index)
            longest = max(int(whole.mask[index].sum(1).max()), 1)
            assert torch.equal(found.mask, whole.mask[index][:, :longest])
            assert torch.equal(found.tokens, whole.tokens[index][:, :longest])

    def test_samples_of_one_length_need_no_padding(self):
        assert self.stored([4, 4, 4])[1].length == 4
        assert self.stored([4, 3, 4])[1].length is None


class TestDigest:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (["ab", "c"], ["a", "bc"]),
            ([1, None], [None, 1]),
            ([1], [True]),
            ([1], [1.0]),
            (torch.zeros(2, 3), torch.zeros(3, 2)),
            (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
            ({"a": 1}, {"b": 1}),
            ([[1], [2]], [[1, 2]]),
            (np.zeros(2, np.float32), torch.zeros(2)),
            (b"a", "a"),
            (torch.zeros(0), torch.zeros(0, 2)),
        ],
    )
    def test_what_differs_has_another_digest(self, one, other):
        assert digest(one) != digest(other)

    def test_what_is_the_same_has_the_same(self):
        assert digest({"a": torch.ones(2), "b": ["x", None]}) == digest({"b": ["x", None], "a": torch.ones(2)})

    def test_what_cannot_be_told_apart_is_refused(self):
        with pytest.raises(TypeError, match="values of object cannot be told apart"):
            digest([object()])


class TestRun:
    def test_each_sample_is_encoded_once_and_never_again(self, tmp_path):
        fit(tmp_path)
        batches = sum(-(-size // 64) for size in (48, 256, 512)) * 2
        assert FrozenTcn.calls == batches
        fit(tmp_path, fusion="gated")
        assert FrozenTcn.calls == 0
        assert all(one.about["samples"] in {48, 256, 512} for one in held(tmp_path))
        assert len(held(tmp_path)) == 6

    def test_the_cache_changes_nothing(self, tmp_path):
        first, model = fit(tmp_path)
        again, other = fit(tmp_path)
        without, third = fit(None)
        for record, one in ((again, other), (without, third)):
            assert record["history"] == first["history"]
            assert record["metrics"] == first["metrics"]
            for name, tensor in model.module.state_dict().items():
                assert torch.equal(tensor, one.module.state_dict()[name])
        assert first["encoded_once"] == ["left", "right"]

    def test_frozen_weights_stay_to_the_bit_and_a_saved_model_holds_them(self, tmp_path):
        _, model = fit(tmp_path / "cache")
        fresh = FrozenTcn(model.transforms.inputs["left"])
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
        assert FrozenTcn.calls > 0
        assert len(held(tmp_path)) == 12

    def test_with_augmentation_training_samples_are_encoded_anew_and_that_is_said(self, tmp_path):
        record, _ = fit(tmp_path, noise=0.1)
        assert record["encoded_anew"] == ["left", "right"]
        assert len(held(tmp_path)) == 4  # validation and test


class TestPass:
    """One pass of encoding, and what may happen to it."""

    values = tuple(range(10))

    def encode(self, values):
        self.seen.extend(values)
        if self.stop and len(self.seen) > self.stop:
            raise KeyboardInterrupt
        return Features.of(
            torch.tensor(values).float().reshape(-1, 1, 1).expand(-1, 2, 1),
            pooled=torch.tensor(values).float()[:, None],
        )

    def run(self, folder, stop=None):
        self.seen, self.stop = [], stop
        return encoded(self.encode, self.values, folder, "key", {"encoder": "x"}, batch_size=2)

    def test_an_interrupted_pass_goes_on_where_it_stopped(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            self.run(tmp_path, stop=6)
        assert held(tmp_path)[0].about is None
        found = self.run(tmp_path)
        assert self.seen == [6, 7, 8, 9]
        assert found.pooled.flatten().tolist() == list(range(10))
        assert sorted(path.name for path in (tmp_path / "key").iterdir() if path.suffix) == [
            "about.json",
            "offsets.npy",
            "pooled.npy",
            "tokens.npy",
        ]

    def test_what_is_written_to_features_does_not_reach_the_file(self, tmp_path):
        self.run(tmp_path).tokens.zero_()
        assert self.run(tmp_path).tokens.sum() == 90

    def test_features_in_half_precision_are_kept_in_full(self):
        half = Features.of(torch.ones(2, 3, 4, dtype=torch.bfloat16))
        assert encoded(lambda _: half, [0, 1], None, "", {}).tokens.dtype == torch.float32

    def test_held_and_clear(self, tmp_path):
        self.run(tmp_path)
        (one,) = held(tmp_path)
        assert (one.key, one.about["samples"], one.about["tokens"], one.about["of"]) == (
            "key",
            10,
            20,
            {"encoder": "x"},
        )
        assert clear(tmp_path, ["key"]) == one.size
        assert held(tmp_path) == []
        assert held(tmp_path / "nowhere") == []


class TestCommand:
    @staticmethod
    def call(capsys, *arguments):
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main(["cache", *arguments])
        return end.value.code, *capsys.readouterr()

    def test_list_and_clear(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("MMKIT_CACHE", str(tmp_path))
        assert self.call(capsys, "list")[1].startswith("0 entries")
        TestPass().run(tmp_path)
        code, out, _ = self.call(capsys, "list")
        assert (code, out.split("\t")[0], out.split("\t")[2:4]) == (0, "key", ["10 samples", "x"])
        assert json.loads(self.call(capsys, "list", "--json")[1])["entries"][0]["key"] == "key"
        assert self.call(capsys, "clear")[0] == 2
        assert "the cache has no kye; did you mean key?" in self.call(capsys, "clear", "kye")[2]
        assert "1 entries removed" in self.call(capsys, "clear", "--all")[1]

    def test_where_it_is(self):
        assert str(default_folder({"MMKIT_CACHE": "/x"})) == "/x"
        assert str(default_folder({"XDG_CACHE_HOME": "/c"})) == "/c/mmkit/features"


def test_stored_features_are_what_a_model_reads():
    assert isinstance(Stored.of(torch.ones(2, 3), torch.tensor([0, 1, 2]), None).rows(torch.tensor([1])), Features)
