import pytest
from pydicom.dataset import Dataset

from chaos_seg.data.identity import identifying


@pytest.mark.parametrize("name", ["CHAOS^CT_SET_3", "PHANTOM^1", "Patient07", "anonymous", "", "^^"])
def test_a_pseudonym_identifies_nobody(name: str) -> None:
    ds = Dataset()
    ds.PatientName = name
    assert identifying(ds) == ()


@pytest.mark.parametrize("name", ["Muster^Erika", "SMITH^JOHN^^^2", "Anna"])
def test_places_are_named_wherever_they_lie_and_their_content_is_not(name: str) -> None:
    ds, item = Dataset(), Dataset()
    item.PatientName = name
    ds.ReferencedPatientSequence = [item]
    ds.RequestAttributesSequence = [Dataset()]
    ds.StudyDate, ds.BurnedInAnnotation = "20051020", "yes"
    ds.private_block(0x0009, "ACME", create=True).add_new(0x01, "LO", "ward 3")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.20051020.155132.4", "1.2.20059999.4"
    assert identifying(ds) == (
        *("PatientName", "RequestAttributesSequence", "StudyDate", "burned-in text", "date in StudyInstanceUID"),
        "private attributes (group 0009)",
    )
