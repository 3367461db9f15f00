"""What the negative controls share: a component is examined without anything being installed."""

from functools import cache

import pytest

from mmkit.registry.catalog import Catalog
from mmkit.testing import Examination, checks_of


@cache
def _examination(kind, component, spec, modality):
    return Examination(kind, component, spec=spec, modality=modality, catalog=Catalog((), {}))


@pytest.fixture(scope="session")
def examine():
    """The results by name of the checks `names`, or of all quick ones."""

    def of(kind, component, *, spec=None, modality=None, names=None):
        examination = _examination(kind, component, spec, modality)
        checks = checks_of(kind, full=names is not None)
        return {c.name: examination.result(c) for c in checks if names is None or c.name in names}

    return of


def pytest_generate_tests(metafunc):
    """A case for each planted defect: `CONTROLS` of a module has (component, message) by check, `HEAVY` slow checks."""
    if not {"name", "component", "message"} <= set(metafunc.fixturenames) or not hasattr(metafunc.module, "CONTROLS"):
        return
    heavy = getattr(metafunc.module, "HEAVY", ())
    cases = [
        pytest.param(
            name, component, message, id=f"{name}-{component.__name__}", marks=pytest.mark.full if name in heavy else ()
        )
        for name, planted in metafunc.module.CONTROLS.items()
        for component, message in planted
    ]
    metafunc.parametrize(("name", "component", "message"), cases)
