"""What the pixels say, without masks: are they Hounsfield units, is a slice there twice, blank or out of order?"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from chaos_seg.data.appearance import MIN_COLD_SHARE
from chaos_seg.data.audit.findings import Finding, named_slices
from chaos_seg.data.dicom import HU_RANGE, SliceHeader
from chaos_seg.data.measures import BONE_HU, FAT_HU, Measures
from chaos_seg.data.store import StoredScan

MAX_ORDERED_MM = 12  # between slices, for their order to show in their pixels
ORDER_RATIO = 1.15  # at most 0.7 (real) and 0.97 (phantom) in sound scans, from 1.25 when two slices are exchanged
BRIGHT_RIM = 0.3  # share of a picture's outermost pixels; at most 0.003 in sound scans, 0.9 and more with padding


def pixels(volume: StoredScan, headers: list[SliceHeader], measures: Measures, in_order: bool) -> Iterator[Finding]:
    """Findings on the HU of one patient; `in_order` says that the positions follow each other."""
    if volume.modality == "CT":
        yield from _hounsfield(volume, headers, measures)
    patient, n = (volume.name,), len(headers)
    ranks = defaultdict(list)
    for rank, digest in enumerate(measures.pixels):
        ranks[digest].append(rank)
    blank = ranks.pop("", [])
    twice = [places for places in ranks.values() if len(places) > 1]
    for places in twice:
        text = f"{named_slices(places, n)} have the same pixels; keep one and restore the others."
        yield Finding("error", "slice_doubled", patient, text)
    if blank:
        labelled = any((volume.meta.liver_pixels or [0] * n)[k] for k in blank)
        text = f"{named_slices(blank, n)}: all pixels are the same; restore the slice if it had content."
        yield Finding("error" if labelled else "warning", "blank_slice", patient, text)
    worst = max(range(n), key=lambda k: measures.order_ratio[k])
    ratio = measures.order_ratio[worst]
    if ratio > ORDER_RATIO and in_order and volume.meta.spacing_mm[0] <= MAX_ORDERED_MM and not twice:
        yield Finding(
            "error" if volume.modality == "CT" else "warning",  # ORDER_RATIO was measured on CT
            "slice_swapped",
            patient,
            f"around slice {worst + 1} of {n} neighbours differ {ratio:.1f} times as much as they would in another "
            "order: slices are exchanged; restore the series.",
        )


def _hounsfield(volume: StoredScan, headers: list[SliceHeader], measures: Measures) -> Iterator[Finding]:
    patient, n = (volume.name,), len(headers)
    rescales = Counter((header.slope, header.intercept) for header in headers)
    if len(rescales) > 1:
        usual = rescales.most_common(1)[0][0]
        other = [rank for rank, header in enumerate(headers) if (header.slope, header.intercept) != usual]
        yield Finding(
            "warning",
            "rescale_varies",
            patient,
            f"found {len(rescales)} pairs of RescaleSlope and RescaleIntercept, the rarer at {named_slices(other, n)}; "
            "look whether their HU fit the others'.",
        )
    if measures.cold_share < MIN_COLD_SHARE:
        yield Finding(
            "error",
            "not_hounsfield",
            patient,
            f"expected air or fat below {FAT_HU} HU, found {100 * measures.cold_share:.1f} % of such pixels: MR taken "
            "for CT, or a lost RescaleIntercept; take this patient out or restore the rescale.",
        )
    if measures.bright_rim > BRIGHT_RIM:
        yield Finding(
            "warning",
            "bright_padding",
            patient,
            f"{100 * measures.bright_rim:.0f} % of the pictures' outermost pixels are as bright as bone (above "
            f"{BONE_HU} HU): padding that is no HU; set the pixels of PixelPaddingValue to air.",
        )
    outliers = [
        rank for rank, header in enumerate(headers) if header.hu_max > HU_RANGE[1] or header.hu_min < HU_RANGE[0]
    ]
    if outliers:
        low, high = min(header.hu_min for header in headers), max(header.hu_max for header in headers)
        text = f"{named_slices(outliers, n)} reach {low} to {high} HU; clipped to {HU_RANGE[0]} to {HU_RANGE[1]}."
        yield Finding("note", "hu_outliers", patient, text)
