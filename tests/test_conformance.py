"""Everything that is installed keeps the contract: the conformance kit, unasked, once a component and check."""

from functools import cache

import pytest

from mmkit.catalog import installed
from mmkit.testing import Examination, checks_of
from mmkit.testing.battery import KINDS
from mmkit.testing.examination import settle

CATALOG = installed()


@cache
def _examination(kind, name):
    return Examination(kind, name, catalog=CATALOG)


def _cases(*, full):
    return [
        pytest.param(kind, entry.full_name, check, id=f"{kind}-{entry.name}-{check.name}")
        for kind in KINDS
        for entry in CATALOG.available(kind)
        for check in checks_of(kind, full=True)
        if check.full == full
    ]


def test_something_of_every_kind_is_installed():
    assert [kind for kind in KINDS if not CATALOG.available(kind)] == []


@pytest.mark.parametrize(("kind", "name", "check"), _cases(full=False))
def test_contract(kind, name, check):
    settle(_examination(kind, name).result(check))


@pytest.mark.full
@pytest.mark.parametrize(("kind", "name", "check"), _cases(full=True))
def test_contract_in_full(kind, name, check):
    settle(_examination(kind, name).result(check))
