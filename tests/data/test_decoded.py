from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from chaos_seg.data.decoded import decode_volume
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import StoredScan, open_volumes


def volumes(root: Path, store: Path) -> dict[str, StoredScan]:
    return {volume.name: volume for volume in open_volumes(store, find_patients(root).values())}


def patient_files(tree: Path, patient: str, kind: str) -> list[Path]:
    return sorted((tree / "Train_Sets" / "CT" / patient / kind).iterdir())


def edit(path: Path, **tags: object) -> None:
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


def test_holds_what_the_files_hold(phantom_root: Path, tmp_path: Path) -> None:
    for patient, volume in volumes(phantom_root, tmp_path).items():
        dicoms, masks = (patient_files(phantom_root, patient, kind) for kind in ("DICOM_anon", "Ground"))
        for rank, (dicom, mask) in enumerate(zip(dicoms, masks, strict=True)):
            dataset = pydicom.dcmread(dicom)
            hu = dataset.pixel_array.astype(int) + int(dataset.RescaleIntercept)
            assert np.array_equal(volume.hu(rank), np.clip(hu, -2048, 3071))
            with Image.open(mask) as image:
                assert np.array_equal(volume.mask(rank), np.asarray(image).astype(np.uint8))
        assert volume.meta.liver_pixels == [int(volume.mask(rank).sum()) for rank in range(volume.slices)]
        assert volume.meta.synthetic


def test_z_spacing_is_the_step_of_the_positions_not_slice_thickness(phantom_root: Path, tmp_path: Path) -> None:
    meta = volumes(phantom_root, tmp_path)["1"].meta
    step = 240 / 7
    assert meta.spacing_mm == pytest.approx((step, 370 / 32, 370 / 32), abs=1e-3)
    assert meta.slice_thickness_mm == pytest.approx(1.6 * step, abs=1e-3)
    assert meta.z_mm == pytest.approx([-step * k for k in range(7)], abs=1e-3)  # descends along the file names


def test_intercepts_differ_and_corner_outliers_are_clipped(phantom_root: Path, tmp_path: Path) -> None:
    found = volumes(phantom_root, tmp_path)
    assert {tuple(v.meta.intercepts) for v in found.values()} == {(-1000.0,), (-1024.0,), (-1200.0,)}
    assert found["1"].hu(0)[0, :2].tolist() == [3071, 3071]
    assert found["2"].hu(0)[0, :2].tolist() == [-1200, -1200]


def test_meta_speaks_of_every_slice_and_of_rows_before_columns(tree: Path, tmp_path: Path) -> None:
    paths = patient_files(tree, "1", "DICOM_anon")
    for path in paths:
        edit(path, PixelSpacing=[2.0, 3.0])
    edit(paths[5], RescaleIntercept=-1000)
    for path in paths[:6]:
        edit(path, SyntheticData="NO")
    meta = volumes(tree, tmp_path / "s")["1"].meta
    assert list(meta.spacing_mm[1:]) == [2.0, 3.0]
    scan = volumes(tree, tmp_path / "s")["1"]
    assert scan.mean_spacing_mm == meta.spacing_mm and scan.z_mm.tolist() == meta.z_mm
    assert (scan.row_mm.tolist(), scan.column_mm.tolist()) == ([0, 2, 0], [3, 0, 0])
    assert np.array_equal(scan.origin_mm, [header.position_mm for header in scan.headers()])
    assert meta.intercepts == [-1024.0, -1000.0] and meta.synthetic  # one slice is enough


def test_with_faults_there_is_no_key_and_without_masks_no_mask(tree: Path, tmp_path: Path) -> None:
    slices, _ = replace(find_patients(tree)["1"], mask_dir=None).slices()
    key, faults = decode_volume(slices, tmp_path / "unlabelled")
    assert len(key) == 40 and faults == []
    assert {path.name for path in (tmp_path / "unlabelled").iterdir()} == {"hu.npy", "slices.json", "meta.json"}
    patient_files(tree, "2", "DICOM_anon")[0].write_text("broken")
    for rank in (0, 4):  # the first has no slice that it could differ from
        Image.fromarray(np.zeros((16, 32), bool)).save(patient_files(tree, "2", "Ground")[rank])
    slices, _ = find_patients(tree)["2"].slices()
    key, faults = decode_volume(slices, tmp_path / "faulty")
    assert key == "" and len(faults) == 2 and not (tmp_path / "faulty" / "meta.json").exists()
    assert "expected a DICOM file" in str(faults[0]) and "found 16 x 32" in str(faults[1])
