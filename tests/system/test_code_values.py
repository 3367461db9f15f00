"""What the code of a notebook or a script reads counts as the code itself: no file says what it is."""

import functools
import json
import os
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest
from torch import nn

from mmkit.system.code import code_of

VALUES = {
    "a mapping": "{'gain': GIVEN}",
    "a list": "[0, GIVEN]",
    "a set": "{GIVEN}",
    "a mapping in a list": "[{'gain': [GIVEN]}]",
    "a mapping that holds a class": "{'kind': dict, 'gain': GIVEN}",
    "an object of the notebook": "Settings(GIVEN)",
    "a list of its objects": "[Settings(1), Settings(GIVEN)]",
    "a partial function": "partial(dict, gain=GIVEN)",
    "an object of a library": "Template(str(GIVEN))",
    "a layer": "nn.Parameter(torch.full((2, 2), float(GIVEN)))",
    "a network": "network(GIVEN)",
}
READERS = {
    "a global": """
        held = {value}
        class Fusion(Base):
            def forward(self, x):
                return read(x, held)
        """,
    "a global of a helper": """
        held = {value}
        def helper(x):
            return read(x, held)
        class Fusion(Base):
            def forward(self, x):
                return helper(x)
        """,
    "an attribute": """
        class Fusion(Base):
            held = {value}
            def forward(self, x):
                return read(x, self.held)
        """,
    "a default": """
        class Fusion(Base):
            def forward(self, x, held={value}):
                return read(x, held)
        """,
    "an outer function": """
        def make(held):
            class Fusion(Base):
                def forward(self, x):
                    return read(x, held)
            return Fusion
        Fusion = make({value})
        """,
}
BEFORE = """
from functools import partial
from string import Template
import torch
from torch import nn
class Settings:
    def __init__(self, gain):
        self.gain = gain
def network(gain):
    made = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    nn.init.constant_(made[0].weight, gain)
    nn.init.zeros_(made[0].bias)
    return made
def read(x, held):
    return x, held
"""


@pytest.fixture(autouse=True)
def _no_script(monkeypatch):
    """In a notebook no file is run; the tests may be begun by one."""
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)


def in_notebook(reader, value, **names):
    scope = {"__name__": "__main__", "Base": nn.Module, **names}
    exec(BEFORE, scope)
    exec(textwrap.dedent(READERS[reader]).format(value=value), scope)
    return scope["Fusion"]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
def test_what_code_reads_counts(reader, value):
    if reader == "an attribute" and value in {VALUES["a network"], VALUES["a partial function"]}:
        assert code_of(in_notebook(reader, value, GIVEN=1)) is None  # it may be a method, and then cannot be seen
        return
    first = code_of(in_notebook(reader, value, GIVEN=1))
    assert first == code_of(in_notebook(reader, value, GIVEN=1))
    assert first != code_of(in_notebook(reader, value, GIVEN=2))


def test_what_holds_itself_is_read_once():
    around = ["a"]
    around.append({"again": around, "kind": dict})
    assert code_of(in_notebook("a global", "around", around=around))


def test_a_handle_of_the_process_counts_for_nothing():
    first, second = (code_of(in_notebook("a global", "lock", lock=threading.Lock())) for _ in range(2))
    assert first == second != ""


SCRIPT = """
import json, sys
from mmkit.system.code import code_of
SETTINGS, SAME = json.loads(sys.argv[1]), [print, {"c", "b", "a"}]
ALSO = SAME
class Encoder:
    size = json.loads(sys.argv[2])
    def __call__(self, x):
        return x * SETTINGS["gain"], SAME, ALSO
print(code_of(Encoder))
"""


@pytest.mark.full
def test_of_a_script_the_values_that_arguments_set_count(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)

    @functools.cache
    def found(gain, size, seed="1"):
        given = [json.dumps({"gain": gain}), json.dumps([size])]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, tmp_path / "script.py", *given]
        return subprocess.run(command, env=environment, capture_output=True, check=True).stdout

    assert found(1, 1) == found(1, 1, "2")  # in another process, too
    assert len({found(1, 1), found(2, 1), found(1, 2)}) == 3


def test_a_global_that_has_the_name_of_an_attribute_is_not_read():
    """A notebook has many short names, and a component may have attributes of the same."""
    cell = """
        class Fusion(Base):
            def forward(self, x):
                return x.mean() * self.width
        """
    scope = {"__name__": "__main__", "Base": nn.Module}
    exec(textwrap.dedent(cell), scope)
    first = code_of(scope["Fusion"])
    scope |= {"width": 5, "mean": {"a": 1}}
    assert code_of(scope["Fusion"]) == first


def test_a_count_that_a_class_keeps_of_itself_is_no_setting():
    cell = """
        class Encoder(Base):
            calls, size = 0, 8
            def forward(self, x):
                Encoder.calls += 1
                return x[: self.size]
        """
    scope = {"__name__": "__main__", "Base": nn.Module}
    exec(textwrap.dedent(cell), scope)
    encoder: Any = scope["Encoder"]
    first = code_of(encoder)
    encoder.calls = 7
    assert code_of(encoder) == first
    encoder.size = 16
    assert code_of(encoder) != first
