"""What a training step has to do with memory, and what it can leave out."""

import ctypes
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3)


def lean_memory() -> None:
    """From now on this process keeps the memory that it frees, where glibc is its C library, and clears no new tensor.

    By default glibc gives large blocks back to the system, which then clears every page of the next tensor of that
    size; and torch fills each new tensor with NaN when algorithms are to be deterministic, in case something reads
    what nothing has written. Results are the same to the last bit.
    """
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:  # musl has none
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
