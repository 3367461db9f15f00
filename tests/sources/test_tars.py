"""Tar shards give what a table with files beside it gives; nothing that a member names or points to is followed."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmkit.errors import DataError
from mmkit.sources import kept
from mmkit.sources.members import Members, is_member
from mmkit.sources.reading import read, stamp
from mmkit.sources.shards import files_of
from mmkit.tasks.own_data import OwnData

MEDIA = {"image": (".png", ".jpg"), "audio": (".wav",)}


def add(tar, name, content=b"", kind=tarfile.REGTYPE, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, len(content)
    tar.addfile(member, io.BytesIO(content))


def shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            add(tar, name, content)
    return str(path)


def picture(number):
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def rows(count=80):
    r = np.random.default_rng(0)
    return [
        {
            "label": ["apple", "pear"][i % 2],
            "weight": round(float(r.normal(100, 9)), 1),
            "note": f"a fruit that lies on table {i} today",
            "png": picture(i % 70),  # the last ten are copies
        }
        for i in range(count)
    ]


def as_shards(folder, table, per=30):
    for start in range(0, len(table), per):
        shard(
            folder / f"s-{start // per:03}.tar",
            [
                (f"{start + i:05}.{name}", content)
                for i, row in enumerate(table[start : start + per])
                for name, content in {
                    "png": row["png"],
                    "json": json.dumps({"label": row["label"], "weight": row["weight"]}).encode(),
                    "txt": row["note"].encode(),
                }.items()
            ],
        )
    return str(folder / f"s-{{000..{(len(table) - 1) // per:03}}}.tar")


def as_files(folder, table):
    lines = ["png,json.label,json.weight,txt"]
    for i, row in enumerate(table):
        (folder / f"{i:05}.png").write_bytes(row["png"])
        lines.append(f"{i:05}.png,{row['label']},{row['weight']},{row['note']}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "table.csv")


def test_shards_are_what_a_table_with_files_is(tmp_path):
    table = rows()
    (tmp_path / "tars").mkdir()
    (tmp_path / "files").mkdir()
    tars = OwnData(data=as_shards(tmp_path / "tars", table), target="json.label")
    files = OwnData(data=as_files(tmp_path / "files", table), target="json.label")
    assert tars.inputs == files.inputs == {"png": "image", "txt": "text", "table": "table"}
    mine, its = tars.found.document(), files.found.document()
    columns = [{key: one[key] for key in ("name", "missing", "is")} for one in mine["columns"]]
    assert columns[0] == {"name": "__key__", "missing": 0, "is": "ignored"}
    assert columns[1:] == [{key: one[key] for key in ("name", "missing", "is")} for one in its["columns"]]
    for part in ("inputs", "target", "splits", "findings", "problems"):
        assert mine[part] == its[part]
    assert "10 rows share a text or a file with an earlier one" in str(mine["findings"])
    for name in ("train", "validation", "test"):
        one, other = tars.split(name), files.split(name)
        assert (list(one.ids), list(one.truth)) == (list(other.ids), list(other.truth))
        assert list(one.inputs["txt"]) == list(other.inputs["txt"])
        assert list(one.inputs["table"]) == list(other.inputs["table"])
        read_back = [Path(path).read_bytes() for path in other.inputs["png"]]
        assert list(one.inputs["png"]) == read_back


@pytest.mark.parametrize("pattern", ["s-{000..002}.tar", "s-*.tar", "s-00{0..2}.tar", ""])
def test_shards_are_named_by_braces_stars_or_their_folder(tmp_path, pattern):
    as_shards(tmp_path, rows())
    assert read(str(tmp_path / pattern), MEDIA).rows == 80


def test_a_shard_that_is_not_there_is_named(tmp_path):
    as_shards(tmp_path, rows())
    with pytest.raises(DataError, match=r"stands for 5 files, of which 2 are missing: .*s-003\.tar"):
        read(str(tmp_path / "s-{000..004}.tar"), MEDIA)
    with pytest.raises(DataError, match="there is no file"):
        read(str(tmp_path / "t-*.tar"), MEDIA)
    with pytest.raises(DataError, match="at most 100,000"):
        files_of("s-{0..9999999}.tar")


def test_columns_are_extensions_and_fields_of_json(tmp_path):
    path = shard(
        tmp_path / "a.tar",
        [
            ("deep/001.json", b'{"label": "x", "at": {"zip": "00501"}, "mixed": 1}'),
            ("deep/001.seg.PNG", picture(1)),
            ("deep/001.cls", b"3\n"),
            ("002.json", b'{"label": null, "mixed": "y"}'),
            ("002.txt", "我爱北京天安门".encode()),
            ("__notes__", b"x"),
            (".hidden", b"x"),
        ],
    )
    source = read(path, MEDIA)
    cells = {name: column.to_pylist() for name, column in source.columns.items() if not is_member(column.type)}
    assert cells == {
        "__key__": ["deep/001", "002"],
        "json.label": ["x", None],
        "json.at.zip": ["00501", None],
        "json.mixed": ["1", "y"],
        "cls": ["3", None],
        "txt": [None, "我爱北京天安门"],
    }
    store = Members(source.columns["seg.png"])
    assert [store.value(row) for row in range(2)] == [picture(1), None]
    assert source.told == ()


def test_types_that_change_between_shards_become_strings(tmp_path):
    shard(tmp_path / "a.tar", [("1.json", b'{"n": 1}'), ("2.json", b'{"n": null}')])
    shard(tmp_path / "b.tar", [("1.json", b'{"n": "x"}'), ("2.json", b'{"n": [1]}')])
    shard(tmp_path / "c.tar", [("1.json", b'{"n": 2}'), ("2.json", b"[1]")])
    columns = read(str(tmp_path / "*.tar"), MEDIA).columns
    assert columns["json.n"].to_pylist() == ["1", None, "x", "[1]", None, None]
    assert columns["json"].to_pylist() == [None, None, None, None, '{"n": 2}', "[1]"]


def test_files_of_several_extensions_are_one_column_where_each_row_has_one(tmp_path):
    one = shard(tmp_path / "a.tar", [("1.png", picture(1)), ("2.jpg", picture(2)), ("2.wav", b"RIFF")])
    assert list(read(one, MEDIA).columns) == ["__key__", "image", "wav"]
    both = shard(tmp_path / "b.tar", [("1.png", picture(1)), ("1.jpg", picture(2))])
    assert list(read(both, MEDIA).columns) == ["__key__", "png", "jpg"]


def test_what_must_not_be_followed_is_left_out_and_told(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "1.txt", b"one")
        add(tar, "1.txt", b"another")
        add(tar, "2.txt", kind=tarfile.SYMTYPE, link=str(tmp_path / "secret.txt"))
        add(tar, "3.txt", kind=tarfile.LNKTYPE, link="1.txt")
        add(tar, "/4.txt", b"x")
        add(tar, "a/../../5.txt", b"x")
        add(tar, "6.txt", kind=tarfile.FIFOTYPE)
        add(tar, "7.txt", kind=tarfile.CHRTYPE)
        add(tar, "folder.txt", kind=tarfile.DIRTYPE)
        add(tar, "README", b"x")
        add(tar, "8\udcff.txt", b"x")
    source = read(str(path), MEDIA)
    assert {name: column.to_pylist() for name, column in source.columns.items()} == {
        "__key__": ["1"],
        "txt": ["another"],
    }
    assert set(source.told) == {
        "members whose names are not KEY.EXTENSION, which are left out: 1, as 'README'",
        "members whose names are not UTF-8, which are left out: 1, as '8\\udcff.txt'",
        "members whose names come again, of which the last counts: 1, as '1.txt'",
        "members that are devices, pipes or sparse files, which are left out: 2, as '6.txt'",
        "members that are links, which are not followed: 2, as '2.txt'",
        "members whose names are absolute or hold `..`, which are left out: 2, as '/4.txt'",
    }


def test_a_compressed_cut_or_damaged_tar_is_one_error(tmp_path):
    whole = (tmp_path / "a.tar", [(f"{i}.txt", b"word " * 300) for i in range(30)])
    content = Path(shard(*whole)).read_bytes()
    other = tmp_path / "b.tar"
    for said, broken in {
        "is compressed.*gunzip": gzip.compress(content),
        "cannot be read as a tar": b"x" * 2000,
        "cannot be read as a tar: empty": b"",
        "is cut off or damaged at byte": content[: 20 * 2048] + b"\xff" * 512 + content[20 * 2048 + 512 :],
    }.items():
        other.write_bytes(broken)
        with pytest.raises(DataError, match=said):
            read(str(other), MEDIA)
    rows_of = set()
    for end in range(512, len(content), 700):
        other.write_bytes(content[:end])
        try:
            source = read(str(other), MEDIA)
        except DataError:
            continue
        rows_of.add(source.rows)
        assert source.rows == 30 or "without the mark of their end" in str(source.told)
    assert 30 in rows_of


def test_a_tar_that_changes_is_noticed(tmp_path):
    path = shard(tmp_path / "a.tar", [("1.png", picture(1)), ("1.cls", b"a")])
    store, before = Members(read(path, MEDIA).columns["png"]), stamp(path)
    shard(tmp_path / "a.tar", [("1.png", picture(2)), ("1.cls", b"abc" * 3000)])
    assert stamp(path) != before
    with pytest.raises(DataError, match=r"a\.tar has changed since it was read"):
        store.value(0)
    (tmp_path / "a.tar").unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        store.value(0)


def test_the_headers_of_large_tars_are_read_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "LARGE", 0)
    data = as_shards(tmp_path, rows())
    with tarfile.open(tmp_path / "s-000.tar", "a") as tar:
        add(tar, "x.txt", kind=tarfile.SYMTYPE, link="y")
    first = read(data, MEDIA)
    monkeypatch.setattr("mmkit.sources.reading.read_tars", None)
    again = read(data, MEDIA)
    assert first.told == again.told
    assert len(first.told) == 1
    for name, column in first.columns.items():
        assert again.columns[name].equals(column)
