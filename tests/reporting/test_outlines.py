"""The order of suspicious masks, from runs made by hand on the phantom."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import StoredScan, open_volumes
from chaos_seg.errors import UserError
from chaos_seg.files import write_csv, write_json
from chaos_seg.reporting.outlines import outline_pictures, suspicious_outlines
from chaos_seg.run_folder import RunFolder


def run(path: Path, scan: StoredScan, suspicion: dict[int, float], status: str = "finished") -> None:
    folder = RunFolder(path)
    rows = [
        {"patient": scan.name, "side": "val", "content": scan.content, "rank": rank, "suspicion": value}
        for rank, value in suspicion.items()
    ]
    write_csv(folder.outlines, rows)
    write_json(folder.manifest_file, {"status": status})
    (folder.predictions / scan.name).mkdir(parents=True)
    for rank in range(scan.slices):
        Image.fromarray(np.zeros(scan.shape[1:], np.uint8)).save(folder.predictions / scan.name / f"img{rank:03}.png")


def test_the_mean_over_the_runs_that_held_a_patient_out_ranks_its_masks(phantom_root: Path, tmp_path: Path) -> None:
    one, other = open_volumes(tmp_path / "store", [find_patients(phantom_root)[name] for name in ("1", "2")])
    run(tmp_path / "runs" / "a", one, {0: 0.2, 1: 0.5})
    run(tmp_path / "runs" / "b", one, {0: 0.8, 1: 0.3})
    run(tmp_path / "runs" / "c", one, {1: 1.0}, status="running")
    run(tmp_path / "runs" / "d", replace(other, content="before it was mended"), {0: 0.9})
    outlines, missing = suspicious_outlines(tmp_path / "runs", [one, other])
    assert [(found.patient, found.rank, found.suspicion) for found in outlines] == [
        ("1", 0, pytest.approx(0.5)),
        ("1", 1, pytest.approx(0.4)),
    ]
    assert missing == ["2"]
    pictures = outline_pictures(outlines, [one, other])
    assert len(pictures) == 2 and all(re.match("data:image/jpeg;base64,", picture) for picture in pictures)
    with pytest.raises(UserError, match="held out these patients"):
        suspicious_outlines(tmp_path / "runs", [other])
