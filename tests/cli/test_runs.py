"""`mmkit runs` from outside: what is listed, chosen and sorted, beside the lines of the file itself."""

import json

import pytest

import mmkit
import mmkit.cli


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """The folder of a suite with a search, a stopped and a failed run, and its records as plain values."""
    folder = tmp_path_factory.mktemp("runs")
    mmkit.bench(
        task="synthetic-unique:train=64", fusion=["concat", "sum"], seeds=2, out=folder / "one", cost=False,
        training={"epochs": 1, "min_steps": 0, "rates": [0.001, 0.002]}, yardsticks=False, device="cpu", progress=False,
    )  # fmt: skip
    file = folder / "one" / "records.jsonl"
    # A training of the search that is the first of the race has a second line, which holds.
    found = list({one["id"]: one for one in map(json.loads, file.read_text().splitlines())}.values())
    bad = {**found[-1], "id": "bad", "status": "failed", "error": "MmkitError: it\ndiverged", "metrics": {}}
    bad |= {"validation": {}, "scores": None, "seconds": None}
    cut = {
        **found[-1],
        "id": "cut",
        "scores": None,
        "rung": {"number": 1, "of": 2, "epochs": 1, "whole": 2, "stopped": True},
    }
    file.write_text(file.read_text() + json.dumps(cut) + "\n" + json.dumps(bad) + "\n")
    return folder, [*found, cut, bad]


@pytest.fixture
def runs(capsys, lines):
    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main(["runs", str(lines[0]), *arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


def listed(out):
    return [one["record"] for one in json.loads(out)["runs"]]


def test_every_run_is_listed_with_its_error_at_the_end(runs, lines):
    code, out, err = runs()
    assert code == 0, err
    titles, *cells = [line.split("\t") for line in out.splitlines()]
    assert [line[-2] for line in cells] == [record["id"][:8] for record in lines[1]]
    assert cells[-1][-1] == "MmkitError: it diverged"
    assert (titles[0], titles[-2:], len(titles)) == ("fusion", ["id", "error"], 15)
    assert {len(line) for line in cells} == {15}
    first = dict(zip(titles, cells[0], strict=True))
    record = lines[1][0]
    assert {name: first[name] for name in ("seed", "status", "metric")} == {
        name: str(record[name]) for name in ("seed", "status", "metric")
    }
    assert first["encoders"].split() == [f"{name}={choice}" for name, choice in record["encoders"].items()]
    assert runs("--status", "ok", "--where", "fusion=sum")[1].splitlines()[0].split("\t") == titles
    assert err.splitlines()[-1] == f"mmkit: {len(lines[1])} runs"


def test_json_is_the_records(runs, lines):
    assert listed(runs("--json")[1]) == lines[1]


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["--status", "failed"], lambda r: r["status"] == "failed"),
        (["--status", "stopped"], lambda r: r["id"] == "cut"),
        (["--status", "ok"], lambda r: r["id"] not in {"cut", "bad"}),
        (["--where", "fusion=sum"], lambda r: r["fusion"] == "sum"),
        (
            ["--where", "seed=1", "--where", "purpose=comparison"],
            lambda r: r["seed"] == 1 and r["purpose"] == "comparison",
        ),
        (["--where", "train.lr=0.001"], lambda r: r["run"]["training"]["lr"] == 0.001),
        (["--where", "train.lr=1e-3"], lambda r: r["run"]["training"]["lr"] == 0.001),
        (["--where", "still_improving=true"], lambda r: r["still_improving"]),
        (["--where", "fusion=nothing"], lambda r: False),
    ],
)
def test_runs_are_chosen_by_what_their_records_say(runs, lines, arguments, chosen):
    code, out, _ = runs("--json", *arguments)
    assert code == 0
    assert listed(out) == [record for record in lines[1] if chosen(record)]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("fusion=conct", "did you mean concat? Possible: concat, only:left, only:right, sum"),
        ("train.lr=0.003", "Possible: 0.001, 0.002"),
        ("still_improving=yes", "Possible: "),
    ],
)
def test_a_value_that_no_run_has_is_said_with_those_that_there_are(runs, where, said):
    code, out, err = runs("--where", where)
    assert (code, len(out.splitlines())) == (0, 1)
    assert err.startswith(f"mmkit: --where: no run has {where}; ")
    assert said in err.splitlines()[0]
    assert "no run has" not in runs("--where", "fusion=sum", "--where", "status=failed")[2]


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("accuracy", lambda r: -r["metrics"].get("accuracy", float("-inf"))),
        ("validation.log_loss", lambda r: r["validation"].get("log_loss", float("inf"))),
        ("seconds", lambda r: r["seconds"] or float("inf")),
    ],
)
def test_the_best_come_first_and_those_without_a_value_last(runs, lines, sort, key):
    assert [record["id"] for record in listed(runs("--json", "--sort", sort)[1])] == [
        record["id"] for record in sorted(lines[1], key=key)
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--status", "done"], "unknown --status done; "),
        (["--where", "fusion"], "--where takes KEY=VALUE, such as fusion=attention; got 'fusion'"),
        (["--where", "fusio=sum"], "no run has fusio; did you mean fusion?"),
        (["--where", "train.lrr=1"], "no run has train.lrr; did you mean train.lr?"),
        (["--sort", "acuracy"], "--sort acuracy: no run has it; did you mean accuracy?"),
    ],
)
def test_what_is_not_there_is_one_line(runs, arguments, message):
    code, out, err = runs(*arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert message in line
