"""The scan finds the same as `importlib.metadata`, for every form of metadata."""

import importlib.metadata
import sys
import zipfile

from mmkit.registry.discovery import normalised, scan


def test_the_scan_finds_the_same_as_importlib():
    slow = {}
    for found in importlib.metadata.distributions():
        slow.setdefault(normalised(found.metadata["Name"]), found)
    fast = scan()
    assert set(fast.versions) == set(slow)
    assert {name: found.version for name, found in slow.items()} == dict(fast.versions)
    slow_entries = {
        (found.metadata["Name"], found.version, entry.group, entry.name, entry.value)
        for found in slow.values()
        for entry in found.entry_points
        if entry.group.startswith("mmkit.v")
    }
    assert {registration[:5] for registration in fast.registrations} == slow_entries
    assert any(registration.distribution == "mmkit-core" for registration in fast.registrations)


def test_names_are_compared_normalised():
    assert normalised("Acme__Fusion.x-.y") == "acme-fusion-x-y"


def test_a_registration_has_name_version_and_requirements(distribution):
    module = distribution("Acme-Fusion", "", version="2.1", requires=["numpy>=1", "tqdm; extra == 'bar'"])
    (found,) = scan([str(distribution.site)]).registrations
    assert found == (("Acme-Fusion", "2.1", "mmkit.v1", "Acme-Fusion", module, ("numpy>=1", "tqdm; extra == 'bar'")))


def test_the_first_of_two_on_the_path_counts(distribution, tmp_path):
    distribution("acme", "", version="2.0")
    second = tmp_path / "second"
    (second / "acme-1.0.dist-info").mkdir(parents=True)
    (second / "acme-1.0.dist-info" / "entry_points.txt").write_text("[mmkit.v1]\nacme = other\n")
    (second / "acme-1.0.dist-info" / "METADATA").write_text("Name: acme\nVersion: 1.0\n")
    places = [str(distribution.site), str(second)]
    assert [found.version for found in scan(places).registrations] == ["2.0"]
    assert [found.version for found in scan(reversed(places)).registrations] == ["1.0"]


def test_the_first_counts_even_if_it_registers_nothing(distribution, tmp_path):
    distribution("acme", "")
    first = tmp_path / "first"
    (first / "acme-3.0.dist-info").mkdir(parents=True)
    (first / "acme-3.0.dist-info" / "METADATA").write_text("Name: acme\nVersion: 3.0\n")
    found = scan([str(first), str(distribution.site)])
    assert (found.registrations, found.versions) == ((), {"acme": "3.0"})


def test_source_trees_and_eggs_are_read(tmp_path):
    info = tmp_path / "acme_fusion.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Name: acme-fusion\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[mmkit.v1]\n# a comment = none\nacme = acme.plugin [fast]\n")
    (info / "requires.txt").write_text("numpy\n\n[fast]\ntqdm\n")
    old = tmp_path / "older-1.2-py3.11.egg-info"
    old.mkdir()
    (old / "entry_points.txt").write_text("[other]\nmmkit.v1 = mmkit.v1:no\n[mmkit.v]\na = b\n[mmkit.version]\na = b\n")
    found = scan([str(tmp_path)])
    assert found.registrations == (("acme-fusion", "0.3", "mmkit.v1", "acme", "acme.plugin", ("numpy",)),)
    assert found.versions == {"acme-fusion": "0.3", "older": "1.2"}


def test_metadata_in_a_zip_file_is_read(tmp_path):
    archive = tmp_path / "acme.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("acme-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1.5\n")
        written.writestr("acme-1.5.dist-info/entry_points.txt", "[mmkit.v1]\nacme = acme_plugin\n")
    (found,) = scan([str(archive)]).registrations
    assert found[:5] == ("acme", "1.5", "mmkit.v1", "acme", "acme_plugin")


def test_a_custom_finder_is_used(tmp_path, monkeypatch):
    info = tmp_path / "hidden-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hidden\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[mmkit.v1]\nhidden = hidden_plugin\n")

    class Finder:
        @staticmethod
        def find_spec(*_):
            return None

        @staticmethod
        def find_distributions(_context):
            return [importlib.metadata.PathDistribution(info)]

    assert "hidden" not in scan().versions
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert "hidden" in {found.distribution for found in scan().registrations}


def test_the_working_directory_and_missing_folders_are_skipped(distribution, monkeypatch):
    distribution("acme", "")
    monkeypatch.chdir(distribution.site)
    assert scan(["", "/does/not/exist"]).versions == {}
