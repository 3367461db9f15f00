"""Films that are members of tar shards: read as a column of a table of one's own."""

import json
import tarfile
from io import BytesIO

import pytest

import mmkit
from mmkit.errors import DataError


@pytest.fixture
def shard(tmp_path, film):
    """A tar of twelve films with a label each, as WebDataset lays them out."""
    path = tmp_path / "films-000.tar"
    with tarfile.open(path, "w") as tar:
        for row in range(12):
            label = json.dumps({"label": "ab"[row % 2]}).encode()
            for ending, content in (("mp4", film(count=6 + row).read_bytes()), ("json", label)):
                member = tarfile.TarInfo(f"{row:04d}.{ending}")
                member.size = len(content)
                tar.addfile(member, BytesIO(content))
    return path


@pytest.fixture
def asked(tmp_path):
    """What is asked of a suite that is over soon."""
    return {
        "target": "json.label", "fusion": "attention", "seeds": 1, "cost": False, "yardsticks": False, "device": "cpu",
        "training": {"epochs": 1, "min_steps": 0, "lr": 0.002}, "out": tmp_path / "out", "progress": False,
    }  # fmt: skip


@pytest.mark.full
def test_members_that_end_as_films_do_are_films(shard, asked):
    found = mmkit.inspect(str(shard), target="json.label")
    (one,) = found.inputs
    assert (one.name, one.modality) == ("mp4", "video")
    suite = mmkit.bench(data=str(shard), **asked)
    assert {record.status for record in suite.records} == {"ok"}


def test_a_member_that_is_no_film_is_named(shard, asked, tmp_path):
    broken = tmp_path / "broken.tar"
    with tarfile.open(shard) as old, tarfile.open(broken, "w") as new:
        for member in old:
            content = old.extractfile(member).read()
            if member.name == "0003.mp4":
                content = b"no film" * 30
                member.size = len(content)
            new.addfile(member, BytesIO(content))
    with pytest.raises(DataError, match="sample 3, input mp4: the 210 bytes given as a video cannot be read"):
        mmkit.bench(data=str(broken), **asked)
