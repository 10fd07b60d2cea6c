"""What the masks say: do they fit the slices, in order and place, and is it a liver that they cover?"""

from collections.abc import Iterator

import numpy as np

from chaos_seg.data.alignment import MAX_SHIFT, MIRRORED, Alignment, Misfit
from chaos_seg.data.audit.facts import liver_ml
from chaos_seg.data.audit.findings import Finding, named_slices, row
from chaos_seg.data.measures import Measures
from chaos_seg.data.store import StoredScan

# What is plausible. CHAOS: 1.4 l in SET 3, 60 to above 210 HU; other public sets: 0.9 to 2.7 l, 50 to 141 HU.
LIVER_ML = (300, 4500)
LIVER_HU = (-30, 300)
LIVER_HU_STD = 110  # 25 to 55 under sound masks, 248 when SET 3's are reversed
LIVER_GOES_ON = 0.6  # share of an empty slice; at most 0.57 where a liver ends, mostly above 0.6 from two lost masks on
WRONG_SIDE = 0.05  # of the body's width


def masks(volume: StoredScan, measures: Measures, in_order: bool) -> Iterator[Finding]:
    """Findings on the masks of one patient, if any; `in_order` says that the positions follow each other."""
    patient, n = (volume.name,), volume.slices
    if volume.meta.liver_pixels is None:
        return
    alignment = measures.alignment
    if alignment is None or alignment.liver_hu is None:
        text = f"all {n} masks are empty; restore them or take this patient out."
        yield Finding("error", "no_liver", patient, text)
        return
    mean, std = alignment.liver_hu
    # Masks that lie elsewhere are dark for the lung and the air under some of them, and then their HU spread widely.
    in_hu = volume.modality == "CT"
    rescaled = in_hu and (mean > LIVER_HU[1] or (mean < LIVER_HU[0] and std <= LIVER_HU_STD))
    misfits = [] if rescaled else alignment.misfits  # measured between LEVELS_HU, which then mean nothing
    if not in_order:  # a slice that was exchanged makes its own mask fit elsewhere, which is no fault of the masks
        misfits = [misfit for misfit in misfits if misfit.how != "shifted" or misfit.last - misfit.first > 1]
    for misfit in misfits:
        # What tells fit from misfit was measured on CT.
        yield Finding("error" if in_hu else "warning", *_misfit(misfit, patient, n))
    if rescaled or (in_hu and not misfits and (mean < LIVER_HU[0] or std > LIVER_HU_STD)):
        yield Finding(
            "error",
            "implausible_liver_hu",
            patient,
            f"expected {LIVER_HU[0]} to {LIVER_HU[1]} HU under the mask, standard deviation below {LIVER_HU_STD}, "
            f"found {mean:.0f} +- {std:.0f} HU: masks that don't belong, or a wrong rescale; look at the overlays.",
        )
    yield from _gaps(volume, alignment, look_beyond=not rescaled and not misfits)
    yield from _volume(volume)
    if volume.meta.mask_encodings and len(volume.meta.mask_encodings) > 1:
        ways = ", ".join(volume.meta.mask_encodings)
        text = f"masks are encoded in several ways ({ways}); look whether they are of one source."
        yield Finding("warning", "mask_encodings", patient, text)
    yield from _sides(patient, measures, in_hu, any(misfit.how in (*MIRRORED, "nowhere") for misfit in misfits))


def _misfit(misfit: Misfit, patient: tuple[str], n: int) -> tuple[str, tuple[str], str]:
    """Code, patient and sentence."""
    masks = f"masks {misfit.first + 1} to {misfit.last + 1} of {n}"
    gain = f"the image gradient along their border is {misfit.gain:.1f} times as strong there"
    if misfit.how == "reversed":
        code, text = "masks_reversed", f"fit the slices in reverse order ({gain}); pair them by file name, not by z."
    elif misfit.how == "nowhere":
        code, text = (
            "masks_fit_nowhere",
            f"fit no slice within {MAX_SHIFT}, nor reversed or mirrored: the image gradient along their border is as "
            "weak as by chance; the masks of another patient, or shifted by more: restore them.",
        )
    elif misfit.how == "shifted":
        where = f"{abs(misfit.shift)} slice{'s' * (abs(misfit.shift) > 1)} {'later' if misfit.shift > 0 else 'earlier'}"
        code, text = (
            "masks_shifted",
            f"fit {where} ({gain}): numbered from another start, or a mask before them is "
            f"{'missing' if misfit.shift > 0 else 'there twice'}; restore their numbers.",
        )
    else:
        code, text = "mask_mirrored", f"fit when they are {misfit.how} ({gain}); save them the way the slices lie."
    return code, patient, f"{masks} {text}"


def _gaps(volume: StoredScan, alignment: Alignment, look_beyond: bool) -> Iterator[Finding]:
    """Masks that are there twice or lost."""
    patient, n, liver = (volume.name,), volume.slices, volume.meta.liver_pixels or []
    if alignment.doubled:
        yield Finding(
            "warning",
            "mask_doubled",
            patient,
            f"{named_slices(alignment.doubled, n)}: the mask is that of the slice before to the pixel; look whether a "
            "mask is there twice and the next ones are late by one.",
        )
    labelled = np.flatnonzero(liver)
    holes = [k for k in range(labelled[0], labelled[-1]) if not liver[k]]
    if holes:
        have = "have empty masks" if len(holes) > 1 else "has an empty mask"
        text = f"{named_slices(holes, n)} {have} between slices with liver; restore what was lost."
        yield Finding("error", "mask_missing", patient, text)
    for rank, share in alignment.beyond.items():
        if share > LIVER_GOES_ON and look_beyond:
            yield Finding(
                "warning",
                "mask_missing",
                patient,
                f"slice {rank + 1} of {n} has an empty mask, but {100 * share:.0f} % of what the mask beside it covers "
                "has the HU of liver there; look whether a mask was lost.",
            )


def _volume(volume: StoredScan) -> Iterator[Finding]:
    patient, n, liver = (volume.name,), volume.slices, volume.meta.liver_pixels or []
    cut = [end for end, rank in (("first", 0), ("last", n - 1)) if liver[rank]]
    millilitres = liver_ml(volume) or 0.0
    if volume.meta.spacing_mm[0] > 0.01 and (millilitres > LIVER_ML[1] or (millilitres < LIVER_ML[0] and not cut)):
        yield Finding(
            "error",
            "implausible_liver_volume",
            patient,
            f"expected a liver of {LIVER_ML[0]} to {LIVER_ML[1]} ml, found {millilitres:.0f} ml; check the spacing "
            f"({row(volume.meta.spacing_mm)} mm) and whether the masks are complete.",
        )
    if cut:
        areas = " and ".join(f"{liver[0 if end == 'first' else -1]} pixels on the {end} slice" for end in cut)
        text = f"the liver goes on beyond the scan: {areas}; its volume is not the whole liver's."
        yield Finding("warning", "liver_cut_off", patient, text)


def _sides(patient: tuple[str], measures: Measures, in_hu: bool, misplaced: bool) -> Iterator[Finding]:
    """Where liver and bone lie in the body; nothing of the liver where its masks are `misplaced`."""
    if measures.liver_side is not None and measures.liver_side > WRONG_SIDE and not misplaced:
        yield Finding(
            "error",
            "liver_on_the_left",
            patient,
            "expected the liver left in the picture, at the patient's right, found it "
            f"{100 * measures.liver_side:.0f} % of the body's width to the other side: columns are mirrored, or the "
            "organs are; mirror slices and masks back.",
        )
    if in_hu and measures.bone_side is not None and measures.bone_side < -WRONG_SIDE:
        yield Finding(
            "warning",
            "upside_down",
            patient,
            f"bone lies {100 * -measures.bone_side:.0f} % of the body's width above its centre: rows are mirrored, or "
            "the patient lay face down; look at the overlays.",
        )
