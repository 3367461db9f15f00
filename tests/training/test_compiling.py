"""A step that cannot be compiled runs as it is, and that is said once; one that can is compiled."""

import pytest
import torch

from mmkit.training.compiling import Compiled


class Step(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.w * x


def test_what_cannot_be_compiled_is_said_once_and_runs(monkeypatch):
    def compile_(step, *, fullgraph):
        assert fullgraph

        def call(x):
            raise RuntimeError("no compiler\nand a long story")

        return call

    monkeypatch.setattr(torch, "compile", compile_)
    said = []
    step = Compiled(Step(), said.append)
    assert [step(torch.tensor([2.0])).item() for _ in range(2)] == [2.0, 2.0]
    assert said == ["the training step cannot be compiled and runs as it is (RuntimeError: no compiler)"]


def test_an_error_of_the_step_itself_is_raised():
    said = []
    with pytest.raises(TypeError, match=r"unexpected|positional|missing"):
        Compiled(Step(), said.append)()
    assert said == []


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, where inductor is imported
def test_a_step_that_can_be_compiled_gives_the_same():
    said = []
    step = Step()
    torch.testing.assert_close(Compiled(step, said.append)(torch.arange(3.0)), step(torch.arange(3.0)))
    assert said == []
