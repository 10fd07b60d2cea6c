"""The audit as one HTML page: what was found, a table of the patients, and pictures of each."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chaos_seg.data.audit import Finding
from chaos_seg.data.greys import as_ct
from chaos_seg.data.measures import HISTOGRAM_HU, Measures
from chaos_seg.data.preprocessing import window
from chaos_seg.data.store import StoredScan
from chaos_seg.reporting.curves import STYLE
from chaos_seg.reporting.outlines import Outline, outline_pictures
from chaos_seg.reporting.overlays import LEVEL_HU, WIDTH_HU, body_box
from chaos_seg.reporting.page import embedded, render

HEIGHTS = (0.2, 0.5, 0.8)  # of the liver's extent along z
LIVER, OTHER = "#56b4e9", "#767d85"


def audit_page(
    result: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    findings: Sequence[Finding],
    volumes: Sequence[StoredScan],
    measures: Mapping[str, Measures],
    outlines: Sequence[Outline] = (),
    unseen: Sequence[str] = (),
) -> str:
    """The page, of what audit_report.py gathers."""
    patients_of: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        patients_of.setdefault((finding.level, finding.code), []).extend(finding.patients)
    findings_of = {
        volume.name: [finding for finding in findings if volume.name in finding.patients] for volume in volumes
    }
    return render(
        "audit.html",
        result=result,
        rows=rows,
        errors=[finding for finding in findings if finding.level == "error"],
        patients_of=patients_of,
        findings_of=findings_of,
        outlines=list(zip(outlines, outline_pictures(outlines, volumes), strict=False)),
        unseen=unseen,
        level_of={patient: _worst(found) for patient, found in findings_of.items()},
        pictures={volume.name: embedded(patient_figure(volume, measures[volume.name])) for volume in volumes},
    )


def _worst(findings: Sequence[Finding]) -> str:
    levels = {finding.level for finding in findings}
    return next((level for level in ("error", "warning") if level in levels), "sound")


def patient_figure(volume: StoredScan, measures: Measures) -> Figure:
    """Three slices with the mask's outline, HU under and outside the mask, and the liver's area along z."""
    liver, shown = np.array(volume.meta.liver_pixels if volume.meta.liver_pixels is not None else []), as_ct(volume)
    extent = np.flatnonzero(liver) if liver.any() else np.arange(volume.slices)
    ranks = [int(extent[round(height * (len(extent) - 1))]) for height in HEIGHTS]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13.2, 2.7), layout="constrained")
        axes = figure.subplots(1, 5, width_ratios=(1.15, 1.15, 1.15, 1, 1))
        for place, rank in zip(axes, ranks, strict=False):
            _draw_slice(place, shown.hu(rank), volume.mask(rank) if len(liver) else None)
            place.set_title(f"slice {rank + 1} of {volume.slices}", fontsize=9)
        _draw_histogram(axes[3], measures, "HU" if volume.modality == "CT" else f"grey, {volume.modality} taken for HU")
        _draw_area(axes[4], volume, liver, ranks)
    return figure


def _draw_slice(axes: Axes, hu: np.ndarray, mask: np.ndarray | None) -> None:
    """The slice, cropped to the body, with the mask's outline."""
    axes.imshow(window(hu, LEVEL_HU, WIDTH_HU), cmap="gray", vmin=-1, vmax=1, interpolation="antialiased")
    if mask is not None and mask.any():
        axes.contour(mask, levels=[0.5], colors=LIVER, linewidths=1.2)
    rows, columns = body_box(hu)
    axes.set(xlim=(columns.start, columns.stop), ylim=(rows.stop, rows.start))
    axes.set_axis_off()


def _draw_histogram(axes: Axes, measures: Measures, unit: str) -> None:
    edges = np.arange(HISTOGRAM_HU[0], HISTOGRAM_HU[1] + 1, HISTOGRAM_HU[2])
    for counts, label, colour in (
        (measures.histogram_outside, "outside the mask", OTHER),
        (measures.histogram_under, "under the mask", LIVER),
    ):
        inner = np.array(counts[1:-1], float)  # the outer bins are all of air and all of bone
        if inner.any():
            axes.stairs(
                100 * inner / sum(counts), edges[1:-1], fill=label.startswith("under"), color=colour, label=label
            )
    axes.set_xlabel(unit)
    axes.set_ylabel("% of pixels")
    if axes.patches:
        axes.legend(fontsize=8, loc="upper left")
    else:
        axes.text(0.5, 0.5, "no pixel in this range", transform=axes.transAxes, ha="center", va="center", fontsize=9)


def _draw_area(axes: Axes, volume: StoredScan, liver: np.ndarray, ranks: Sequence[int]) -> None:
    if len(liver):
        _, y, x = volume.meta.spacing_mm
        axes.fill_between(np.arange(1, len(liver) + 1), liver * y * x / 100, color=LIVER, step="mid", linewidth=0)
    for rank in ranks:
        axes.axvline(rank + 1, color=OTHER, linewidth=0.8, linestyle=":")
    axes.set_xlim(1, max(volume.slices, 2))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("slice")
    axes.set_ylabel("liver, cm²")
