"""The splits of the digits: fixed, disjoint by source item, balanced; and by person where that is promised."""

import hashlib
import itertools
from collections import Counter

import pytest
import torch

from mmkit.tasks.digits import Digits, DigitsNewSpeakers
from mmkit.tasks.shipped import shipped

SPLITS = ("train", "validation", "test")
# sha256 of the ids, one a line. They may only change together with a reason: every published figure depends on them.
IDS = {
    (Digits, 0, "train"): "2a1ceb7308e46616",
    (Digits, 0, "validation"): "85dedf29c9fca0fa",
    (Digits, 0, "test"): "c70f80133f06fcf4",
    (Digits, 1, "train"): "eaa12b7efcae11c8",
    (Digits, 1, "validation"): "268aaac0ce5b7b3a",
    (Digits, 1, "test"): "6b515634d8fac07f",
    (DigitsNewSpeakers, 0, "train"): "0b2e050f707add1c",
    (DigitsNewSpeakers, 0, "validation"): "66dee5fe778c7eb3",
    (DigitsNewSpeakers, 0, "test"): "2375ac231b1634ba",
    (DigitsNewSpeakers, 1, "train"): "2122c334360b6eba",
    (DigitsNewSpeakers, 1, "validation"): "7638866c774cb804",
    (DigitsNewSpeakers, 1, "test"): "0a7a498017ce9ac6",
}


def sources(samples):
    """The written and the spoken item of each pair."""
    return [tuple(item.split("-")[1:]) for item in samples.ids]


@pytest.fixture(params=[Digits, DigitsNewSpeakers])
def task(request):
    return request.param()


@pytest.mark.parametrize(("kind", "seed", "split"), IDS)
def test_the_splits_are_those_of_the_published_figures(kind, seed, split):
    ids = kind(split=seed).split(split).ids
    assert hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16] == IDS[kind, seed, split]


@pytest.mark.parametrize("kind", [Digits, DigitsNewSpeakers])
@pytest.mark.parametrize("seed", range(3))
def test_no_source_item_stands_twice(kind, seed):
    most = {Digits: 44, DigitsNewSpeakers: 50}[kind]
    task = kind(per_class=most, split=seed)
    pairs = [pair for split in SPLITS for pair in sources(task.split(split))]
    assert len({written for written, _ in pairs}) == len({spoken for _, spoken in pairs}) == len(pairs)


def test_no_value_stands_twice():
    """Two items with other names are other values too."""
    data = shipped("digits.npz")
    images = {image.tobytes() for image in data["written"]}
    starts = data["spoken_start"]
    sounds = {data["spoken"][begin:end].tobytes() for begin, end in itertools.pairwise(starts)}
    assert len(images) == 1797
    assert len(sounds) == 3000


def test_every_class_is_there_as_often(task):
    for split, count in (("train", 10), ("validation", 30), ("test", 55 if type(task) is DigitsNewSpeakers else 100)):
        samples = task.split(split)
        assert Counter(samples.truth) == {str(digit): count for digit in range(10)}
        assert samples.truth[:10] == [str(digit) for digit in range(10)]  # a limit cuts all classes alike


def test_both_items_of_a_pair_are_of_its_class(task):
    data = shipped("digits.npz")
    for split in SPLITS:
        samples = task.split(split)
        for (written, spoken), label in zip(sources(samples), samples.truth, strict=True):
            assert data["written_label"][int(written[1:])] == int(label)
            assert data["spoken_label"][int(spoken[1:])] == int(label)


@pytest.mark.parametrize("seed", range(20))
def test_new_speakers_share_no_writer_and_no_speaker(seed):
    task = DigitsNewSpeakers(per_class=50, split=seed)
    persons = {split: task.split(split).factors for split in SPLITS}
    writers, speakers = ({split: set(persons[split][of]) for split in SPLITS} for of in ("writer", "speaker"))
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not writers[one] & writers[other]
        assert not speakers[one] & speakers[other]
    assert [len(speakers[split]) for split in SPLITS] == [1, 1, 4]
    assert [len(writers[split]) for split in SPLITS] == [6, 3, 5]


def test_digits_share_them_as_the_description_says():
    task = Digits()
    train, test = (set().union(*task.split(split).factors.values()) for split in SPLITS[::2])
    assert train <= test
    assert "share writers and speakers" in task.description


def test_speakers_and_takes_are_those_of_the_source():
    """Six speakers said each digit fifty times: the derived names account for every recording, each once."""
    data = shipped("digits.npz")
    names = set(zip(data["spoken_label"].tolist(), data["speaker"].tolist(), data["take"].tolist(), strict=True))
    assert names == {(digit, speaker, take) for digit in range(10) for speaker in range(6) for take in range(50)}


def test_validation_and_test_do_not_depend_on_the_training_size():
    few, many = Digits(per_class=1), Digits(per_class=44)
    for split in SPLITS[1:]:
        assert few.split(split).ids == many.split(split).ids
    assert few.split("train").ids == many.split("train").ids[:10]


def test_seeds_differ():
    first, second = (set(Digits(split=seed).split("test").ids) for seed in (0, 1))
    assert len(first & second) < 20  # about 2 pairs of 1000 meet again by chance


def test_values_are_what_the_modalities_hold_in_memory(task):
    samples = task.split("train")
    assert set(samples.inputs) == set(task.inputs) == {"written", "spoken"}
    for image, sound in zip(samples.inputs["written"], samples.inputs["spoken"], strict=True):
        assert image.dtype == torch.uint8
        assert image.shape == (1, 8, 8)
        assert sound.dtype == torch.float32
        assert sound.shape[1] == 13
        assert 6 <= len(sound) <= 92
    assert int(torch.stack(list(samples.inputs["written"])).max()) == 255


def test_a_value_that_is_written_over_does_not_change_the_next_split():
    first = Digits().split("train").inputs
    for values in first.values():
        values[0].zero_()
    again = Digits().split("train").inputs
    assert all(values[0].any() for values in again.values())


@pytest.mark.parametrize(("kind", "most"), [(Digits, 44), (DigitsNewSpeakers, 50)])
def test_a_size_out_of_range_says_what_is_possible(kind, most):
    with pytest.raises(ValueError, match=rf"per_class is {most + 1}; expected 1 to {most}$"):
        kind(per_class=most + 1)
    with pytest.raises(ValueError, match="split is -1; expected 0 or more"):
        kind(split=-1)


def test_the_licence_stands_beside_the_data():
    from importlib import resources

    text = resources.files("mmkit.tasks").joinpath("data/digits.LICENCE.txt").read_text()
    for word in ("Attribution-ShareAlike 4.0", "Free Spoken Digit Dataset", "Alpaydin", "Changes:"):
        assert word in text
