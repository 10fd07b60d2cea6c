"""NIfTI in: where it lies, in which unit, and what is none."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import find_scans
from chaos_seg.errors import UserError
from chaos_seg.inference.formats.nifti import write_nifti

nib = pytest.importorskip("nibabel")

AFFINE = np.array([[0, -0.7, 0, 11], [0.9, 0, 0, -7], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])


def hu(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, shape or (6, 5, 4)).astype(np.int16)


def saved(path: Path, data: np.ndarray, affine: np.ndarray | None = AFFINE, unit: str = "mm") -> Path:
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def opened(path: Path) -> Scan:
    (found,) = find_scans(path).scans
    return found.open()


def test_a_suffix_in_capitals_and_an_axis_of_one_are_read(tmp_path: Path) -> None:
    data = hu()
    saved(tmp_path / "a.nii.gz", data[..., None]).rename(tmp_path / "A.NII.GZ")
    scan = opened(tmp_path)
    assert scan.name == "A" and scan.shape == (4, 5, 6) and scan.hu(0).shape == (5, 6)
    assert all((scan.hu(rank) == data[..., rank].T).all() for rank in range(4))


def test_a_single_plane_is_as_thick_as_its_header_says(tmp_path: Path) -> None:
    scan = opened(saved(tmp_path / "a.nii", hu(6, 5, 1)))
    assert scan.step_mm == 2.5 and scan.volume_ml(np.array([100])) == pytest.approx(100 * 0.7 * 0.9 * 2.5 / 1000)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1000.0), ("meter", 0.001), ("unknown", 1.0)])
def test_other_units_than_mm_are_converted(tmp_path: Path, unit: str, factor: float) -> None:
    scan = opened(saved(tmp_path / "a.nii", hu(), scaled(factor), unit))
    assert scan.spacing_mm == pytest.approx((2.5, 0.7, 0.9)) and scan.origin_mm[0] == pytest.approx([-11, 7, 30])
    assert (f"its unit is {unit}: taken as such" in scan.warnings) == (unit != "unknown")


def scaled(factor: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[:3] *= factor
    return affine


@pytest.mark.parametrize("factor", [1e30, 1e-9])
def test_an_absurd_affine_is_refused(tmp_path: Path, factor: float) -> None:
    with pytest.raises(UserError, match=r"expected voxels of 0\.001 to 1000\.0 mm .* in the unit mm; mend the unit"):
        opened(saved(tmp_path / "a.nii", hu(), scaled(factor)))


def test_a_label_map_is_no_scan(tmp_path: Path) -> None:
    saved(tmp_path / "image.nii.gz", hu())
    saved(tmp_path / "labels.nii.gz", np.abs(hu()) % 16)
    search = find_scans(tmp_path)
    assert [found.name for found in search.scans] == ["image"]
    assert [(item.path.name, item.lost) for item in search.left_out] == [("labels.nii.gz", False)]


def test_a_damaged_gz_is_refused_whatever_it_still_gives(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.nii.gz", hu(99, 99, 9)).read_bytes()
    raw = gzip.decompress(whole)
    wrong = raw[:400] + bytes(20) + raw[420:]
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(wrong, mtime=0)[:-8] + whole[-8:])  # its checksum is another's
    (found,) = find_scans(tmp_path).scans
    with pytest.raises(UserError, match=r"a\.nii\.gz: expected a NIfTI volume, found a damaged one \(CRC check failed"):
        found.open()


@pytest.mark.parametrize("codes", [(1, 4), (0, 2), (3, 0), (0, 0)])
def test_a_mask_lies_where_each_program_puts_its_source(tmp_path: Path, codes: tuple[int, int]) -> None:
    """qform and sform are different places; ITK goes by one, nibabel by the other."""
    sitk = pytest.importorskip("SimpleITK")
    data = hu()
    image = nib.Nifti1Image(data, None)
    other = AFFINE.copy()
    other[:3, 3] += [3, 40, -20]
    image.set_qform(AFFINE, codes[0])
    image.set_sform(other, codes[1])
    image.header["pixdim"][1:4] = (0.9, 0.7, 2.5)
    nib.save(image, tmp_path / "a.nii.gz")
    scan = opened(tmp_path / "a.nii.gz")
    write_nifti([scan.hu(rank) > 0 for rank in range(4)], scan, tmp_path / "mask.nii.gz")
    ct, mask = (sitk.ReadImage(str(tmp_path / name)) for name in ("a.nii.gz", "mask.nii.gz"))
    for what in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(ct, what)() == getattr(mask, what)()
    assert (sitk.GetArrayFromImage(mask) == (sitk.GetArrayFromImage(ct) > 0)).all()
    ours, theirs = nib.load(tmp_path / "mask.nii.gz"), nib.load(tmp_path / "a.nii.gz")
    assert (ours.affine == theirs.affine).all() and (np.asarray(ours.dataobj) == (data > 0)).all()
    for get in ("get_qform", "get_sform"):
        (form, code), (expected, its_code) = (getattr(i, get)(coded=True) for i in (ours, theirs))
        assert code == its_code and (form is None or (form == expected).all())
    told = " ".join(scan.warnings)
    assert ("no orientation" in told) == (codes == (0, 0)) and ("sform and qform" in told) == (
        codes in ((1, 4), (0, 0))
    )


def test_a_sheared_volume_keeps_its_shear(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[1, 2] = 0.8
    scan = opened(saved(tmp_path / "a.nii.gz", hu(), sheared))
    write_nifti([scan.hu(rank) > 0 for rank in range(4)], scan, tmp_path / "mask.nii.gz")
    header = nib.load(tmp_path / "mask.nii.gz").header
    assert (header.get_sform() == nib.load(tmp_path / "a.nii.gz").header.get_sform()).all()
    assert header["qform_code"] == nib.load(tmp_path / "a.nii.gz").header["qform_code"]


def test_names_of_one_stem_stay_apart(tmp_path: Path) -> None:
    saved(tmp_path / "a.nii", hu())
    shutil.copy(saved(tmp_path / "b.nii.gz", hu()), tmp_path / "a.nii.gz")
    assert [found.name for found in find_scans(tmp_path).scans] == ["a", "a_2", "b"]


def test_a_qform_that_is_no_rotation_is_doubted(tmp_path: Path) -> None:
    content = bytearray(saved(tmp_path / "a.nii", hu()).read_bytes())
    content[252:254] = (1).to_bytes(2, "little")  # qform_code
    content[256:268] = np.array([0.9, 0.9, 0.9], "<f4").tobytes()  # of a unit quaternion
    (tmp_path / "a.nii").write_bytes(content)
    assert opened(tmp_path / "a.nii").warnings[0].startswith("its qform is no rotation: programs differ")


def test_what_nibabel_mends_in_a_header_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = bytearray(saved(tmp_path / "a.nii", hu()).read_bytes())
    content[252:254] = (99).to_bytes(2, "little")  # qform_code
    (tmp_path / "a.nii").write_bytes(content)
    assert opened(tmp_path / "a.nii").warnings == ("its header was mended: qform_code 99 not valid; setting to 0",)
    assert capfd.readouterr().err == ""
