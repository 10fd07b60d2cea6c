"""Seconds and peak memory of python -m chaos_seg.predict at 512 px, from DICOM to masks, and of a scan of 1,000 slices,
without alarms.

python benchmarks/predict.py outputs/paper/<run>/checkpoints/best.ckpt

The scan is SET 3 (78 slices) below CHAOS_REAL_ROOT, else a phantom of as many. The long one repeats its slices.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pydicom
import torch
from pydicom.uid import generate_uid

from chaos_seg.data.phantom import Phantom, write_phantom


def main() -> None:
    root = os.environ.get("CHAOS_REAL_ROOT")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tree = Path(root) if root else write_phantom(place / "store", Phantom(patients=3, slices=78, size=512, seed=0))
        source = tree / "Train_Sets" / "CT" / "3" / "DICOM_anon"
        checkpoint = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
        checkpoint["hyper_parameters"]["preprocessing"]["image_size"] = 512
        torch.save(checkpoint, place / "at_512.ckpt")
        slices = sorted(source.glob("*.dcm"))
        write_long(slices, place / "long", 1000)
        print(f"{'':<42}{'slices':>7}{'read s':>8}{'network s':>11}{'write s':>9}{'network %':>11}{'peak MiB':>10}")
        for name, given, options in (
            ("PNG, NIfTI and DICOM-SEG", source, ("formats=[png,nifti,dicom_seg]",)),
            ("PNG", source, ("formats=[png]",)),
            ("PNG, 8 slices at once", source, ("formats=[png]", "batch_size=8")),
            ("PNG, largest component, holes filled", source, ("formats=[png]", "postprocess=largest")),
            ("PNG and NIfTI", place / "long", ("formats=[png,nifti]",)),
        ):
            print(f"{name:<42}{measured(place, given, options)}", flush=True)


def measured(place: Path, source: Path, options: tuple[str, ...]) -> str:
    output = Path(tempfile.mkdtemp(dir=place))
    command = [sys.executable, "-m", "chaos_seg.predict", f"ckpt={place / 'at_512.ckpt'}", "device=cpu", "alarms=false"]
    script = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL, "
        "stderr=subprocess.DEVNULL); print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )
    said = subprocess.check_output(
        [sys.executable, "-c", script, *command, f"input={source}", f"output={output}", *options], text=True
    )
    code, peak = map(int, said.split())
    assert code == 0
    summary = json.loads(next(output.glob("*/summary.json")).read_text())
    read, network, write = (summary["seconds"][key] for key in ("read", "network", "write"))
    share = 100 * network / (read + network + write)
    return f"{summary['slices']:>7}{read:>8.2f}{network:>11.2f}{write:>9.2f}{share:>11.1f}{peak:>10}"


def write_long(slices: list[Path], folder: Path, count: int) -> None:
    folder.mkdir()
    series = generate_uid()
    for rank in range(count):
        ds = pydicom.dcmread(slices[rank % len(slices)])
        ds.SeriesInstanceUID, ds.SOPInstanceUID = series, generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.ImagePositionPatient = [*ds.ImagePositionPatient[:2], -1.0 * rank]
        ds.save_as(folder / f"{rank:04d}.dcm")


if __name__ == "__main__":
    main()
