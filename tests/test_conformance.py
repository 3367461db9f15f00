"""Everything that is installed keeps the contract: the conformance kit, unasked, once a component and check."""

from contextlib import contextmanager
from functools import cache
from itertools import groupby, zip_longest

import pytest

from mmkit.registry.catalog import installed
from mmkit.testing import Examination, check, checks_of, variants
from mmkit.testing.battery import KINDS
from mmkit.testing.examination import settle
from mmkit.testing.specimens import fusion
from mmkit.testing.specimens.module import longer
from mmkit.testing.verdict import Check, Report, Result

pytestmark = pytest.mark.minutes

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
    """Each choice and switch at least once; what a component refuses with a reason is its right."""
    choice = _examination(kind, name).choice  # with the options of the spec's example: nothing is downloaded
    for options in _at_once(choice):
        if not _keeps_the_contract(kind, choice, options) and len(options) > 1:
            for one in options.items():
                _keeps_the_contract(kind, choice, dict([one]))


def _at_once(choice):
    """Other values of all options together: the first of each, then the second of those that have more, and so on.

    Of the many values of one option, as the languages of stemmers, the first and the last.
    """
    of_each = [[*several] for _, several in groupby(variants(choice), key=list)]
    fewer = [several if len(several) <= 8 else [several[0], several[-1]] for several in of_each]
    return [{k: v for one in row for k, v in one.items()} for row in zip_longest(*fewer, fillvalue={})]


def _keeps_the_contract(kind, choice, options):
    """Whether it takes the options; where it does, nothing else may be wrong."""
    report = check(kind, choice, options, catalog=CATALOG)
    if any("exchange by position needs maps of as many" in r.message for r in report.failed()):
        with _equal_lengths():  # and with scales below the threshold, so that something is exchanged
            report = check(kind, choice, {**options, "start": 0.01}, catalog=CATALOG)
        # Behind the encoders it reads vectors alone, as that check asks, but positions within them.
        assert [r.check.name for r in _broken(report)] == ["vectors"], report
        return True
    # Of several options one may leave another nothing to do.
    broken = [r for r in _broken(report) if len(options) == 1 or r.check.name != "options-act"]
    assert broken == [], report
    return not _refused(report)


def _broken(report):
    """The checks that failed, but those that a component refused with a reason, and what waits for these.

    Some options take fewer inputs than the spec allows.
    """
    refused = _refused(report)
    return [r for r in report.failed() if r.check.name not in refused and not refused & set(r.check.needs)]


def _refused(report):
    counts = {"builds", "input-counts"}
    return {r.check.name for r in report.failed() if r.check.name in counts and "raised ValueError" in r.message}


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
