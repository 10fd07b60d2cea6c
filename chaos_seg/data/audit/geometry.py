"""What orientation, spacing and positions say: one stack of slices, evenly spaced and straight, as the tags claim?"""

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from chaos_seg.data.audit.facts import liver_ml
from chaos_seg.data.audit.findings import Finding, named_slices, row
from chaos_seg.data.dicom import SliceHeader
from chaos_seg.data.store import StoredScan

STEP_DEVIATION = (0.05, 0.1)  # of a z step: relative, plus mm for positions that were rounded
MISSING_STEP, DOUBLED_STEP = 1.5, 0.5  # of the median step
SIDEWAYS_MM = 1.5  # from one slice to the next; positions may be rounded to millimetres
MIN_TILT_DEGREES = 1.0
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # rows to the patient's left, columns to the back, as in all of CHAOS


def geometry(volume: StoredScan, headers: list[SliceHeader]) -> Iterator[Finding]:
    """Findings on how the slices of one patient lie in space."""
    patient, n = (volume.name,), len(headers)
    length = abs(volume.meta.z_mm[-1] - volume.meta.z_mm[0])
    stacked = n > 1 and length / (n - 1) >= 0.01
    tilt = _tilt_degrees(volume, headers) if stacked else 0.0
    yield from _orientation(volume, headers, tilted=tilt >= MIN_TILT_DEGREES)
    spacings = Counter(header.pixel_spacing_mm for header in headers)
    if len(spacings) > 1:
        yield Finding(
            "error",
            "spacing_varies",
            patient,
            f"expected one PixelSpacing, found {' and '.join(row(s) for s in spacings)} mm; slices of another series "
            "or a damaged export: restore the series.",
        )
    if stacked:
        yield from _steps(volume)
        yield from _sideways(volume, headers, tilt)
        yield from _claims(volume, headers)
    elif n > 1:
        yield Finding(
            "error",
            "positions_lost",
            patient,
            f"expected slices that follow each other along z, found all {n} within {length:.2f} mm by "
            "ImagePositionPatient; restore the positions.",
        )


def _orientation(volume: StoredScan, headers: list[SliceHeader], tilted: bool) -> Iterator[Finding]:
    patient, n, orientation = (volume.name,), len(headers), volume.meta.orientation
    usual = np.median([header.orientation for header in headers], axis=0)
    turned = [k for k, header in enumerate(headers) if np.abs(header.orientation - usual).max() > 0.01]
    if turned:
        yield Finding(
            "error",
            "orientation_varies",
            patient,
            f"expected one ImageOrientationPatient, {row(usual)} as for most slices, found another at "
            f"{named_slices(turned, n)}: mirrored rows or columns, or another series; turn these slices or take them "
            "out.",
        )
    elif np.abs(np.subtract(orientation, AXIAL)).max() > 0.7:
        yield Finding(
            "error",
            "orientation_mirrored",
            patient,
            f"expected ImageOrientationPatient {row(AXIAL)} as in the rest of CHAOS, found {row(orientation)}: the "
            "network would see a mirrored or turned body; bring slices and masks to the usual orientation.",
        )
    elif np.abs(np.subtract(orientation, AXIAL)).max() > 0.01 and not tilted:
        yield Finding("warning", "oblique", patient, f"slices are oblique ({row(orientation)}); CHAOS has axial ones.")


def _steps(volume: StoredScan) -> Iterator[Finding]:
    """What is uneven along z."""
    n, steps = volume.slices, np.diff(volume.meta.z_mm)
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
        yield Finding(
            "error",
            kind,
            (volume.name,),
            f"expected steps of {typical:.2f} mm along z, found {steps[places[0]]:.2f} mm {_from_to(places, n)}; "
            f"{said[kind]}.",
        )


def _sideways(volume: StoredScan, headers: list[SliceHeader], tilt: float) -> Iterator[Finding]:
    """Positions that move within the plane: all the way along z, or at once."""
    patient, n = (volume.name,), volume.slices
    if tilt >= MIN_TILT_DEGREES:
        yield Finding(
            "warning",
            "gantry_tilt",
            patient,
            f"the slices are stacked aslant, by {tilt:.1f} degrees: a tilted gantry, or damaged positions; look which, "
            "since distances are measured as if they were stacked straight.",
        )
    # A mirrored row or another field of view moves the first pixel or the centre, a shift moves both.
    jumps = np.min([_off_line(volume, places) for places in _places(headers)], axis=0)
    places = np.flatnonzero(jumps > SIDEWAYS_MM).tolist()
    if places:
        yield Finding(
            "error",
            "shifted_sideways",
            patient,
            f"expected slices above each other, found positions that jump {jumps[places[0]]:.1f} mm to the side "
            f"{_from_to(places, n)}: reconstructed around another centre, or damaged positions; restore the series.",
        )


def _places(headers: list[SliceHeader]) -> tuple[np.ndarray, np.ndarray]:
    """First pixel and centre of each slice, mm, (slices, 3) each."""
    first = np.array([header.position_mm for header in headers])
    along_row, along_column = np.split(np.array([header.orientation for header in headers]), 2, axis=1)
    spacing = np.array([header.pixel_spacing_mm for header in headers])
    half = np.array([[header.columns - 1, header.rows - 1] for header in headers]) / 2 * spacing[:, ::-1]
    return first, first + along_row * half[:, :1] + along_column * half[:, 1:]


def _in_plane(volume: StoredScan, places: np.ndarray) -> np.ndarray:
    """`places` by the directions of a row and of a column, mm, (slices, 2)."""
    return places @ np.reshape(volume.meta.orientation, (2, 3)).T


def _slope(volume: StoredScan, places: np.ndarray) -> np.ndarray:
    """How far `places` move in the plane for each mm along z, (2,): the mean over all steps but those that jump."""
    along, within = np.diff(volume.meta.z_mm), np.diff(_in_plane(volume, places), axis=0)
    moving = np.abs(along) > 0.01
    along, within = np.abs(along[moving]), within[moving] * np.sign(along[moving])[:, None]
    usual = np.median(within / along[:, None], axis=0)
    straight = np.hypot(*(within - np.outer(along, usual)).T) <= SIDEWAYS_MM
    return np.asarray(within[straight].sum(axis=0) / along[straight].sum() if straight.any() else usual)


def _off_line(volume: StoredScan, places: np.ndarray) -> np.ndarray:
    """How far each step leaves the line along which most of them go, mm, (slices - 1,)."""
    straight = _in_plane(volume, places) - np.outer(volume.meta.z_mm, _slope(volume, places))
    return np.hypot(*np.diff(straight, axis=0).T)


def _tilt_degrees(volume: StoredScan, headers: list[SliceHeader]) -> float:
    """Between the line along which the slices are stacked and their normal."""
    return float(np.degrees(np.arctan(np.hypot(*_slope(volume, _places(headers)[0])))))


def _claims(volume: StoredScan, headers: list[SliceHeader]) -> Iterator[Finding]:
    """Whether the tags agree with the positions."""
    patient, n = (volume.name,), len(headers)
    mean = volume.meta.spacing_mm[0]
    ends = (headers[0].position_mm, headers[-1].position_mm)
    aslant = float(np.linalg.norm(np.subtract(*ends))) / (n - 1)  # of a tilted gantry the tags may tell the table's way
    thickness, between = volume.meta.slice_thickness_mm, headers[0].spacing_between_slices_mm
    locations = [header.slice_location_mm for header in headers if header.slice_location_mm is not None]
    claimed = {  # over the whole scan, since both may be rounded to millimetres
        "SpacingBetweenSlices": abs(between) if between else None,
        "SliceLocation": abs(locations[-1] - locations[0]) / (n - 1) if len(locations) == n else None,
    }
    for tag, step in claimed.items():
        if step and not _agree(step, mean, rounding_mm=1 / n) and not _agree(step, aslant, rounding_mm=1 / n):
            taken = thickness is not None and min(abs(thickness - step), abs(thickness - mean)) < 0.01
            yield Finding(
                "error",
                "thickness_taken_for_spacing" if taken else "spacing_contradicted",
                patient,
                f"{tag} says {step:.2f} mm from slice to slice, the positions {mean:.2f} mm"
                + (f", SliceThickness {thickness:.2f} mm: it was taken for the spacing somewhere" if taken else "")
                + f"; the liver has {_ml(volume, mean)} with the positions, {_ml(volume, step)} with the tag: "
                "find out which is right and mend the other.",
            )
    typical = abs(float(np.median(np.diff(volume.meta.z_mm))))
    if thickness and not _agree(thickness, typical):
        yield Finding(
            "note",
            "thickness_is_not_spacing",
            patient,
            f"slices lie {typical:.2f} mm apart and are {thickness:.2f} mm thick; with SliceThickness as spacing "
            f"the liver would have {_ml(volume, thickness)} instead of {_ml(volume, typical)}.",
        )


def _agree(step_mm: float, typical_mm: float, rounding_mm: float = 0.0) -> bool:
    return abs(step_mm - typical_mm) <= STEP_DEVIATION[0] * abs(typical_mm) + STEP_DEVIATION[1] + rounding_mm


def _from_to(places: list[int], n: int) -> str:
    """Where steps begin: `from slice 11 to 12 of 24 and 2 more`."""
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"from slice {places[0] + 1} to {places[0] + 2} of {n}{more}"


def _ml(volume: StoredScan, step_mm: float) -> str:
    millilitres = liver_ml(volume, step_mm)
    return "no mask" if millilitres is None else f"{millilitres:.0f} ml"
