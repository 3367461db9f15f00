"""The splits of the drawings: fixed, whole groups on one side, no picture on two, and titles that name no author."""

import hashlib
import io
import itertools
import re
from collections import Counter, defaultdict
from importlib import resources

import numpy as np
import pytest
from PIL import Image

from mmkit.modalities.image import Image as ImageModality
from mmkit.modalities.text import Text
from mmkit.tasks.clipart import SHARES, Clipart, ClipartCaptions, sided
from mmkit.tasks.shipped import shipped

# sha256 of the ids, one a line. They may only change together with a reason: every published figure depends on them.
IDS = {
    (0, "train"): "50c1d77bc9ee5711",
    (0, "validation"): "e542096249ace725",
    (0, "test"): "954a195cfada1a72",
    (1, "train"): "bd56d6cf46aa8687",
    (1, "validation"): "a6c2737297f4c2e4",
    (1, "test"): "71ac0647e1f25d77",
}


@pytest.fixture(scope="module")
def splits():
    task = Clipart()
    return {name: task.split(name) for name in SHARES}


@pytest.fixture(scope="module")
def pixels():
    """The decoded pixels of each drawing, by id."""
    data = shipped("clipart.npz")
    files = [data["png"][start:end].tobytes() for start, end in itertools.pairwise(data["png_start"])]
    images = [Image.open(io.BytesIO(file)).convert("RGB").tobytes() for file in files]
    return {f"clipart-{path}": image for path, image in zip(data["path"].tolist(), images, strict=True)}


@pytest.mark.parametrize(("seed", "split"), IDS)
def test_the_splits_are_those_of_the_published_figures(seed, split):
    ids = Clipart(split=seed).split(split).ids
    assert hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16] == IDS[seed, split]


def test_every_drawing_stands_in_one_split(splits):
    ids = [item for samples in splits.values() for item in samples.ids]
    assert len(set(ids)) == len(ids) == len(shipped("clipart.npz")["path"])


@pytest.mark.parametrize("seed", range(5))
def test_no_group_stands_on_two_sides(seed):
    task = Clipart(split=seed)
    groups = [set(task.split(name).groups) for name in SHARES]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_no_picture_and_no_title_stands_on_two_sides(splits, pixels):
    """Asked of what a model sees, not of the groups that were stored."""
    pictures, titles = defaultdict(set), defaultdict(set)
    for name, samples in splits.items():
        for item, title in zip(samples.ids, samples.inputs["title"], strict=True):
            pictures[pixels[item]].add(name)
            words = re.sub(r"\(.*?\)|[\W\d_]", " ", title.lower()).split()
            titles[" ".join(words) or title.lower()].add(name)
    assert {len(sides) for sides in pictures.values()} == {1}
    assert {len(sides) for sides in titles.values()} == {1}


def test_no_picture_stands_in_two_classes(splits, pixels):
    classes = defaultdict(set)
    for samples in splits.values():
        for item, label in zip(samples.ids, samples.truth, strict=True):
            classes[pixels[item]].add(label)
    assert {len(labels) for labels in classes.values()} == {1}


def test_every_class_has_its_share_of_every_split(splits):
    total = Counter(label for samples in splits.values() for label in samples.truth)
    assert len(total) == 13
    for name, samples in splits.items():
        for label, count in Counter(samples.truth).items():
            # A group of up to 13 drawings goes to one side as a whole.
            assert abs(count / total[label] - SHARES[name]) < 0.06


def test_the_class_is_the_first_folder(splits):
    for samples in splits.values():
        assert [item.removeprefix("clipart-").split("/")[0] for item in samples.ids] == list(samples.truth)


def test_classes_are_mixed(splits):
    """A limit takes the first samples."""
    assert len(set(splits["train"].truth[:60])) >= 10


def test_titles_name_no_author(splits):
    for samples in splits.values():
        for title in samples.inputs["title"]:
            assert not re.search(r"(?i)clip ?art|rollandin|buculei|@", title), title
            assert title.strip()


def test_values_are_read_by_their_modalities(splits):
    image, text = ImageModality(), Text()
    for value in splits["validation"].inputs["image"]:
        decoded = image.decode(value)
        assert decoded.shape == (3, 64, 64)
        assert decoded.float().std() > 0
    assert [text.decode(title) for title in splits["test"].inputs["title"]] == splits["test"].inputs["title"]


def test_whole_groups_go_where_a_class_lacks_most():
    sides = sided([0, 0, 1, 2, 2, 2, 3], list("aaabbbb"), seed=0)
    assert set(sides) == {0, 1, 2, 3}
    assert set(sides.values()) <= set(SHARES)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="split is -1; expected 0 or more"):
        Clipart(split=-1)


def test_the_data_that_ship_stay_small_and_say_where_they_are_from():
    folder = resources.files("mmkit.tasks").joinpath("data")
    sizes = {file.name: len(file.read_bytes()) for file in folder.iterdir()}
    assert sum(sizes.values()) < 6_000_000
    assert {name.split(".")[0] for name in sizes if name.endswith(".LICENCE.txt")} == {"digits", "clipart"}
    assert "public domain" in folder.joinpath("clipart.LICENCE.txt").read_text()


def test_arrays_are_plain():
    for name in ("digits.npz", "clipart.npz"):
        assert all(array.dtype != np.dtype(object) for array in shipped(name).values())


def test_captions_ask_for_the_titles_of_the_same_drawings_in_the_same_splits(splits):
    task = ClipartCaptions()
    for name, samples in splits.items():
        found = task.split(name)
        assert (found.ids, found.groups) == (samples.ids, samples.groups)
        assert found.truth == samples.inputs["title"]
        assert dict(found.inputs) == {"image": samples.inputs["image"]}
    assert ClipartCaptions(split=1).split("test").ids == Clipart(split=1).split("test").ids
