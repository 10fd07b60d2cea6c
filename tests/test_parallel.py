import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from chaos_seg.parallel import in_parallel


def process_of(item: int) -> tuple[int, int]:
    time.sleep(0.2)
    return item, os.getpid()


def test_results_come_in_order_from_several_processes() -> None:
    results = list(in_parallel(process_of, range(6), "Items"))
    assert [item for item, _ in results] == list(range(6))
    assert os.getpid() not in {process for _, process in results}


WAITING = """
import os, sys, time
from pathlib import Path
from chaos_seg.parallel import in_parallel

def wait(place):
    Path(place, str(os.getpid())).touch()
    time.sleep(60)

list(in_parallel(wait, [sys.argv[1]] * 2, "Items"))
"""


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_processes_end_with_one_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITING, str(tmp_path)], stderr=subprocess.DEVNULL) as parent:
        for _ in range(300):
            if len(names := list(tmp_path.iterdir())) == 2:
                break
            time.sleep(0.1)
        os.kill(parent.pid, signal.SIGKILL)
    processes = [int(path.name) for path in names]
    assert len(processes) == 2
    for _ in range(100):
        if not any(map(is_running, processes)):
            break
        time.sleep(0.1)
    assert not any(map(is_running, processes))
