"""Is this data what it seems? Names what is wrong with the decoded patients, with the evidence and what to do.

An error is what makes training or scoring wrong; a warning is what a person should look at; a note is what explains a
number.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from chaos_seg.data.audit.facts import drift, facts
from chaos_seg.data.audit.findings import LEVELS, Finding, named_slices
from chaos_seg.data.audit.geometry import geometry
from chaos_seg.data.audit.leaks import leaks
from chaos_seg.data.audit.masks import LIVER_GOES_ON, LIVER_HU, LIVER_HU_STD, LIVER_ML, masks
from chaos_seg.data.audit.origin import origin
from chaos_seg.data.audit.pixels import pixels
from chaos_seg.data.dicom import SliceHeader
from chaos_seg.data.measures import Measures, measured
from chaos_seg.data.store import StoredScan
from chaos_seg.errors import UserError
from chaos_seg.parallel import in_parallel

log = logging.getLogger(__name__)

__all__ = [
    "LEVELS",
    "LIVER_GOES_ON",
    "LIVER_HU",
    "LIVER_HU_STD",
    "LIVER_ML",
    "Finding",
    "audit",
    "counted",
    "drift",
    "facts",
    "named_slices",
    "refuse_errors",
]


def audit(
    volumes: Sequence[StoredScan], sides: Mapping[str, str], faults: Mapping[str, Sequence[UserError]] | None = None
) -> tuple[dict[str, Measures], list[Finding]]:
    """Measure what is new and name what is wrong.

    Args:
        volumes: the decoded patients.
        sides: train, val or test by patient, for those that a split names.
        faults: why other patients could not be decoded.

    Returns:
        Measures by patient, and all findings: errors first, then by patient.
    """
    measures = dict(zip((v.name for v in volumes), in_parallel(measured, volumes, "Auditing patients"), strict=True))
    findings = [finding for patient, listed in (faults or {}).items() for finding in _of_faults(patient, listed)]
    headers = {volume.name: volume.headers() for volume in volumes}
    for volume in volumes:
        findings += _of_one(volume, headers[volume.name], measures[volume.name])
    findings += leaks(headers, measures, sides)
    return measures, sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def refuse_errors(volumes: Sequence[StoredScan], sides: Mapping[str, str]) -> dict[str, int]:
    """Stop before training on data with errors; says whose warnings there are, returns how many, and how many notes.

    Raises:
        UserError: every error of the audit.
    """
    _, findings = audit(volumes, sides)
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        raise UserError(
            f"The audit found {len(errors)} error{'s' * (len(errors) > 1)} in the data; look at them with python -m "
            "chaos_seg.audit, mend them, or train on it as it is with data.audit=off:",
            faults=[f"{error.code}, patient {error.patient}: {error.text}" for error in errors],
        )
    warned: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        if finding.level == "warning":
            warned[finding.code] += finding.patients
    for code, patients in warned.items():
        log.info("Audit warning %s: %s", code, ", ".join(dict.fromkeys(patients)))
    return dict(Counter(finding.level for finding in findings))


def counted(counts: Mapping[str, int]) -> str:
    """`9 warnings, 1 note`, of the number of findings by level."""
    return ", ".join(f"{count} {level}{'s' * (count != 1)}" for level, count in counts.items())


def _of_faults(patient: str, faults: Sequence[UserError]) -> Iterator[Finding]:
    """A finding for each kind of fault: a series of MR has as many as it has files."""
    by_code: dict[str, list[UserError]] = defaultdict(list)
    for fault in faults:
        by_code[fault.code].append(fault)
    for code, alike in by_code.items():
        more = f" (and {len(alike) - 1} more files like it)" if len(alike) > 1 else ""
        yield Finding("error", code, (patient,), f"{alike[0]}{more}")


def _of_one(volume: StoredScan, headers: list[SliceHeader], measures: Measures) -> list[Finding]:
    findings = [*origin(volume, headers, measures), *geometry(volume, headers)]
    in_order = all(finding.code != "slice_out_of_order" for finding in findings)
    return [*findings, *pixels(volume, headers, measures, in_order), *masks(volume, measures, in_order)]
