"""What `mmkit bench` says of its search for learning rates, of what `all` leaves out, and of the default fusions."""

import json

import pytest

import mmkit
import mmkit.cli
from mmkit.registry.catalog import installed

SMALL = ["--task", "synthetic-unique:train=48", "--fusion", "concat"]


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch):
    """Runs the command in an empty folder; gives the exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main(["bench", *arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


class TestDryRun:
    def test_the_number_of_search_runs_is_said(self, bench):
        code, out, _ = bench(*SMALL, "--dry-run")
        assert code == 0
        assert out.splitlines()[-3:-1] == [
            "1 fusion and 2 inputs alone x 5 fresh seeds: 15 runs on task synthetic-unique:train=48, cpu, float32",
            "before them 9 to 12 search runs, which choose a learning rate of 0.0005, 0.002, 0.01 on validation",
        ]
        assert "before them 9 search runs," in bench(*SMALL, "--epochs", "2", "--dry-run")[1]
        assert "before them 3 to 6 search runs," in bench(*SMALL, "-o", "train.rates=[0.1]", "--dry-run")[1]
        assert "search runs" not in bench(*SMALL, "--lr", "0.1", "--dry-run")[1]

    def test_the_document_has_the_same(self, bench):
        found = json.loads(bench(*SMALL, "--dry-run", "--json")[1])
        assert (found["count"], found["search"]) == (15, {"rates": [5e-4, 2e-3, 1e-2], "least": 9, "most": 12})

    def test_a_rate_on_the_command_line_overrides_those_of_the_configuration(self, bench, tmp_path):
        (tmp_path / "bench.toml").write_text("[train]\nrates = [0.1, 0.2]\n")
        found = json.loads(bench(*SMALL, "--config", "bench.toml", "--dry-run", "--json")[1])
        assert found["search"]["rates"] == [0.1, 0.2]
        found = json.loads(bench(*SMALL, "--config", "bench.toml", "--lr", "0.5", "--dry-run", "--json")[1])
        assert found["search"]["rates"] == []
        assert found["runs"][0]["training"]["lr"] == 0.5

    def test_the_inner_width_that_tensor_fusion_chooses_is_said(self, bench):
        wide = ["--task", "synthetic-unique:train=48", "--encoder", "series=fcn:width=64", "--no-baselines"]
        code, out, _ = bench(*wide, "--fusion", "tensor:width=32,budget=50000", "--dry-run")
        assert code == 0
        # (32 + 1) ** 2 x 32 and two projections of 64 x 32 are 38,976.
        assert ", fusion.inner=32 chosen" in out.splitlines()[0]
        assert "chosen" not in bench(*wide, "--fusion", "tensor", "--dry-run")[1].splitlines()[0]

    @pytest.mark.full
    def test_what_all_leaves_out_is_no_failure(self, bench):
        code, out, _ = bench(*SMALL[:2], "--fusion", "all", "-o", "fusion.budget=100", "--dry-run")
        assert code == 0
        (line,) = [line for line in out.splitlines() if line.startswith("tensor")]
        assert "\tleft out: UsageError: fusion tensor:budget=100: tensor fusion of 2 inputs" in line
        left_out = [line for line in out.splitlines() if "\tleft out: " in line]
        assert all(":budget=100: " in line for line in left_out)  # some others have a budget, too
        fusions = installed().available("fusion")
        assert f"a race of {len(fusions) - len(left_out)} fusions on validation" in out
        assert bench(*SMALL[:2], "--fusion", "tensor", "-o", "fusion.budget=100", "--dry-run")[0] == 2


def test_a_run_chooses_a_rate_and_shows_it(bench, tmp_path):
    rest = ["--seeds", "1", "--epochs", "1", "--no-cost", "--out", "found", "-o", "train.rates=[0.001, 0.01]"]
    code, out, err = bench(*SMALL, *rest)
    *runs, last = err.splitlines()
    assert (code, last) == (0, "mmkit: records are in found")
    assert [line.partition(":")[2].partition(":")[0] for line in runs] == [f" {n} of 3 runs" for n in (1, 2, 3)]
    assert "rate" in out
    assert "best on validation by log loss first" in out
    records = [json.loads(line) for line in (tmp_path / "found" / "records.jsonl").read_text().splitlines()]
    assert [record["purpose"] for record in records] == ["search"] * 6 + ["comparison"] * 3
    code, out, err = bench(*SMALL, *rest, "--json")
    assert err == "mmkit: 3 of 3 runs are already in found and are not repeated\nmmkit: records are in found\n"
    ranking = json.loads(out)["ranking"]
    assert {len(row["learning_rates"]) for row in ranking} == {1}
    assert len(json.loads(out)["records"]) == 3


@pytest.mark.full
@pytest.mark.parametrize("task", ["synthetic-regression", "digits", "clipart"])  # those of series above
def test_all_fusions_can_be_built_on_the_tasks_that_ship(bench, task):
    code, out, _ = bench("--task", task, "--fusion", "all", "--dry-run")
    assert code == 0, out
