"""One task for many patients, by as many processes as there are cores, with a progress bar."""

import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import cv2
from tqdm import tqdm

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")


def in_parallel(task: Callable[[T], R], items: Sequence[T], what: str) -> Iterator[R]:
    """`task` of each item, in order; `what` heads a bar, or a line in a log. Task, items and results are pickled."""
    if items and not sys.stderr.isatty():
        log.info("%s: %d", what, len(items))
    results = _results(task, items)
    yield from tqdm(results, total=len(items), desc=what, unit="patient", disable=None if items else True)


def _results(task: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    workers = min(len(items), multiprocessing.cpu_count())
    if workers < 2:
        yield from map(task, items)
    else:
        with ProcessPoolExecutor(workers, initializer=_begin, initargs=(os.getpid(),)) as pool:
            yield from pool.map(task, items)


def _begin(parent: int) -> None:
    """One thread for OpenCV, and an end when `parent` is killed, which a pool's processes would wait for for good."""
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
