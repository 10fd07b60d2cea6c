"""A folder of CT series with DICOM-SEG, such as our own predictions after a person has corrected them.

Series and segmentations lie anywhere below the root, apart or mixed; a segmentation says which series it is of. Its
frames are laid on the slices by their positions, since programs leave out and reorder them as they like.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import get_decoder

from chaos_seg.data.dicom import SliceHeader, read_header, read_slice
from chaos_seg.data.nifti import is_nifti
from chaos_seg.data.scan import GRID_MM, Scan
from chaos_seg.data.scans import FoundScan, find_scans
from chaos_seg.data.slices import SAME, Slice, read_place
from chaos_seg.data.sources import Source
from chaos_seg.errors import UserError, raise_faults
from chaos_seg.registry import SOURCES

log = logging.getLogger(__name__)


@SOURCES.register("dicom_seg")
def dicom_seg(root: Path | None, store: Path | None = None, labels: list[int | str] | None = None) -> Source:
    """The CT series below `root`, as predict finds and names them; those with a segmentation are labelled.

    Args:
        labels: numbers or labels of the segments that are the organ; None where there is only one.

    Raises:
        UserError: no series, a segmentation of none of them, two of one, or segments that don't fit `labels`.
    """
    if root is None:
        raise UserError("data.root=null: expected the folder of CT series and their DICOM-SEG, found none; name it.")
    search = find_scans(root, setting="data.root")
    for reason in replace(search, left_out=[item for item in search.left_out if item.lost]).reasons():
        log.warning("%s", reason)
    scans = [scan for scan in search.scans if not is_nifti(scan.files[0])]
    found = [Segmentation.of(item.path) for item in search.left_out if item.modality == "SEG"]
    if not found:
        raise UserError(f"{root}: expected DICOM-SEG of its CT series, found none; name a folder that holds both.")
    of_scan, faults = _paired(scans, found)
    raise_faults([*faults, *_unchosen(found, labels)], root)
    patients = (SegPatient(scan, of_scan.get(scan.name), tuple(labels or ())) for scan in scans)
    return Source(root, {patient.patient: patient for patient in patients})


@dataclass(frozen=True)
class Segmentation:
    """What a DICOM-SEG says of itself before its frames."""

    path: Path
    series: str  # SeriesInstanceUID that it refers to
    instances: frozenset[str]  # SOPInstanceUIDs
    segments: dict[int, str]  # labels by number

    @classmethod
    def of(cls, path: Path) -> "Segmentation":
        """Raises UserError for a damaged one."""
        try:
            header = read_header(path)
            series = (header.get("ReferencedSeriesSequence") or [pydicom.Dataset()])[0]
            instances = (str(item.ReferencedSOPInstanceUID) for item in series.get("ReferencedInstanceSequence", ()))
            segments = {int(item.SegmentNumber): str(item.get("SegmentLabel", "")) for item in header.SegmentSequence}
            return cls(path, str(series.get("SeriesInstanceUID", "")), frozenset(instances), segments)
        except Exception as error:  # damaged bytes raise anything in pydicom
            raise _damaged(path, error) from None

    def chosen(self, labels: Sequence[int | str]) -> list[int]:
        """Numbers of the segments with these numbers or labels; all without any."""
        wanted = {str(label).casefold() for label in labels}
        return [n for n, label in self.segments.items() if not wanted or {str(n), label.casefold()} & wanted]

    def __str__(self) -> str:
        return ", ".join(f"{number} {label}" for number, label in self.segments.items())


@dataclass(frozen=True)
class SegPatient:
    """A CT series and its segmentation, if it has one."""

    scan: FoundScan
    segmentation: Segmentation | None
    labels: tuple[int | str, ...]

    @property
    def patient(self) -> str:
        return self.scan.name

    @property
    def place(self) -> Path:
        return self.scan.files[0]  # series may share a folder

    @property
    def labelled(self) -> bool:
        return self.segmentation is not None

    @property
    def variant(self) -> str:
        return f"{self.segmentation.path} {self.labels}" if self.segmentation else ""

    def files(self) -> list[Path]:
        return [*self.scan.files, *([self.segmentation.path] if self.segmentation else [])]

    def slices(self) -> tuple[list["SegSlice"], list[UserError]]:
        try:
            scan = self.scan.open()
            if self.segmentation is None:
                return [SegSlice(path) for path in scan.files], []
            frames = _laid_on(scan, self.segmentation, self.segmentation.chosen(self.labels))
        except UserError as error:
            return [], [error]
        return [SegSlice(path, *of_slice) for path, of_slice in zip(scan.files, frames, strict=True)], []


@dataclass(frozen=True)
class Frames:
    """The frames of a segmentation that lie on one slice."""

    dataset: pydicom.Dataset
    numbers: tuple[int, ...]  # of the frames
    segments: tuple[int, ...]

    def mask(self) -> np.ndarray:
        """Where any of the segments is, uint8 {0, 1} (rows, columns)."""
        mask = np.zeros((self.dataset.Rows, self.dataset.Columns), np.uint8)
        labels = self.dataset.SegmentationType == "LABELMAP"
        for number in self.numbers:
            frame, _ = get_decoder(self.dataset.file_meta.TransferSyntaxUID).as_array(self.dataset, index=number)
            mask |= np.isin(frame, self.segments) if labels else frame > 0
        return mask


@dataclass(frozen=True)
class SegSlice:
    """A slice of CT and the frames on it."""

    path: Path
    mask_path: Path | None = None
    frames: Frames | None = None

    def read(self) -> tuple[SliceHeader, np.ndarray]:
        return read_slice(self.path)

    def read_mask(self) -> tuple[str, np.ndarray]:
        assert self.frames is not None and self.mask_path is not None
        try:
            return "DICOM-SEG", self.frames.mask()
        except Exception as error:  # damaged bytes raise anything in pydicom
            raise _damaged(self.mask_path, error) from None

    def mask_digest(self) -> bytes:
        return hashlib.sha256(self.read_mask()[1].tobytes()).digest()


def _damaged(path: Path, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{path}: expected a DICOM-SEG, found a damaged one ({reason:.100}); copy or export it again.")


def _paired(
    scans: Sequence[FoundScan], found: Sequence[Segmentation]
) -> tuple[dict[str, Segmentation], list[UserError]]:
    """The segmentation of each scan that has one, by its name, and the faults of those that are of none or too many."""
    first = {scan.name: read_place(scan.files[0]) for scan in scans}
    slices = {name: item for name, item in first.items() if isinstance(item, Slice)}
    of_scan: dict[str, Segmentation] = {}
    faults = []
    for one in found:
        same = [name for name, item in slices.items() if item.series and item.series == one.series]
        if len(same) != 1:  # acquisitions of a series, or UIDs that an anonymiser left empty
            same = [name for name, item in slices.items() if item.instance in one.instances]
        if len(same) != 1:
            what = f"that of {', '.join(same)}" if same else f"one that is not there ({one.series or 'without a UID'})"
            faults.append(UserError(f"{one.path}: expected one CT series that it is of, found {what}; move it away."))
        elif same[0] in of_scan:
            other = of_scan[same[0]].path
            faults.append(UserError(f"{one.path}: expected one DICOM-SEG of {same[0]}, found {other} too; keep one."))
        else:
            of_scan[same[0]] = one
    return of_scan, faults


def _unchosen(found: Sequence[Segmentation], labels: Sequence[int | str] | None) -> list[UserError]:
    """What is wrong with the choice of segments."""
    if labels is None:
        several = [one for one in found if len(one.segments) > 1]
        text = "data.source.labels: expected a choice among the segments of {} ({}), found none; give the organ's."
        return [UserError(text.format(one.path, one)) for one in several[:1]]
    there = {
        text.casefold() for one in found for number, label in one.segments.items() for text in (str(number), label)
    }
    if absent := [str(label) for label in labels if str(label).casefold() not in there]:
        have = "; ".join(dict.fromkeys(map(str, found)))
        none_has = ", ".join(absent)
        return [
            UserError(
                f"data.source.labels: expected segments of the organ, found {none_has} in none of the DICOM-SEG, which "
                f"have {have:.300}; correct it."
            )
        ]
    if not labels:
        return [UserError("data.source.labels=[]: expected at least one segment; give one, or null for the only one.")]
    wanted = ", ".join(map(str, labels))
    lacking = [one for one in found if not one.chosen(labels)]
    return [UserError(f"{one.path}: expected a segment {wanted}, found {one}; correct its labels.") for one in lacking]


def _laid_on(scan: Scan, segmentation: Segmentation, segments: Sequence[int]) -> list[tuple[Path, Frames]]:
    """The frames of these segments on each slice of a scan.

    Raises:
        UserError: a frame of another size, orientation or spacing, or on no slice; or a damaged file.
    """
    path = segmentation.path
    on_slice: list[list[int]] = [[] for _ in range(scan.slices)]
    try:
        dataset = pydicom.dcmread(path)
        kind, shared = dataset.SegmentationType, dataset.SharedFunctionalGroupsSequence[0]
        frames = [_frame(of_frame, shared, kind) for of_frame in dataset.PerFrameFunctionalGroupsSequence]
        size = dataset.Rows, dataset.Columns
    except Exception as error:  # damaged bytes raise anything in pydicom
        raise _damaged(path, error) from None
    if kind not in ("BINARY", "LABELMAP"):
        raise UserError(f"{path}: expected a DICOM-SEG of type BINARY or LABELMAP, found {kind}; export it as BINARY.")
    for number, (segment, position, steps) in enumerate(frames):
        if segment is not None and segment not in segments:
            continue
        away = np.linalg.norm(scan.origin_mm - position, axis=1)
        rank = int(away.argmin())
        turned = np.abs(steps - [scan.row_mm, scan.column_mm]).max()
        if size != scan.shape[1:] or turned > SAME or away[rank] > GRID_MM:
            expected = _geometry(scan.shape[1:], np.stack([scan.row_mm, scan.column_mm]), scan.origin_mm[rank])
            raise UserError(
                f"{path}: expected the geometry of {scan.files[rank]}, {expected}; found frame {number + 1} of "
                f"{_geometry(size, steps, position)}; make the segmentation on that series."
            )
        on_slice[rank].append(number)
    return [(path, Frames(dataset, tuple(numbers), tuple(segments))) for numbers in on_slice]


def _frame(of_frame: pydicom.Dataset, shared: pydicom.Dataset, kind: str) -> tuple[int | None, np.ndarray, np.ndarray]:
    """Segment (None of a label map), position and steps to the next row and column (2, 3) of a frame, mm."""

    def group(keyword: str) -> Any:
        return (of_frame.get(keyword) or shared[keyword].value)[0]

    segment = None if kind == "LABELMAP" else int(group("SegmentIdentificationSequence").ReferencedSegmentNumber)
    orientation = np.array(group("PlaneOrientationSequence").ImageOrientationPatient, float).reshape(2, 3)
    spacing = np.array(group("PixelMeasuresSequence").PixelSpacing, float)
    position = np.array(group("PlanePositionSequence").ImagePositionPatient, float)
    return segment, position, orientation[::-1] * spacing[:, None]


def _geometry(size: Sequence[int], steps_mm: np.ndarray, position_mm: np.ndarray) -> str:
    row, column, position = (f"({', '.join(f'{x:.6g}' for x in vector)})" for vector in (*steps_mm, position_mm))
    return f"{size[0]} x {size[1]} pixels, steps {column} and {row} mm from {position}"
