"""The DICOM series that a mask refers to, with values that the standard allows."""

import hashlib
import re
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid

from chaos_seg.data.dicom import read_header
from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError

LIVER_COLOUR = (180, 110, 90)  # RGB; viewers pick one by chance without
SEXES = {"MALE": "M", "FEMALE": "F", "OTHER": "O", "M": "M", "F": "F", "O": "O"}
TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
UID = re.compile(r"(?=.{1,64}$)\d+(\.\d+)+")


class Series:
    """What a mask takes over of its scan's headers, read and mended once.

    `common` has the patient, study and geometry of the first slice, `instances` the SOPInstanceUID of each; `mended`
    says what could not be taken over as it is.
    """

    def __init__(self, scan: Scan):
        self.scan = scan
        self.mended: list[str] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd is mended below, and said
            self.common = self._common(read_header(scan.files[0]))
        self.instances = self._uids()

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
        common.SOPClassUID = {"CT": CTImageStorage, "MR": MRImageStorage}[self.scan.modality]
        common.Modality = self.scan.modality
        common.Rows, common.Columns = self.scan.shape[1:]
        common.PixelSpacing = [decimal(mm) for mm in self.scan.spacing_mm[1:]]
        row, column = (step / np.linalg.norm(step) for step in (self.scan.column_mm, self.scan.row_mm))
        common.ImageOrientationPatient = [decimal(value) for value in (*row, *column)]
        # What a slice is made of is not how far it is to the next; viewers take this for the thickness of a voxel.
        common.SliceThickness = decimal(self.scan.step_mm)
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


def expect_colour(name: str, colour: Sequence[int]) -> None:
    """Raises UserError for anything but red, green and blue from 0 to 255."""
    if len(colour) != 3 or not all(0 <= one <= 255 for one in colour):
        raise UserError(f"format.{name}.colour={list(colour)}: expected red, green and blue, each from 0 to 255.")


def expect_text(name: str, **texts: str) -> None:
    """Raises UserError for what is not a DICOM text of 1 to 64 characters (LO)."""
    for key, text in texts.items():
        if not 0 < len(text) <= 64 or not text.isprintable() or "\\" in text:
            raise UserError(f"format.{name}.{key}={text!r}: expected 1 to 64 printable characters without a backslash.")


def _given(header: pydicom.Dataset, keyword: str) -> str:
    value = header.get(keyword)
    if isinstance(value, pydicom.multival.MultiValue):
        value = "\\".join(map(str, value))
    return "" if value is None else str(value).strip("\0 ")


def decimal(value: float) -> pydicom.valuerep.DSfloat:
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
STUDY = ("SpecificCharacterSet", *_MENDED, "StudyInstanceUID")  # what everything made of a series takes over
