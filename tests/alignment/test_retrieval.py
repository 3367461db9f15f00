"""Retrieval and zero-shot classification from Python, on coloured squares, with encoders whose values are known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import mmkit
from mmkit.alignment.embedder import Embedder
from mmkit.alignment.zero_shot import _class_vectors
from mmkit.contract import Features
from mmkit.data.splits import splits_of
from mmkit.encoders.cnn import CnnEncoder
from mmkit.errors import DataError, MmkitError, UsageError
from mmkit.features.sharing import Shared
from mmkit.system.settings import Settings

COLOURS = {"red": (1.0, 0.1, 0.1), "green": (0.1, 1.0, 0.1), "blue": (0.1, 0.1, 1.0)}


class Coloured:
    """Squares of three colours, each with a title that names its colour; the label of red is spelt "r_e_d"."""

    description = "Squares."
    lacking = False

    def __init__(self):
        self.inputs = {"square": "image", "title": "text", "row": "table"}
        self.target, self.metric = "classes", "accuracy"
        self.encoders, self.training = {}, {}

    def split(self, name):
        count = {"train": 60, "validation": 30, "test": 24}[name]
        colours = [list(COLOURS)[i % 3] for i in range(count)]
        shades = [0.4 + 0.6 * (i + len(name) / 10) / count for i in range(count)]
        squares = [
            (torch.tensor(COLOURS[c]).view(3, 1, 1) * 255 * s).to(torch.uint8).expand(3, 8, 8)
            for c, s in zip(colours, shades, strict=True)
        ]
        titles = [f"{c.title() if i % 2 else c}  thing" for i, c in enumerate(colours)]
        if self.lacking:
            squares[0], titles[1] = None, None
        labels = {"red": "r_e_d", "green": "green", "blue": "blue"}
        return mmkit.Samples(
            [f"{name}{i}" for i in range(count)],
            {"square": squares, "title": titles},
            [labels[c] for c in colours],
        )


class Lacking(Coloured):
    lacking = True


class Plain:
    """A transform that applies `one` to each value; nothing is fitted."""

    augments = False
    one: Callable[[Any], Any]

    def fit(self, values):
        pass

    def __call__(self, values, generator=None):
        mask = torch.tensor([value is not None for value in values])
        return {"values": torch.stack([self.one(value) for value in values]), "mask": mask}

    def state(self):
        return {}

    def restore(self, state):
        pass


class Pixels(Plain):
    def one(self, value):
        return torch.zeros(3) if value is None else value.float().mean((1, 2)) / 255


class Words(Plain):
    def one(self, value):
        said = [torch.tensor(COLOURS[word]) for word in (value or "").lower().split() if word in COLOURS]
        return torch.stack(said).sum(0) if said else torch.ones(3)


class Frozen(nn.Module):
    """Applies its weight, by default the identity, to what the transform gives."""

    frozen = True
    width = 3
    calls = 0

    def __init__(self, transform):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(self.width, 3), requires_grad=False)

    def forward(self, batch):
        type(self).calls += 1
        return Features.of(batch["values"] @ self.weight.T, batch["mask"])


class Looking(Frozen):
    reads = Pixels


class Reading(Frozen):
    reads = Words


class Wide(Frozen):
    """A text encoder whose vectors lie in another space, of another width."""

    reads = Words
    width = 5

    def __init__(self, transform):
        super().__init__(transform)
        turn = torch.randn(5, 3, generator=torch.Generator().manual_seed(4))
        self.weight = nn.Parameter(torch.linalg.qr(turn)[0], requires_grad=False)


PAIR = {"square": Looking, "title": Reading}


def retrieve(cache, encoders=None, task=Coloured, **rest):
    return mmkit.retrieve(task=task, encoders=encoders or PAIR, cache=cache, device="cpu", **rest)


def zero_shot(cache, task=Coloured, text=Reading, **rest):
    return mmkit.zero_shot(
        task=task, input="square", encoder=Looking, text_encoder=text, cache=cache, device="cpu", **rest
    )


class TestRetrieve:
    def test_matching_inputs_are_ranked_first(self, tmp_path):
        found = retrieve(tmp_path)
        assert set(found.directions) == {"square -> title", "title -> square"}
        # Each title occurs eight times among 24; all eight are right.
        assert found.directions["square -> title"] == {
            "recall@1": 1, "recall@5": 1, "recall@10": 1, "mrr": 1, "median_rank": 1
        }  # fmt: skip
        assert found.directions["title -> square"]["mrr"] == 1
        assert (found.samples, found.left_out, found.strength) == (24, 0, None)
        assert found.chance == pytest.approx(8 / 24)
        assert found.document()["options"]["split"] == "test"

    def test_groups_that_intervals_are_over_are_named(self, tmp_path):
        class Grouped(Coloured):
            def split(self, name):
                samples = super().split(name)
                groups = {"drawer": [str(place // 4) for place in range(len(samples))]}
                return mmkit.Samples(samples.ids, samples.inputs, samples.truth, groups)

        assert retrieve(tmp_path, task=Grouped).intervals_over == ["drawer"]
        assert zero_shot(tmp_path, Grouped).document()["intervals_over"] == ["drawer"]
        assert retrieve(tmp_path).intervals_over == zero_shot(tmp_path).intervals_over == []

    def test_an_encoder_that_swaps_colours_retrieves_none(self, tmp_path):
        class Wrong(Looking):
            def __init__(self, transform):
                super().__init__(transform)
                self.weight = nn.Parameter(torch.eye(3).roll(1, 0), requires_grad=False)

        found = retrieve(tmp_path, {"square": Wrong, "title": Reading})
        assert found.directions["square -> title"]["recall@1"] == 0
        assert found.directions["square -> title"]["mrr"] < 0.2

    def test_a_second_call_computes_nothing(self, tmp_path):
        first = retrieve(tmp_path)
        Frozen.calls = Looking.calls = Reading.calls = 0
        assert retrieve(tmp_path).directions == first.directions
        assert Looking.calls == Reading.calls == 0
        assert retrieve(tmp_path, split="validation").samples == 30
        assert Looking.calls > 0

    def test_a_ridge_map_aligns_two_spaces(self, tmp_path):
        encoders = {"square": Looking, "title": Wide}
        with pytest.raises(
            UsageError,
            match=r"vectors of square have 3 values and those of title 5.*two towers of one model.*--map ridge",
        ):
            retrieve(tmp_path, encoders)
        found = retrieve(tmp_path, encoders, map="ridge")
        assert found.strength is not None
        assert found.directions["square -> title"]["recall@1"] == 1

    def test_the_test_split_is_read_last_and_once(self, tmp_path):
        splits = []

        class Watched(Coloured):
            def split(self, name):
                splits.append(name)
                return super().split(name)

        retrieve(tmp_path, {"square": Looking, "title": Wide}, Watched, map="ridge")
        assert splits == ["train", "validation", "test"]

    def test_samples_that_lack_an_input_are_left_out_and_counted(self, tmp_path):
        found = retrieve(tmp_path, task=Lacking)
        assert (found.samples, found.left_out) == (22, 2)
        assert found.directions["square -> title"]["recall@1"] == 1

    def test_an_input_may_be_named_by_its_modality(self, tmp_path):
        assert set(retrieve(tmp_path, {"image": Looking, "text": Reading}).encoders) == {"square", "title"}

    @pytest.mark.parametrize(
        ("encoders", "options", "message"),
        [
            ({"square": Looking}, {}, "retrieval takes encoders of two inputs; got those of square"),
            ({"sqare": Looking, "title": Reading}, {}, "the task has no input sqare; did you mean square"),
            ({"square": Looking, "title": "cnn"}, {}, "encoder cnn reads image, and input title is text"),
            ({"square": CnnEncoder, "title": Reading}, {}, "of input square is not frozen, and nothing is trained"),
            ({**PAIR, "row": Looking}, {}, "got those of square, title, row"),
            ({**PAIR, "text": Reading}, {}, "title, the only one of modality text, is given two encoders; give one"),
            (PAIR, {"split": "tset"}, "split is one of train, validation, test; got tset"),
            (PAIR, {"map": "cca"}, "map is one of none, ridge; got cca"),
            (PAIR, {"precision": "int4"}, "precision is one of .*; got int4"),
            (PAIR, {"seed": -1}, "seed is 0 or more"),
        ],
    )
    def test_an_impossible_request_is_an_error(self, tmp_path, encoders, options, message):
        with pytest.raises(UsageError, match=message):
            retrieve(tmp_path, encoders, **options)

    def test_a_task_without_pairs_is_an_error(self, tmp_path):
        class Apart(Coloured):
            def split(self, name):
                samples = super().split(name)
                return mmkit.Samples(samples.ids, {"square": samples.inputs["square"]}, samples.truth)

        with pytest.raises(DataError, match="0 samples have both inputs square and title; expected two or more"):
            retrieve(tmp_path, task=Apart)


class Grouped(Coloured):
    """Eight samples of each of three people, who take one colour each."""

    def split(self, name):
        samples = super().split(name)
        return mmkit.Samples(
            samples.ids, samples.inputs, samples.truth, [samples.truth[i] for i in range(len(samples))]
        )


class TestIntervals:
    """Over samples of which each third is right or wrong: the standard error of such a share of 24 is .096."""

    def test_of_retrieval(self, tmp_path):
        class Confused(Looking):
            """Takes red for green, and knows the others."""

            def __init__(self, transform):
                super().__init__(transform)
                self.weight = nn.Parameter(torch.tensor([[0.0, 0, 0], [1, 1, 0], [0, 0, 1]]), requires_grad=False)

        found = retrieve(tmp_path, {"square": Confused, "title": Reading})
        assert found.directions["square -> title"]["recall@1"] == pytest.approx(2 / 3)
        low, high = found.intervals["square -> title"]["recall@1"]
        assert low < 2 / 3 < high
        assert high - low == pytest.approx(2 * 1.96 * 0.096, abs=0.06)
        # What is alike in every draw says nothing of other samples.
        assert retrieve(tmp_path).intervals == {"square -> title": {}, "title -> square": {}}

    def test_of_zero_shot(self, tmp_path):
        classes = {"r_e_d": "green", "green": "red"}
        found = zero_shot(tmp_path, classes=classes)
        low, high = found.intervals["accuracy"]
        assert low < found.metrics["accuracy"] == pytest.approx(1 / 3)
        assert high - low == pytest.approx(2 * 1.96 * 0.096, abs=0.06)
        low, high = zero_shot(tmp_path, Grouped, classes=classes).intervals["accuracy"]
        assert (low, high) == (0, 1)  # three people, of whom one is right


class TestZeroShot:
    def test_classes_are_recognised_by_their_names(self, tmp_path):
        found = zero_shot(tmp_path, classes={"r_e_d": "red"})
        assert found.metrics["accuracy"] == 1
        assert found.by_class == {"blue": 1, "green": 1, "r_e_d": 1}
        assert found.classes["r_e_d"] == ("red",)
        assert found.majority == pytest.approx(8 / 24)
        # The default name, "r e d", has no colour for the encoder.
        called = zero_shot(tmp_path)
        assert called.classes["r_e_d"] == ("r e d",)
        assert called.by_class["blue"] == 1

    def test_the_names_of_a_class_decide(self, tmp_path):
        found = zero_shot(tmp_path, templates=["a {}", "{} or {}"], classes={"r_e_d": "green", "green": ["red", "red"]})
        assert found.by_class == {"blue": 1, "green": 0, "r_e_d": 0}
        assert found.metrics["accuracy"] == pytest.approx(1 / 3)

    def test_prompts_of_a_class_are_averaged_as_unit_vectors(self):
        prompts = torch.randn(5, 4, dtype=torch.float64) * torch.tensor([1, 100, 1, 0.01, 5]).unsqueeze(1)
        for mean, part in zip(_class_vectors(prompts, [2, 3]), (prompts[:2], prompts[2:]), strict=True):
            expected = sum(one / one.norm() for one in part) / len(part)
            torch.testing.assert_close(mean, expected / expected.norm())

    def test_a_ridge_map_learns_from_pairs_and_from_no_label(self, tmp_path):
        with pytest.raises(UsageError, match=r"vectors of square have 3 values and those of prompts 5"):
            zero_shot(tmp_path, text=Wide)
        found = zero_shot(tmp_path, text=Wide, map="ridge", classes={"r_e_d": "red"})
        assert found.metrics["accuracy"] == 1
        assert found.strength is not None

    def test_samples_without_the_input_are_left_out(self, tmp_path):
        found = zero_shot(tmp_path, Lacking, classes={"r_e_d": "red"})
        assert (found.samples, found.left_out) == (23, 1)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"templates": "a picture"}, r"a template needs \{\} in place of the class.*got 'a picture'"),
            ({"templates": []}, "needs a template"),
            ({"classes": {"rde": "red"}}, "the task has no class rde; .*Possible: blue, green, r_e_d"),
            ({"classes": {"blue": []}}, "class blue has an empty name"),
            ({"classes": {"blue": ["azure", " "]}}, "class blue has an empty name"),
            ({"map": "ridge", "pairs": "row"}, "the task has no other text input row to pair with square; .*title"),
        ],
    )
    def test_an_impossible_request_is_an_error(self, tmp_path, options, message):
        with pytest.raises(UsageError, match=message):
            zero_shot(tmp_path, **options)

    def test_prompts_need_an_encoder_of_text_and_a_task_of_classes(self, tmp_path):
        with pytest.raises(UsageError, match="encoder cnn reads image; prompts need one that reads text"):
            zero_shot(tmp_path, text="cnn")

        class Numbers(Coloured):
            def __init__(self):
                super().__init__()
                self.target = "scalar"

        with pytest.raises(UsageError, match=r"needs a task with target classes; that of .* is scalar"):
            zero_shot(tmp_path, Numbers)

    def test_a_map_needs_one_text_input_to_be_fitted_on(self, tmp_path):
        class Silent(Coloured):
            def __init__(self):
                super().__init__()
                self.inputs = {"square": "image"}

        with pytest.raises(UsageError, match="the task has none; take the two towers of one model instead"):
            zero_shot(tmp_path, Silent, map="ridge")

        class Twice(Coloured):
            def __init__(self):
                super().__init__()
                self.inputs = {"square": "image", "title": "text", "note": "text"}

        with pytest.raises(UsageError, match="the task has several, title, note; name one with --pairs"):
            zero_shot(tmp_path, Twice, map="ridge")

    def test_a_class_that_training_lacks_is_an_error(self, tmp_path):
        class New(Coloured):
            def split(self, name):
                samples = super().split(name)
                truth = samples.truth if name == "train" else ["new", *samples.truth[1:]]
                return mmkit.Samples(samples.ids, samples.inputs, truth)

        with pytest.raises(DataError, match="new"):
            zero_shot(tmp_path, New)


def test_vectors_that_are_not_finite_are_an_error(tmp_path):
    class Broken(Looking):
        def forward(self, batch):
            return Features.of(batch["values"] / 0, batch["mask"])

    with pytest.raises(MmkitError, match=r"gives features of input square that are not finite.*--precision float32"):
        retrieve(tmp_path, {"square": Broken, "title": Reading})


def test_vectors_are_those_of_the_encoder_whatever_the_batch_size(tmp_path):
    catalog = mmkit.installed()
    splits = splits_of(catalog.choose("task", Coloured), catalog, Settings("cpu"))
    values = [*splits("train").inputs["square"]] * 20
    embedder = Embedder(
        "square", catalog.choose("encoder", Looking), values, settings=Settings("cpu"), shared=Shared(tmp_path)
    )
    assert embedder.width == 3
    torch.testing.assert_close(embedder(values), torch.stack([Pixels().one(value) for value in values]))
