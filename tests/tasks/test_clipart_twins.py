"""No drawing of test has a twin in training: titles and pixels are compared in another way than they were grouped."""

import difflib
import io
import itertools

import numpy as np
import pytest
from PIL import Image

from mmkit.tasks.clipart import SHARES, Clipart


def split_of_each(seed):
    """Split, title and picture of each drawing, in the order of the ids."""
    task = Clipart(split=seed)
    rows = []
    for name in SHARES:
        samples = task.split(name)
        rows += zip(samples.ids, [name] * len(samples), samples.inputs["title"], samples.inputs["image"], strict=True)
    return sorted(rows)


@pytest.fixture(scope="module")
def drawings():
    return split_of_each(0)


@pytest.fixture(scope="module")
def splits():
    return [[row[1] for row in split_of_each(seed)] for seed in range(5)]


@pytest.mark.parametrize("method", [Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS])
def test_no_picture_has_a_near_twin_in_another_split(drawings, splits, method):
    small = [Image.open(io.BytesIO(file)).convert("L").resize((16, 16), method) for *_, file in drawings]
    correlation = np.corrcoef([np.asarray(picture, dtype=float).ravel() for picture in small])
    one, other = np.nonzero(np.triu(correlation > 0.985, 1))
    assert len(one) > 40  # within splits there are many
    for split in splits:
        assert not [(a, b) for a, b in zip(one, other, strict=True) if split[a] != split[b]]


def test_no_title_has_a_near_twin_in_another_split(drawings, splits):
    titles = ["".join(filter(str.isalpha, title.lower())) for _, _, title, _ in drawings]
    rows = {title: [row for row, one in enumerate(titles) if one == title] for title in titles if len(title) >= 5}
    pairs = 0
    for one, other in itertools.combinations(rows, 2):
        if abs(len(one) - len(other)) > 1:
            continue
        match = difflib.SequenceMatcher(None, one, other, autojunk=False)
        if match.real_quick_ratio() > 0.93 and match.quick_ratio() > 0.93 and match.ratio() > 0.93:
            pairs += 1
            for split in splits:
                assert len({split[row] for row in rows[one] + rows[other]}) == 1, (one, other)
    assert pairs >= 5
