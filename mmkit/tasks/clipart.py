"""Drawings and their titles, from a clip-art collection."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from mmkit.contract import Samples, Split
from mmkit.tasks.shipped import shipped, shuffled

SHARES: Mapping[str, float] = {"train": 0.60, "validation": 0.15, "test": 0.25}


class Clipart:
    """Which of 13 classes a drawing with its title belongs to.

    1,350 drawings of the Open Clip Art Library, https://openclipart.org, as Debian packs them (openclipart-svg 0.18).
    The class is the folder of the drawing. The image is a PNG file of 64 x 64 pixels, on white; the title is the
    author's, mostly in English or Italian, and at times says nothing of what is seen.

    Args:
        split: seed of the split.

    Raises:
        ValueError: `split` is negative.
    """

    description: ClassVar[str] = (
        "Which of 13 folders of a clip-art collection (animals, food, tools, ...) holds a drawing, from the drawing "
        "and its title (Open Clip Art Library 0.18, dedicated to the public domain). Image and title belong together "
        "from the start; the author's name is taken out of titles. Drawings of one series, by title, and drawings that "
        "look alike stand in one split: 60 % train, 15 % validation, 25 % test. Authors and styles are shared."
    )

    def __init__(self, *, split: Annotated[int, Ge(0)] = 0) -> None:
        if split < 0:
            raise ValueError(f"split is {split}; expected 0 or more")
        self.inputs: Mapping[str, str] = {"image": "image", "title": "text"}
        self.target = "classes"
        self.metric = "accuracy"
        self.epoch_metric = "log_loss"
        self.encoders: Mapping[str, str] = {"image": "cnn", "title": "bag"}
        self.training: Mapping[str, Any] = {}
        self._seed = split

    def split(self, name: Split) -> Samples:
        """The drawings of a split, in no order of class."""
        data = shipped("clipart.npz")
        paths: list[str] = data["path"].tolist()
        labels: list[str] = data["label_name"][data["label"]].tolist()
        groups: list[int] = data["group"].tolist()
        titles: list[str] = data["title"].tolist()
        starts: list[int] = data["png_start"].tolist()
        sides = sided(groups, labels, self._seed)
        order = map(paths.index, shuffled(paths, self._seed))
        rows = [row for row in order if sides[groups[row]] == name]
        return Samples(
            ids=[f"clipart-{paths[row]}" for row in rows],
            inputs={
                "image": [data["png"][starts[row] : starts[row + 1]].tobytes() for row in rows],
                "title": [titles[row] for row in rows],
            },
            truth=[labels[row] for row in rows],
            groups=[f"series-{groups[row]:04}" for row in rows],
        )


class ClipartCaptions:
    """The title of a drawing, from the drawing alone.

    Drawings and splits are those of `Clipart`.

    Args:
        split: seed of the split.

    Raises:
        ValueError: `split` is negative.
    """

    description: ClassVar[str] = (
        "The title of a drawing of a clip-art collection (Open Clip Art Library 0.18, dedicated to the public domain), "
        "from the drawing alone. Titles are the authors' own, mostly in English or Italian, often a word or two, and "
        "at times say nothing of what is seen. Drawings of one series, by title, and drawings that look alike stand "
        "in one split, so no title of the test split is one of training: 60 % train, 15 % validation, 25 % test."
    )

    def __init__(self, *, split: Annotated[int, Ge(0)] = 0) -> None:
        self._drawings = Clipart(split=split)
        self.inputs: Mapping[str, str] = {"image": "image"}
        self.target = "text"
        self.metric = "rouge_l"
        self.epoch_metric = "head_loss"
        self.encoders: Mapping[str, str] = {"image": "cnn"}
        self.training: Mapping[str, Any] = {"epochs": 20, "min_steps": 0, "patience": 4}

    def split(self, name: Split) -> Samples:
        """The drawings of a split, in no order of class."""
        samples = self._drawings.split(name)
        return Samples(samples.ids, {"image": samples.inputs["image"]}, samples.inputs["title"], samples.groups)


def sided(groups: Sequence[int], labels: Sequence[str], seed: int) -> dict[int, str]:
    """The split of each group: one group after the other, each to where its class lacks most of its share."""
    members: dict[int, list[str]] = defaultdict(list)
    for group, label in zip(groups, labels, strict=True):
        members[group].append(label)
    total = Counter(labels)
    filled: dict[str, Counter[str]] = {split: Counter() for split in SHARES}
    sides = {}
    for group in map(int, shuffled(map(str, members), seed)):
        label = Counter(members[group]).most_common(1)[0][0]
        lacks = {split: share * total[label] - filled[split][label] for split, share in SHARES.items()}
        sides[group] = max(lacks, key=lambda split: lacks[split] / SHARES[split])
        filled[sides[group]].update(members[group])
    return sides
