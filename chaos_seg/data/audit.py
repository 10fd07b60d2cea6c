"""Is this data what it seems? Names what is wrong with the decoded patients, with the evidence and what to do.

An error is what makes training or scoring wrong; a warning is what a person should look at; a note is what explains a
number.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from chaos_seg.data.alignment import MAX_SHIFT, MIRRORED, Misfit
from chaos_seg.data.dicom import HU_RANGE, SliceHeader
from chaos_seg.data.measures import FAT_HU, Measures, measured
from chaos_seg.data.store import Volume
from chaos_seg.errors import UserError
from chaos_seg.parallel import in_parallel

LEVELS = ("error", "warning", "note")

# What is plausible. CHAOS: 1.4 l in SET 3, 60 to above 210 HU; other public sets: 0.9 to 2.7 l, 50 to 141 HU.
LIVER_ML = (300, 4500)
LIVER_HU = (-30, 300)
LIVER_HU_STD = 110  # 25 to 55 under sound masks, 248 when SET 3's are reversed
MAX_ORDERED_MM = 12  # between slices, for their order to show in their pixels
ORDER_RATIO = 1.15  # at most 0.7 (real) and 0.97 (phantom) in sound scans, from 1.25 when two slices are exchanged
LIVER_GOES_ON = 0.6  # share of an empty slice; at most 0.16 where a liver ends, mostly above 0.6 where it goes on
STEP_DEVIATION = (0.05, 0.1)  # of a z step: relative, plus mm for positions that were rounded
MISSING_STEP, DOUBLED_STEP = 1.5, 0.5  # of the median step
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # rows to the patient's left, columns to the back, as in all of CHAOS


@dataclass(frozen=True)
class Finding:
    """One thing about a patient, or about two: evidence and what to do, in a sentence."""

    level: str  # one of LEVELS
    code: str
    patients: tuple[str, ...]
    text: str

    @property
    def patient(self) -> str:
        return ", ".join(self.patients)


def audit(
    volumes: Sequence[Volume], sides: Mapping[str, str], faults: Mapping[str, Sequence[UserError]] | None = None
) -> tuple[dict[str, Measures], list[Finding]]:
    """Measure what is new and name what is wrong.

    Args:
        volumes: the decoded patients.
        sides: train, val or test by patient, for those that a split names.
        faults: why other patients could not be decoded.

    Returns:
        Measures by patient, and all findings: errors first, then by patient.
    """
    measures = dict(zip((v.patient for v in volumes), in_parallel(measured, volumes, "Auditing patients"), strict=True))
    findings = [finding for patient, listed in (faults or {}).items() for finding in _of_faults(patient, listed)]
    headers = {volume.patient: volume.headers() for volume in volumes}
    for volume in volumes:
        for level, code, text in _of_one(volume, headers[volume.patient], measures[volume.patient]):
            findings.append(Finding(level, code, (volume.patient,), text))
    findings += _of_several(headers, measures, sides)
    return measures, sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def refuse_errors(volumes: Sequence[Volume], sides: Mapping[str, str]) -> dict[str, int]:
    """Stop before training on data with errors; returns how many warnings and notes there are.

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
    return dict(Counter(finding.level for finding in findings))


def facts(volume: Volume, measures: Measures) -> dict[str, Any]:
    """What a reader wants to know of a patient, for the table, the page and audit.json."""
    meta, headers = volume.meta, volume.headers()
    steps = np.abs(np.diff(meta.z_mm))
    liver = meta.liver_pixels
    mean, std = (measures.alignment.liver_hu if measures.alignment else None) or (None, None)
    return {
        "patient": volume.patient,
        "slices": volume.slices,
        "rows": meta.shape[1],
        "columns": meta.shape[2],
        "pixel_spacing_mm": list(meta.spacing_mm[1:]),
        "z_step_mm": meta.spacing_mm[0],
        "z_largest_step_mm": float(steps.max()) if len(steps) else None,
        "z_along_file_names": "descends" if meta.z_mm[-1] < meta.z_mm[0] else "ascends",
        "slice_thickness_mm": meta.slice_thickness_mm,
        "intercepts": meta.intercepts,
        "hu_min": min(header.hu_min for header in headers),
        "hu_max": max(header.hu_max for header in headers),
        "transfer_syntaxes": sorted({header.transfer_syntax for header in headers}),
        "mask_encodings": meta.mask_encodings,
        "slices_with_liver": None if liver is None else int(np.count_nonzero(liver)),
        "liver_ml": liver_ml(volume),
        "liver_hu_mean": mean,
        "liver_hu_std": std,
        "synthetic": meta.synthetic,
        "content": meta.key,
    }


def liver_ml(volume: Volume, step_mm: float | None = None) -> float | None:
    """Volume of the mask in ml, with another step between slices when one is given; None without masks."""
    if volume.meta.liver_pixels is None:
        return None
    z, y, x = volume.meta.spacing_mm
    return sum(volume.meta.liver_pixels) * (z if step_mm is None else step_mm) * y * x / 1000


def _of_faults(patient: str, faults: Sequence[UserError]) -> Iterator[Finding]:
    """A finding for each kind of fault: a series of MR has as many as it has files."""
    by_code: dict[str, list[UserError]] = defaultdict(list)
    for fault in faults:
        by_code[fault.code].append(fault)
    for code, alike in by_code.items():
        more = f" (and {len(alike) - 1} more files like it)" if len(alike) > 1 else ""
        yield Finding("error", code, (patient,), f"{alike[0]}{more}")


def _of_one(volume: Volume, headers: list[SliceHeader], measures: Measures) -> Iterator[tuple[str, str, str]]:
    """Level, code and sentence of each finding in one patient."""
    found = list(_geometry(volume, headers))
    yield from found
    in_order = all(code != "slice_out_of_order" for _, code, _ in found)
    yield from _pixels(volume, headers, measures, check_order=in_order and volume.meta.spacing_mm[0] <= MAX_ORDERED_MM)
    if volume.meta.liver_pixels is not None:
        yield from _masks(volume, measures)
    yield from _identity(headers)


def _geometry(volume: Volume, headers: list[SliceHeader]) -> Iterator[tuple[str, str, str]]:
    meta, n = volume.meta, len(headers)
    series = Counter(header.series for header in headers)
    if len(series) > 1:
        counts = " and ".join(str(count) for count in series.values())
        other = [rank for rank, header in enumerate(headers) if header.series != series.most_common(1)[0][0]]
        yield (
            "error",
            "mixed_series",
            f"expected one SeriesInstanceUID, found {len(series)} with {counts} slices, the fewer at "
            f"{named_slices(other, n)}; keep the series that the masks belong to.",
        )
    usual = np.median([header.orientation for header in headers], axis=0)
    turned = [k for k, header in enumerate(headers) if np.abs(header.orientation - usual).max() > 0.01]
    if turned:
        yield (
            "error",
            "orientation_varies",
            f"expected one ImageOrientationPatient, {_row(usual)} as for most slices, found another at "
            f"{named_slices(turned, n)}: mirrored rows or columns, or another series; turn these slices or take them "
            "out.",
        )
    elif np.abs(np.subtract(meta.orientation, AXIAL)).max() > 0.7:
        yield (
            "error",
            "orientation_mirrored",
            f"expected ImageOrientationPatient {_row(AXIAL)} as in the rest of CHAOS, found {_row(meta.orientation)}: "
            "the network would see a mirrored or turned body; bring slices and masks to the usual orientation.",
        )
    elif np.abs(np.subtract(meta.orientation, AXIAL)).max() > 0.01:
        yield "warning", "oblique", f"slices are oblique ({_row(meta.orientation)}); CHAOS has axial ones."
    spacings = Counter(header.pixel_spacing_mm for header in headers)
    if len(spacings) > 1:
        yield (
            "error",
            "spacing_varies",
            f"expected one PixelSpacing, found {' and '.join(_row(s) for s in spacings)} mm; slices of another series "
            "or a damaged export: restore the series.",
        )
    rescales = Counter((header.slope, header.intercept) for header in headers)
    if len(rescales) > 1:
        other = [k for k, h in enumerate(headers) if (h.slope, h.intercept) != rescales.most_common(1)[0][0]]
        yield (
            "warning",
            "rescale_varies",
            f"found {len(rescales)} pairs of RescaleSlope and RescaleIntercept, the rarer at {named_slices(other, n)}; "
            "look whether their HU fit the others'.",
        )
    yield from _steps(volume, headers)


def _steps(volume: Volume, headers: list[SliceHeader]) -> Iterator[tuple[str, str, str]]:
    """What the positions along z say, and whether the tags agree with them."""
    z, n = np.array(volume.meta.z_mm), len(headers)
    if n < 2:
        return
    mean = abs(float(z[-1] - z[0])) / (n - 1)
    if mean < 0.01:
        yield (
            "error",
            "positions_lost",
            f"expected slices that follow each other along z, found all {n} within {mean * (n - 1):.2f} mm by "
            "ImagePositionPatient; restore the positions.",
        )
        return
    steps = np.diff(z)
    typical = float(np.median(steps))
    named: dict[str, list[int]] = defaultdict(list)
    for k, step in enumerate(steps):
        relative = step / typical if typical else 0.0
        if _agree(step, typical):
            continue
        kind = "slice_missing"
        if relative < 0:
            kind = "slice_out_of_order"
        elif relative < DOUBLED_STEP:
            kind = "slice_doubled"
        elif relative < MISSING_STEP:
            kind = "spacing_varies"
        named[kind].append(k)
    said = {
        "slice_missing": "a slice is missing: restore it, or the masks behind it pair with the wrong slices",
        "slice_doubled": "a slice is there twice: remove one, with its mask",
        "slice_out_of_order": "slices are exchanged: restore their names, since masks pair by name",
        "spacing_varies": "the spacing varies: restore the series",
    }
    if "slice_out_of_order" in named:  # the steps beside a slice out of order are only its consequence
        named = {"slice_out_of_order": named["slice_out_of_order"]}
    for kind, places in named.items():
        k = places[0]
        yield (
            "error",
            kind,
            f"expected steps of {typical:.2f} mm along z, found {steps[k]:.2f} mm from slice {k + 1} to {k + 2} of {n}"
            + (f" and {len(places) - 1} more" if len(places) > 1 else "")
            + f"; {said[kind]}.",
        )
    thickness = volume.meta.slice_thickness_mm
    locations = [header.slice_location_mm for header in headers if header.slice_location_mm is not None]
    between = headers[0].spacing_between_slices_mm
    claimed = {  # over the whole scan, since both may be rounded to millimetres
        "SpacingBetweenSlices": abs(between) if between else None,
        "SliceLocation": abs(locations[-1] - locations[0]) / (n - 1) if len(locations) == n else None,
    }
    for tag, step in claimed.items():
        if step and not _agree(step, mean, rounding_mm=1 / n):
            taken = thickness is not None and min(abs(thickness - step), abs(thickness - mean)) < 0.01
            yield (
                "error",
                "thickness_taken_for_spacing" if taken else "spacing_contradicted",
                f"{tag} says {step:.2f} mm from slice to slice, the positions {mean:.2f} mm"
                + (f", SliceThickness {thickness:.2f} mm: it was taken for the spacing somewhere" if taken else "")
                + f"; the liver has {_ml(volume, mean)} with the positions, {_ml(volume, step)} with the tag: "
                "find out which is right and mend the other.",
            )
    if thickness and not _agree(thickness, abs(typical)):
        yield (
            "note",
            "thickness_is_not_spacing",
            f"slices lie {abs(typical):.2f} mm apart and are {thickness:.2f} mm thick; with SliceThickness as spacing "
            f"the liver would have {_ml(volume, thickness)} instead of {_ml(volume, abs(typical))}.",
        )


def _agree(step_mm: float, typical_mm: float, rounding_mm: float = 0.0) -> bool:
    return abs(step_mm - typical_mm) <= STEP_DEVIATION[0] * abs(typical_mm) + STEP_DEVIATION[1] + rounding_mm


def _pixels(
    volume: Volume, headers: list[SliceHeader], measures: Measures, check_order: bool
) -> Iterator[tuple[str, str, str]]:
    """What the pixels say; their order only where slices lie close enough."""
    n = len(headers)
    if measures.cold_share < 0.01:
        yield (
            "error",
            "not_hounsfield",
            f"expected air or fat below {FAT_HU} HU, found {100 * measures.cold_share:.1f} % of such pixels: MR taken "
            "for CT, or a lost RescaleIntercept; take this patient out or restore the rescale.",
        )
    ranks = defaultdict(list)
    for rank, digest in enumerate(measures.pixels):
        ranks[digest].append(rank)
    for digest, places in ranks.items():
        if digest and len(places) > 1:
            yield (
                "error",
                "slice_doubled",
                f"{named_slices(places, n)} have the same pixels; keep one and restore the others.",
            )
    if blank := ranks.get("", []):
        labelled = any((volume.meta.liver_pixels or [0] * n)[k] for k in blank)
        yield (
            "error" if labelled else "warning",
            "blank_slice",
            f"{named_slices(blank, n)}: all pixels are the same; restore the slice if it had content.",
        )
    places = [k for k, ratio in enumerate(measures.order_ratio) if ratio > ORDER_RATIO]
    if places and check_order and not any(len(r) > 1 for d, r in ranks.items() if d):
        worst = max(places, key=lambda k: measures.order_ratio[k])
        yield (
            "error",
            "slice_swapped",
            f"around slice {worst + 1} of {n} neighbours differ {measures.order_ratio[worst]:.1f} times as much as "
            "they would in another order: slices are exchanged; restore the series.",
        )
    outliers = [
        rank for rank, header in enumerate(headers) if header.hu_max > HU_RANGE[1] or header.hu_min < HU_RANGE[0]
    ]
    if outliers:
        low, high = min(header.hu_min for header in headers), max(header.hu_max for header in headers)
        yield (
            "note",
            "hu_outliers",
            f"{named_slices(outliers, n)} reach {low} to {high} HU; clipped to {HU_RANGE[0]} to {HU_RANGE[1]}.",
        )


def _masks(volume: Volume, measures: Measures) -> Iterator[tuple[str, str, str]]:
    n, liver = volume.slices, np.array(volume.meta.liver_pixels)
    labelled = np.flatnonzero(liver)
    alignment = measures.alignment
    if not len(labelled) or alignment is None or alignment.liver_hu is None:
        yield "error", "no_liver", f"all {n} masks are empty; restore them or take this patient out."
        return
    mean, std = alignment.liver_hu
    # Masks that lie elsewhere are dark for the lung and the air under some of them, and then their HU spread widely.
    rescaled = mean > LIVER_HU[1] or (mean < LIVER_HU[0] and std <= LIVER_HU_STD)
    misfits = [] if rescaled else alignment.misfits  # measured between LEVELS_HU, which then mean nothing
    for misfit in misfits:
        yield "error", *_misfit(misfit, n)
    if rescaled or (not misfits and (mean < LIVER_HU[0] or std > LIVER_HU_STD)):
        yield (
            "error",
            "implausible_liver_hu",
            f"expected {LIVER_HU[0]} to {LIVER_HU[1]} HU under the mask, standard deviation below {LIVER_HU_STD}, "
            f"found {mean:.0f} +- {std:.0f} HU: masks that don't belong, or a wrong rescale; look at the overlays.",
        )
    if alignment.doubled:
        yield (
            "warning",
            "mask_doubled",
            f"{named_slices(alignment.doubled, n)}: the mask is that of the slice before to the pixel; look whether a "
            "mask is there twice and the next ones are late by one.",
        )
    holes = [k for k in range(labelled[0], labelled[-1]) if not liver[k]]
    if holes:
        yield (
            "error",
            "mask_missing",
            f"{named_slices(holes, n)} have an empty mask between slices with liver; restore the masks.",
        )
    for rank, share in alignment.beyond.items():
        if share > LIVER_GOES_ON and not rescaled and not misfits:
            yield (
                "warning",
                "mask_missing",
                f"slice {rank + 1} of {n} has an empty mask, but {100 * share:.0f} % of what the mask beside it covers "
                "has the HU of liver there; look whether a mask was lost.",
            )
    cut = [end for end, rank in (("first", 0), ("last", n - 1)) if liver[rank]]
    millilitres = liver_ml(volume) or 0.0
    if volume.meta.spacing_mm[0] > 0.01 and (millilitres > LIVER_ML[1] or (millilitres < LIVER_ML[0] and not cut)):
        yield (
            "error",
            "implausible_liver_volume",
            f"expected a liver of {LIVER_ML[0]} to {LIVER_ML[1]} ml, found {millilitres:.0f} ml; check the spacing "
            f"({_row(volume.meta.spacing_mm)} mm) and whether the masks are complete.",
        )
    if cut:
        areas = " and ".join(f"{liver[0 if end == 'first' else -1]} pixels on the {end} slice" for end in cut)
        yield (
            "warning",
            "liver_cut_off",
            f"the liver goes on beyond the scan: {areas}; its volume is not the whole liver's.",
        )
    if volume.meta.mask_encodings and len(volume.meta.mask_encodings) > 1:
        found = ", ".join(volume.meta.mask_encodings)
        yield (
            "warning",
            "mask_encodings",
            f"masks are encoded in several ways ({found}); look whether they are of one source.",
        )
    elsewhere = any(misfit.how in MIRRORED or misfit.how == "nowhere" for misfit in misfits)
    if measures.liver_side is not None and measures.liver_side > 0.05 and not elsewhere:
        yield (
            "error",
            "liver_on_the_left",
            "expected the liver left in the picture, at the patient's right, found it "
            f"{100 * measures.liver_side:.0f} % of the body's width to the other side: columns are mirrored, or the "
            "organs are; mirror slices and masks back.",
        )
    if measures.bone_side is not None and measures.bone_side < -0.05:
        yield (
            "warning",
            "upside_down",
            f"bone lies {100 * -measures.bone_side:.0f} % of the body's width above its centre: rows are mirrored, or "
            "the patient lay face down; look at the overlays.",
        )


def _misfit(misfit: Misfit, n: int) -> tuple[str, str]:
    """Code and sentence."""
    masks = f"masks {misfit.first + 1} to {misfit.last + 1} of {n}"
    gain = f"the image gradient along their border is {misfit.gain:.1f} times as strong there"
    if misfit.how == "reversed":
        return "masks_reversed", f"{masks} fit the slices in reverse order ({gain}); pair them by file name, not by z."
    if misfit.how == "nowhere":
        return (
            "masks_fit_nowhere",
            f"{masks} fit no slice within {MAX_SHIFT}, nor reversed or mirrored: the image gradient along their border "
            "is as weak as by chance; the masks of another patient, or shifted by more: restore them.",
        )
    if misfit.how == "shifted":
        where = f"{abs(misfit.shift)} slice{'s' * (abs(misfit.shift) > 1)} {'later' if misfit.shift > 0 else 'earlier'}"
        return (
            "masks_shifted",
            f"{masks} fit {where} ({gain}): numbered from another start, or a mask before them is "
            f"{'missing' if misfit.shift > 0 else 'there twice'}; restore their numbers.",
        )
    return "mask_mirrored", f"{masks} fit when they are {misfit.how} ({gain}); save them the way the slices lie."


def _identity(headers: list[SliceHeader]) -> Iterator[tuple[str, str, str]]:
    places = sorted({place for header in headers for place in header.identifying})
    if places:
        yield (
            "warning",
            "identity",
            f"the files hold what could identify a person: {', '.join(places)}; remove it before you pass them on.",
        )


def _of_several(
    headers: Mapping[str, list[SliceHeader]], measures: Mapping[str, Measures], sides: Mapping[str, str]
) -> Iterator[Finding]:
    """What patients have in common and should not."""
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
    told = set(pixels)
    for tag, values in (("StudyInstanceUID", studies), ("PatientID", persons)):
        for a, b in sorted(set(_shared(values)) - told):
            told.add((a, b))
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


def named_slices(ranks: Sequence[int], n: int) -> str:
    """`slices 3 to 5 and 9 of 78`, counted from 1 as InstanceNumber is."""
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][1] + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    parts = [f"{a + 1}" if a == b else f"{a + 1} to {b + 1}" for a, b in runs[:5]]
    more = f" and {len(runs) - 5} more stretches" if len(runs) > 5 else ""
    return f"slice{'s' * (len(ranks) > 1)} {', '.join(parts)}{more} of {n}"


def _row(values: Iterable[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _ml(volume: Volume, step_mm: float) -> str:
    millilitres = liver_ml(volume, step_mm)
    return "no mask" if millilitres is None else f"{millilitres:.0f} ml"
