"""What pip leaves behind is no distribution; of two versions in one folder the newer counts, and that is said."""

import pytest

from mmkit.cli import main
from mmkit.registry.discovery import scan


@pytest.fixture
def site(tmp_path):
    """Writes the metadata of a distribution, whole or not."""

    def write(folder, *, version="", whole=True, entries=True, begins=b""):
        info = tmp_path / folder
        info.mkdir()
        if whole:
            (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: acme-fusion\nVersion: {version}\n\nText\n")
        if entries:
            (info / "entry_points.txt").write_bytes(begins + b"[mmkit.v1]\r\nacme-fusion = acme_fusion\r\n")

    vars(write)["folder"] = tmp_path
    return write


def versions(site):
    found = scan([str(site.folder)])
    return [one.version for one in found.registrations], found.versions, found.doubled


def test_a_leftover_of_pip_is_passed_over(site):
    site("acme_fusion-0.1.0.dist-info", version="0.1.0")
    site("~cme_fusion-0.1.0.dist-info", version="0.1.0")
    assert versions(site) == (["0.1.0"], {"acme-fusion": "0.1.0"}, ())


def test_metadata_that_is_not_whole_hides_nothing(site):
    site("acme_fusion-0.0.9.dist-info", whole=False, entries=False)
    site("acme_fusion-0.1.0.dist-info", version="0.1.0")
    site("acme_fusion-0.2.0.dist-info", whole=False)
    assert versions(site) == (["0.1.0"], {"acme-fusion": "0.1.0"}, ())


@pytest.mark.parametrize(("older", "newer"), [("0.9.0", "0.10.0"), ("0.1.0", "0.2.0"), ("0.2.0rc1", "0.2.0")])
def test_of_two_versions_the_newer_counts_and_that_is_said(site, older, newer):
    for version in (older, newer):
        site(f"acme_fusion-{version}.dist-info", version=version)
    found, known, (said,) = versions(site)
    assert (found, known) == ([newer], {"acme-fusion": newer})
    assert said.startswith(f"acme-fusion is installed as {older} and {newer} in one folder; {newer} counts")


def test_a_file_of_distutils_beside_it_hides_nothing(site):
    site("acme_fusion-0.1.0.dist-info", version="0.1.0")
    (site.folder / "acme_fusion-0.1.0-py3.11.egg-info").write_text("Name: acme-fusion\nVersion: 0.1.0\n")
    assert versions(site) == (["0.1.0"], {"acme-fusion": "0.1.0"}, ())


def test_a_mark_at_the_beginning_of_a_file_is_no_part_of_it(site):
    site("acme_fusion-0.1.0.dist-info", version="0.1.0", begins=b"\xef\xbb\xbf")
    assert versions(site)[0] == ["0.1.0"]


NOTHING = """
from mmkit.plugin import hookimpl

@hookimpl
def mmkit_fusions():
    return ()
"""


def test_a_module_that_is_gone_is_not_said_to_be_in_mmkit(distribution, capsys):
    module = distribution("acme", NOTHING)
    (distribution.site / f"{module}.py").unlink()
    with pytest.raises(SystemExit):
        main(["list-plugins"])
    err = capsys.readouterr().err
    assert err == f"mmkit: plugin acme is broken and left out: ModuleNotFoundError: No module named '{module}'\n"


def test_commands_say_it(distribution, capsys):
    distribution("acme", NOTHING)
    distribution("acme", NOTHING, version="2.0")
    with pytest.raises(SystemExit):
        main(["list-plugins"])
    out, err = capsys.readouterr()
    assert "concat" in out
    assert err.startswith("mmkit: acme is installed as 1.0 and 2.0 in one folder; 2.0 counts")
