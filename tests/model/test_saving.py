"""A saved model that is damaged, exchanged or made by another version is refused, and the reason is said."""

import copy
import functools
import json
import re
import warnings

import pytest

import mmkit
from mmkit.errors import DataError, MmkitError, UnavailableError
from mmkit.model.description import signed
from mmkit.model.trained import MultimodalModel

SMALL = {"epochs": 2, "min_steps": 0}


def trained(task="synthetic-unique:train=48", **rest):
    return mmkit.fit(task=task, training=SMALL, device="cpu", **rest)[0]


@functools.cache
def raw(count=5, task="synthetic-unique:train=48"):
    chosen = mmkit.installed().choose("task", task)
    samples = chosen.component(**chosen.part(chosen.component)).split("test")
    return [{name: column[i] for name, column in samples.inputs.items()} for i in range(count)]


def places(tree, path=()):
    """The way to every value of a JSON document."""
    for key in tree if isinstance(tree, dict) else range(min(len(tree), 2)) if isinstance(tree, list) else ():
        yield (*path, key)
        yield from places(tree[key], (*path, key))


def changed(tree, path, value):
    """The document with another value in one place, or none."""
    tree = copy.deepcopy(tree)
    *way, last = path
    place = tree
    for key in way:
        place = place[key]
    if value == "gone":
        del place[last]
    else:
        place[last] = value
    return tree


class TestRefused:
    @pytest.fixture
    def folder(self, model, tmp_path):
        model.save(tmp_path / "model")
        return tmp_path / "model"

    @staticmethod
    def rewrite(folder, change):
        path = folder / "model.json"
        description = json.loads(path.read_text())
        change(description)
        path.write_text(signed(description, description["weights"]))

    def test_a_plugin_that_is_not_installed_is_named_with_its_version(self, folder):
        def change(description):
            description["combination"]["fusion"]["name"] = "acme-fusion/braid"
            description["plugins"]["acme-fusion"] = "2.1"

        self.rewrite(folder, change)
        with pytest.raises(
            UnavailableError, match=r"was made with mmkit-core .*acme-fusion 2\.1; on this machine: there is no fusion"
        ):
            mmkit.load(folder)

    def test_a_plugin_of_another_version_is_said(self, folder):
        self.rewrite(folder, lambda description: description["plugins"].update({"mmkit-core": "0.0.1"}))
        with pytest.warns(UserWarning, match=r"was made with mmkit-core 0\.0\.1; installed is"):
            model = mmkit.load(folder)
        assert model.predict(raw())

    def test_the_same_version_says_nothing(self, folder):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mmkit.load(folder)

    @pytest.mark.parametrize("content", ["", "[]", "{}", "\x00", '{"schema": 4}'])
    def test_a_description_that_is_none_is_said(self, folder, content):
        (folder / "model.json").write_text(content)
        with pytest.raises(DataError, match="holds no readable model of mmkit"):
            mmkit.load(folder)

    def test_whatever_is_changed_in_a_description_is_said_in_one_line_or_does_no_harm(self, tmp_path, titles):
        model = trained(mmkit.installed().choose("task", titles), encoders={"title": "bag", "type": "table-mlp"})
        model.save(tmp_path)
        path = tmp_path / "model.json"
        whole = json.loads(path.read_text("utf-8"))
        catalog = mmkit.installed()
        said = []
        for place in places(whole):
            for change in ("gone", None, 7, -1, "?", [], {}):
                path.write_text(json.dumps(changed(whole, place, change)))
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        mmkit.load(tmp_path, catalog=catalog)
                except MmkitError as error:
                    said.append(str(error))
        assert len(said) > 300
        assert [line for line in said if str(tmp_path) not in line or "\n" in line] == []

    def test_a_description_of_the_future_is_not_guessed_at(self, folder):
        self.rewrite(folder, lambda description: description.update(schema=9))
        with pytest.raises(DataError, match="has schema 9; this version of mmkit reads 4"):
            mmkit.load(folder)

    def test_a_folder_that_is_not_there_is_said(self, tmp_path):
        with pytest.raises(DataError, match=r"there is no folder .*nowhere$"):
            MultimodalModel.load(tmp_path / "nowhere")

    def test_the_folder_that_was_meant_is_named(self, folder):
        meant = re.escape(str(folder))
        with pytest.raises(DataError, match=rf"^there is no folder {meant[:-1]}; did you mean {meant}\?$"):
            mmkit.load(str(folder)[:-1])
        with pytest.raises(DataError, match=rf"model of mmkit \(it has no model.json\); did you mean {meant}\?$"):
            mmkit.load(folder.parent)

    @pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", None])
    def test_weights_that_are_damaged_a_pickle_or_gone_are_refused(self, folder, content):
        path = folder / "model.safetensors"
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(
            DataError, match=r"model\.safetensors (does not fit model\.json beside it|cannot be read: No )"
        ):
            mmkit.load(folder)

    def test_weights_that_were_cut_off_are_refused(self, folder):
        content = (folder / "model.safetensors").read_bytes()
        for kept in (4, 100, len(content) // 2, len(content) - 1):
            (folder / "model.safetensors").write_bytes(content[:kept])
            with pytest.raises(DataError, match=r"does not fit model\.json beside it"):
                mmkit.load(folder)

    def test_weights_of_the_same_shape_that_were_learned_of_other_words_are_refused(self, tmp_path, titles):
        class Renamed(titles):  # type: ignore[misc, valid-type]
            def split(self, name):
                samples = super().split(name)
                titles = [title.replace("red", "green") for title in samples.inputs["title"]]
                return mmkit.Samples(samples.ids, {**samples.inputs, "title": titles}, samples.truth)

        for name, task in (("one", titles), ("two", Renamed)):
            trained(task).save(tmp_path / name)
        weights = [tmp_path / name / "model.safetensors" for name in ("one", "two")]
        assert weights[0].stat().st_size == weights[1].stat().st_size
        weights[0].write_bytes(weights[1].read_bytes())
        with pytest.raises(DataError, match=r"does not fit model\.json beside it: it is damaged, or of another model"):
            mmkit.load(tmp_path / "one")

    def test_weights_of_another_model_are_refused(self, folder, tmp_path):
        trained(fusion="concat").save(tmp_path / "other")
        (folder / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
        with pytest.raises(
            DataError, match=r"does not fit model\.json beside it: it is damaged, or of another model"
        ) as raised:
            mmkit.load(folder)
        assert "\n" not in str(raised.value)
