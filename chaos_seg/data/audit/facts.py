"""What a reader wants to know of a patient: sizes, spacing, HU and volume."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from chaos_seg.data.contrast import contrast_phase
from chaos_seg.data.measures import Measures
from chaos_seg.data.store import StoredScan


def facts(volume: StoredScan, measures: Measures) -> dict[str, Any]:
    """A patient's row of the table, the page and audit.json."""
    meta, headers = volume.meta, volume.headers()
    steps = np.abs(np.diff(meta.z_mm))
    liver = meta.liver_pixels
    in_hu = volume.modality == "CT" and measures.alignment
    mean, std = (in_hu.liver_hu if in_hu else None) or (None, None)
    return {
        "patient": volume.name,
        "slices": volume.slices,
        "rows": meta.shape[1],
        "columns": meta.shape[2],
        "pixel_spacing_mm": list(meta.spacing_mm[1:]),
        "field_of_view_mm": meta.spacing_mm[1] * meta.shape[1],
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
        "noise_hu": measures.noise_hu,
        "aorta_hu": measures.aorta_hu,
        "contrast_phase": contrast_phase(measures.aorta_hu, mean),
        "synthetic": meta.synthetic,
        "content": meta.key,
    }


_APPEARANCE = {  # of facts(), and what it is called
    "z_step_mm": "z step, mm",
    "field_of_view_mm": "field of view, mm",
    "liver_hu_mean": "HU under the mask, mean",
    "noise_hu": "noise under the mask, HU",
    "aorta_hu": "aorta, HU",
    "liver_ml": "liver, ml",
}


def drift(rows: Iterable[Mapping[str, Any]], sides: Mapping[str, str]) -> list[dict[str, Any]]:
    """How appearance differs between the sides of a split: of each of its values the least and the greatest of every
    side, and whether one side lies wholly beyond the training patients.
    """
    table: list[dict[str, Any]] = []
    listed = [(sides[row["patient"]], row) for row in rows if row["patient"] in sides]
    for key, name in _APPEARANCE.items():
        values: dict[str, list[float]] = {}
        for side, row in listed:
            if row[key] is not None:
                values.setdefault(side, []).append(float(row[key]))
        ranges = {side: (min(of_side), max(of_side)) for side, of_side in values.items()}
        low, high = ranges.get("train", (float("-inf"), float("inf")))
        apart = [side for side, (least, greatest) in ranges.items() if least > high or greatest < low]
        if len(ranges) > 1:
            table.append({"what": name, "ranges": ranges, "apart": apart})
    return table


def liver_ml(volume: StoredScan, step_mm: float | None = None) -> float | None:
    """Volume of the mask in ml, with another step between slices when one is given; None without masks."""
    if volume.meta.liver_pixels is None:
        return None
    z, y, x = volume.meta.spacing_mm
    return sum(volume.meta.liver_pixels) * (z if step_mm is None else step_mm) * y * x / 1000
