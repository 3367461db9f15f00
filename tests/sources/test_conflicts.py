"""Copies with different truth: only rows that are equal in every input bound the accuracy."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

import mmkit

SAID = ["the yellow bus was late again", "nobody told us of the change", "the new staff were very kind"]


def picture(content):
    """A picture: the same of the same bytes, and another of others."""
    return Image.frombytes("RGB", (4, 4), hashlib.blake2b(content, digest_size=48).digest())


def table(tmp_path, rows):
    """A table of texts and pictures; each row is (text, what its picture is made of, truth)."""
    lines = ["text,image,truth"]
    for number, (text, content, truth) in enumerate(rows):
        picture(content).save(tmp_path / f"{number}.png")
        lines.append(f"{text},{number}.png,{truth}")
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def unlike(count):
    """Rows that share nothing."""
    r = np.random.default_rng(0)
    words = [f"word{number}" for number in range(1000)]
    return [(" ".join(r.choice(words, 8)), b"%d" % number, "ab"[number % 2]) for number in range(count)]


def findings(path):
    return [(one.level, one.text) for one in mmkit.inspect(path, target="truth").findings]


def test_one_text_with_different_files_bounds_nothing(tmp_path):
    shared = [(SAID[number // 2], b"x%d" % number, "ab"[number % 2]) for number in range(6)]
    found = findings(table(tmp_path, [*unlike(60), *shared]))
    assert found == [("note", "3 rows share a text or a file with an earlier one, and stay in its split")]


def test_one_file_with_different_texts_bounds_nothing(tmp_path):
    """As in questions about one picture."""
    shared = [(f"question number {number} of this test", b"same", "ab"[number % 2]) for number in range(6)]
    found = findings(table(tmp_path, [*unlike(60), *shared]))
    assert found == [("note", "5 rows share a text or a file with an earlier one, and stay in its split")]


def test_rows_that_are_equal_in_every_input_do(tmp_path):
    """Their files have the same bytes and other names."""
    shared = [(SAID[number // 2], b"x%d" % (number // 2), "ab"[number % 2]) for number in range(6)]
    # 3 of 66 must be wrong: 63 / 66 = 95.45 %.
    bound = "an accuracy above 95.5 % is not possible by these inputs"
    assert findings(table(tmp_path, [*unlike(60), *shared])) == [
        ("warning", f"6 rows in 3 sets of copies have different truth; {bound}"),
        ("note", "3 rows repeat an earlier one, and stay in its split"),
    ]


def test_where_both_are_there_each_is_said(tmp_path):
    equal = [(SAID[0], b"x", "ab"[number % 2]) for number in range(2)]
    shared = [(SAID[1], b"y%d" % number, "ab"[number % 2]) for number in range(2)]
    # 1 of 64 must be wrong: 63 / 64 = 98.44 %.
    bound = "an accuracy above 98.5 % is not possible by these inputs"
    alike = "1 row repeats an earlier one, 1 row shares a text or a file with an earlier one"
    assert findings(table(tmp_path, [*unlike(60), *equal, *shared])) == [
        ("warning", f"2 rows in 1 set of copies have different truth; {bound}"),
        ("note", f"{alike}, and stay in its split"),
    ]


def test_questions_about_pictures_do_not_chain_all_rows_together(tmp_path):
    """Each picture has three of five questions; pictures stay in one split, questions stand in all."""
    r = np.random.default_rng(0)
    asked = [f"what is the {one} of this picture" for one in ("colour", "number", "size", "name", "place")]
    rows = [(asked[one], b"%d" % picture, "ab"[picture % 2]) for picture in range(60) for one in r.permutation(5)[:3]]
    found = mmkit.inspect(table(tmp_path, rows), target="truth", columns={"text": "text"})
    assert (found.count("train"), found.count("validation"), found.count("test")) == (108, 27, 45)
    side = found.sides.reshape(60, 3)
    assert (side == side[:, :1]).all()
    assert [one.text for one in found.findings] == [
        "120 rows share a text or a file with an earlier one, and stay in its split"
    ]


def objects(kind, count):
    """Values of a kind, of which every third is equal to the one before, and another object."""
    contents = [b"%d" % (number - (number % 3 == 2)) for number in range(count)]
    pictures = [picture(one) for one in contents]
    arrays = [np.asarray(one) for one in pictures]
    return {
        "Pillow": pictures,
        "pixels": arrays,
        "tensors": [torch.tensor(one) for one in arrays],
        "sounds": [((one[:, :, 0].ravel() / 255).astype("float32"), 8000) for one in arrays],
        "signals": [one[:, :, 0].astype(float) for one in arrays],
    }[kind]


@pytest.mark.parametrize("kind", ["Pillow", "pixels", "tensors", "sounds", "signals"])
def test_equal_objects_stay_in_one_split(kind):
    found = mmkit.inspect({"input": objects(kind, 90), "truth": ["a", "a", "a", "b", "b", "b"] * 15}, target="truth")
    assert [one.text for one in found.findings] == ["30 rows repeat an earlier one, and stay in its split"]
    sides = found.sides.reshape(30, 3)
    assert (sides[:, 1] == sides[:, 2]).all()


def test_equal_pictures_beside_other_columns_stay_in_one_split_as_objects_and_as_bytes():
    pictures = objects("Pillow", 90)
    for values in (pictures, [b"\xff\xd8\xff" + one.tobytes() for one in pictures]):
        data = {"input": values, "number": [n / 7 for n in range(90)], "truth": ["a", "a", "a", "b", "b", "b"] * 15}
        found = mmkit.inspect(data, target="truth", columns={"input": "image"})
        shared = "30 rows share a text or a file with an earlier one, and stay in its split"
        assert [one.text for one in found.findings if "cannot be read" not in one.text] == [shared]
        assert (found.sides.reshape(30, 3)[:, 1] == found.sides.reshape(30, 3)[:, 2]).all()


def test_different_objects_beside_equal_columns_are_no_copies():
    images = [*(picture(b"%d" % number) for number in range(299)), None]
    price = [None, *np.random.default_rng(1).integers(0, 600, 298).tolist(), None]
    found = mmkit.inspect({"image": images, "price": price, "truth": ["a", "b"] * 150}, target="truth")
    assert [one.text for one in found.findings] == ["1 row has no value in any input"]
    said = [SAID[0], SAID[0], *(text for text, _, _ in unlike(298))]
    found = mmkit.inspect({"image": images, "text": said, "truth": ["a", "b"] * 150}, target="truth")
    shared = "1 row shares a text or a file with an earlier one, and stays in its split"
    assert [one.text for one in found.findings] == [shared]


def test_objects_whose_content_is_not_known_are_equal_to_none():
    class Strange:
        """Something of another library."""

    data = {"image": [Strange() for _ in range(60)], "number": [n // 3 for n in range(60)], "truth": ["a", "b"] * 30}
    found = mmkit.inspect(data, target="truth", columns={"image": "image"})
    (said,) = [one.text for one in found.findings if "copies" in one.text or "repeat" in one.text]
    assert said == "image: copies of its values are not seen: values of type Strange cannot be hashed by their content"
