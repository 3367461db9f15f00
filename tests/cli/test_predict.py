"""`mmkit predict` from outside: files of answers, and what becomes of them when the process is killed."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import mmkit
import mmkit.cli
from mmkit.model import answer_files, answer_jobs, answer_joining
from mmkit.model.answer_formats import write
from mmkit.model.answer_jobs import write_part

ROWS = 40


@pytest.fixture
def data(new_fruit):
    """New rows, without the target."""
    return new_fruit(ROWS)


def answered(path):
    """The rows of a file of answers, as text, whatever it is."""
    if path.suffix == ".parquet":
        rows = pa.parquet.read_table(path).to_pylist()
    elif path.suffix == ".arrow":
        rows = pa.ipc.open_file(path).read_all().to_pylist()
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    else:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    return [{name: "" if cell is None else cell for name, cell in row.items()} for row in rows]


def test_every_format_holds_the_same_answers(run, model, data):
    expected = mmkit.load(model).answers(data, include=["colour"])
    rows = pa.concat_tables(list(expected)).to_pylist()
    for kind in ("parquet", "csv", "tsv", "jsonl", "arrow"):
        out = data.with_name(f"out.{kind}")
        code, said, _ = run("predict", model, "--data", data, "--out", out, "--include", "colour")
        assert code == 0
        assert said.startswith(f"{out}: {ROWS} answers to {ROWS} rows in ")
        found = answered(out)
        assert [row["label"] for row in found] == [row["label"] for row in rows], kind
        assert [str(row["row"]) for row in found] == [str(i) for i in range(ROWS)]
        assert [row["colour"] for row in found] == [row["colour"] or "" for row in rows]
        for row, its in zip(found, rows, strict=True):
            assert np.float32(row["probability_plum"]) == np.float32(its["probability_plum"])
        assert not out.with_name(f"{out.name}.parts").exists()


def test_lists_are_read_back_from_csv_and_bytes_are_refused_in_json(run, model, data):
    uuid = pa.array([b"\x00\x01", b"ab"], pa.binary(2))
    table = pa.table({"note": ["a", "b"], "tags": [["x", "y"], None], "raw": [b"\x00", b"\x01"], "uuid": uuid})
    pa.parquet.write_table(table, "more.parquet")
    assert run("predict", model, "--data", "more.parquet", "--out", "a.csv", "--include", "tags")[0] == 0
    assert [row["tags"] for row in answered(data.with_name("a.csv"))] == ["x|y", ""]
    for name in ("raw", "uuid"):
        code, _, err = run("predict", model, "--data", "more.parquet", "--out", "a.jsonl", "--include", name, "--force")
        assert (code, "JSON lines take no bytes" in err) == (2, True)


def test_json_lines_are_json_whatever_numbers_are_included(run, model, data):
    infinite = [1.5, float("inf"), float("nan")]
    columns = {"number": infinite, "list": [infinite, None, []], "known": pa.array(infinite).dictionary_encode()}
    pa.parquet.write_table(pa.table({"note": ["a", "b", "c"], **columns}), "more.parquet")
    asked = ("predict", model, "--data", "more.parquet", "--include", ",".join(columns), "--out")
    assert run(*asked, "a.jsonl")[0] == run(*asked, "a.csv")[0] == 0
    lines = data.with_name("a.jsonl").read_text().splitlines()
    found = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [row["number"] for row in found] == [row["known"] for row in found] == [1.5, None, None]
    assert [row["list"] for row in found] == [[1.5, None, None], None, []]
    assert [row["list"] for row in answered(data.with_name("a.csv"))] == ["[1.5, null, null]", "", ""]


def test_columns_to_include_may_stand_behind_commas_and_have_them_in_their_names(run, model, data):
    table = pa.csv.read_csv(data)
    pa.csv.write_csv(table.append_column("a,b", table["colour"]), "commas.csv")
    call = ("predict", model, "--data", "commas.csv", "--out", "a.csv", "--force")
    for given in (
        ["--include", "a,b", "--include", "weight, colour"],
        ["--include", "a,b", "--include=weight,colour,"],
    ):
        assert run(*call, *given)[0] == 0
        assert pa.csv.read_csv("a.csv").column_names[1:4] == ["a,b", "weight", "colour"]
    code, _, err = run(*call, "--include", "weight,color")
    assert (code, "has no column color; did you mean colour?" in err) == (2, True)


def test_what_is_there_is_not_written_over(run, model, data):
    out = data.with_name("out.csv")
    out.write_text("mine")
    code, _, err = run("predict", model, "--data", data, "--out", out)
    assert (code, out.read_text()) == (2, "mine")
    assert err.splitlines()[-1] == f"mmkit: error: {out} exists; name another file with --out, or --force replaces it"
    assert run("predict", model, "--data", data, "--out", out, "--force")[0] == 0
    assert len(answered(out)) == ROWS
    before = data.read_bytes()
    code, _, err = run("predict", model, "--data", data, "--out", data, "--force")
    assert (code, data.read_bytes()) == (2, before)
    assert "is the table of --data" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--out", "a.txt"], 2, "--out takes a file of .parquet"),
        (["--out", "none/a.csv"], 2, "there is no folder none"),
        (["--out", "a.csv", "--data", "none.csv"], 4, "there is no file"),
        (["--out", "a.csv", "--include", "color"], 2, "did you mean colour?"),
        (["--out", "a.csv", "--on-error", "drop"], 2, "on_error is one of"),
        (["--out", "a.csv", "--batch-size", "0"], 2, "batch_size is 1 or more"),
        (["--out", "a.csv", "--files", "none"], 2, "--files takes a folder"),
        (["--out", "a.csv", "--device", "gpu"], 2, "a GPU is cuda here"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(run, model, data, arguments, code, said):
    found, out, err = run("predict", model, "--data", data, *arguments)
    assert (found, out) == (code, "")
    assert err.startswith("mmkit: error: ")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in data.parent.iterdir()) == ["new.csv"]


def test_a_folder_without_a_model_is_named(run, data):
    code, _, err = run("predict", data.parent, "--data", data, "--out", "a.csv")
    assert (code, "holds no readable model" in err) == (4, True)


def test_values_that_cannot_be_read(run, model, data):
    lines = data.read_text().splitlines()
    lines[3] = "heavy" + lines[3][lines[3].index(",") :]
    data.write_text("\n".join(lines) + "\n")
    out = data.with_name("out.parquet")
    code, _, err = run("predict", model, "--data", data, "--out", out)
    assert code == 4
    assert "new.csv, row 2, column weight: 'heavy' is not a number" in err
    assert not out.exists()
    code, said, err = run("predict", model, "--data", data, "--out", out, "--on-error", "skip")
    assert (code, f"{ROWS - 1} answers to {ROWS} rows (1 without an answer)" in said) == (0, True)
    assert "mmkit: 1 value could not be used and its sample is left out:\n  row 2, weight: 'heavy' is" in err
    assert pa.parquet.read_table(out)["label"].is_valid().to_pylist() == [row != 2 for row in range(ROWS)]
    (unread,) = pa.parquet.read_table(f"{out}.unread.parquet").to_pylist()
    assert (unread["row"], unread["column"]) == (2, "weight")


def test_missing_columns_are_said_once_and_inputs_counted(run, model):
    Path("few.csv").write_text("Weight,colour\n1,red\n2,\n")
    code, _, err = run("predict", model, "--data", "few.csv", "--out", "a.csv")
    assert code == 0
    assert err.count("column weight is not in few.csv") == 1
    assert "did you mean its column Weight?" in err
    assert "mmkit: rows in which an input is missing: note 2, table 1" in err


@pytest.fixture
def ends_at(monkeypatch):
    """Lets the process end before a part is written."""
    write = answer_jobs.write_part

    def end(number, error):
        def written(path, answered):
            if path.name == f"{number:06}.parquet":
                raise error
            write(path, answered)

        monkeypatch.setattr(answer_jobs, "write_part", written)

    yield end
    monkeypatch.setattr(answer_jobs, "write_part", write)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "arrow"])
def test_a_call_that_was_interrupted_goes_on_to_the_same_bytes(run, model, data, ends_at, monkeypatch, kind):
    whole, broken = data.with_name(f"whole.{kind}"), data.with_name(f"broken.{kind}")
    assert run("predict", model, "--data", data, "--out", whole)[0] == 0
    ends_at(2, KeyboardInterrupt())
    code, _, err = run("predict", model, "--data", data, "--out", broken)
    assert code == 130
    assert f"mmkit: 2 parts of the answers are in {broken}.parts; the same command goes on" in err
    assert not broken.exists()
    ends_at(99, KeyboardInterrupt())
    seen = []

    def counted(path, answered):
        seen.append(answered.table.num_rows)
        write_part(path, answered)

    monkeypatch.setattr(answer_jobs, "write_part", counted)
    code, _, err = run("predict", model, "--data", data, "--out", broken)
    assert (code, seen) == (0, [10, 10])
    assert "mmkit: 20 rows were answered before" in err
    assert broken.read_bytes() == whole.read_bytes()


@pytest.mark.usefixtures("small_pieces")
def test_parts_of_another_job_are_not_gone_on_with(run, model, data, ends_at):
    ends_at(2, KeyboardInterrupt())
    assert run("predict", model, "--data", data, "--out", "a.csv")[0] == 130
    ends_at(9, KeyboardInterrupt())
    code, _, err = run("predict", model, "--data", data, "--out", "a.csv", "--batch-size", "8")
    assert code == 2
    assert "a.csv.parts holds the answers of another job: batch_size was 256 and is 8. Give what was given" in err
    data.write_text(data.read_text() + "1,red,2024-01-01,x\n")
    code, _, err = run("predict", model, "--data", data, "--out", "a.csv")
    assert (code, "content of the data was " in err) == (2, True)
    assert run("predict", model, "--data", data, "--out", "a.csv", "--force")[0] == 0
    assert len(answered(data.with_name("a.csv"))) == ROWS + 1


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("changed", "what"),
    [("code_of_model", "and is 'other'"), ("software", "version of torch was '2.")],
)
def test_parts_of_other_code_are_not_gone_on_with(run, model, data, ends_at, monkeypatch, changed, what):
    ends_at(2, KeyboardInterrupt())
    assert run("predict", model, "--data", data, "--out", "a.csv")[0] == 130
    ends_at(9, KeyboardInterrupt())
    if changed == "software":
        software = {**answer_jobs.Common.__dataclass_fields__["software"].default_factory(), "torch": "9"}
        common = partial(answer_jobs.Common, software=software)
        monkeypatch.setattr(answer_files, "Common", common)
    else:
        monkeypatch.setattr(answer_files, "code_of_model", lambda *_: {"mmkit-core": "other"})
    code, _, err = run("predict", model, "--data", data, "--out", "a.csv")
    assert (code, "holds the answers of another job" in err, what in err) == (2, True, True), err
    assert run("predict", model, "--data", data, "--out", "a.csv", "--force")[0] == 0


@pytest.mark.usefixtures("small_pieces")
def test_what_was_answered_before_a_bad_value_is_gone_on_with(run, model, data):
    lines = data.read_text().splitlines()
    lines[26] = "heavy" + lines[26][lines[26].index(",") :]
    data.write_text("\n".join(lines) + "\n")
    code, _, err = run("predict", model, "--data", data, "--out", "a.csv")
    assert (code, "row 25, column weight" in err) == (4, True)
    code, _, err = run("predict", model, "--data", data, "--out", "a.csv", "--on-error", "skip")
    assert (code, "mmkit: 20 rows were answered before" in err) == (0, True)
    run("predict", model, "--data", data, "--out", "b.csv", "--on-error", "skip")
    assert data.with_name("a.csv").read_bytes() == data.with_name("b.csv").read_bytes()


@pytest.mark.usefixtures("small_pieces")
def test_a_process_that_ended_while_joining_joins_again(run, model, data, monkeypatch):
    def broken(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(answer_joining, "write", broken)
    assert run("predict", model, "--data", data, "--out", "a.csv")[0] == 130
    assert not data.with_name("a.csv").exists()
    monkeypatch.setattr(answer_joining, "write", write)
    assert run("predict", model, "--data", data, "--out", "a.csv")[0] == 0
    assert len(answered(data.with_name("a.csv"))) == ROWS


def test_two_processes_do_not_write_to_one_file(run, model, data):
    from mmkit.system.files import owned

    parts = data.with_name("a.csv.parts")
    with owned(parts):  # by one that has not yet finished its first part
        (parts / "manifest.json").write_text("{}")
        code, _, err = run("predict", model, "--data", data, "--out", "a.csv")
        assert (code, "another process is writing to a.csv.parts" in err) == (2, True)
        assert sorted(one.name for one in parts.iterdir()) == [".lock", "manifest.json"]


@pytest.mark.full
def test_killed_and_called_again_it_gives_the_same_bytes(model, tmp_path):
    draw = random.Random(0)
    rows = {
        "weight": [draw.randrange(90, 200) for _ in range(60_000)],
        "note": [f"a fruit {draw.random()}" for _ in range(60_000)],
    }
    pa.parquet.write_table(pa.table(rows), tmp_path / "new.parquet")

    def command(out):
        line = [sys.executable, "-m", "mmkit", "predict", str(model), "--data", "new.parquet", "--out", out]
        return [*line, "--threads", "1", "--device", "cpu"]

    quiet = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command("whole.parquet"), check=True, **quiet)
    parts = tmp_path / "broken.parquet.parts"
    for count in (2, 6, 10):
        process = subprocess.Popen(command("broken.parquet"), **quiet)
        while len(list(parts.glob("0*.parquet"))) < count and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "broken.parquet").exists()
    subprocess.run(command("broken.parquet"), check=True, **quiet)
    assert (tmp_path / "broken.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not parts.exists()


def test_of_numbers_it_is_said_which_column_of_training_they_are(run, tmp_path):
    table = {"size": [float(n * n % 37) for n in range(40)], "a": [n % 7 + 0.5 for n in range(40)]}
    table["b"] = [n % 5 + 0.5 for n in range(40)]
    Path("new.csv").write_text("size\n1.5\n2.5\n")
    for target, said in ((["a"], "value is a"), (["a", "b"], "value_a is a, value_b is b")):
        quick = {"epochs": 1, "min_steps": 0}
        fitted = mmkit.fit(data=table, target=target, fusion="late", training=quick, progress=False, device="cpu")[0]
        fitted.save(tmp_path / said)
        code, _, err = run("predict", tmp_path / said, "--data", "new.csv", "--out", f"{len(target)}.csv")
        assert (code, err.splitlines()[-1]) == (0, f"mmkit: in the answers {said}")
        header = Path(f"{len(target)}.csv").read_text().splitlines()[0].replace('"', "")
        assert header == ",".join(["row", *(one.split()[0] for one in said.split(", "))])


def test_of_lists_of_numbers_it_is_said_that_all_are_of_one_column(run, tmp_path):
    table = {"size": [float(n * n % 37) for n in range(40)], "pair": [[n % 7 + 0.5, n % 5 + 0.5] for n in range(40)]}
    Path("new.csv").write_text("size\n1.5\n2.5\n")
    quick = {"epochs": 1, "min_steps": 0}
    mmkit.fit(data=table, target="pair", fusion="late", training=quick, progress=False, device="cpu")[0].save("pairs")
    code, _, err = run("predict", "pairs", "--data", "new.csv", "--out", "pairs.csv")
    assert (code, err.splitlines()[-1]) == (0, "mmkit: in the answers value_0 to value_1 are pair")
    assert Path("pairs.csv").read_text().startswith('"row","value_0","value_1"\n')
