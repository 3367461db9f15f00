"""`mmkit data inspect`, and `--data` in place of a task, from outside."""

import io
import json
import random
import re
import shutil
import subprocess
import sys

import pytest

from mmkit.registry.builtin.tasks import FRUIT

QUICK = ["--fusion", "concat", "--seeds", "1", "--no-cost", "-o", "train.epochs=1", "-o", "train.min_steps=0"]
MESSY = [
    "id;zip;price;joined;note;score;kind",
    "1;00501;$1,234.50;2024-05-01;a very small box;3;box",
    "2;02134;$12.00;2024-05-02;;?;bag",
    "3;00501;;2024-05-03;the bag is blue;7.5;bag",
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MMKIT_TASK", "MMKIT_FUSION", "MMKIT_CONFIG", "MMKIT_SEEDS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def test_inspect_shows_columns_target_splits_and_findings(run):
    code, out, err = run("data", "inspect", FRUIT, "--target", "fruit")
    assert (code, err) == (0, "")
    kinds = {line.split()[0]: line.split()[3] for line in out.splitlines()[2:6]}
    assert kinds == {"weight": "number", "colour": "category", "picked": "date", "note": "text"}
    assert "'?' read as missing" in out
    assert "inputs: note (text), table" in out
    assert "splits: train 72, validation 18, test 30 (stratified, seed 0)" in out
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_inspect_gives_one_document(run):
    _, out, _ = run("data", "inspect", FRUIT, "--target", "fruit", "--column", "note=ignore", "--json")
    document = json.loads(out)
    assert document["source"] == {"data": FRUIT, "rows": 120, "columns": 5}
    assert {one["name"]: one["is"] for one in document["columns"]}["note"] == "ignored"
    assert document["inputs"] == [{"name": "table", "modality": "table", "columns": ["weight", "colour", "picked"]}]
    assert sum(document["target"]["counts"]) == 120


def test_the_document_can_be_read_whatever_the_encoding(run, tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("größe,art\n" + "1,ä\n2,b\n" * 20, encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert run("data", "inspect", "a.csv", "--json")[0] == 0
    document = json.loads(sys.stdout.buffer.getvalue())
    assert [one["name"] for one in document["columns"]] == ["größe", "art"]


def test_a_messy_table_is_read_as_people_mean_it(run, tmp_path):
    (tmp_path / "messy.csv").write_text("\n".join(MESSY[:1] + MESSY[1:] * 20))
    code, out, _ = run("data", "inspect", "messy.csv", "--json")
    kinds = {one["name"]: one["is"] for one in json.loads(out)["columns"]}
    assert code == 0
    assert kinds["zip"] == "category"
    assert (kinds["price"], kinds["score"], kinds["joined"]) == ("number", "number", "date")


def test_what_can_be_read_in_two_ways_is_shown_and_asked_for(run, tmp_path):
    (tmp_path / "a.csv").write_text(
        "when,kind\n" + "".join(f"0{1 + n % 9}/0{1 + n % 8}/2024,{n % 2}\n" for n in range(40))
    )
    code, out, err = run("data", "inspect", "a.csv", "--target", "kind")
    assert code == 2
    assert "to decide: " in out
    assert err.startswith("mmkit: error: ")
    assert "dayfirst" in err
    code, out, _ = run("data", "inspect", "a.csv", "--target", "kind", "--column", "when=date:dayfirst")
    assert (code, "to decide" in out) == (0, False)


def test_bench_on_a_table_trains_records_and_keeps_what_it_found(run, tmp_path):
    code, out, err = run("bench", "--data", FRUIT, "--target", "fruit", *QUICK, "--out", "suite")
    assert code == 0
    assert "concat" in out
    assert "splits: train 72" in err
    kept = json.loads((tmp_path / "suite" / "data.json").read_text())
    assert kept == json.loads(run("data", "inspect", FRUIT, "--target", "fruit", "--json")[1])
    shutil.copy(FRUIT, tmp_path / "moved.csv")
    code, _, err = run("bench", "--data", "moved.csv", "--target", "fruit", *QUICK, "--out", "suite")
    assert code == 0
    assert "3 of 3 runs are already in suite" in err


def test_a_configuration_file_says_the_same(run, tmp_path):
    (tmp_path / "c.toml").write_text(
        f'data = "{FRUIT}"\ntarget = "fruit"\ncolumn = ["note=ignore"]\ngroup = "colour"\nsplit_seed = 3\n'
    )
    code, out, err = run("bench", "--config", "c.toml", "--dry-run", "--no-baselines", "--seeds", "1")
    assert code == 0
    assert "by colour, seed 3" in err
    assert "columns={" in out
    (tmp_path / "c.toml").write_text('data = "x.csv"\nsplit_seed = "3"\n')
    assert "split_seed takes int" in run("bench", "--config", "c.toml")[2]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["bench", "--target", "fruit"], 2, "--target says something of --data, which is not given"),
        (["bench", "--column", "a=text"], 2, "--column says something of --data"),
        (["bench", "--task", "digits", "--data", FRUIT], 2, "are two tasks; give one of them"),
        (["bench", "--data", FRUIT], 2, "which column of .* is to be predicted"),
        (["bench", "--data", FRUIT, "--target", "fruits"], 2, "did you mean fruit"),
        (["bench", "--data", "fruit.csv", "--target", "fruit"], 4, "there is no file or folder 'fruit.csv'"),
        (["data", "inspect", FRUIT, "--column", "note"], 2, "--column takes NAME=KIND; got note"),
        (["data", "inspect", FRUIT, "--column", "note=ignore", "--column", "note=text"], 2, "is given twice"),
        (["data", "inspect", FRUIT, "--target", "fruit", "--target-kind", "klass"], 2, "target_kind takes classes or"),
        (["data", "inspect", FRUIT, "--target", "fruit", "--split-seed", "-1"], 2, "split_seed takes int >= 0"),
        (["retrieve", "--encoder", "a=bag"], 2, "Give --task NAME or --data PATH"),
        (["zero-shot", "--input", "a", "--encoder", "x", "--text-encoder", "y"], 2, "Give --task NAME or --data"),
    ],
)
def test_a_mistake_is_one_line(run, tmp_path, arguments, code, said):
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    (line,) = err.splitlines()
    assert re.search(said, line)
    assert not (tmp_path / "mmkit-runs").exists()


def test_data_wins_over_the_task_of_the_environment(run, monkeypatch):
    monkeypatch.setenv("MMKIT_TASK", "digits")
    code, out, _ = run("bench", "--data", FRUIT, "--target", "fruit", "--dry-run", "--no-baselines", "--seeds", "1")
    assert code == 0
    assert "on task own-data:" in out


PLUGIN = """
    import torch
    from torch import nn
    from mmkit.contract import Features
    from mmkit.plugin import EncoderSpec, hookimpl

    @hookimpl
    def mmkit_encoders():
        yield EncoderSpec("kind", "THIS:Kind", "Cat or dog.", modality="text")

    class Words:
        augments = False
        def fit(self, values):
            pass
        def __call__(self, values, generator=None):
            dog = torch.tensor([float("dog" in (value or "")) for value in values])
            return {"dog": dog, "mask": torch.tensor([value is not None for value in values])}
        def state(self):
            return {}
        def restore(self, state):
            pass

    class Kind(nn.Module):
        reads = Words
        frozen = True
        width = 2
        def __init__(self, transform):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1), requires_grad=False)
        def forward(self, batch):
            return Features.of(torch.stack([batch["dog"], 1 - batch["dog"]], 1), batch["mask"])
"""


def test_retrieve_and_zero_shot_take_data_too(run, tmp_path, distribution):
    distribution("acme", PLUGIN)
    draw = random.Random(0)
    kinds = {"cat": "the cat sleeps on the", "dog": "the dog runs to the"}
    lines = [f"{kinds[k]} {draw.random()},{draw.random()} a {k} is seen here,{k}" for k in kinds for _ in range(30)]
    (tmp_path / "pairs.csv").write_text("one,two,kind\n" + "\n".join(lines))
    given = ["--data", "pairs.csv", "--target", "kind", "--no-cache"]
    code, out, err = run("retrieve", *given, "--encoder", "one=kind", "--encoder", "two=kind")
    assert code == 0, err
    assert "one" in out
    code, out, err = run("zero-shot", *given, "--input", "one", "--encoder", "kind", "--text-encoder", "kind")
    assert code == 0, err
    assert "100" in out


def test_nothing_that_reads_data_is_imported_where_none_is_given():
    script = "import sys, mmkit.cli.bench, mmkit.api; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_dates_that_are_found_order_rows_and_the_reading_is_shown(run, tmp_path):
    rows = [f"{n % 28 + 1:02}.{n % 12 + 1:02}.{2000 + n},{n % 5}.5,{n}.5" for n in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["sold,kg,price", *rows]))
    code, out, _ = run("data", "inspect", "a.csv", "--target", "price", "--time", "sold")
    assert code == 0
    assert "(by time as dates, day first, seed 0)" in out
    (tmp_path / "b.csv").write_text("\n".join(["sold,kg,price", ",1.5,2.5", *rows]))
    code, _, err = run("data", "inspect", "b.csv", "--target", "price", "--time", "sold")
    assert code == 2
    assert "1 of 41 rows has no time, the first is row 0: column sold is empty there; fill it in" in err
