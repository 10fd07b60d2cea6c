"""Scans of any folder, NIfTI, and what DICOM-SEG takes over of a header."""

import gzip
from functools import lru_cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.uid import (
    ExplicitVRLittleEndian,
)

from chaos_seg.data.scans import find_scans
from chaos_seg.errors import UserError
from chaos_seg.inference.formats import writers_for
from tests.data.bad.files import dataset, dicom_files, saved
from tests.data.bad.limits import at_once, fuzz
from tests.data.bad.mutations import damaged, wild_attributes

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom remarks on what is written here


@lru_cache
def foreign_slices() -> tuple[bytes, ...]:
    """Real slices that come with pydicom, with other encodings and character sets, and phantom's."""
    names = ["CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "ExplVR_LitEndNoMeta.dcm", "no_meta.dcm", "DICOMDIR"]
    real = [
        path.read_bytes() for path in (Path(get_testdata_file(name)) for name in names) if path.stat().st_size < 1e6
    ]
    named = []
    for path in get_charset_files("chr*.dcm"):
        ds, theirs = dataset(), pydicom.dcmread(path)
        ds.SpecificCharacterSet, ds.PatientName = theirs.get("SpecificCharacterSet"), str(theirs.get("PatientName", ""))
        named.append(saved(ds, ExplicitVRLittleEndian))
    return (*real, *named, *dicom_files())


@lru_cache
def nifti_files() -> tuple[bytes, ...]:
    nib = pytest.importorskip("nibabel")
    files = []
    volume = np.random.default_rng(0).integers(-1000, 1000, (9, 8, 4))
    for kind, data_type in product((nib.Nifti1Image, nib.Nifti2Image), (np.int16, np.float32, ">i2", np.float64)):
        image = kind(volume.astype(data_type), np.diag([-0.8, 0.9, 3, 1]))
        image.set_qform(image.affine, 1)
        files.append(image.to_bytes())
    return (*files, *(gzip.compress(content, mtime=0) for content in files))


def looked_at(place: Path) -> str | None:
    """All scans found in `place`, opened, read and written in every format; the sentences of those that are refused."""
    reasons = []
    before = {path for path in place.rglob("*") if path.is_file()}
    try:
        with at_once():
            search = find_scans(place)
    except UserError as error:
        return str(error)
    told = {path for scan in search.scans for path in scan.files} | {item.path for item in search.left_out}
    assert {path.resolve() for path in before} == told
    for found in search.scans:
        try:
            with at_once():
                scan = found.open()
                planes = [scan.hu(rank) > 0 for rank in range(scan.shape[0])]
                assert scan.volume_ml(np.array([plane.sum() for plane in planes])) >= 0
            with at_once():
                writers, refused = writers_for(scan, None)
            reasons += refused.values()
            for number, writer in enumerate(writers.values()):
                with TemporaryDirectory() as out, at_once():
                    writer.write(planes, Path(out))
                    assert any(Path(out).iterdir()), number
        except UserError as error:
            reasons.append(str(error))
    assert all(reason.isprintable() or "\n" in reason for reason in reasons)
    return " ".join(reasons)


@fuzz(0.1)
@given(data=st.one_of(damaged(foreign_slices), wild_attributes()), beside=st.integers(0, 2), suffix=st.booleans())
def test_any_bytes_beside_sound_slices_are_scans_or_refused(data: bytes, beside: int, suffix: bool) -> None:
    with TemporaryDirectory() as folder:
        for number in range(beside):
            ds = dataset()
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
            ds.ImagePositionPatient = [0, 0, 100 + 3 * number]
            Path(folder, f"{number}.dcm").write_bytes(saved(ds, ExplicitVRLittleEndian))
        Path(folder, "wild.dcm" if suffix else "wild").write_bytes(data)
        looked_at(Path(folder).resolve())


@fuzz(0.1)
@given(data=damaged(nifti_files), suffix=st.sampled_from([".nii", ".nii.gz", ".NII.GZ"]))
def test_any_bytes_are_a_nifti_scan_or_refused(data: bytes, suffix: str) -> None:
    with TemporaryDirectory() as folder:
        Path(folder, f"a{suffix}").write_bytes(data)
        looked_at(Path(folder).resolve())


def test_what_those_mutations_start_from_is_read() -> None:
    for files, suffix, readable in ((foreign_slices(), "", 20), (nifti_files(), ".nii.gz", 8)):
        sound = 0
        for content in files:
            with TemporaryDirectory() as folder:
                Path(folder, f"a{suffix}").write_bytes(content)
                sound += looked_at(Path(folder).resolve()) == ""
        assert sound >= readable
