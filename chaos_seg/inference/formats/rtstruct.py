"""A mask as DICOM RT Structure Set, the outlines that treatment planning reads (PS3.3 A.19)."""

import hashlib
import io
import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import contourpy
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.files import write_bytes
from chaos_seg.inference.formats import Writer
from chaos_seg.inference.formats.series import LIVER_COLOUR, STUDY, Series, expect_colour, expect_text
from chaos_seg.registry import FORMATS


@FORMATS.register("rtstruct")
def rtstruct(
    scan: Scan,
    colour: Sequence[int] = LIVER_COLOUR,
    roi_name: str = "Liver",
    series_description: str = "Liver outlines (chaos_seg)",
) -> Writer:
    """liver_rtstruct.dcm."""
    expect_colour("rtstruct", colour)
    expect_text("rtstruct", roi_name=roi_name, series_description=series_description)
    if not scan.is_dicom:
        raise UserError("RTSTRUCT refers to DICOM slices, and the scan is NIfTI")
    series = Series(scan)

    def write(mask: Sequence[np.ndarray], folder: Path) -> None:
        content = io.BytesIO()
        structures = structure_set(mask, series, colour, roi_name, series_description)
        structures.save_as(content, enforce_file_format=True)
        write_bytes(folder / "liver_rtstruct.dcm", content.getvalue())

    return Writer(write, series.mended)


def outlines(plane: np.ndarray) -> Iterator[np.ndarray]:
    """The closed outlines of a mask (rows, columns), half-way between pixels in and out: float64 (points, 2) of
    column and row, 0 at the centre of the first pixel.

    A hole is joined to its outline by a cut there and back, as PS3.3 C.8.8.6.3 has it: the shortest one, which meets
    no other hole.
    """
    padded = np.pad(plane.astype(float), 1)
    filled = contourpy.contour_generator(z=padded, fill_type=contourpy.FillType.OuterOffset).filled(0.5, 2.0)
    for points, offsets in zip(*filled, strict=True):
        rings = [
            points[start : end - 1] - 1 for start, end in itertools.pairwise(offsets)
        ]  # the last point is the first
        outline, holes = rings[0], rings[1:]
        while holes:
            gaps = [np.linalg.norm(outline[:, None] - hole[None], axis=2) for hole in holes]
            nearest = min(range(len(holes)), key=lambda k: gaps[k].min())
            at, start = np.unravel_index(gaps[nearest].argmin(), gaps[nearest].shape)
            hole = np.roll(holes.pop(nearest), -start, axis=0)
            outline = np.concatenate([outline[: at + 1], hole, hole[:1], outline[at:]])
        yield outline


def structure_set(
    mask: Sequence[np.ndarray], series: Series, colour: Sequence[int], roi_name: str, series_description: str
) -> FileDataset:
    """`mask`, slices of bool (rows, columns), as one region of outlines that refer to their slices."""
    scan, instances = series.scan, [_reference(series, rank) for rank in range(len(mask))]
    contours = []
    for rank, plane in enumerate(mask):
        for outline in outlines(plane) if plane.any() else ():
            places = (
                scan.origin_mm[rank] + np.outer(outline[:, 0], scan.column_mm) + np.outer(outline[:, 1], scan.row_mm)
            )
            contours.append(
                _item(
                    ContourImageSequence=[instances[rank]],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(outline),
                    ContourData=[f"{mm:.4f}" for mm in places.ravel()],
                )
            )
    said = repr((list(colour), roi_name, series_description))
    entropy = [
        *series.instances,
        hashlib.sha256(b"".join(np.packbits(plane).tobytes() for plane in mask)).hexdigest(),
        said,
    ]
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian  # in the explicit one an outline ends at 64 KiB
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["structures", *entropy])
    structures = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    for keyword in STUDY:
        setattr(structures, keyword, series.common[keyword].value)
    now = datetime.now()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    whole = _structures(contours, instances, series, colour, roi_name)
    whole.update(
        _item(
            SOPClassUID=RTStructureSetStorage,
            SOPInstanceUID=meta.MediaStorageSOPInstanceUID,
            SeriesInstanceUID=generate_uid(entropy_srcs=["outlines", *entropy]),
            SeriesDescription=series_description,
            StructureSetDate=date,
            StructureSetTime=time,
            SeriesDate=date,
            SeriesTime=time,
        )
    )
    structures.update(whole)
    return structures


def _structures(
    contours: list[Dataset], instances: list[Dataset], series: Series, colour: Sequence[int], roi_name: str
) -> Dataset:
    """What is said of one region and of the series that it is drawn on."""
    frame, study = series.common.FrameOfReferenceUID, series.common.StudyInstanceUID
    referred = _item(SeriesInstanceUID=series.common.SeriesInstanceUID, ContourImageSequence=instances)
    of_study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",  # Detached Study Management, retired, as PS3.3 asks for
        ReferencedSOPInstanceUID=study,
        RTReferencedSeriesSequence=[referred],
    )
    region = _item(
        ROINumber=1, ReferencedFrameOfReferenceUID=frame, ROIName=roi_name, ROIGenerationAlgorithm="AUTOMATIC"
    )
    drawn = _item(ReferencedROINumber=1, ROIDisplayColor=list(colour))
    if contours:
        drawn.ContourSequence = contours
    meant = _item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="ORGAN", ROIInterpreter="")
    return _item(
        Modality="RTSTRUCT",
        SeriesNumber=101,
        InstanceNumber=1,
        OperatorsName="",
        FrameOfReferenceUID=frame,
        PositionReferenceIndicator="",
        Manufacturer="chaos_seg",
        ManufacturerModelName="liver segmentation",
        SoftwareVersions=version("chaos_seg"),
        StructureSetLabel="Liver",
        StructureSetDescription="Liver, automatic; not a medical device",
        ReferencedFrameOfReferenceSequence=[_item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[of_study])],
        StructureSetROISequence=[region],
        ROIContourSequence=[drawn],
        RTROIObservationsSequence=[meant],
        ApprovalStatus="UNAPPROVED",
    )


def _reference(series: Series, rank: int) -> Dataset:
    return _item(ReferencedSOPClassUID=series.common.SOPClassUID, ReferencedSOPInstanceUID=series.instances[rank])


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
