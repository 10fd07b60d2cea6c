"""Peak memory of a training run with 4 and with 40 phantom patients, each a process of its own.

    python benchmarks/train_memory.py [--size 256]

The store is built first, so that what is compared is training. Goal: the same within 10 %.
"""

import argparse
import os
import subprocess
import sys
import tempfile

TRAIN = """
import sys
from pathlib import Path
from hydra import compose, initialize_config_dir
from chaos_seg.command_line import CONF_DIR
from chaos_seg.config import TrainConfig, checked
from chaos_seg.experiment import train
run, *overrides = sys.argv[1:]
with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
    config = checked(TrainConfig, compose("train", overrides=overrides))
train(config, Path(run))
"""


def peak_mib(patients: int, size: int, folder: str) -> float:
    """Peak resident memory of the process, MiB, once the store is there."""
    overrides = [
        *("data=phantom", f"data.store={folder}/store", "trainer=cpu", "epochs=1", "num_workers=0", "network.base=2"),
        *(f"data.source.patients={patients}", f"data.source.size={size}", f"image_size={size}"),
        *("data.split.val_patients=1", "data.source.slices=24"),
    ]
    peak = 0.0
    for attempt in ("build", "measure"):
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, f"{folder}/{patients}_{attempt}", *overrides],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"the training process with {patients} patients failed")
        peak = usage.ru_maxrss / 1024
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of training with few and with many patients.")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        few, many = (peak_mib(patients, args.size, folder) for patients in (4, 40))
    print(
        f"24 slices of {args.size} x {args.size} a patient: 4 patients {few:.0f} MiB, 40 patients {many:.0f} MiB; "
        f"ratio {many / few:.2f}"
    )


if __name__ == "__main__":
    main()
