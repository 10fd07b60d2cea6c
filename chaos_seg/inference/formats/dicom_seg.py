"""A mask as DICOM Segmentation, which a clinical viewer lays over the series it refers to."""

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from chaos_seg.data.dicom import read_header
from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.files import write_bytes
from chaos_seg.inference.formats import Writer
from chaos_seg.registry import FORMATS

LIVER_COLOUR = (180, 110, 90)  # RGB; viewers pick one by chance without
SEXES = {"MALE": "M", "FEMALE": "F", "OTHER": "O", "M": "M", "F": "F", "O": "O"}
TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
UID = re.compile(r"(?=.{1,64}$)\d+(\.\d+)+")


@FORMATS.register("dicom_seg", needs=("highdicom", "clinical"))
def dicom_seg(scan: Scan) -> Writer:
    """liver.dcm."""
    segmentation = Segmentation(scan)
    return Writer(lambda mask, folder: segmentation.write(mask, folder / "liver.dcm"), segmentation.mended)


class Segmentation:
    """How the mask of one scan becomes a DICOM-SEG: the headers it needs, read and mended once.

    `mended` says what of the source's header could not be taken over as it is.

    Raises:
        UserError: no DICOM, or a series that DICOM-SEG can't refer to.
    """

    def __init__(self, scan: Scan):
        if not scan.is_dicom:
            raise UserError("DICOM-SEG refers to DICOM slices, and the scan is NIfTI")
        self.scan = scan
        self.mended: list[str] = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is odd is mended below, and said
                self._shared = self._common(read_header(scan.files[0]))
            self._instances = self._uids()
            # Tried on one slice, before the network has worked for minutes.
            self._encode([np.ones(scan.shape[1:], bool)], [0])
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"DICOM-SEG can't refer to the series ({reason:.200})") from None

    def write(self, mask: Sequence[np.ndarray], path: Path) -> None:
        """`mask`, slices of bool (rows, columns), as a binary segment, Liver (SCT 10200004); it has a frame for each
        slice with liver, all slices when there is none, and references those slices of the scan.
        """
        ranks = [rank for rank in range(len(mask)) if mask[rank].any()] or list(range(len(mask)))
        content = io.BytesIO()
        self._encode([mask[rank] for rank in ranks], ranks).save_as(content)
        write_bytes(path, content.getvalue())  # pydicom loses the reason of a failed write

    def _common(self, header: pydicom.FileDataset) -> pydicom.Dataset:
        """The patient, study and series of the first slice, with values that the standard allows."""
        common = pydicom.Dataset()
        common.SpecificCharacterSet = "ISO_IR 192"
        for keyword, mend in _MENDED.items():
            given = _given(header, keyword)
            setattr(common, keyword, value := mend(given))
            if given and value != given:
                self.mended.append(f"{keyword} {given!r} is written as {value!r}")
        for keyword, value in (
            ("StudyInstanceUID", _given(header, "StudyInstanceUID")),
            ("SeriesInstanceUID", _given(header, "SeriesInstanceUID")),
            ("FrameOfReferenceUID", _given(header, "FrameOfReferenceUID")),
        ):
            if not UID.fullmatch(value):
                value = generate_uid(entropy_srcs=[keyword, *self._entropy()])
                self.mended.append(f"{keyword} is missing or invalid: a made-up one stands for it")
            setattr(common, keyword, value)
        common.SOPClassUID, common.Modality = CTImageStorage, "CT"
        common.Rows, common.Columns = self.scan.shape[1:]
        common.PixelSpacing = [_decimal(mm) for mm in self.scan.spacing_mm[1:]]
        row, column = (step / np.linalg.norm(step) for step in (self.scan.column_mm, self.scan.row_mm))
        common.ImageOrientationPatient = [_decimal(value) for value in (*row, *column)]
        # What a slice is made of is not how far it is to the next; viewers take this for the thickness of a voxel.
        common.SliceThickness = _decimal(self.scan.step_mm)
        return common

    def _uids(self) -> list[str]:
        uids = list(self.scan.instances)
        if len(set(uids)) == len(uids) and all(map(UID.fullmatch, uids)):
            return uids
        self.mended.append("SOPInstanceUIDs are missing, invalid or repeat: made-up ones stand for them")
        return [generate_uid(entropy_srcs=["instance", str(rank), *self._entropy()]) for rank in range(len(uids))]

    def _entropy(self) -> list[str]:
        with self.scan.files[0].open("rb") as file:
            return [hashlib.file_digest(file, "sha256").hexdigest()]

    def _encode(self, planes: Sequence[np.ndarray], ranks: Sequence[int]) -> Any:
        import highdicom as hd
        from pydicom.sr.codedict import codes

        sources = []
        for rank in ranks:
            source = pydicom.Dataset()
            source.update(self._shared)
            source.file_meta = pydicom.dataset.FileMetaDataset()
            source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            source.SOPInstanceUID, source.InstanceNumber = self._instances[rank], rank + 1
            source.ImagePositionPatient = [_decimal(mm) for mm in self.scan.origin_mm[rank]]
            sources.append(source)
        pixels = np.stack(planes).astype(np.uint8)
        entropy = [*self._instances, hashlib.sha256(pixels.tobytes()).hexdigest()]
        liver = hd.seg.SegmentDescription(
            segment_number=1,
            segment_label="Liver",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                name="chaos_seg", version=version("chaos_seg"), family=codes.DCM.ArtificialIntelligence
            ),
            tracking_uid=generate_uid(entropy_srcs=["tracking", *entropy]),
            tracking_id="Liver",
            display_color=hd.color.CIELabColor.from_rgb(*LIVER_COLOUR),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names of one component, which de-identified scans have
            segmentation = hd.seg.Segmentation(
                source_images=sources,
                pixel_array=pixels,
                segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[liver],
                series_instance_uid=generate_uid(entropy_srcs=["series", *entropy]),
                series_number=100,
                sop_instance_uid=generate_uid(entropy_srcs=["segmentation", *entropy]),
                instance_number=1,
                manufacturer="chaos_seg",
                manufacturer_model_name="liver segmentation",
                software_versions=version("chaos_seg"),
                device_serial_number="0",
                content_label="LIVER",
                content_description="Liver, automatic; not a medical device",
                series_description="Liver segmentation (chaos_seg)",
                omit_empty_frames=bool(pixels.any()),
            )
        segmentation.SeriesDate, segmentation.SeriesTime = segmentation.ContentDate, segmentation.ContentTime
        return segmentation


def _given(header: pydicom.Dataset, keyword: str) -> str:
    value = header.get(keyword)
    if isinstance(value, pydicom.multival.MultiValue):
        value = "\\".join(map(str, value))
    return "" if value is None else str(value).strip("\0 ")


def _decimal(value: float) -> pydicom.valuerep.DSfloat:
    """A decimal string of at most 16 characters, as DICOM has it."""
    return pydicom.valuerep.DSfloat(float(value), auto_format=True)


def _text(length: int) -> Callable[[str], str]:
    def mend(given: str) -> str:
        return "".join(c if c.isprintable() and c != "\\" else " " for c in given)[:length].strip()

    return mend


def _name(given: str) -> str:
    groups = given.split("=")[:3]
    return "=".join(_text(64)(group) for group in groups).strip("=")


def _sex(given: str) -> str:
    return SEXES.get(given.upper(), "")


def _date(given: str) -> str:
    """YYYYMMDD, also of dates with hyphens or dots; empty where it is none."""
    digits = re.sub(r"[-./]", "", given)
    try:
        return digits if re.fullmatch(r"\d{8}", digits) and pydicom.valuerep.DA(digits) else ""
    except ValueError:
        return ""


def _time(given: str) -> str:
    digits = given.replace(":", "")
    return digits if TIME.fullmatch(digits) else ""


_MENDED: dict[str, Callable[[str], str]] = {  # type 2 of the Patient and General Study modules: may be empty
    "PatientName": _name,
    "PatientID": _text(64),
    "PatientBirthDate": _date,
    "PatientSex": _sex,
    "StudyDate": _date,
    "StudyTime": _time,
    "ReferringPhysicianName": _name,
    "StudyID": _text(16),
    "AccessionNumber": _text(16),
    "StudyDescription": _text(64),
}
