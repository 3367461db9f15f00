"""Which records of a folder are shown together: a folder may have been used for several plans, one after the other."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mmkit.records.folds import key_of
from mmkit.records.record import Record

_VARYING = ("task", "encoders", "fusion", "head", "objectives", "balance", "seed")
"""What the runs of one plan may differ in."""
_SEARCHED = ("lr", "epochs", "min_steps", "tune_epochs")
"""What a search chooses of the training of each combination."""


def of_last_plan(records: Sequence[Record]) -> list[Record]:
    """The records of the plan that the last completed run belongs to, as `newest` keeps them.

    Of yardsticks those on the same data count, and of blends the last, where the plan has searched.

    Args:
        records: of a folder, at least one, in the order of their last lines.
    """
    compared = [one for one in records if one.purpose == "comparison"] or list(records)
    last = next((one for one in reversed(compared) if one.status == "ok"), compared[-1])
    searched = _searched(last)
    plan = _plan_of(last, searched=searched)

    def of_plan(one: Record) -> bool:
        # Where every training of a search has failed, nothing tells of it that there was one.
        return _plan_of(one, searched=searched) == plan and (_searched(one) == searched or one.status != "ok")

    data = {_data(one) for one in compared if of_plan(one)}

    def belongs(one: Record) -> bool:
        if one.purpose in {"comparison", "search"}:
            return of_plan(one)
        return _data(one) in data and (searched or one.purpose != "blend")

    return newest([one for one in records if belongs(one)])


def newest(records: Sequence[Record]) -> list[Record]:
    """Of each combination the compared runs that were trained as its last one was, and of several of one seed the last.

    So no mean is over seeds of which some were trained otherwise. Trainings of a search are kept as they are.

    Args:
        records: the newest last.
    """
    how = {_combination(one): _trained(one) for one in records if one.purpose == "comparison"}
    found: dict[str, Record] = {}
    for one in records:
        if one.purpose != "comparison" or how[_combination(one)] == _trained(one):
            found[_place(one)] = one
    return list(found.values())


def _searched(record: Record) -> bool:
    return record.search is not None or record.rung is not None


def _plan_of(record: Record, *, searched: bool) -> str:
    """What all runs of a plan share. A search gives each combination a rate and a length of its own.

    The task is not in it: a folder belongs to one, and each fold has one of its own, with its own splits.
    """
    run = {name: value for name, value in record.run.items() if name not in _VARYING}
    chosen = _SEARCHED if searched else ()
    training = {name: value for name, value in run.get("training", {}).items() if name not in chosen}
    content = [record.fold.of] if record.fold else record.data
    return json.dumps([{**run, "training": training}, record.base, content], sort_keys=True)


def _trained(record: Record) -> str:
    """How a run was done, but for its seed; the same data may be named otherwise in another folder."""
    return json.dumps({name: value for name, value in record.run.items() if name not in {"task", "seed"}})


def _combination(record: Record) -> str:
    """A combination, of folds in one of them."""
    return json.dumps([key_of(record), record.fold.number if record.fold else 0])


def _place(record: Record) -> str:
    """What one record of a plan is of, and no other."""
    if record.purpose == "search":
        return record.id
    which = [record.phase, record.seed if record.index is None else record.index]
    combination = "" if record.purpose == "blend" else key_of(record)
    return json.dumps([record.purpose, combination, record.fold.number if record.fold else 0, which])


def _data(record: Record) -> str:
    return json.dumps(record.data, sort_keys=True)
