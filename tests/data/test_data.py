"""From samples to batches: decoded, transformed once or at every batch, batched by index."""

from dataclasses import replace

import pytest
import torch

from mmkit.contract import Samples
from mmkit.data.bad_values import checked
from mmkit.data.dataset import Dataset
from mmkit.data.decoding import decode_all
from mmkit.data.splits import Splits
from mmkit.data.subset import first, small_subset, with_truth
from mmkit.errors import ContractError, DataError
from mmkit.system.settings import Settings


class Number:
    """A modality of numbers; -1 cannot be read."""

    def decode(self, raw):
        if raw == -1:
            raise DataError("-1 is no number here")
        return raw


class Noisy:
    """A transform that adds noise if it gets a generator."""

    def __init__(self, *, augments=True):
        self.augments = augments
        self.calls = 0

    def __call__(self, values, generator=None):
        self.calls += 1
        mask = torch.tensor([value is not None for value in values])
        numbers = torch.tensor([0.0 if value is None else float(value) for value in values])
        noise = 0 if generator is None else torch.rand(len(values), generator=generator)
        return {"number": (numbers + noise).masked_fill(~mask, 0), "mask": mask}


class Plain(Noisy):
    def __init__(self):
        super().__init__(augments=False)


def samples(values, truth=None, **rest):
    return Samples([f"s{i}" for i in range(len(values))], {"a": values}, truth or [0] * len(values), **rest)


class TestDecoding:
    def test_a_value_that_cannot_be_read_names_its_sample_and_input(self):
        with pytest.raises(DataError, match=r"^sample s1, input a: -1 is no number here; --on-error skip drops"):
            decode_all(samples([1, -1, 2]), {"a": Number()})

    def test_a_value_that_cannot_be_read_can_count_as_missing_and_is_listed(self):
        found, unread = decode_all(samples([1, -1, None]), {"a": Number()}, Settings("cpu", on_error="missing"))
        assert list(found.inputs["a"]) == [1, None, None]
        assert unread == ["sample s1, input a: -1 is no number here"]

    def test_an_input_without_a_column_is_all_missing(self):
        found, _ = decode_all(samples([1, 2]), {"a": Number(), "b": Number()})
        assert list(found.inputs["b"]) == [None, None]

    def test_a_column_of_another_length_is_an_error(self):
        with pytest.raises(DataError, match="input a has 1 values for 2 samples; give one per sample, or None"):
            decode_all(Samples(["x", "y"], {"a": [1]}, [0, 0]), {"a": Number()})

    @pytest.mark.parametrize("truth", [[0], [0, 1, 0]])
    def test_truth_of_another_length_is_an_error(self, truth):
        with pytest.raises(
            DataError, match=f"truth has {len(truth)} values for 2 samples; give one per sample, or None"
        ):
            decode_all(Samples(["x", "y"], {"a": [1, 2]}, truth), {"a": Number()})

    def test_an_id_that_occurs_twice_is_an_error(self):
        with pytest.raises(DataError, match="id x occurs 2 times; give each sample a unique id"):
            decode_all(Samples(["x", "y", "x"], {"a": [1, 2, 3]}, [0, 0, 0]), {"a": Number()})

    def test_none_is_never_decoded(self):
        class Strict(Number):
            def decode(self, raw):
                assert raw is not None
                return raw

        assert list(decode_all(samples([None, 1]), {"a": Strict()})[0].inputs["a"]) == [None, 1]

    def test_a_modality_may_decode_a_value_as_missing(self):
        class Blank(Number):
            def decode(self, raw):
                return None

        found, unread = decode_all(samples([1]), {"a": Blank()})
        assert (list(found.inputs["a"]), unread) == ([None], [])


class TestSplits:
    class Task:
        def __init__(self, sizes):
            self.sizes, self.asked = sizes, []

        def split(self, name):
            self.asked.append(name)
            of_split = samples(list(range(self.sizes[name])))
            return replace(of_split, ids=[f"{name}-{id_}" for id_ in of_split.ids])

    def test_a_split_is_read_once_and_only_when_it_is_used(self):
        task = self.Task({"train": 3, "validation": 2, "test": 1})
        splits = Splits(task, {"a": Number()})
        assert [len(splits("train")), len(splits("train")), len(splits("validation"))] == [3, 3, 2]
        assert task.asked == ["train", "validation"]

    def test_a_sample_of_two_splits_is_an_error_that_names_both(self):
        task = self.Task({"train": 3, "validation": 3, "test": 3})
        ids = {"train": ["a", "b", "shared"], "validation": ["c", "d", "e"], "test": ["shared", "f", "g"]}
        read = task.split
        task.split = lambda name: replace(read(name), ids=ids[name])
        splits = Splits(task, {"a": Number()})
        assert len(splits("train")) == len(splits("validation")) == 3
        with pytest.raises(DataError, match="sample shared of the test split is in the train split, too"):
            splits("test")

    def test_the_limit_applies_to_training_only(self):
        splits = Splits(self.Task({"train": 3, "validation": 3}), {"a": Number()}, Settings("cpu", limit=2))
        assert (splits("train").ids, len(splits("validation"))) == (["train-s0", "train-s1"], 3)

    def test_the_limit_keeps_every_class(self):
        given = samples(list(range(8)), ["ash", "ash", None, "ash", "elm", "ash", "oak", "elm"])
        assert small_subset(given, 4).ids == ["s0", "s1", "s4", "s6"]
        assert small_subset(given, 2).ids == ["s0", "s4"]
        assert small_subset(given, 9).ids == given.ids

    def test_the_limit_keeps_every_input(self):
        given = samples([None, None, None, 3, 4], ["ash", "elm", "ash", "elm", "ash"])
        assert small_subset(given, 3).ids == ["s0", "s1", "s3"]

    def test_a_split_without_any_truth_is_an_error(self):
        splits = Splits(self.Task({"train": 2}), {"a": Number()})
        splits.task.split = lambda name: samples([1, 2], [None, None])
        with pytest.raises(DataError, match="no sample of the training split has truth"):
            splits.with_truth("train")

    def test_unread_values_are_listed_by_split(self):
        splits = Splits(self.Task({"train": 2}), {"a": Number()}, Settings("cpu", on_error="missing"))
        splits.task.split = lambda name: samples([1, -1])
        splits("train")
        assert splits.unread == {"train": ["sample s1, input a: -1 is no number here"]}

    def test_an_empty_split_is_an_error(self):
        with pytest.raises(DataError, match="validation split of the task has no samples"):
            Splits(self.Task({"validation": 0}), {"a": Number()})("validation")


def test_first_and_with_truth_keep_columns_together():
    given = samples([10, 11, 12], ["x", None, "y"], groups=["g", "h", "i"])
    known = with_truth(given)
    assert (known.ids, list(known.inputs["a"]), known.truth, known.groups) == (
        ["s0", "s2"],
        [10, 12],
        ["x", "y"],
        ["g", "i"],
    )
    assert first(given, 1).groups == ["g"]


class TestDataset:
    def test_inputs_without_augmentation_are_transformed_once(self):
        still, moving, truth = Plain(), Noisy(), Plain()
        both = Samples(["x", "y"], {"a": [1, 2], "b": [3, 4]}, [0, 1])
        data = Dataset.of(both, {"a": still, "b": moving}, truth, augment=True)
        for _ in range(3):
            data.batch(torch.tensor([1]), torch.Generator())
        assert (still.calls, moving.calls, truth.calls) == (1, 3, 1)

    def test_without_augment_all_inputs_are_transformed_once(self):
        moving = Noisy()
        data = Dataset.of(samples([1, 2]), {"a": moving}, Plain(), augment=False)
        batch, truth = data.batch(torch.tensor([1, 0]))
        assert (moving.calls, batch["a"]["number"].tolist(), truth["number"].tolist()) == (1, [2, 1], [0, 0])

    def test_augmentation_depends_on_the_generator_only(self):
        data = Dataset.of(samples([1, 2, None]), {"a": Noisy()}, Plain(), augment=True)
        index = torch.tensor([2, 0])

        def drawn(seed):
            torch.rand(7)  # the global generator moves on
            return data.batch(index, torch.Generator().manual_seed(seed))[0]["a"]["number"]

        assert torch.equal(drawn(1), drawn(1))
        assert not torch.equal(drawn(1), drawn(2))
        assert drawn(1)[0] == 0  # still missing

    def test_a_sample_is_augmented_again_at_every_batch(self):
        data = Dataset.of(samples([1, 2]), {"a": Noisy()}, Plain(), augment=True)
        generator = torch.Generator().manual_seed(0)
        once, again = (data.batch(torch.tensor([0, 1]), generator)[0]["a"]["number"] for _ in range(2))
        assert not torch.equal(once, again)

    def test_batches_cover_the_split_in_order(self):
        data = Dataset.of(samples([1, 2, 3, 4, 5]), {"a": Plain()}, Plain(), augment=False)
        assert [index.tolist() for index in data.batches(2)] == [[0, 1], [2, 3], [4]]

    @pytest.mark.parametrize(
        ("batch", "message"),
        [
            ({"x": torch.ones(2)}, "gave no bool leaf `mask`; it gave x"),
            ({"mask": torch.ones(2)}, "gave no bool leaf `mask`"),
            ({"mask": torch.ones(3, dtype=torch.bool)}, "gave 3 rows of `mask` for 2 values"),
            (
                {"mask": torch.ones(2, dtype=torch.bool), "x": torch.tensor(1)},
                "gave a single number of `x` for 2 values",
            ),
            ({}, "gave no bool leaf `mask`; it gave nothing"),
        ],
    )
    def test_a_transform_that_breaks_the_contract_is_named(self, batch, message):
        with pytest.raises(ContractError, match=f"the transform of a {message}"):
            checked("a", batch, 2)

    def test_a_transform_that_breaks_the_contract_in_augmentation_is_named(self):
        class Forgetful(Noisy):
            def __call__(self, values, generator=None):
                return {"number": torch.zeros(len(values))}

        data = Dataset.of(samples([1, 2]), {"a": Forgetful()}, Plain(), augment=True)
        with pytest.raises(ContractError, match="the transform of a gave no bool leaf `mask`; it gave number"):
            data.batch(torch.tensor([0]), torch.Generator())

    def test_a_truth_transform_that_breaks_the_contract_is_named(self):
        class Short(Plain):
            def __call__(self, values, generator=None):
                return super().__call__(values[1:])

        with pytest.raises(ContractError, match="the transform of truth gave 1 rows of `number` for 2 values"):
            Dataset.of(samples([1, 2]), {"a": Plain()}, Short(), augment=False)
