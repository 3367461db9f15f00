"""Each check of fusions has a control, and forbids no sound fusion."""

from mmkit.testing import checks_of
from tests.testing import test_decision_control as decision
from tests.testing import test_details_control as details
from tests.testing import test_fusion_form as form
from tests.testing import test_fusion_numbers as numbers
from tests.testing import test_fusion_rows as rows
from tests.testing.test_surroundings import HERE


def test_every_check_has_a_control():
    planted = {*decision.CONTROLS, *details.CONTROLS, *form.CONTROLS, *rows.CONTROLS, *numbers.CONTROLS}
    planted |= {"exchange", "processes"}  # in test_stages_control.py and test_processes_control.py
    assert planted == {c.name for c in checks_of("fusion", full=True)} - HERE
