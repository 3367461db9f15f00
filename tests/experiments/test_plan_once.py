"""A combination that is asked for in two ways is one."""

import mmkit
from mmkit.contract import Samples
from mmkit.experiments.plan import plan
from mmkit.registry.catalog import installed
from mmkit.system.progress import Progress


class Task:
    description = "d"
    inputs = {"title": "text", "row": "table"}  # noqa: RUF012
    target, metric = "classes", "accuracy"
    encoders = {}  # noqa: RUF012
    training = {}  # noqa: RUF012

    def split(self, name):
        ids = [f"{name}{i}" for i in range(12)]
        rows = [{"a": float(i)} for i in range(12)]
        return Samples(ids, {"title": [f"red {i}" for i in range(12)], "row": rows}, ["a", "b"] * 6)


ENCODERS = {"title": ["bag", "bag:min_count=2", "bag:min_count=1", "bag"]}


def test_a_default_that_is_written_out_makes_no_second_combination():
    planned = plan(installed(), task=Task, encoders=ENCODERS, fusions=["concat", "sum", "concat"])
    titles = [(str(one.fusion), str(one.encoders["title"])) for one in planned.combinations]
    assert titles == [("concat", "bag"), ("sum", "bag"), ("concat", "bag:min_count=2"), ("sum", "bag:min_count=2")]
    alone = [[str(encoder) for encoder in one.encoders.values()] for one in planned.baselines]
    assert alone[:2] == [["bag"], ["bag:min_count=2"]]
    assert len(alone) == 3


def test_a_suite_counts_it_once(tmp_path):
    notes = []

    class Notes(Progress):
        def note(self, message):
            notes.append(message)

    training = {"epochs": 1, "min_steps": 0, "lr": 0.01}
    for _ in range(2):
        mmkit.bench(
            task=Task,
            encoders=ENCODERS,
            fusion="concat",
            seeds=1,
            training=training,
            cost=False,
            yardsticks=False,
            out=tmp_path,
            progress=Notes(),
        )
    # Two rounds of a race of two, then the better of them and three inputs alone.
    assert any(note.startswith("8 of 8 runs are already in") for note in notes)
