"""`mmkit report` from outside: the page of a folder, its other forms, and one line for each mistake."""

import csv
import io
import json
import re
import shutil

import pytest
from markdown_it import MarkdownIt

import mmkit
import mmkit.cli

SMALL = {
    "task": "synthetic-unique:train=48",
    "fusion": "concat",
    "training": {"epochs": 1, "lr": 0.002},
    "seeds": 2,
    "cost": False,
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    mmkit.bench(**SMALL, out=folder, progress=False)
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "suite")


@pytest.fixture
def command(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


def test_a_page_is_written_into_the_folder_and_its_path_is_printed(command, folder):
    code, out, err = command("report", folder)
    assert (code, out, err) == (0, f"{folder / 'report.html'}\n", "")
    assert (folder / "report.html").read_text().startswith("<!doctype html>")


def test_a_suite_writes_the_same_page(folder, tmp_path, command):
    suite = mmkit.bench(**SMALL, out=folder, progress=False)
    assert suite.report() == folder / "report.html"
    assert suite.report(tmp_path / "other.html") == tmp_path / "other.html"
    command("report", folder, "--out", tmp_path / "third.html")
    assert (tmp_path / "other.html").read_text() == (tmp_path / "third.html").read_text()


def test_the_document_is_that_of_bench(command, folder):
    _, of_report, _ = command("report", folder, "--json")
    arguments = ["--task", SMALL["task"], "--fusion", "concat", "--epochs", "1", "--lr", "0.002", "--seeds", "2"]
    code, of_bench, _ = command("bench", *arguments, "--no-cost", "--out", folder, "--json")
    assert code == 0
    assert json.loads(of_report) == json.loads(of_bench)


def test_the_command_line_is_kept(command, folder):
    arguments = ["--task", SMALL["task"], "--fusion", "concat", "--epochs", "1", "--lr", "0.002", "--seeds", "2"]
    command("bench", *arguments, "--no-cost", "--out", folder)
    said = (folder / "command.txt").read_text()
    assert said.startswith(f"mmkit bench --task {SMALL['task']} --fusion concat")
    assert "--no-cost" in said


def test_csv_has_every_figure(command, folder, tmp_path):
    _, out, _ = command("report", folder, "--csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    table = mmkit.bench(**SMALL, out=folder, progress=False).table()
    assert [line["combination"] for line in lines] == [row["combination"] for row in table]
    for line, row in zip(lines, table, strict=True):
        for name, value in row.items():
            assert line[name] == ("" if value is None else str(value))
    command("report", folder, "--csv", "--out", tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == out


def test_markdown_is_a_table_with_the_verdict(command, folder):
    _, out, _ = command("report", folder, "--markdown")
    html = MarkdownIt("commonmark").enable("table").render(out)
    suite = mmkit.bench(**SMALL, out=folder, progress=False)
    assert suite.verdict.sentence() in html.replace("&amp;", "&")
    assert len(re.findall("<tr>", html)) == 1 + len(suite.rows)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--csv", "--json"], "one form at a time; got --csv and --json"),
        (["--out", "a.csv"], "a.csv ends in .csv, and a page is asked for; add --csv"),
        (["--csv", "--out", "a.html"], "a.html ends in .html, and --csv is asked for; leave the form out, or name"),
        (["--out", "nowhere/a.html"], "cannot write to nowhere/a.html: No such file or directory; choose another file"),
    ],
)
def test_a_mistake_is_one_line(command, folder, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    code, out, err = command("report", folder, *arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"mmkit: error: {told}")
    assert list(tmp_path.iterdir()) == [folder]


def test_another_folder_is_one_line(command, tmp_path):
    code, _, err = command("report", tmp_path)
    assert code == 2
    assert err == f"mmkit: error: {tmp_path} holds no records.jsonl; expected a folder of mmkit bench\n"
