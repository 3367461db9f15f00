import platform
import subprocess
import sys

import pytest

from mmkit.system import allocator
from mmkit.system.allocator import keep_large_blocks, on_glibc

MAPPED = """
import ctypes
from mmkit.system.allocator import keep_large_blocks

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
        "arena ordblks smblks hblks mapped usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Info

def mapped_for(size):
    before = mallinfo2().mapped
    block = bytearray(size)
    return mallinfo2().mapped - before

print(mapped_for(48 << 20) >> 20, keep_large_blocks(), mapped_for(48 << 20) >> 20)
"""


@pytest.mark.skipif(not on_glibc(), reason="mallopt and mallinfo2 are of glibc")
def test_large_blocks_are_no_longer_mapped():
    said = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, text=True, check=False)
    if "mallinfo2" in said.stderr:
        pytest.skip("glibc before 2.33 has no mallinfo2")
    assert said.stdout.split() == ["48", "True", "0"], said.stderr


@pytest.mark.parametrize("system", [("Darwin", ""), ("Windows", ""), ("Linux", "musl")])
def test_elsewhere_nothing_is_asked(monkeypatch, system):
    name, libc = system
    monkeypatch.setattr(platform, "system", lambda: name)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    monkeypatch.setattr("ctypes.CDLL", lambda path: pytest.fail("libc was asked"))
    assert keep_large_blocks() is False


def test_an_allocator_without_the_knob_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator, "on_glibc", lambda: True)
    monkeypatch.setattr("ctypes.CDLL", lambda path: object())
    assert keep_large_blocks() is False
