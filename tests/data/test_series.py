"""Series of DICOM told apart: nothing of another patient, stack or acquisition in a volume, and no slice lost."""

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import find_scans
from chaos_seg.errors import UserError

Write = Callable[..., list[Path]]
Change = Callable[..., None]
STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])


def volume(slices: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, (slices, 6, 5))


def opened(place: Path) -> list[Scan]:
    return [found.open() for found in find_scans(place).scans]


def gathered(paths: list[Path], place: Path, prefix: str) -> None:
    """Move the files of a series into a folder that has others."""
    for path in paths:
        path.rename(place / f"{prefix}{path.name}")


@pytest.mark.parametrize("series", ["", "1.2.3"])
@pytest.mark.parametrize("step", [-105.0, -1.5])
def test_two_patients_never_make_one_scan(write_series: Write, tmp_path: Path, series: str, step: float) -> None:
    for name, z in (("smith", 0.0), ("jones", step)):
        tags = {"PatientID": name, "SeriesInstanceUID": series, "StudyInstanceUID": "", "FrameOfReferenceUID": ""}
        write_series(tmp_path / "in" / name, volume(), np.array([0, 0, z]), STEPS, **tags)
    scans = opened(tmp_path / "in")
    assert [(scan.name, scan.shape[0]) for scan in scans] == [("jones", 5), ("smith", 5)]
    assert {path.parent.name for path in scans[0].files} == {"jones"}
    shared = "another patient or study has its SeriesInstanceUID too, and is a scan of its own"
    assert all((shared in scan.warnings) == bool(series) for scan in scans)


def test_without_uids_and_patients_the_folder_tells_series_apart(
    write_series: Write, tmp_path: Path, change: Change
) -> None:
    tags = dict.fromkeys(("PatientID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"), "")
    for name in ("a", "b"):
        write_series(tmp_path / name, volume(), np.zeros(3), STEPS, **tags, SOPInstanceUID="")
    change(list((tmp_path / "a").iterdir()), MediaStorageSOPInstanceUID="")
    first, second = find_scans(tmp_path).scans
    assert (first.name, second.name) == ("a", "b") and first.patient != second.patient
    assert first.open().shape[0] == second.open().shape[0] == 5
    again = [Path(shutil.copytree(tmp_path / "a", tmp_path / name / "a")) for name in ("copy", "other")]
    for path in again[1].iterdir():  # same names, sizes and places, another patient's pixels
        path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    copy, other = (find_scans(place).scans[0] for place in again)
    assert copy.identity == first.identity != other.identity


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("AcquisitionNumber", lambda phase, rank: phase + 1),
        ("TemporalPositionIdentifier", lambda phase, rank: phase + 1),
        ("InstanceNumber", lambda phase, rank: 5 * phase + rank + 1),
        ("ContentTime", lambda phase, rank: f"12000{phase}"),
    ],
)
@pytest.mark.parametrize("apart", [0.0, 0.05, 1.5])
def test_acquisitions_of_one_series_are_scans_of_their_own(
    write_series: Write, tmp_path: Path, keyword: str, value: Callable[[int, int], object], apart: float
) -> None:
    hu = [volume(seed=phase) for phase in range(2)]
    uids = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.5"}
    for phase in range(2):
        tags = {"InstanceNumber": None, **uids, keyword: lambda rank, phase=phase: value(phase, rank)}
        written = write_series(tmp_path / "now", hu[phase], np.array([0, 0, phase * apart]), STEPS, **tags)
        (tmp_path / "in").mkdir(exist_ok=True)
        for path in written:
            path.rename(tmp_path / "in" / f"{phase}{path.name}")
    found = find_scans(tmp_path / "in").scans
    assert [one.name for one in found] == ["in_series1_acq1", "in_series1_acq2"]
    for phase, scan in enumerate(one.open() for one in found):
        assert all((scan.hu(rank) == hu[phase][rank]).all() for rank in range(5)) and scan.step_mm == 3
        assert scan.warnings[0] == f"one of 2 in its series, told apart by {keyword}"


def test_acquisitions_that_nothing_tells_apart_are_refused(write_series: Write, tmp_path: Path) -> None:
    uids = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "", "FrameOfReferenceUID": "", "InstanceNumber": None}
    for phase in range(2):
        gathered(write_series(tmp_path / "now", volume(seed=phase), np.zeros(3), STEPS, **uids), tmp_path, str(phase))
    with pytest.raises(UserError, match=r"found .* 0.00 mm apart at .* mm, and nothing that tells several acquis"):
        opened(tmp_path)
    write_series(tmp_path / "close", volume(9), np.zeros(3), STEPS * [[0.05], [1], [1]])
    with pytest.raises(UserError, match=r"expected slices at least 0.2 mm apart, found .* 0.15 mm apart"):
        opened(tmp_path / "close")


def test_blocks_one_after_the_other_are_one_scan(write_series: Write, tmp_path: Path) -> None:
    """As a scanner numbers them that moves the table between acquisitions."""
    numbers = {"AcquisitionNumber": lambda rank: 1 + rank // 3, "InstanceNumber": lambda rank: [3, 2, 1, 6, 5, 4][rank]}
    write_series(tmp_path, volume(6), np.zeros(3), STEPS, **numbers)
    assert [scan.shape[0] for scan in opened(tmp_path)] == [6]


def test_stacks_of_another_geometry_are_scans_of_their_own_and_scouts_are_left_out(
    write_series: Write, tmp_path: Path
) -> None:
    uids = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.5"}
    write_series(tmp_path / "a", volume(6), np.zeros(3), STEPS, **uids)
    write_series(tmp_path / "b", volume(4), np.array([0, 0, -30.0]), STEPS * [[1], [2], [2]], **uids)
    scout = write_series(tmp_path / "c", volume(1), np.zeros(3), STEPS[[1, 0, 2]], **uids)
    search = find_scans(tmp_path)
    assert [(found.name, found.open().shape[0]) for found in search.scans] == [("a", 6), ("b", 4)]
    assert search.reasons() == [f"1 left out, a scout: it lies across the other slices of its series: {scout[0].name}"]


def test_slices_of_another_size_or_a_long_stack_across_are_scans_of_their_own(
    write_series: Write, tmp_path: Path
) -> None:
    uids = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.5"}
    write_series(tmp_path / "a", volume(6), np.zeros(3), STEPS, **uids)
    write_series(tmp_path / "b", volume(4)[:, :5], np.array([0, 0, -30.0]), STEPS, **uids)
    write_series(tmp_path / "c", volume(3), np.zeros(3), STEPS[[1, 0, 2]], **uids)
    search = find_scans(tmp_path)
    assert [found.open().shape for found in search.scans] == [(6, 6, 5), (4, 5, 5), (3, 6, 5)]
    assert search.left_out == []


def test_an_acquisition_that_is_two_itself_is_refused(write_series: Write, tmp_path: Path) -> None:
    uids = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.5"}
    for name, z, number in (("a", 0.0, 1), ("b", 0.1, 1), ("c", 1.5, 2)):
        tags = {**uids, "AcquisitionNumber": number, "InstanceNumber": None}
        gathered(write_series(tmp_path / "now", volume(), np.array([0, 0, z]), STEPS, **tags), tmp_path, name)
    (found,) = find_scans(tmp_path).scans
    with pytest.raises(UserError, match="nothing that tells several acquisitions apart"):
        found.open()


def test_frames_of_reference_tell_series_apart_unless_each_slice_has_its_own(
    write_series: Write, tmp_path: Path
) -> None:
    write_series(tmp_path / "two", volume(6), np.zeros(3), STEPS, FrameOfReferenceUID=lambda rank: f"1.2.{rank // 3}")
    assert [scan.shape[0] for scan in opened(tmp_path / "two")] == [3, 3]
    write_series(tmp_path / "own", volume(6), np.zeros(3), STEPS, FrameOfReferenceUID=lambda rank: f"1.2.{rank}")
    (scan,) = opened(tmp_path / "own")
    assert scan.shape[0] == 6 and scan.warnings == ("each slice has a FrameOfReferenceUID of its own: taken for one",)


@pytest.mark.parametrize("thickness", ["1,5", "N/A", "1.5\\1.5", "nan", "-5", "1e-320"])
def test_an_odd_header_value_is_no_reason_to_stop(write_series: Write, tmp_path: Path, thickness: str) -> None:
    paths = write_series(tmp_path, volume(1), np.zeros(3), STEPS, SliceThickness=1.0)
    head, odd = paths[0].read_bytes(), thickness.encode().ljust(len(thickness) + len(thickness) % 2)
    at = head.index(b"\x18\x00\x50\x00DS")
    length = int.from_bytes(head[at + 6 : at + 8], "little")
    paths[0].write_bytes(
        head[: at + 6] + len(odd).to_bytes(2, "little") + odd + head[at + 8 + length :]  # pydicom would not write it
    )
    (scan,) = opened(tmp_path)
    assert scan.thickness_mm == 1.0 and scan.warnings == ("a single slice: its volume is that of 1 mm",)


def test_compressed_slices_that_nothing_decodes_are_refused_before_the_first_is_read(
    write_series: Write, tmp_path: Path
) -> None:
    paths = write_series(tmp_path, volume(), np.zeros(3), STEPS)
    data = paths[4].read_bytes()
    meta = data.index(b"1.2.840.10008.1.2.1\0")
    mpeg = b"1.2.840.10008.1.2.4.100\0"  # of the same group of attributes, longer by 4
    longer = (int.from_bytes(data[140:144], "little") + 4).to_bytes(4, "little")
    length = len(mpeg).to_bytes(2, "little")
    paths[4].write_bytes(data[:140] + longer + data[144 : meta - 2] + length + mpeg + data[meta + 20 :])
    with pytest.raises(UserError, match=rf"{paths[4].name}: expected pixels that can be decoded, found MPEG2"):
        opened(tmp_path)


SAME = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.5"}


def test_interleaved_time_points_in_two_folders_are_two_scans(write_series: Write, tmp_path: Path) -> None:
    for name, z in (("t0", 0.0), ("t1", 1.5)):
        write_series(tmp_path / name, volume(), np.array([0, 0, z]), STEPS, **SAME)
    scans = opened(tmp_path)
    assert [(scan.shape[0], scan.step_mm) for scan in scans] == [(5, 3), (5, 3)]
    assert all("one of 2 in its series, told apart by folder" in scan.warnings for scan in scans)


@pytest.mark.parametrize("missing", [0, 1])
def test_interleaved_time_points_are_told_apart_where_a_slice_is_missing(
    write_series: Write, tmp_path: Path, missing: int
) -> None:
    for name, z in (("t0", 0.0), ("t1", 1.5)):
        numbers = {"InstanceNumber": lambda rank, z=z: rank + 1 + 10 * (z > 0)}
        written = write_series(tmp_path / "now", volume(10), np.array([0, 0, z]), STEPS, **SAME, **numbers)
        if missing and z:
            written.pop(5).unlink()
        gathered(written, tmp_path, name)
    assert [scan.shape[0] for scan in opened(tmp_path)] == [10, 10 - missing]


@pytest.mark.parametrize(("keyword", "values"), [("SeriesNumber", (2, 3)), ("PatientName", ("a", "b"))])
def test_without_uids_numbers_and_names_tell_series_apart(
    write_series: Write, tmp_path: Path, keyword: str, values: tuple[object, object]
) -> None:
    tags = dict.fromkeys(("PatientID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"), "")
    for value, z in zip(values, (0.0, 1.5), strict=True):
        written = write_series(tmp_path / "now", volume(), np.array([0, 0, z]), STEPS, **tags, **{keyword: value})
        gathered(written, tmp_path, str(value))
    assert [scan.shape[0] for scan in opened(tmp_path)] == [5, 5]


def test_numbers_that_repeat_are_no_volume(write_series: Write, tmp_path: Path) -> None:
    for name, z in (("a", 0.0), ("b", 0.7)):
        gathered(write_series(tmp_path / "now", volume(), np.array([0, 0, z]), STEPS, **SAME), tmp_path, name)
    (found,) = find_scans(tmp_path).scans
    with pytest.raises(UserError, match=r"expected an InstanceNumber for each slice, found each 2 times or more"):
        found.open()
    write_series(tmp_path / "lost", volume(), np.zeros(3), STEPS, InstanceNumber=0)  # of all: says nothing
    assert [scan.shape[0] for scan in opened(tmp_path / "lost")] == [5]


def test_stacks_say_that_they_are_parts(write_series: Write, tmp_path: Path) -> None:
    write_series(tmp_path / "a", volume(6), np.zeros(3), STEPS, **SAME)
    write_series(tmp_path / "b", volume(4), np.array([0, 0, -18.0]), STEPS * [[1], [1], [1.01]], **SAME)
    assert all(scan.warnings[0].startswith("one of 2 stacks of its series") for scan in opened(tmp_path))


def test_slices_between_two_axes_keep_their_order(write_series: Write, tmp_path: Path) -> None:
    """At 45 degrees rounding decides which component of the normal is the largest."""
    down, up = [1, 0, 0, 0, 0.70711, 0.70710], [1, 0, 0, 0, 0.70710, 0.70711]
    across = np.array([0, -1, 1]) / np.sqrt(2) * 3
    tags = {
        "ImageOrientationPatient": lambda rank: [down, up][rank % 2],
        "ImagePositionPatient": lambda rank: [round(float(mm), 6) for mm in rank * across],
    }
    write_series(tmp_path, volume(6), np.zeros(3), STEPS, **tags)
    (scan,) = opened(tmp_path)
    assert scan.in_order and scan.warnings == () and scan.step_mm == pytest.approx(3, abs=1e-3)


def test_values_that_are_no_hu_are_left_out(write_series: Write, tmp_path: Path) -> None:
    write_series(tmp_path / "iodine", volume(), np.zeros(3), STEPS, RescaleType="MGML", PatientID="q")
    write_series(tmp_path / "ct", volume(), np.zeros(3), STEPS, RescaleType="HU")
    search = find_scans(tmp_path)
    assert [found.name for found in search.scans] == ["ct"] and all(item.lost for item in search.left_out)
    assert search.reasons()[0].startswith("5 left out, no HU but MGML of series 1")


@pytest.mark.parametrize(
    "again",
    [
        {0x00280010: (b"US", struct.pack("<H", 5)), 0x00280011: (b"US", struct.pack("<H", 6))},
        {0x00200032: (b"DS", b"0\\0\\50 ")},
        {0x00280030: (b"DS", b"2\\2 ")},
    ],
    ids=["size", "ImagePositionPatient", "PixelSpacing"],
)
def test_a_file_that_says_two_places_or_sizes_is_refused(
    write_series: Write, tmp_path: Path, again: dict[int, tuple[bytes, bytes]]
) -> None:
    """Elements that come twice, before the pixels and after: the last ones count where the whole file is read."""
    path, *_ = write_series(tmp_path, volume(4), np.zeros(3), STEPS)
    with path.open("ab") as file:
        for tag, (kind, value) in again.items():
            file.write(struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind + struct.pack("<H", len(value)) + value)
    (scan,) = opened(tmp_path)
    with pytest.raises(UserError, match=r"expected one place and size, found \d x \d pixels at"):
        scan.hu(scan.files.index(path))
