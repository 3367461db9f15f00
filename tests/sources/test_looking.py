"""Files that are not there and values that cannot be read are counted before training; near twins stay together."""

import io
import json
import os
import socket

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageDraw

import mmkit
from mmkit.cli import main
from mmkit.sources.files import find_files, shown
from mmkit.sources.twins import alike, difference_hash
from mmkit.tasks.own_data import OwnData


def picture(seed, size=64):
    """A picture of some shapes, which no other seed gives."""
    r = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size), tuple(int(v) for v in r.integers(0, 256, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = r.integers(0, size, 4).tolist()
        draw.rectangle((x, y, x + w, y + h), fill=tuple(int(v) for v in r.integers(0, 256, 3)))
    return image


def photo(seed, size=96):
    """Light and shade, as photographs have it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def table(folder, names, labels=None, name="image"):
    labels = labels or [["a", "b"][i % 2] for i in range(len(names))]
    path = folder / "table.csv"
    path.write_text(f"{name},label\n" + "".join(f"{one},{label}\n" for one, label in zip(names, labels, strict=True)))
    return str(path)


def warnings(found):
    return [one.text for one in found.findings if one.level == "warning"]


def test_what_names_of_files_lead_to_is_counted_with_names(tmp_path):
    folder = tmp_path / "in"
    (folder / "folder.jpg").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(name.encode())
    (folder / "empty.jpg").write_bytes(b"")
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "circle.jpg").symlink_to(folder / "circle.jpg")
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(folder)  # a path to a socket is short
        listening.bind("socket.jpg")
    names = ["a.jpg", "b.jpg", "c.jpg", "c.jpg", "gone.jpg", "gone.jpg", "../secret.jpg", "link.jpg", "empty.jpg", None]
    names += ["", "/dev/zero", "folder.jpg", "pipe.jpg", "socket.jpg", "https://x.org/a.jpg", "nul\0.jpg", "circle.jpg"]
    found, there = find_files("image", pa.chunked_array([names]), folder)
    assert [one.text for one in found] == [
        "image: 2 rows name files that are not there, as 'gone.jpg'",
        (
            "image: 3 rows name files outside of the folder, which are not read (--outside allows it), "
            "as '../secret.jpg', 'link.jpg', '/dev/zero'"
        ),
        (
            "image: 3 rows name files that are folders, devices or pipes, and not read, "
            "as 'folder.jpg', 'pipe.jpg', 'socket.jpg'"
        ),
        "image: 1 row names a file of the web or a store, which is not fetched, as 'https://x.org/a.jpg'",
        "image: 2 rows name files that are no paths, as 'nul\\x00.jpg', 'circle.jpg'",
        "image: 1 row names a file that is empty, as 'empty.jpg'",
    ]
    assert np.flatnonzero(there).tolist() == [0, 1, 2, 3]
    found, there = find_files("image", pa.chunked_array([["../secret.jpg", "/dev/zero"]]), folder, outside=True)
    assert ["devices" in one.text for one in found] == [True]
    assert there.tolist() == [True, False]


def test_names_are_shown_while_they_are_few():
    assert shown(["a", "b"]) == "'a', 'b'"
    assert shown(list("abcde")) == "'a', 'b', 'c' and 2 more"


def test_files_that_are_broken_are_counted_before_training(tmp_path):
    for i in range(30):
        picture(i).save(tmp_path / f"{i}.png")
    (tmp_path / "7.png").write_bytes((tmp_path / "7.png").read_bytes()[:200])
    (tmp_path / "8.png").write_bytes(b"no picture")
    (tmp_path / "9.png").unlink()
    found = OwnData(data=table(tmp_path, [f"{i}.png" for i in range(30)]), target="label").found
    missing, broken = warnings(found)
    assert missing == "image: 1 row names a file that is not there, as '9.png'"
    assert broken.startswith("image: 2 of all 29 values cannot be read: row 7: ")
    assert "row 8: " in broken


def test_some_of_many_are_read_and_all_with_deep(tmp_path, monkeypatch):
    monkeypatch.setattr("mmkit.sources.looking.VALUES", 5)
    for i in range(20):
        picture(i).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    data = table(tmp_path, [f"{i}.png" for i in range(20)])
    assert warnings(OwnData(data=data, target="label").found) == []
    (told,) = warnings(OwnData(data=data, target="label", deep=True).found)
    assert told.startswith("image: 1 of all 20 values cannot be read: row 1: ")
    (tmp_path / "0.png").write_bytes(b"nothing")
    (told,) = warnings(OwnData(data=data, target="label").found)
    assert told.startswith("image: 1 of 5 values that were read cannot be read: row 0: ")
    assert told.endswith("; --deep reads all")


def test_sounds_series_and_bytes_that_are_broken_are_counted(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF no sound")
    kinds = {"sound": "audio", "signal": "series", "blob": "image"}
    good = [io.BytesIO() for _ in range(19)]
    for number, one in enumerate(good):
        picture(number).save(one, "PNG")
    columns = {
        "sound": ["a.wav"] + [None] * 19,
        "signal": [[[1.0, 2.0], [3.0]], *[[[1.0, 2.0], [3.0, float(i)]] for i in range(19)]],
        "blob": [b"x", *(one.getvalue() for one in good)],
        "label": ["a", "b"] * 10,
    }
    found = mmkit.inspect(columns, target="label", columns=kinds, files=tmp_path)
    told = sorted(text for text in warnings(found) if "cannot be read" in text)
    assert [text.partition(":")[0] for text in told] == ["blob", "signal", "sound"]
    assert all("1 of all" in text and "row 0: " in text for text in told)


def test_near_twins_of_pictures_stay_in_one_split_with_deep(tmp_path):
    names = []
    for i in range(40):
        photo(i).save(tmp_path / f"{i}.png")
        photo(i).resize((64, 64), Image.Resampling.LANCZOS).save(tmp_path / f"{i}.jpg", quality=90)
        names += [f"{i}.png", f"{i}.jpg"]
    data = table(tmp_path, names, [["a", "b"][i // 2 % 2] for i in range(80)])
    found = OwnData(data=data, target="label", deep=True).found
    (told,) = [one.text for one in found.findings if "an earlier one" in one.text]
    assert told == "40 rows share a text or a file with an earlier one, and stay in its split"
    sides = found.sides.reshape(-1, 2)
    assert (sides[:, 0] == sides[:, 1]).all()
    plain = OwnData(data=data, target="label").found
    assert (plain.sides[::2] != plain.sides[1::2]).any()
    assert "repeat" not in str(plain.findings)


def test_near_twins_are_all_that_differ_in_four_bits():
    r = np.random.default_rng(0)
    looks = r.integers(1, 2**63, 300, dtype=np.uint64)
    for _ in range(900):  # a chain of changes, of up to six bits
        bits = r.choice(64, r.integers(0, 7), replace=False)
        changed = int(looks[r.integers(len(looks))])
        for bit in bits.tolist():
            changed ^= 1 << bit
        looks = np.append(looks, np.uint64(changed))
    looks[::50] = 0
    near = np.bitwise_count(looks[:, None] ^ looks[None]) <= 4
    near[looks == 0], near[:, looks == 0] = False, False
    expected = np.arange(len(looks))
    while True:  # the slow way: the least row among the neighbours, until nothing changes
        further = np.minimum(expected, np.where(near, expected[None], len(looks)).min(1))
        if (further == expected).all():
            break
        expected = further
    assert (alike(looks) == expected).all()
    assert len(set(expected.tolist())) < 1000


def test_the_difference_hash_is_that_of_pillow_and_plain_pictures_have_none():
    for seed in range(20):
        image = picture(seed, 72).convert("L")
        small = np.asarray(image.resize((9, 8), Image.Resampling.BILINEAR)).astype(int)
        expected = small[:, 1:] > small[:, :-1]
        close = np.abs(small[:, 1:] - small[:, :-1]) <= 1  # Pillow rounds
        found = difference_hash(torch.from_numpy(np.asarray(image).copy())[None])
        bits = np.array([found >> place & 1 for place in range(64)], bool).reshape(8, 8)
        assert ((bits == expected) | close).all()
    assert difference_hash(torch.full((3, 20, 20), 80, dtype=torch.uint8)) == 0


def test_with_deep_files_are_known_by_their_content(tmp_path):
    for i in range(20):
        picture(i).save(tmp_path / f"{i}.png")
    data = table(tmp_path, [f"{i}.png" for i in range(20)])
    plain, deep = (OwnData(data=data, target="label", deep=deep).identity for deep in (False, True))
    os.utime(tmp_path / "3.png", ns=(1, 1))
    (tmp_path / "table.csv").write_text((tmp_path / "table.csv").read_text() + "\n")
    assert OwnData(data=data, target="label").identity != plain
    assert OwnData(data=data, target="label", deep=True).identity == deep


def test_deep_on_the_command_line(tmp_path, capsys):
    for i in range(20):
        picture(i).save(tmp_path / f"{i}.png")
    data = table(tmp_path, [f"{i}.png" for i in range(20)])
    with pytest.raises(SystemExit, match="0"):
        main(["data", "inspect", data, "--target", "label", "--deep", "--json"])
    assert json.loads(capsys.readouterr().out)["findings"] == []


def test_rows_conflict_where_all_inputs_are_the_same_and_not_where_a_picture_is(tmp_path):
    for i in range(20):
        picture(i).save(tmp_path / f"{i}.png")
    picture(3).save(tmp_path / "three.png")
    names = [*(f"{i}.png" for i in range(20)), "three.png", "4.png"]
    labels = [*(["a", "b"] * 10), "a", "b"]
    found = OwnData(data=table(tmp_path, names, labels), target="label").found
    (told,) = warnings(found)  # two pictures of twenty have two classes: 20 of 22 rows can be right
    assert told.startswith("4 rows in 2 sets of copies have different truth; an accuracy above 91.0 %")
    found = mmkit.inspect(
        {"image": names, "size": [float(i) + 0.5 for i in range(22)], "label": labels}, target="label", files=tmp_path
    )
    assert warnings(found) == []
    assert "2 rows share a text or a file with an earlier one" in str(found.findings)
