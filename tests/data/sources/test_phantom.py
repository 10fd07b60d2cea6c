from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.sources.phantom import Phantom, write_phantom
from chaos_seg.data.store import open_volumes
from chaos_seg.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("p"), Phantom(patients=6, slices=20, size=64, seed=1))


def test_has_the_traps_of_the_real_tree(root: Path) -> None:
    intercepts, schemes, outliers = set(), set(), 0
    for folder in find_patients(root).values():
        assert folder.mask_dir is not None
        dicoms = sorted(folder.dicom_dir.iterdir())
        headers = [pydicom.dcmread(path) for path in dicoms]
        intercepts |= {int(ds.RescaleIntercept) for ds in headers}
        schemes.add(dicoms[0].name[:1])
        assert [ds.InstanceNumber for ds in headers] == list(range(1, 21))
        z = [float(ds.ImagePositionPatient[2]) for ds in headers]
        assert np.allclose(np.diff(z), -12) and float(headers[0].SliceThickness) > 12
        assert all(ds.SyntheticData == "YES" and ds.Modality == "CT" for ds in headers)
        assert len({ds.SOPInstanceUID for ds in headers}) == 20
        outliers += int(headers[0].pixel_array[0, 0]) + int(headers[0].RescaleIntercept) == 49_944
        liver = []
        for path in sorted(folder.mask_dir.iterdir()):
            with Image.open(path) as image:
                assert image.mode == "1" and image.size == (64, 64)
                liver.append(np.asarray(image).sum())
        assert liver[0] == liver[-1] == 0 and np.count_nonzero(liver) > 8
    assert intercepts == {-1000, -1024, -1200} and schemes == {"i", "I"} and 0 < outliers < 6


def test_no_threshold_finds_the_liver(root: Path, tmp_path: Path) -> None:
    for volume in open_volumes(tmp_path, find_patients(root).values()):
        hu = np.stack([volume.hu(k) for k in range(20)])
        liver = np.stack([volume.mask(k) for k in range(20)]) > 0
        best = 0.0
        for low in range(0, 200, 10):
            for high in range(low + 20, 300, 10):
                found = (hu >= low) & (hu < high)
                best = max(best, 2 * np.count_nonzero(found & liver) / (found.sum() + liver.sum()))
        assert best < 0.7
        spleen_and_muscle = np.abs(np.median(hu[liver]) - hu[(hu > 0) & ~liver & (hu < 220)])
        assert np.count_nonzero(spleen_and_muscle < 25) > liver.sum() / 2  # as much again looks like liver


def test_patients_differ_and_have_plausible_livers(root: Path, tmp_path: Path) -> None:
    volumes = open_volumes(tmp_path, find_patients(root).values())
    ml = [sum(v.meta.liver_pixels or []) * np.prod(v.meta.spacing_mm) / 1000 for v in volumes]
    assert all(900 < value < 2600 for value in ml) and max(ml) > 1.2 * min(ml)
    assert len({round(float(np.median(v.hu(10)[v.mask(10) > 0]))) for v in volumes}) > 3


def test_is_a_function_of_its_settings(tmp_path: Path) -> None:
    small = Phantom(patients=1, slices=3, size=16, seed=5)
    files = [
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*.*") if p.is_file()}
        for root in (write_phantom(tmp_path / "a", small), write_phantom(tmp_path / "b", small))
    ]
    assert files[0] == files[1] and len(files[0]) == 7
    other = write_phantom(tmp_path / "a", Phantom(patients=1, slices=3, size=16, seed=6))
    slice_of_other = next(other.rglob("*.dcm")).relative_to(other)
    assert (other / slice_of_other).read_bytes() != files[0][slice_of_other]


def test_impossible_settings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found 0 patients"):
        write_phantom(tmp_path, Phantom(patients=0, slices=1, size=16, seed=0))
