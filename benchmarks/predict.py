"""Seconds and peak memory of python -m chaos_seg.predict at 512 px, from DICOM to masks, and of scans of 1,000 and
2,000 slices.

python benchmarks/predict.py outputs/paper/<run>/checkpoints/best.ckpt

The scan is SET 3 (78 slices) below CHAOS_REAL_ROOT, else a phantom of as many. The long ones repeat its slices. In
the rows "bright" no network decides: liver is what has a liver's HU, so that nearly every slice has a mask, with
islands and holes. The network still sees every 50th slice, so that its memory counts.
Goal: 2,000 slices with alarms below 1 GiB.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pydicom
import torch
from pydicom.uid import generate_uid

from chaos_seg import predict
from chaos_seg.data.scan import Scan
from chaos_seg.data.sources.phantom import Phantom, write_phantom
from chaos_seg.inference.predictor import Predictor

BRIGHT = "--bright"


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
        for count in (1000, 2000):
            write_long(slices, place / str(count), count)
        print(
            f"{'':<42}{'slices':>7}{'read s':>8}{'network s':>11}{'write s':>9}{'alarms s':>10}{'network %':>11}"
            f"{'peak MiB':>10}"
        )
        for name, given, options in (
            ("PNG, NIfTI and DICOM-SEG", source, ("formats=[png,nifti,dicom_seg]",)),
            ("PNG", source, ("formats=[png]",)),
            ("PNG, 8 slices at once", source, ("formats=[png]", "batch_size=8")),
            ("PNG, largest component, holes filled", source, ("formats=[png]", "postprocess=largest")),
            ("PNG and alarms", source, ("formats=[png]", "alarms=true")),
            ("PNG and NIfTI", place / "1000", ("formats=[png,nifti]",)),
            ("bright: PNG and alarms", source, (BRIGHT, "formats=[png]", "alarms=true")),
            ("bright: PNG", place / "2000", (BRIGHT, "formats=[png]")),
            ("bright: PNG and alarms", place / "2000", (BRIGHT, "formats=[png]", "alarms=true")),
            (
                "bright: PNG and alarms, postprocess=largest",
                place / "2000",
                (BRIGHT, "formats=[png]", "alarms=true", "postprocess=largest"),
            ),
        ):
            print(f"{name:<42}{measured(place, given, options)}", flush=True)


def measured(place: Path, source: Path, options: tuple[str, ...]) -> str:
    output = Path(tempfile.mkdtemp(dir=place))
    program = [__file__, BRIGHT] if BRIGHT in options else ["-m", "chaos_seg.predict"]
    command = [sys.executable, *program, f"ckpt={place / 'at_512.ckpt'}", "device=cpu", "alarms=false"]
    script = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL, "
        "stderr=subprocess.DEVNULL); print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )
    command += [f"input={source}", f"output={output}", *options[BRIGHT in options :]]
    said = subprocess.check_output([sys.executable, "-c", script, *command], text=True)
    code, peak = map(int, said.split())
    assert code == 0
    summary = json.loads(next(output.glob("*/summary.json")).read_text())
    seconds = {"alarms": 0.0, **summary["seconds"]}
    read, network, write, alarms = (seconds[key] for key in ("read", "network", "write", "alarms"))
    share = 100 * network / (read + network + write + alarms)
    return f"{summary['slices']:>7}{read:>8.2f}{network:>11.2f}{write:>9.2f}{alarms:>10.2f}{share:>11.1f}{peak:>10}"


def write_long(slices: list[Path], folder: Path, count: int) -> None:
    folder.mkdir()
    series = generate_uid()
    for rank in range(count):
        ds = pydicom.dcmread(slices[rank % len(slices)])
        ds.SeriesInstanceUID, ds.SOPInstanceUID = series, generate_uid()
        ds.InstanceNumber = rank + 1  # or the repeated slices are acquisitions of their own, as by their times
        for keyword in ("AcquisitionNumber", "AcquisitionTime", "ContentTime"):
            if keyword in ds:
                delattr(ds, keyword)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.ImagePositionPatient = [*ds.ImagePositionPatient[:2], -1.0 * rank]
        ds.save_as(folder / f"{rank:04d}.dcm")


def predict_bright() -> None:
    """chaos_seg.predict with what is bright as the liver."""
    network = Predictor.passes

    def passes(self: Predictor, scan: Scan) -> Iterator[np.ndarray]:
        for rank in range(scan.slices):
            if rank % 50 == 0:
                next(network(self, scan))
            smooth = cv2.blur(np.clip(scan.hu(rank), -200, 300).astype(np.float32), (9, 9))
            yield ((smooth > 80) & (smooth < 200))[None].astype(np.float32)

    Predictor.passes = passes  # type: ignore[method-assign]
    predict.main()


if __name__ == "__main__":
    if BRIGHT in sys.argv:
        sys.argv.remove(BRIGHT)
        predict_bright()
    else:
        main()
