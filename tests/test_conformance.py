"""Everything that is installed keeps the contract: the conformance kit, unasked, once a component and check."""

from contextlib import contextmanager
from functools import cache
from itertools import groupby

import pytest

from mmkit.registry.catalog import installed
from mmkit.testing import Examination, check, checks_of, variants
from mmkit.testing.battery import KINDS
from mmkit.testing.examination import settle
from mmkit.testing.specimens import fusion
from mmkit.testing.specimens.module import longer
from mmkit.testing.verdict import Check, Report, Result

CATALOG = installed()


@cache
def _examination(kind, name):
    return Examination(kind, name, catalog=CATALOG)


def _cases(*, full):
    return [
        pytest.param(kind, entry.full_name, rule, id=f"{kind}-{entry.name}-{rule.name}")
        for kind in KINDS
        for entry in CATALOG.available(kind)
        for rule in checks_of(kind, full=True)
        if rule.full == full
    ]


def test_something_of_every_kind_is_installed():
    assert [kind for kind in KINDS if not CATALOG.available(kind)] == []


@pytest.mark.parametrize(("kind", "name", "rule"), _cases(full=False))
def test_contract(kind, name, rule):
    settle(_examination(kind, name).result(rule))


@pytest.mark.full
@pytest.mark.parametrize(("kind", "name", "rule"), _cases(full=True))
def test_contract_in_full(kind, name, rule):
    settle(_examination(kind, name).result(rule))


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, entry.full_name, id=f"{kind}-{entry.name}")
        for kind in KINDS
        for entry in CATALOG.available(kind)
        if kind != "task"
    ],
)
def test_contract_however_options_are_set(kind, name):
    """Each choice and switch in turn; what a component refuses with a reason is its right.

    Of the many values of one option, as the languages of stemmers, the first and the last.
    """
    choice = _examination(kind, name).choice  # with the options of the spec's example: nothing is downloaded
    for _, several in groupby(variants(choice), key=list):
        tried = [*several]
        for options in tried if len(tried) <= 8 else (tried[0], tried[-1]):
            _keeps_the_contract(kind, choice, options)


def _keeps_the_contract(kind, choice, options):
    report = check(kind, choice, options, catalog=CATALOG)
    if any("exchange by position needs maps of as many" in r.message for r in report.failed()):
        with _equal_lengths():  # and with scales below the threshold, so that something is exchanged
            report = check(kind, choice, {**options, "start": 0.01}, catalog=CATALOG)
        # Behind the encoders it reads vectors alone, as that check asks, but positions within them.
        assert [r.check.name for r in _broken(report)] == ["vectors"], report
        return
    assert _broken(report) == [], report


def _broken(report):
    """The checks that failed, but those that a component refused with a reason, and what waits for these.

    Some options take fewer inputs than the spec allows.
    """
    counts = {"builds", "input-counts"}
    refused = {r.check.name for r in report.failed() if r.check.name in counts and "raised ValueError" in r.message}
    return [r for r in report.failed() if r.check.name not in refused and not refused & set(r.check.needs)]


@contextmanager
def _equal_lengths():
    """Inside, all inputs of a fusion have as many positions, however they are padded."""

    def equal(shapes):
        return {name: (4, width, pooled) for name, (_, width, pooled) in shapes.items()}

    def padded(self, inputs):
        first, *outputs = inputs
        return ({name: longer(features, 2) for name, features in first.items()}, *outputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion, "INPUTS", equal(fusion.INPUTS))
        patch.setattr(fusion, "MANY", equal(fusion.MANY))
        patch.setattr(fusion.FusionSpecimen, "padded", padded)
        yield


def test_a_refusal_excuses_its_own_check_alone():
    def result(name, message, status="failed", needs=()):
        run = lambda _: None  # noqa: E731
        run.__name__ = name
        return Result(Check(run, ("fusion",), needs), status, message)

    def broken(*results):
        return [r.check.name for r in _broken(Report("fusion", "x", results))]

    counts = result("input_counts", "raised ValueError: two inputs at most")
    wrong = result("gradients", "no gradient reaches input a")
    waits = result("every_count", "input-counts failed", "not run", ("input-counts",))
    assert broken(counts, waits) == []
    assert broken(counts, waits, wrong) == ["gradients"]
    assert broken(result("input_counts", "raised TypeError: x")) == ["input-counts"]
