"""DICOM-SEG of series with headers as hospitals and anonymisers write them: valid, and what was mended is said."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_charset_files

from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import find_scans
from chaos_seg.errors import UserError
from chaos_seg.inference.formats import writers_for
from chaos_seg.inference.formats.dicom_seg import Segmentation

hd = pytest.importorskip("highdicom")

Write = Callable[..., list[Path]]
STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])
MASK = np.zeros((4, 6, 5), bool)
MASK[1:3, 2:4, 1:3] = True

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value", "ignore:Value ", "ignore:The value", "ignore:Unknown")


def opened(place: Path) -> Scan:
    (found,) = find_scans(place).scans
    return found.open()


def written(scan: Scan, folder: Path) -> tuple[pydicom.Dataset, list[str]]:
    """The segmentation as another program reads it, and what was mended; no error by dciodvfy, where that is there."""
    writer = Segmentation(scan)
    writer.write(MASK, folder / "liver.dcm")
    if shutil.which("dciodvfy"):  # of dicom3tools
        said = subprocess.run(["dciodvfy", str(folder / "liver.dcm")], capture_output=True, text=True).stderr
        assert "Error" not in said, said
    seg = hd.seg.segread(folder / "liver.dcm")
    uids = [seg_uid.ReferencedSOPInstanceUID for seg_uid in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence]
    assert len(set(uids)) == 2 and seg.pixel_array.sum() == MASK.sum()
    return seg, writer.series.mended


CHARSETS = sorted(Path(path) for path in get_charset_files("chr*.dcm") if Path(path).stem[:5] not in ("chrSQ",))


@pytest.mark.parametrize("source", CHARSETS, ids=lambda path: path.stem)
def test_names_of_every_character_set_are_kept(write_series: Write, tmp_path: Path, source: Path) -> None:
    """Files that pydicom brings; an empty first value is usual in Japan and Korea."""
    theirs = pydicom.dcmread(source)
    paths = write_series(tmp_path / "in", np.zeros((4, 6, 5), int), np.zeros(3), STEPS)
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.SpecificCharacterSet = theirs.SpecificCharacterSet
        ds.PatientName = theirs.PatientName
        ds.save_as(path)
    seg, mended = written(opened(tmp_path / "in"), tmp_path)
    assert seg.SpecificCharacterSet == "ISO_IR 192" and seg.PatientName == theirs.PatientName
    assert str(seg.PatientName).strip() and mended == []


def test_an_unlabelled_name_is_written_as_unicode(write_series: Write, tmp_path: Path) -> None:
    paths = write_series(
        tmp_path / "in",
        np.zeros((4, 6, 5), int),
        np.zeros(3),
        STEPS,
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller^Jörg",
    )
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b" " * 10))
    seg, _ = written(opened(tmp_path / "in"), tmp_path)
    assert (seg.PatientName, seg.SpecificCharacterSet) == ("Müller^Jörg", "ISO_IR 192")


@pytest.mark.parametrize(
    ("keyword", "given", "expected"),
    [
        ("SpecificCharacterSet", "ISO IR 100", "ISO_IR 192"),
        ("PatientSex", "Male", "M"),
        ("PatientSex", "female", "F"),
        ("PatientSex", "unknown", ""),
        ("StudyDate", "2020-01-02", "20200102"),
        ("StudyDate", "2020-13-02", ""),
        ("PatientBirthDate", "0000", ""),
        ("StudyTime", "24:00:00", ""),
        ("StudyTime", "12:30:59", "123059"),
        ("StudyTime", "123059.5", "123059.5"),
        ("AccessionNumber", "1234567890123456789", "1234567890123456"),
        ("PatientID", "a\\b", "a b"),
        ("PatientName", "Anonymous", "Anonymous"),
    ],
)
def test_values_that_the_standard_forbids_are_mended_and_said(
    write_series: Write, tmp_path: Path, keyword: str, given: str, expected: str
) -> None:
    write_series(tmp_path / "in", np.zeros((4, 6, 5), int), np.zeros(3), STEPS, **{keyword: given})
    seg, mended = written(opened(tmp_path / "in"), tmp_path)
    assert str(seg.get(keyword, "")) == expected
    said = f"{keyword} {given!r} is written as {expected!r}" in mended
    assert said == (keyword != "SpecificCharacterSet" and given != expected)


@pytest.mark.parametrize("value", ["", None])
@pytest.mark.parametrize(
    "keyword", ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"]
)
def test_a_series_without_a_uid_gets_one_made_up(
    write_series: Write, tmp_path: Path, keyword: str, value: str | None
) -> None:
    paths = write_series(tmp_path / "in", np.zeros((4, 6, 5), int), np.zeros(3), STEPS, **{keyword: value})
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3" if keyword == "SOPInstanceUID" else ds.SOPInstanceUID
        ds.save_as(path)
    (tmp_path / "again").mkdir()
    seg, mended = written(opened(tmp_path / "in"), tmp_path)
    again, _ = written(opened(tmp_path / "in"), tmp_path / "again")
    assert (seg.SOPInstanceUID, seg.SeriesInstanceUID) == (again.SOPInstanceUID, again.SeriesInstanceUID)
    assert seg.StudyInstanceUID == again.StudyInstanceUID and seg.FrameOfReferenceUID == again.FrameOfReferenceUID
    assert len([note for note in mended if keyword in note]) == (keyword != "SOPClassUID")
    source = pydicom.dcmread(paths[0])
    if value is None and keyword != "StudyInstanceUID":
        assert seg.StudyInstanceUID == source.StudyInstanceUID


def test_a_segmentation_has_a_colour_a_date_and_the_distance_of_slices(write_series: Write, tmp_path: Path) -> None:
    write_series(tmp_path / "in", np.zeros((4, 6, 5), int), np.zeros(3), STEPS, SliceThickness=5)
    seg, _ = written(opened(tmp_path / "in"), tmp_path)
    assert len(seg.SegmentSequence[0].RecommendedDisplayCIELabValue) == 3 and len(seg.SeriesDate) == 8
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (float(measures.SliceThickness), *map(float, measures.PixelSpacing)) == (3.0, 0.8, 0.6)


def test_what_another_library_raises_refuses_the_format_alone(
    write_series: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "in", np.zeros((4, 6, 5), int), np.zeros(3), STEPS)

    def fail(*_: object, **options: object) -> None:
        raise ZeroDivisionError("in highdicom")

    monkeypatch.setattr(hd.seg, "Segmentation", fail)
    writers, refused = writers_for(opened(tmp_path / "in"), ["png", "nifti", "dicom_seg"])
    assert list(writers) == ["png", "nifti"]
    assert refused == {"dicom_seg": "DICOM-SEG can't refer to the series (in highdicom)"}
    with pytest.raises(UserError):
        Segmentation(opened(tmp_path / "in"))
