"""What a reader may take of time and memory, and how it is asked."""

import gc
import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from chaos_seg.data.dicom import HU_RANGE, read_mask, read_slice
from chaos_seg.errors import UserError

EXAMPLES = int(os.environ.get("CHAOS_FUZZ_EXAMPLES", "1000"))


MAX_SECONDS = 1.0  # of this process's own work, whatever else the machine does


MAX_MIB = 500


def fuzz(share: float) -> settings:
    return settings(
        max_examples=max(1, round(EXAMPLES * share)),
        derandomize="CHAOS_FUZZ_EXAMPLES" not in os.environ,
        database=None,
        deadline=None,  # at_once measures the reader without the making of its input
        suppress_health_check=list(HealthCheck),
    )


def peak_mib() -> float:
    """Peak resident memory of this process since forget_peak; only Linux tells."""
    if not Path("/proc/self/status").exists():
        return 0.0
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


SLOWEST = [0.0]


@contextmanager
def at_once() -> Iterator[None]:
    """Fails a block that works for longer than MAX_SECONDS, and ends one that waits for ever."""

    def late(*_: object) -> None:
        pytest.fail(f"took more than {MAX_SECONDS} s")  # not an Exception, which the readers would catch

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, MAX_SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, 60.0)}
    before = {number: signal.signal(number, late) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    gc.disable()  # the garbage of hypothesis is not the reader's
    start = time.process_time()
    try:
        yield
    finally:
        gc.enable()
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
        SLOWEST[0] = max(SLOWEST[0], time.process_time() - start)


def check_slice(path: Path) -> str | None:
    """The sentence that refuses the file, or None when it was read to something sound."""
    try:
        with at_once():
            header, hu = read_slice(path)
    except UserError as error:
        return one_line(error, path)
    assert hu.dtype == np.int16 and hu.shape == (header.rows, header.columns) and hu.size > 0
    assert HU_RANGE[0] <= hu.min() and hu.max() <= HU_RANGE[1]
    assert header.hu_min <= header.hu_max
    return None


def check_mask(path: Path) -> str | None:
    try:
        with at_once():
            encoding, mask = read_mask(path)
    except UserError as error:
        return one_line(error, path)
    assert mask.dtype == np.uint8 and mask.ndim == 2 and set(np.unique(mask)) <= {0, 1}
    sizes = [struct.unpack_from(">LL", head) for head in path.read_bytes().split(b"IHDR")[1:] if len(head) >= 8]
    assert mask.shape[::-1] in sizes
    assert bool(encoding) == bool(mask.any())
    return None


def one_line(error: UserError, path: Path | None = None) -> str:
    text = str(error)
    assert text.isprintable() and (path is None or text.startswith(f"{path}: ")) and len(text) < 1000
    return text


def refused(path: Path, data: bytes) -> str:
    """The sentence for `data` in a file of that name."""
    path.write_bytes(data)
    said = (check_mask if path.suffix == ".png" else check_slice)(path)
    assert said is not None
    return said
