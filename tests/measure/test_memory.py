import ctypes
import sys

import pytest
import torch
from torch import nn

from mmkit.allocator import _M_MMAP_THRESHOLD, on_glibc
from mmkit.measure import memory
from mmkit.measure.memory import peak_memory, size

MIB = 1 << 20


def fill(mebibytes):
    return torch.ones(mebibytes * MIB // 4)


@pytest.fixture
def mapped_blocks():
    """glibc maps large blocks one by one, though an earlier test may have asked it to keep them on the heap."""
    if on_glibc():
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 128 << 10)
        libc.malloc_trim(0)


@pytest.mark.usefixtures("mapped_blocks")
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's high-water mark is read on Linux")
class TestOnLinux:
    def test_the_peak_of_a_call_is_what_it_held_at_once(self):
        def call():
            fill(64)  # freed before the next
            held = fill(96), fill(32)
            return held[0][0] + held[1][0]

        peak = peak_memory(call)
        if peak is None:
            pytest.skip("this kernel does not let the mark be reset")
        assert 126 * MIB < peak < 140 * MIB

    def test_what_is_held_before_does_not_count(self):
        before = fill(128)
        peak = peak_memory(lambda: fill(16))
        if peak is None:
            pytest.skip("this kernel does not let the mark be reset")
        assert before[0] == 1
        assert 14 * MIB < peak < 24 * MIB

    def test_what_only_the_first_call_needs_does_not_count(self):
        cache = []

        def call():
            if not cache:
                cache.append(fill(128))

        peak = peak_memory(call)
        if peak is None:
            pytest.skip("this kernel does not let the mark be reset")
        assert peak < 8 * MIB

    def test_the_model_is_added(self):
        model = nn.BatchNorm1d(10)
        weights = 10 * 4 * 4 + 8  # two parameters and two buffers of 10 floats, and a counter
        assert size(model) == weights
        peak = peak_memory(lambda: None, model=model)
        if peak is None:
            pytest.skip("this kernel does not let the mark be reset")
        assert weights <= peak < weights + 4 * MIB


def test_a_kernel_that_does_not_let_it_be_reset_gives_no_answer(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_PROCESS", tmp_path / "missing")
    assert peak_memory(lambda: None) is None

    monkeypatch.setattr(memory, "_PROCESS", tmp_path)
    (tmp_path / "status").write_text("VmHWM:\t  900000 kB\nVmRSS:\t  100000 kB\n")  # the mark stood still
    assert peak_memory(lambda: None) is None

    (tmp_path / "status").write_text("Name:\tx\n")
    assert peak_memory(lambda: None) is None


def test_on_cuda_the_allocator_is_asked(monkeypatch):
    log = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append("wait"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: log.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: log.append("read") or 5000)
    assert peak_memory(lambda: log.append("call"), device="cuda") == 4000
    assert log == ["call", "wait", "reset", "call", "wait", "read"]


def test_on_a_device_that_keeps_no_mark_there_is_no_answer():
    assert peak_memory(lambda: None, device="mps") is None
