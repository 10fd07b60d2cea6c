import subprocess
import sys

import pytest
import torch

from chaos_seg.training.memory import lean_memory

FAULTS = """
import resource, torch
from chaos_seg.training.memory import lean_memory

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{}
faults(20)
print(faults(10))
"""


def page_faults(first: str) -> int:
    """Of ten tensors of 64 MB, 15,625 pages of 4 KiB each, one after the other, behind twenty others."""
    return int(subprocess.check_output([sys.executable, "-c", FAULTS.format(first)], text=True))


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_tensor_takes_the_memory_of_the_one_before_without_new_pages() -> None:
    if page_faults("") < 15_625:
        pytest.skip("this system's memory is kept, or comes in huge pages, without it")
    assert page_faults("lean_memory()") < 1_000


def test_new_tensors_are_not_filled_though_algorithms_are_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    lean_memory()
    assert not torch.utils.deterministic.fill_uninitialized_memory
