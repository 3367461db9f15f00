"""Trained models: prediction from raw values, saving and loading without pickle or downloads."""

import functools
import json
import os
import socket
import stat

import numpy as np
import pyarrow as pa
import pytest
import torch

import mmkit
from mmkit.errors import ContractError, DataError, UnavailableError, UsageError
from mmkit.fusions.outputs.late import LateFusion
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.model import saving
from mmkit.plugin import FusionSpec

SMALL = {"epochs": 2, "min_steps": 0}
WHOLE = ["model.json", "model.safetensors", "trained_on.safetensors"]


def trained(task="synthetic-unique:train=48", **rest):
    return mmkit.fit(task=task, training=SMALL, device="cpu", **rest)[0]


@functools.cache
def raw(count=5, task="synthetic-unique:train=48"):
    chosen = mmkit.installed().choose("task", task)
    samples = chosen.component(**chosen.part(chosen.component)).split("test")
    return [{name: column[i] for name, column in samples.inputs.items()} for i in range(count)]


class TestPredict:
    def test_each_sample_gets_its_label_and_probabilities(self, model):
        answers = model.predict(raw())
        for answer in answers:
            assert set(answer) == {"label", "probabilities"}
            assert set(answer["probabilities"]) == {"00", "01", "10", "11"}
            assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
            assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)

    def test_an_input_may_be_none_or_left_out(self, model):
        samples = raw()
        none = model.predict([{**sample, "left": None} for sample in samples])
        assert none == model.predict([{"right": sample["right"]} for sample in samples])
        assert none != model.predict(samples)
        assert len(model.predict([{}, {"left": None}])) == 2

    def test_answers_do_not_depend_on_other_samples_or_the_batch_size(self, model):
        samples = [*raw(), {}, {"left": raw()[0]["left"]}]
        together = model.predict(samples)
        for answers in (model.predict(samples, batch_size=2), [model.predict([s])[0] for s in samples]):
            for one, other in zip(together, answers, strict=True):
                assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)

    def test_labels_are_those_above_one_half_and_numbers_are_in_the_users_units(self, titles):
        def of(kind):
            chosen = mmkit.installed().choose("task", titles, {"kind": kind})
            return trained(chosen).predict([{"title": "a red house"}, {}])

        for answer in of("labels"):
            assert set(answer["probabilities"]) == {"hot", "on"}
            assert answer["labels"] == [name for name, p in answer["probabilities"].items() if p > 0.5]
        for answer in of("scalar"):
            assert list(answer) == ["value"]
            assert -5 < answer["value"] < 10  # the truth is between -2 and 7, hardly any of it is learned

    def test_no_samples_give_no_answers(self, model):
        assert model.predict([]) == []

    def test_samples_may_stand_in_an_array_of_objects(self, model):
        assert model.predict(np.array(raw(), dtype=object)) == model.predict(raw())
        assert model.predict(np.array([], dtype=object)) == []

    @pytest.mark.parametrize(
        ("samples", "message"),
        [
            ({"left": None}, "predict takes a list of samples, each a mapping of names to values; got one mapping"),
            (pa.table({"left": [1]}), r"got a Table: model.answers\(data\) gives the answers to a table"),
            ("new.csv", r"got a str: model.answers\(data\) gives the answers to a table"),
            ((one for one in [{}]), r"got a generator: give list\(\.\.\.\)"),
            (3, "predict takes a list of samples, each a mapping of names to values; got a int"),
            (["left"], "sample 0 is a str; expected a mapping of names to values"),
            ([{}, None], "sample 1 is a NoneType; expected a mapping"),
        ],
    )
    def test_wrong_samples_are_an_error(self, model, samples, message):
        with pytest.raises(UsageError, match=message):
            model.predict(samples)

    def test_a_batch_has_a_sample_at_least(self, model):
        with pytest.raises(UsageError, match="on_error is one of fail, skip, missing; got shrug"):
            model.predict(raw(), on_error="shrug")
        with pytest.raises(UsageError, match="batch_size is 1 or more; got 0"):
            model.predict([{}], batch_size=0)
        with pytest.raises(UsageError, match=r"batch_size is 1 or more; got 1\.5"):
            model.predict([{}], batch_size=1.5)

    def test_a_model_in_training_mode_predicts_without_dropout(self, model):
        answers = model.predict(raw())
        model.module.train()
        assert model.predict(raw()) == answers

    def test_the_error_of_an_unknown_input_lists_the_known_ones(self, model):
        with pytest.raises(UsageError, match="sample 1 has an unknown input 'lft'; did you mean left"):
            model.predict([{}, {"lft": 1}])

    def test_a_value_that_cannot_be_read_is_named_or_counts_as_missing(self, model):
        bad = {**raw()[0], "left": "no series"}
        with pytest.raises(DataError, match=r'sample 0, input left: .*; on_error="skip" drops such samples'):
            model.predict([bad])
        assert model.predict([bad], on_error="missing") == model.predict([{**bad, "left": None}])


class TestSaved:
    @pytest.mark.parametrize("kind", ["classes", "labels", "scalar"])
    def test_a_loaded_model_answers_the_same_to_the_bit(self, kind, tmp_path, monkeypatch, titles):
        chosen = mmkit.installed().choose("task", titles, {"kind": kind})
        model = trained(chosen, encoders={"title": "text-rnn", "type": "ft-transformer"})
        model.save(tmp_path / "deep" / "model")
        monkeypatch.chdir(tmp_path)
        samples = [
            {"title": "我爱红房子", "type": {"size": None, "shop": "new"}},
            {"title": "sea"},
            {"type": {"size": 2}},
            {},
        ]
        assert mmkit.load("deep/model").predict(samples) == model.predict(samples)

    @pytest.mark.parametrize("fusion", ["attention", "late", "tensor"])
    def test_at_every_level_of_fusion(self, fusion, tmp_path):
        model = trained(fusion=fusion)
        model.save(tmp_path / "model")
        assert mmkit.load(tmp_path / "model").predict(raw()) == model.predict(raw())

    def test_a_folder_holds_readable_json_and_safetensors_and_no_more(self, model, tmp_path):
        model.save(tmp_path / "model")
        assert sorted(path.name for path in (tmp_path / "model").iterdir()) == WHOLE
        description = json.loads((tmp_path / "model" / "model.json").read_text())
        assert description["inputs"] == {"left": "series", "right": "series"}
        assert description["plugins"] == {"mmkit-core": mmkit.__version__}
        assert (tmp_path / "model" / "model.safetensors").read_bytes()[8:9] == b"{"

    @pytest.mark.parametrize(
        "encoders",
        [
            {"title": "bag", "photo": "cnn", "sound": "mel-cnn", "signal": "tcn", "type": "table-mlp"},
            {"title": "text-rnn", "photo": "lenet", "sound": "mel-rnn", "signal": "series-rnn", "type": "table-mlp"},
            {"title": "text-transformer:tokenizer=bpe", "photo": "resnet", "type": "ft-transformer"},
        ],
    )
    def test_with_every_encoder(self, everything, encoders, tmp_path):
        task = everything()
        samples = task.split("test")
        model = mmkit.fit(task=everything, encoders=encoders, training={"epochs": 1, "min_steps": 0}, device="cpu")[0]
        model.save(tmp_path / "model")
        rows = [{name: column[i] for name, column in samples.inputs.items()} for i in range(4)]
        assert mmkit.load(tmp_path / "model").predict(rows) == model.predict(rows)

    def test_saving_replaces_a_model_and_nothing_beside_it(self, model, tmp_path, monkeypatch):
        other = trained(seed=1)
        model.save(tmp_path / "model")
        (tmp_path / "model" / "notes.txt").write_text("mine")
        (tmp_path / "link").symlink_to(tmp_path / "model")
        for folder in (tmp_path / "model", tmp_path / "link", "."):
            model.save(tmp_path / "model")
            monkeypatch.chdir(tmp_path / "model")
            other.save(folder)
            assert mmkit.load(tmp_path / "model").predict(raw()) == other.predict(raw())
        names = sorted([*WHOLE, "notes.txt"])
        assert sorted(path.name for path in (tmp_path / "model").iterdir()) == names

    @pytest.mark.parametrize("theirs", ["dear.txt", "model.json"])
    def test_a_folder_with_other_files_is_not_written_to(self, model, tmp_path, theirs):
        (tmp_path / theirs).write_text('{"name": "of another program"}')
        with pytest.raises(UsageError, match="holds no model of mmkit; choose an empty or a new folder"):
            model.save(tmp_path)
        assert [path.read_text() for path in tmp_path.iterdir()] == ['{"name": "of another program"}']

    def test_a_file_is_not_replaced(self, model, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match="holds no model of mmkit"):
            model.save(tmp_path / "file")
        with pytest.raises(UsageError, match=r"cannot write to .*; choose another folder"):
            model.save(tmp_path / "file" / "model")

    def test_a_failed_save_keeps_the_old_model(self, model, tmp_path, monkeypatch):
        model.save(tmp_path)

        def full(*given, **named):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(saving, "save_model", full)
        with pytest.raises(UsageError, match="No space left on device"):
            trained(seed=1).save(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == WHOLE
        assert mmkit.load(tmp_path).predict(raw()) == model.predict(raw())

    @pytest.mark.skipif(os.name != "posix", reason="there are no such permissions elsewhere")
    def test_file_permissions_follow_the_umask(self, model, tmp_path):
        before = os.umask(0o027)
        try:
            model.save(tmp_path / "model")
        finally:
            os.umask(before)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").iterdir()}
        assert modes == {0o640}

    def test_the_state_of_transforms_must_be_plain_json(self, model, tmp_path, monkeypatch):
        monkeypatch.setattr(type(model.transforms.truth), "state", lambda self: {"mean": float("nan")})
        with pytest.raises(ContractError, match="the state of a transform is not plain JSON"):
            model.save(tmp_path / "model")
        assert not (tmp_path / "model").exists()

    def test_loading_does_not_use_the_network(self, model, tmp_path, monkeypatch):
        model.save(tmp_path)

        def refused(*given, **named):
            raise AssertionError("somebody opened a socket")

        monkeypatch.setattr(socket, "socket", refused)
        assert mmkit.load(tmp_path).predict(raw()) == model.predict(raw())

    def test_a_component_given_as_a_class_must_be_given_to_load(self, tmp_path):
        class Mine(ConcatFusion):
            """A fusion of a notebook."""

        model = trained(fusion=Mine)
        model.save(tmp_path / "model")
        with pytest.raises(
            UnavailableError,
            match=r"was made with mmkit-core .*Mine was given as a class and is not installed; give it",
        ):
            mmkit.load(tmp_path / "model")
        name = model.combination.fusion.name
        again = mmkit.load(tmp_path / "model", components={name: Mine})
        assert again.predict(raw()) == model.predict(raw())

    def test_a_class_with_a_spec_is_given_as_a_choice(self, tmp_path):
        class Mine(LateFusion):
            """A fusion of outputs, of a notebook."""

        chosen = mmkit.installed().choose("fusion", Mine, spec=FusionSpec("mine", "", "", combines="outputs"))
        model = trained(fusion=chosen)
        model.save(tmp_path / "model")
        again = mmkit.load(tmp_path / "model", components={chosen.name: chosen})
        assert again.predict(raw()) == model.predict(raw())

    def test_inference_needs_no_gradient_and_dropout_is_off(self, model, tmp_path):
        model.save(tmp_path / "model")
        model = mmkit.load(tmp_path / "model")
        assert not model.module.training
        assert model.predict(raw()) == model.predict(raw())


def test_loading_leaves_the_global_generator_as_it_was(model, tmp_path):
    model.save(tmp_path / "model")
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    mmkit.load(tmp_path / "model")
    assert torch.equal(torch.rand(1), expected)
