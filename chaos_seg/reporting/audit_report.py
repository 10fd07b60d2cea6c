"""The audit of a whole source: on the terminal, as JSON and as a page."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chaos_seg.data.audit import LEVELS, Finding, audit, counted, drift, facts
from chaos_seg.data.sources import Source
from chaos_seg.data.splits import Split
from chaos_seg.data.store import data_hash, decode, mask_encodings
from chaos_seg.errors import UserError
from chaos_seg.files import write_bytes, write_json
from chaos_seg.reporting.audit_page import audit_page
from chaos_seg.reporting.outlines import suspicious_outlines

log = logging.getLogger(__name__)


def audit_source(
    source: Source, store: Path, divide: Callable[[], Split], folder: Path, runs: Path | None = None
) -> int:
    """Decode and audit every patient of a source; writes audit.json and audit.html to `folder`.

    `divide` gives the split of its patients, or raises UserError where there is none. `runs` is a folder of runs
    that held these patients out, whose predictions tell which masks to look at.

    Returns:
        How many errors were found.

    Raises:
        UserError: what the source expects of all masks together.
    """
    volumes, faults = decode(store, source.patients.values())
    source.expect(mask_encodings(volumes))
    try:
        sides = divide().sides
    except UserError as error:  # a split that does not fit this tree is no fault of the data
        log.info("Patients are not looked up in the split: %s", error)
        sides = {}
    measures, findings = audit(volumes, sides, faults)
    rows = [facts(volume, measures[volume.name]) for volume in volumes]
    counts = Counter(finding.level for finding in findings)
    result = {
        "root": str(source.root.resolve()),
        "fingerprint": data_hash(volumes),
        "patients": len(source.patients),
        "not_decoded": list(faults),
        "slices": sum(volume.slices for volume in volumes),
        "synthetic": any(volume.synthetic for volume in volumes),
        "counts": {level: counts[level] for level in LEVELS},
    }
    outlines, unseen = suspicious_outlines(runs, volumes) if runs else ([], [])
    details = {"outlines": [asdict(outline) for outline in outlines], "not_held_out": unseen}
    result["drift"] = drift(rows, sides)
    details |= {"findings": [asdict(finding) for finding in findings], "facts": rows}
    write_json(folder / "audit.json", {**result, **details, "measures": {p: asdict(m) for p, m in measures.items()}})
    page = audit_page(result, rows, findings, volumes, measures, outlines, unseen)
    write_bytes(folder / "audit.html", page.encode(errors="backslashreplace"))
    log.info("\n%s\n", audit_text(result, rows, findings))
    if outlines:
        first = ", ".join(f"patient {one.patient} slice {one.rank + 1}" for one in outlines[:5])
        log.info("Outlines to look at first, by held-out predictions: %s; the page shows them.", first)
    log.info("Page with pictures: %s", folder / "audit.html")
    return counts["error"]


def audit_text(result: dict[str, Any], rows: Sequence[dict[str, Any]], findings: Sequence[Finding]) -> str:
    """The audit for the terminal: a line a patient, then what was found."""
    columns = {
        "Patient": lambda row: row["patient"],
        "Slices": lambda row: row["slices"],
        "Size": lambda row: f"{row['rows']} x {row['columns']}",
        "Spacing mm": lambda row: " ".join(f"{mm:.3f}" for mm in (*row["pixel_spacing_mm"], row["z_step_mm"])),
        "z": lambda row: row["z_along_file_names"],
        "Intercept": lambda row: " ".join(f"{value:.0f}" for value in row["intercepts"]),
        "HU": lambda row: f"{row['hu_min']} to {row['hu_max']}",
        "With liver": lambda row: "no masks" if row["slices_with_liver"] is None else row["slices_with_liver"],
        "Liver ml": lambda row: "" if row["liver_ml"] is None else f"{row['liver_ml']:.0f}",
        "HU under mask": lambda row: (
            "" if row["liver_hu_mean"] is None else f"{row['liver_hu_mean']:.0f} +- {row['liver_hu_std']:.0f}"
        ),
        "Aorta HU, phase": lambda row: (
            "" if row["contrast_phase"] is None else f"{row['aorta_hu']:.0f}, {row['contrast_phase']}?"
        ),
        "Masks": lambda row: ", ".join(row["mask_encodings"] or []),
    }
    table = [list(columns), *([str(of(row)) for of in columns.values()] for row in rows)]
    widths = [max(len(line[k]) for line in table) for k in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    if result["not_decoded"]:
        lines.append(f"Not decoded: {', '.join(result['not_decoded'])}")
    title = f"{result['root']}: {result['patients']} patients, {result['slices']} slices, {counted(result['counts'])}"
    if result["synthetic"]:
        title += ", SYNTHETIC phantom"
    sentences = [
        f"{finding.level:<7}  {finding.code}, patient {finding.patient}: {finding.text}" for finding in findings
    ]
    return "\n".join(
        [title, f"Fingerprint {result['fingerprint'][:16]}", "", *lines, *([""] if sentences else []), *sentences]
    )
