"""Values are known by their content: what differs has another digest."""

import numpy as np
import pytest
import torch

from mmkit.system.hashing import digest, digest_of_files


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
        (np.int64(1), np.int32(1)),
        ("\udc80", "\udc81"),
    ],
)
def test_what_differs_has_another_digest(one, other):
    assert digest(one) != digest(other)


def test_what_is_the_same_has_the_same():
    assert digest({"a": torch.ones(2), "b": ["x", None]}) == digest({"b": ["x", None], "a": torch.ones(2)})


@pytest.mark.parametrize("one", [object(), np.array([object()]), {object()}])
def test_what_cannot_be_told_apart_is_refused(one):
    with pytest.raises(TypeError, match=r"values of type .* cannot be hashed"):
        digest([one])


def test_files_are_known_by_their_names_and_their_content(tmp_path):
    def folder(name, **files):
        (tmp_path / name / "inner").mkdir(parents=True)
        for file, content in files.items():
            (tmp_path / name / "inner" / file).write_text(content)
        return digest_of_files(tmp_path / name)

    one = folder("one", a="x", b="y")
    assert folder("two", a="x", b="y") == one
    assert len({one, folder("three", a="y", b="x"), folder("four", a="x"), folder("five", a="x", c="y")}) == 4
    (tmp_path / "one" / ".lock").write_text("z")
    assert digest_of_files(tmp_path / "one") == one
    (tmp_path / "one" / "inner" / "a").write_text("xx")
    assert digest_of_files(tmp_path / "one") != one
    assert digest_of_files(tmp_path / "two" / "inner" / "a") == digest_of_files(tmp_path / "four" / "inner" / "a")
