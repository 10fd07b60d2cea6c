import pydicom
from pydicom.uid import generate_uid

from tests.data.audit.faults import Fault, Files, Named, cases, edit


def series_mixed(dicoms: Files, masks: Files) -> None:
    edit(dicoms[:5], SeriesInstanceUID=generate_uid(entropy_srcs=["another"]))


def studies_mixed(dicoms: Files, masks: Files) -> None:
    edit(dicoms[::2], StudyInstanceUID=generate_uid(entropy_srcs=["another"]))


def frames_mixed(dicoms: Files, masks: Files) -> None:
    edit(dicoms[:5], FrameOfReferenceUID=generate_uid(entropy_srcs=["one"]))
    edit(dicoms[5:], FrameOfReferenceUID=generate_uid(entropy_srcs=["another"]))


def patients_mixed(dicoms: Files, masks: Files) -> None:
    """With the UIDs of their own that another patient's slices bring along."""
    uids = {f"{level}InstanceUID": generate_uid(entropy_srcs=[level]) for level in ("Study", "Series")}
    edit(dicoms[12:], PatientID="another", **uids)


def uid_repeated(dicoms: Files, masks: Files) -> None:
    edit([dicoms[7], dicoms[15]], SOPInstanceUID=pydicom.dcmread(dicoms[2]).SOPInstanceUID)


def uids_empty(dicoms: Files, masks: Files) -> None:
    for path in dicoms:
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = ""
        dataset.save_as(path)


def named(dicoms: Files, masks: Files) -> None:
    edit([dicoms[4]], PatientName="Muster^Erika")


def dated(dicoms: Files, masks: Files) -> None:
    edit(dicoms, StudyDate="20051020")


def dated_uid(dicoms: Files, masks: Files) -> None:
    edit(dicoms, StudyInstanceUID="1.2.124.113532.192.70.134.138.20051020.155132.4446164")


def private(dicoms: Files, masks: Files) -> None:
    dataset = pydicom.dcmread(dicoms[0])
    dataset.private_block(0x0009, "ACME", create=True).add_new(0x01, "LO", "ward 3")
    dataset.save_as(dicoms[0])


def burned_in(dicoms: Files, masks: Files) -> None:
    edit(dicoms, BurnedInAnnotation="YES")


@cases(
    (series_mixed, {"mixed_series"}, "found 2 with 19 and 5 slices, the fewer at slices 1 to 5 of 24"),
    (studies_mixed, {"mixed_studies"}, "expected one StudyInstanceUID, found 2 with 12 and 12 slices"),
    (frames_mixed, {"mixed_frames"}, "found 2 with 19 and 5 slices, the fewer at slices 1 to 5 of 24"),
    (patients_mixed, {"mixed_patients", "identity"}, "two patients lie in one folder"),
    (uid_repeated, {"uids_not_unique"}, "found 1 on 3 slices: slices 3, 8, 16 of 24"),
    (uids_empty, {"uids_not_unique"}, "found 1 on 24 slices (empty or missing): slices 1 to 24 of 24"),
    (named, {"identity"}, "person: PatientName;"),
    (dated, {"identity"}, "person: StudyDate;"),
    (dated_uid, {"identity"}, "person: date in StudyInstanceUID;"),
    (private, {"identity"}, "person: private attributes (group 0009);"),
    (burned_in, {"identity"}, "person: burned-in text;"),
)
def test_every_fault_is_named(named: Named, fault: Fault, codes: set[str], said: str) -> None:
    named(fault, codes, said)
