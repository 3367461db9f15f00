"""Everything that is installed keeps the contract: the conformance kit, unasked, once a component and check."""

from functools import cache
from itertools import groupby

import pytest

from mmkit.registry.catalog import installed
from mmkit.testing import Examination, check, checks_of, variants
from mmkit.testing.battery import KINDS
from mmkit.testing.examination import settle

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
    counts = {"builds", "input-counts"}  # some options take fewer inputs than the spec allows
    refused = any(r.check.name in counts and "raised ValueError" in r.message for r in report.failed())
    # The kit's inputs are of several lengths, whose positions cannot be exchanged.
    refused |= all("exchange by position needs maps of as many" in r.message for r in report.failed())
    assert report.ok or refused, report
