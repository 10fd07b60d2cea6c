"""What in a DICOM file could tell who the patient is (DICOM PS3.15 Annex E): the places only, never their content."""

import re
from collections.abc import Iterator

from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

# Beside all attributes that hold a person's name (VR PN) or a date (DA, DT).
_KEYWORDS = {
    *("PatientID", "OtherPatientIDs", "PatientAddress", "PatientTelephoneNumbers", "PatientComments", "Occupation"),
    *("AccessionNumber", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName"),
    *("MedicalRecordLocator", "MilitaryRank", "EthnicGroup", "CountryOfResidence", "PatientReligiousPreference"),
    *("ImageComments", "AdditionalPatientHistory", "RequestAttributesSequence"),
}
_VR = {Tag(tag): entry[0] for tag, entry in DicomDictionary.items()}
_NAMES = {Tag(tag): entry[4] for tag, entry in DicomDictionary.items() if entry[0] in ("PN", "DA", "DT")}
_NAMES |= {Tag(tag): entry[4] for tag, entry in DicomDictionary.items() if entry[4] in _KEYWORDS}
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
# A component that is a date, or begins with a date and a time of day; random digits do so once in 100,000.
_DATE = r"(?:19[7-9]\d|20[0-4]\d)(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_DATE_IN_UID = re.compile(rf"(?:^|\.){_DATE}(?:$|\.|(?:[01]\d|2[0-3])[0-5]\d[0-5]\d)")
_PSEUDONYM = re.compile(r".*[^\W\d]\d.*|\d+|.*_.*|anon.*", re.IGNORECASE)


def identifying(dataset: Dataset) -> tuple[str, ...]:
    """Where `dataset` holds something that could identify a person, sorted.

    Attribute keywords ("PatientName"), "date in <UID>", "private attributes (group 0009)" and "burned-in text". Names
    that are pseudonyms, such as CHAOS^CT_SET_3, are left out.
    """
    places = set(_attributes(dataset))
    for keyword in _UIDS:
        if _DATE_IN_UID.search(str(dataset.get(keyword, ""))):
            places.add(f"date in {keyword}")
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
        places.add("burned-in text")
    return tuple(sorted(places))


def _attributes(dataset: Dataset) -> Iterator[str]:
    for tag in dataset.keys():  # noqa: SIM118  (iterating a Dataset would convert every element)
        if tag.is_private:
            yield f"private attributes (group {tag.group:04x})"
        elif tag in _NAMES and (text := _text(dataset, tag)) and not _is_pseudonym(tag, text):
            yield _NAMES[tag]
        elif _VR.get(tag) == "SQ":
            for item in dataset[tag].value or ():
                yield from _attributes(item)


def _text(dataset: Dataset, tag: BaseTag) -> str:
    if not dataset.get_item(tag).value:  # raw, and empty: not worth converting
        return ""
    return str(dataset[tag].value or "").strip(" ^=")


def _is_pseudonym(tag: BaseTag, text: str) -> bool:
    """A name such as CHAOS^CT_SET_3, PHANTOM^1, Patient07 or anonymous; a suffix or a number beside a name is none."""
    return _VR[tag] == "PN" and any(_PSEUDONYM.fullmatch(component) for component in text.split("^")[:2])
