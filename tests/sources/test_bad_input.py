"""Whatever is in a file, a table is read or refused in a user's words: no traceback, nothing outside of the folder."""

import csv
import io
import json
import os
import random
import string
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len

import mmkit
from mmkit.errors import MmkitError
from mmkit.sources.members import Members, is_member
from mmkit.sources.reading import read
from mmkit.tasks.own_data import OwnData

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MEDIA = {"image": (".png", ".jpg"), "audio": (".wav",)}


def tried(path, **options):
    """The description of a file, or None where it is refused; whatever else is raised fails the test."""
    said, found = "", None
    try:
        found = OwnData.describe({"data": str(path), **options})
    except MmkitError as error:
        said = str(error)
    if found is None:
        assert 0 < len(said) < 2000
        return None
    assert all(cell_len(line) <= 80 for line in found.text(80).splitlines() if " " in line.strip())
    json.dumps(found.document(), allow_nan=False)
    return found


@FEW
@given(
    content=st.binary(max_size=400), kind=st.sampled_from(["csv", "tsv", "jsonl", "json", "parquet", "arrow", "tar"])
)
def test_bytes(tmp_path, content, kind):
    (tmp_path / f"a.{kind}").write_bytes(content)
    tried(tmp_path / f"a.{kind}")


CELL = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "NA", "?", "1", "2.5", "1e400", "0x1", "$1,234.50", "2024-02-30", "13/13/2020", "[1, 2]"]
    ),
    st.sampled_from(
        ["[", '{"a": 1}', "a|b", "../x.png", "data:image/png;base64,AAAA", "A" * 80, "=1+1", "\ufeff", "nan"]
    ),
)


@FEW
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=12),
    names=st.lists(st.text(string.printable, max_size=5), min_size=3, max_size=3),
    target=st.booleans(),
)
def test_cells_of_csv(tmp_path, rows, names, target):
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file).writerows([names, *rows])
    options = {"target": names[0].strip()} if target and names[0].strip() and "," not in names[0] else {}
    tried(tmp_path / "a.csv", **options)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@FEW
@given(rows=st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON, max_size=3), min_size=1, max_size=6))
def test_nested_json(tmp_path, rows):
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    tried(tmp_path / "a.jsonl")


@pytest.mark.parametrize("kind", ["parquet", "arrow", "feather", "csv", "jsonl", "tar"])
def test_files_with_a_few_bytes_changed(written, tmp_path, kind):
    table = {
        "a": [f"word {i}" for i in range(40)],
        "n": [float(i) for i in range(40)],
        "l": [[i] * (i % 3) for i in range(40)],
    }
    if kind == "tar":
        path = tmp_path / "table.tar"
        with tarfile.open(path, "w") as tar:
            for i in range(20):
                member = tarfile.TarInfo(f"{i}.json")
                content = json.dumps({"n": i}).encode()
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    else:
        plain = {name: cells for name, cells in table.items() if name != "l" or kind != "csv"}
        path = tmp_path / f"table.{kind}"
        written(plain, kind)
    whole = path.read_bytes()
    draw = random.Random(0)
    for _ in range(60):
        changed = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        path.write_bytes(changed[: draw.choice([len(changed), draw.randrange(len(changed))])])
        found = tried(path)
        if found is not None:
            for column in found.source.columns.values():
                column.to_pylist()


@pytest.mark.full
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "wav", "flac"])
def test_broken_pictures_and_sounds_are_counted_and_do_no_more(tmp_path, suffix):
    draw = random.Random(0)
    good = io.BytesIO()
    if suffix in {"wav", "flac"}:
        sound = np.random.default_rng(0).normal(0, 0.1, 800)
        soundfile.write(good, sound, 8000, format=suffix.upper())
    else:
        pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(good, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
    for i in range(40):
        content = bytearray(good.getvalue())
        for _ in range(draw.randrange(0, 6)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        (tmp_path / f"{i}.{suffix}").write_bytes(content[: draw.choice([len(content), draw.randrange(len(content))])])
    lines = ["file,label", *(f"{i}.{suffix},{'ab'[i % 2]}" for i in range(40))]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    for deep in (False, True):
        assert tried(tmp_path / "table.csv", target="label", deep=deep) is not None


PATHS = st.one_of(
    st.sampled_from(["../secret.png", "/etc/passwd", "in/../../secret.png", "./a.png", "a.png/", "~", "~/x.png"]),
    st.sampled_from(["link.png", "out/secret.png", "circle.png", "pipe.png", "folder.png", "/dev/zero", "/dev/stdin"]),
    st.sampled_from(["file:///etc/passwd", "https://x.org/a.png", "a\0.png", "x" * 300 + ".png", "con.png", " a.png "]),
    st.sampled_from(["data:.png", "data:,a.png"]),
    st.text(max_size=10).map(lambda text: text + ".png"),
)


@FEW
@given(names=st.lists(PATHS, min_size=4, max_size=12))
def test_paths_lead_nowhere_else(tmp_path, names):
    folder = tmp_path / "in"
    secret = tmp_path / "secret.png"
    if not folder.exists():
        folder.mkdir()
        Image.new("L", (3, 3)).save(folder / "a.png")
        Image.new("L", (3, 3)).save(secret)
        (folder / "link.png").symlink_to(secret)
        (folder / "out").symlink_to(tmp_path)
        (folder / "circle.png").symlink_to(folder / "circle.png")
        (folder / "folder.png").mkdir()
        os.mkfifo(folder / "pipe.png")
    columns = {"image": names, "label": ["ab"[i % 2] for i in range(len(names))]}
    try:
        found = mmkit.inspect(columns, columns={"image": "image"}, files=folder)
    except MmkitError:
        return
    (one,) = [one for one in found.inputs if one.name == "image"]
    for row in range(len(names)):
        try:
            value = found.column(one, 0)[row]
        except MmkitError:
            continue
        if isinstance(value, str):
            assert os.path.realpath(value).startswith(os.path.realpath(folder) + os.sep)
            assert os.path.isfile(value)  # noqa: PTH113
        else:  # nothing, or what a data URI holds itself
            assert value is None or names[row].startswith("data:,")


@FEW
@given(
    names=st.lists(
        st.text(max_size=8) | st.sampled_from(["../x.txt", "/x.txt", "a/../b.txt", "1.json", "1.png"]), max_size=6
    ),
    contents=st.lists(st.binary(max_size=40), min_size=6, max_size=6),
    kinds=st.lists(st.sampled_from([b"0", b"1", b"2", b"3", b"6", b"5", b"S", b"L", b"x"]), min_size=6, max_size=6),
)
def test_members_of_tars(tmp_path, names, contents, kinds):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, kind in zip(names, contents, kinds, strict=False):
            member = tarfile.TarInfo(name.replace("\0", "") or "x")
            member.size, member.type, member.linkname = len(content), kind, "/etc/passwd"
            try:
                tar.addfile(member, io.BytesIO(content))
            except (ValueError, UnicodeError):
                continue
    try:
        source = read(str(tmp_path / "a.tar"), MEDIA)
    except MmkitError:
        return
    for column in source.columns.values():
        if is_member(column.type):
            store = Members(column)
            for row in range(source.rows):
                assert store.value(row) is None or store.value(row) in contents
    tried(tmp_path / "a.tar")


def test_huge_cells_and_columns(tmp_path):
    (tmp_path / "wide.csv").write_text(",".join(f"c{i}" for i in range(2000)) + "\n" + ",".join("1" * 2000) + "\n")
    assert tried(tmp_path / "wide.csv") is not None
    (tmp_path / "long.csv").write_text("a,b\n" + f"{'x' * 3_000_000},1\n" * 3)
    assert tried(tmp_path / "long.csv") is not None
    (tmp_path / "name.csv").write_text(f"{'n' * 5000},b\n1,2\n3,4\n")
    assert tried(tmp_path / "name.csv") is not None
    rows = [f"{'98'[n % 2] * 5000},{'xy'[n % 2]},{n * n}\n" for n in range(8)]
    (tmp_path / "digits.csv").write_text("".join(["a,b,c\n", *rows]))
    assert tried(tmp_path / "digits.csv", target="b") is not None
    (tmp_path / "open.csv").write_text('a,b\n"never closed,1\n' + "1,2\n" * 100)
    tried(tmp_path / "open.csv")
    (tmp_path / "depth.jsonl").write_text('{"a": ' + "[" * 300 + "]" * 300 + "}\n")
    assert tried(tmp_path / "depth.jsonl") is None
    pa.parquet.write_table(pa.table({"a": pa.array([None, None])}), tmp_path / "nothing.parquet")
    tried(tmp_path / "nothing.parquet")
