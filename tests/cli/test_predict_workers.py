"""`mmkit predict` with several workers: the file of one process, byte for byte, whatever is killed."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

import mmkit
import mmkit.cli
from mmkit.errors import DataError, MmkitError, UsageError
from mmkit.model import answer_files, answer_jobs
from mmkit.model.answer_jobs import Part, Writer
from mmkit.model.answers import Asked
from mmkit.sources import streaming
from mmkit.system.executors.jobs import answered, unpacked
from mmkit.system.progress import SILENT
from tests.experiments.executors import cases

ROWS = 47
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


@pytest.fixture
def data(new_fruit):
    """New rows, without the target."""
    return new_fruit(ROWS)


class OutOfOrder:
    """Does what several workers do, in this process: jobs travel, and end in another order than they begin."""

    workers = 2

    def __init__(self, seed=0):
        self.draw, self.done = random.Random(seed), []

    def start(self):
        return 0.0

    def run(self, jobs, place):
        going, waiting = [], iter(jobs)
        while True:
            while len(going) < 4 and (job := next(waiting, None)) is not None:
                going.append(job)
            if not going:
                return
            job = going.pop(self.draw.randrange(len(going)))
            self.done.append(job.number)
            yield job, unpacked(answered(*place.packed(job)))

    def close(self, *, at_once=False):
        pass


@pytest.fixture
def run(run, small_pieces, monkeypatch):
    """Predicts in this process, ten rows a part: exit code, stdout, stderr."""

    def run_(*arguments, executor=None):
        if executor is not None:
            monkeypatch.setattr("mmkit.cli.predict.executor_of", lambda *_: executor)
        return run("predict", *arguments, "--device", "cpu")

    return run_


def broken(data, *rows):
    """Numbers of these rows become words."""
    lines = data.read_text().splitlines()
    for row in rows:
        lines[row + 1] = "heavy" + lines[row + 1][lines[row + 1].index(",") :]
    data.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("kind", ["parquet", "csv", "tsv", "jsonl", "arrow"])
@pytest.mark.parametrize("on_error", ["skip", "missing"])
def test_parts_that_end_out_of_order_give_the_same_file(run, model, data, kind, on_error):
    broken(data, 3, 31)
    one, two = data.with_name(f"one.{kind}"), data.with_name(f"two.{kind}")
    asked = (model, "--data", data, "--include", "colour", "--on-error", on_error)
    code, said, told = run(*asked, "--out", one)
    assert code == 0
    executor = OutOfOrder()
    code, said_too, told_too = run(*asked, "--out", two, executor=executor)
    assert code == 0
    assert executor.done != sorted(executor.done)
    assert two.read_bytes() == one.read_bytes()
    unread = [pa.parquet.read_table(f"{one}.unread.parquet").to_pylist() for one in (one, two)]
    assert unread[0] == unread[1]
    assert len(unread[0]) == 2
    assert said_too.split(" in ")[0] == said.split(" in ")[0].replace("one.", "two.")
    assert told_too == told.replace("one.", "two.")


@pytest.mark.parametrize("kind", ["parquet", "arrow", "jsonl", "csv"])
def test_every_format_of_a_table_is_read_by_parts(run, model, data, kind, tmp_path):
    table = pa.csv.read_csv(data)
    path = tmp_path / f"table.{kind}"
    if kind == "parquet":
        pa.parquet.write_table(table, path, row_group_size=7)
    elif kind == "arrow":
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table, max_chunksize=9)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist()))
    else:
        path = data
    assert run(model, "--data", path, "--out", "one.parquet")[0] == 0
    assert run(model, "--data", path, "--out", "two.parquet", executor=OutOfOrder(1))[0] == 0
    assert Path("two.parquet").read_bytes() == Path("one.parquet").read_bytes()


@pytest.mark.parametrize("seed", range(4))
def test_of_several_errors_the_first_of_the_table_is_told_and_the_same_is_left(run, model, data, seed):
    broken(data, 24, 36, 41)
    code, _, first = run(model, "--data", data, "--out", "one.csv")
    assert code == 4
    assert "row 24, column weight" in first
    code, _, err = run(model, "--data", data, "--out", "two.csv", executor=OutOfOrder(seed))
    assert (code, err) == (4, first)
    parts = [sorted(path.name for path in Path(f"{one}.csv.parts").glob("0*")) for one in ("one", "two")]
    assert parts == [["000000.parquet", "000001.parquet"]] * 2
    assert run(model, "--data", data, "--out", "two.csv", "--on-error", "skip", executor=OutOfOrder(seed))[0] == 0
    assert run(model, "--data", data, "--out", "three.csv", "--on-error", "skip")[0] == 0
    assert Path("two.csv").read_bytes() == Path("three.csv").read_bytes()


def test_a_mistake_leaves_nothing(run, model, data):
    code, _, err = run(model, "--data", data, "--out", "a.csv", "--include", "color", executor=OutOfOrder(3))
    assert (code, err.count("\n")) == (2, 1)
    assert "did you mean colour?" in err
    assert [path.name for path in data.parent.iterdir()] == ["new.csv"]


@pytest.mark.parametrize("seed", range(3))
def test_parts_with_gaps_are_gone_on_with(run, model, data, monkeypatch, seed):
    assert run(model, "--data", data, "--out", "whole.csv")[0] == 0
    write, draw = answer_jobs.write_part, random.Random(seed)

    def interrupted(path, answered):
        if draw.random() < 0.3:
            raise KeyboardInterrupt
        write(path, answered)

    monkeypatch.setattr(answer_jobs, "write_part", interrupted)
    code = 130
    while code == 130:
        code, _, err = run(model, "--data", data, "--out", "a.csv", executor=OutOfOrder(draw.randrange(99)))
    assert code == 0, err
    assert Path("a.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_threads_are_those_of_the_parts(run, model, data, monkeypatch):
    assert answer_files.threads_of(3, 2, Path("none.csv")) == 3
    assert answer_files.threads_of(None, 1, Path("none.csv")) is None
    assert answer_files.threads_of(None, 1000, Path("none.csv")) == 1
    broken(data, 24)
    before = torch.get_num_threads()
    try:
        assert run(model, "--data", data, "--out", "a.csv", "--threads", "1")[0] == 4
        assert answer_files.threads_of(None, 1, Path("a.csv")) == 1
        code, _, err = run(model, "--data", data, "--out", "a.csv", "--threads", "2", "--on-error", "skip")
        assert code == 2
        assert "a.csv.parts holds the answers of another job: " in err
        assert "threads was 1 and is 2" in err
    finally:
        torch.set_num_threads(before)


def test_what_other_processes_cannot_read_is_said(run, model, data):
    with pytest.raises(UsageError, match=r"the table is in memory.*write it to a file"):
        mmkit.predict(model, data={"note": ["a"]}, out="a.csv", workers=2, progress=False, device="cpu")
    os.mkfifo("pipe.csv")
    code, _, err = run(model, "--data", "pipe.csv", "--out", "a.csv", "--workers", "2")
    assert (code, err.count("\n")) == (4, 1)
    assert "pipe.csv is no plain file; a device, a pipe or a socket is not opened" in err
    for arguments, said in (
        (("--workers", "0"), "workers is 1 or more; got 0"),
        (("--engine", "rey"), "there is no engine rey; did you mean ray"),
    ):
        code, _, err = run(model, "--data", data, "--out", "a.csv", *arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert said in err
    assert sorted(path.name for path in Path().iterdir()) == ["new.csv", "pipe.csv"]


def test_a_worker_in_another_world_is_an_error_with_both(model, data, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    loaded = mmkit.load(model)
    stream = streaming.stream_of(data, mmkit.installed())
    asked = Asked()
    digest = answer_files.Job(loaded, model, "other", mmkit.installed(), stream, asked, Path("a.csv"))
    with pytest.raises(DataError, match=r"a worker finds model .* and the call other"):
        digest.common.opened()
    job = dataclasses.replace(digest, digest=json.loads((model / "model.json").read_text())["digest"])
    with pytest.raises(DataError, match=r"other data than the call in .*new.csv"):
        dataclasses.replace(job.common, fingerprint="other").opened()
    with pytest.raises(MmkitError, match=r"a worker has torch .* and the call 1\.0"):
        dataclasses.replace(job.common, software={"torch": "1.0"}).opened()
    with pytest.raises(MmkitError, match="other code of mmkit-core than the call"):
        dataclasses.replace(job.common, code={"mmkit-core": "other"}).opened()
    (job.out.parent / "a.csv.parts").mkdir()
    writer = job.common.opened()
    assert isinstance(writer, Writer)
    assert writer(Part(0)).rows == ROWS
    assert writer(Part(1)).rows is None
    assert writer(Part(0)).rows == ROWS  # a lower number begins anew
    writer.close()


def test_python_answers_into_a_file_as_the_command_does(run, model, data):
    assert run(model, "--data", data, "--out", "a.csv", "--include", "colour")[0] == 0
    found = mmkit.predict(model, data=data, out="b.csv", include=["colour"], workers=1, progress=False, device="cpu")
    assert (found.rows, found.skipped, found.out) == (ROWS, 0, Path("b.csv"))
    frame = pa.csv.read_csv(data, convert_options=pa.csv.ConvertOptions(strings_can_be_null=True))
    assert mmkit.predict(model, data=frame, out="c.csv", progress=False, device="cpu").rows == ROWS
    assert [line.split(",")[0] for line in Path("b.csv").read_text().splitlines()] == [
        line.split(",")[0] for line in Path("a.csv").read_text().splitlines()
    ]


BIG = 60_000


@pytest.fixture(scope="module")
def big(tmp_path_factory, model):
    """A table of fifteen parts, and the file that one process makes of it."""
    folder = tmp_path_factory.mktemp("big")
    draw = random.Random(0)
    rows = {
        "weight": [draw.randrange(90, 200) for _ in range(BIG)],
        "note": [f"a fruit {draw.random()}" for _ in range(BIG)],
    }
    pa.parquet.write_table(pa.table(rows), folder / "new.parquet", row_group_size=10_000)
    subprocess.run(command(model, folder, "whole.parquet"), check=True, capture_output=True, cwd=folder)
    return folder


def command(model, folder, out, *more):
    line = [sys.executable, "-m", "mmkit", "predict", str(model), "--data", str(folder / "new.parquet"), "--out", out]
    return [*line, "--threads", "1", "--device", "cpu", "--include", "weight", *more]


def started(model, folder, out, *more):
    """A process that answers, in a session of its own."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *command(model, folder, out, *more)[3:]],
        env={**environment, "PYTHONPATH": str(cases.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the process that started this one does
import mmkit.cli
mmkit.cli.main(sys.argv[1:])
"""


def parts_of(out):
    return sorted(Path(f"{out}.parts").glob("0*.parquet"))


@pytest.mark.full
@LINUX
class TestProcesses:
    def test_the_file_is_that_of_one_process(self, model, big, tmp_path):
        out = tmp_path / "a.parquet"
        said = cases.ended(started(model, big, str(out), "--workers", "2"))
        assert out.read_bytes() == (big / "whole.parquet").read_bytes()
        assert f"{BIG:,} answers to {BIG:,} rows" in said
        assert list(tmp_path.iterdir()) == [out]

    def test_workers_that_are_killed_cost_nothing(self, model, big, tmp_path):
        out = tmp_path / "a.parquet"
        driver = started(model, big, str(out), "--workers", "2")
        for count in (1, 5):
            cases.waited(lambda count=count: len(parts_of(out)) >= count, driver)
            os.kill(cases.waited(lambda: cases.workers_of(driver.pid), driver)[0], signal.SIGKILL)
        cases.ended(driver)
        assert out.read_bytes() == (big / "whole.parquet").read_bytes()

    def test_a_call_that_is_killed_leaves_nothing_running_and_goes_on(self, model, big, tmp_path):
        out = tmp_path / "a.parquet"
        driver = started(model, big, str(out), "--workers", "2")
        cases.waited(lambda: len(parts_of(out)) >= 3, driver)
        workers = cases.workers_of(driver.pid)
        driver.kill()
        driver.communicate()
        assert len(workers) == 2
        cases.waited(lambda: not any(map(cases.alive, workers)), patience=10)
        assert not out.exists()
        before = {path: path.stat().st_mtime_ns for path in parts_of(out)}
        assert before
        again = started(model, big, str(out), "--workers", "2")
        cases.waited(lambda: len(parts_of(out)) > len(before) or again.poll() is not None)
        assert before.items() <= {path: path.stat().st_mtime_ns for path in parts_of(out)}.items()  # none was repeated
        said = cases.ended(again)
        assert "rows were answered before" in said
        assert out.read_bytes() == (big / "whole.parquet").read_bytes()

    def test_an_interrupt_lets_parts_end_and_keeps_them(self, model, big, tmp_path):
        out = tmp_path / "a.parquet"
        driver = started(model, big, str(out), "--workers", "2")
        cases.waited(lambda: len(parts_of(out)) >= 1, driver)
        workers = cases.workers_of(driver.pid)
        os.kill(driver.pid, signal.SIGINT)
        said = driver.communicate(timeout=120)[0]
        assert driver.returncode == 130, said
        assert "parts in progress end first and are kept" in said
        assert f"parts of the answers are in {out}.parts; the same command goes on" in said
        assert "Traceback" not in said
        assert not any(map(cases.alive, workers))
        cases.ended(started(model, big, str(out), "--workers", "3"))
        assert out.read_bytes() == (big / "whole.parquet").read_bytes()


def test_a_part_that_ends_its_process_is_told_with_its_rows(model, data, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    stream = dataclasses.replace(streaming.stream_of(data, mmkit.installed()), size=10)
    job = answer_files.Job(mmkit.load(model), model, "", mmkit.installed(), stream, Asked(), Path("a.csv"))
    place = answer_jobs.Parts(job.model, job.common, SILENT)
    error = place.lost(Part(2), "by signal SIGKILL").error
    assert str(error).startswith("rows 20 to 29: the process that computed it ended 3 times before it did (by signal")


@pytest.mark.full
@LINUX
def test_on_ray_the_file_is_that_of_one_process_though_a_worker_is_killed(model, big, tmp_path):
    pytest.importorskip("ray")
    from tests.experiments.executors.test_ray import busy_workers

    out = tmp_path / "a.parquet"
    driver = started(model, big, str(out), "--workers", "2", "--engine", "ray")
    cases.waited(lambda: len(parts_of(out)) >= 2, driver)
    os.kill(cases.waited(lambda: busy_workers(driver.pid), driver)[0], signal.SIGKILL)
    cases.ended(driver)
    assert out.read_bytes() == (big / "whole.parquet").read_bytes()
