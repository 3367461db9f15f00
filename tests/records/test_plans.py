"""What is shown of a folder that was used for several plans: the last, of each run the newest."""

from mmkit.records.plans import newest, of_last_plan
from mmkit.records.record import RateSearch, Record, Rung


def record(id_, fusion="concat", index=0, lr=0.01, epochs=1, **rest):
    where = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}
    return Record(
        **{
            "id": id_,
            "task": "t",
            "status": "ok",
            "encoders": {"a": "cnn"},
            "fusion": fusion,
            "head": "mlp",
            "objectives": [],
            "seed": 100 + (index or 0),
            "base": 1,
            "phase": "confirm",
            "index": index,
            "run": {
                "seed": 100 + (index or 0),
                "training": {"lr": lr, "epochs": epochs, "batch_size": 8},
                "device": "cpu",
            },
            "data": {"test": {"truth": "0"}},
            **where,
            **rest,
        }
    )


def chosen(lr, epochs=1):
    return RateSearch(7, "accuracy", [], lr, epochs, None)


def ids(records):
    return [one.id for one in records]


def test_a_given_rate_or_length_is_of_the_plan_also_for_a_combination_that_it_no_longer_has():
    first = [record("a"), record("b", index=1), record("late", "late")]
    last = [record("c", epochs=6), record("d", index=1, epochs=6)]
    assert ids(of_last_plan([*first, *last])) == ["c", "d"]
    assert ids(of_last_plan([*last, *first])) == ["a", "b", "late"]


def test_of_a_search_each_combination_has_the_rate_and_the_length_that_were_chosen_last():
    runs = [
        record("a", search=chosen(0.01)),
        record("old 0", "only:a", lr=0.002, search=chosen(0.002)),
        record("old 1", "only:a", 1, lr=0.002, search=chosen(0.002)),
        record("new 0", "only:a", lr=0.01, epochs=2, search=chosen(0.01, 2)),
    ]
    assert ids(of_last_plan(runs)) == ["a", "new 0"]
    given = record("given", "late", 0)
    assert ids(of_last_plan([given, *runs])) == ["a", "new 0"]
    assert ids(of_last_plan([*runs, given])) == ["given"]


def test_a_combination_of_which_all_trainings_have_failed_stays_with_its_search():
    failed = record("failed", "late", lr=0.5, status="failed", error="diverged")
    assert ids(of_last_plan([record("a", search=chosen(0.01)), failed])) == ["a", "failed"]
    assert ids(of_last_plan([failed, record("a")])) == ["a"]


def test_seeds_of_another_base_are_of_another_plan():
    assert ids(of_last_plan([record("a"), record("b", index=1), record("c", base=2)])) == ["c"]


def test_of_a_run_that_other_code_has_done_again_the_last_counts():
    assert ids(newest([record("a"), record("b", index=1), record("again", code={"fusion": "x"})])) == ["again", "b"]


def test_what_a_budget_has_stopped_and_mixed_goes_with_its_plan_and_yardsticks_with_the_data():
    stopped = record("stopped", "late", purpose="search", phase="search", rung=Rung(1, 2, 1, 2, stopped=True))
    blends = [record(name, f"blend of {name}", purpose="blend", phase=None, index=None, run={}) for name in "23"]
    yardstick = record("yardstick", "yardstick: mean", purpose="yardstick", phase=None, index=None, run={})
    beside = [stopped, *blends, yardstick]
    assert ids(of_last_plan([record("a", search=chosen(0.01)), *beside])) == ["a", "stopped", "3", "yardstick"]
    assert ids(of_last_plan([*beside, record("a")])) == ["yardstick", "a"]
    assert ids(of_last_plan([replaced_data(yardstick), record("a")])) == ["a"]


def replaced_data(one):
    return record(one.id, one.fusion, purpose=one.purpose, data={"test": {"truth": "other"}}, run={})
