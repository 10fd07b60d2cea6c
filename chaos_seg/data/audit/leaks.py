"""What patients have in common and should not: the same pixels, the same person."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

from chaos_seg.data.audit.findings import Finding
from chaos_seg.data.dicom import SliceHeader
from chaos_seg.data.measures import Measures


def leaks(
    headers: Mapping[str, list[SliceHeader]], measures: Mapping[str, Measures], sides: Mapping[str, str]
) -> Iterator[Finding]:
    """Findings on pairs of patients, which are worse where `sides`, train, val or test by patient, sets them apart."""
    pixels = _shared({patient: measure.pixels for patient, measure in measures.items()})
    for (a, b), count in pixels.items():
        leak = _across(a, b, sides)
        yield Finding(
            "error",
            "leak" if leak else "same_pixels",
            (a, b),
            f"{count} slice{'s' * (count > 1)} of patient {a} have the pixels of patient {b}{leak}; keep one of the "
            "two.",
        )
    studies = {patient: {header.study for header in listed} for patient, listed in headers.items()}
    persons = {patient: {header.person for header in listed} for patient, listed in headers.items()}
    if len(persons) > 2:  # one value for everybody, such as ANON, tells nothing
        everybody = set.intersection(*persons.values())
        persons = {patient: values - everybody for patient, values in persons.items()}
    accused = set(pixels)
    for tag, values in (("StudyInstanceUID", studies), ("PatientID", persons)):
        for a, b in sorted(set(_shared(values)) - accused):
            accused.add((a, b))
            leak = _across(a, b, sides)
            yield Finding(
                "error" if leak else "warning",
                "leak" if leak else "same_person",
                (a, b),
                f"patients {a} and {b} have the same {tag}{leak}: one person twice; keep both on one side.",
            )


def _shared(values: Mapping[str, Iterable[str]]) -> Counter[tuple[str, str]]:
    """How many values each pair of patients has in common; "" is none."""
    owners: dict[str, set[str]] = defaultdict(set)
    for patient, listed in values.items():
        for value in set(listed) - {""}:
            owners[value].add(patient)
    return Counter(pair for patients in owners.values() for pair in combinations(sorted(patients), 2))


def _across(a: str, b: str, sides: Mapping[str, str]) -> str:
    """How the split sets the two apart; empty when it doesn't."""
    if a in sides and b in sides and sides[a] != sides[b]:
        return f", one in {sides[a]}, the other in {sides[b]}"
    return ""
