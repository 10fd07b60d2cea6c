"""Where the slices of a folder come from: one patient, study and series, each slice once; and who could be told."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from chaos_seg.data.audit.findings import Finding, named_slices
from chaos_seg.data.dicom import SliceHeader
from chaos_seg.data.measures import Measures
from chaos_seg.data.store import StoredScan

_SHARED = (  # from the largest; what differs further down only because it differs above is no finding of its own
    ("error", "mixed_patients", "PatientID", "person", "two patients lie in one folder: keep the one of the masks"),
    ("error", "mixed_studies", "StudyInstanceUID", "study", "keep the study that the masks belong to"),
    ("error", "mixed_series", "SeriesInstanceUID", "series", "keep the series that the masks belong to"),
    (
        "warning",
        "mixed_frames",
        "FrameOfReferenceUID",
        "frame",
        "their positions need not be of one space: look whether the slices follow each other",
    ),
)


def origin(volume: StoredScan, headers: list[SliceHeader], measures: Measures) -> Iterator[Finding]:
    """Findings on the UIDs of one patient's slices, and on what could identify the person."""
    patient, n = (volume.name,), len(headers)
    above: list[tuple[str, ...]] = [()] * n
    for level, code, tag, field, remedy in _SHARED:
        values = [getattr(header, field) for header in headers]
        together = [(*whole, value) for whole, value in zip(above, values, strict=True)]
        if len(set(together)) > len(set(above)):
            counts = Counter(values).most_common()
            fewer = [rank for rank, value in enumerate(values) if value != counts[0][0]]
            of_each = " and ".join(str(count) for _, count in counts[:3]) + " and fewer" * (len(counts) > 3)
            several = f"{len(counts)} with {of_each} slices, the fewer at {named_slices(fewer, n)}"
            yield Finding(level, code, patient, f"expected one {tag}, found {several}; {remedy}.")
        above = together
    yield from _repeated(patient, headers, measures)
    places = sorted({place for header in headers for place in header.identifying})
    if places:
        text = f"the files hold what could identify a person: {', '.join(places)}; remove it before you pass them on."
        yield Finding("warning", "identity", patient, text)


def _repeated(patient: tuple[str], headers: list[SliceHeader], measures: Measures) -> Iterator[Finding]:
    """One SOPInstanceUID, or none, on slices that are no copies of each other."""
    ranks: dict[str, list[int]] = defaultdict(list)
    for rank, header in enumerate(headers):
        ranks[header.uid].append(rank)
    alike = {uid: places for uid, places in ranks.items() if len({measures.pixels[rank] for rank in places}) > 1}
    if not alike:
        return
    places = sorted(rank for listed in alike.values() for rank in listed)
    empty = " (empty or missing)" if "" in alike else ""
    yield Finding(
        "error",
        "uids_not_unique",
        patient,
        f"expected a SOPInstanceUID of its own on each slice, found {len(alike)} on {len(places)} slices{empty}: "
        f"{named_slices(places, len(headers))}; programs that tell slices by it lose all but one: give each its own.",
    )
