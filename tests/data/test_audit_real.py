"""Every fault on every real scan below CHAOS_REAL_ROOT, named as what it is and as nothing else."""

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.alignment import align
from chaos_seg.data.audit import audit
from chaos_seg.data.dicom import SliceHeader, slice_normal
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import StoredScan, decode, open_volumes
from chaos_seg.parallel import in_parallel

Masks = list[np.ndarray]


@dataclass(frozen=True, eq=False)
class Altered(StoredScan):
    """A stored volume with other masks and headers; its slices are read by an order."""

    listed: list[SliceHeader] = field(kw_only=True)

    def headers(self) -> list[SliceHeader]:
        return self.listed


def codes(
    volume: StoredScan,
    masks: Masks | None = None,
    headers: list[SliceHeader] | None = None,
    order: list[int] | None = None,
) -> set[str]:
    """Codes of the errors and warnings of a volume with these masks, headers or order of slices."""
    n, as_measured = volume.slices, masks is None and order is None
    order = order or list(range(n))
    masks = masks or [volume.mask(k) for k in range(n)]
    headers = headers or [volume.headers()[k] for k in order]
    z_mm = [float(slice_normal(headers[0].orientation) @ header.position_mm) for header in headers]
    step = abs(z_mm[-1] - z_mm[0]) / (n - 1)
    meta = replace(
        volume.meta,
        z_mm=z_mm,
        spacing_mm=(step, *volume.meta.spacing_mm[1:]),
        slice_thickness_mm=headers[0].slice_thickness_mm,
        liver_pixels=[int(np.count_nonzero(mask)) for mask in masks],
    )
    with tempfile.TemporaryDirectory() as empty:
        folder = volume.folder if as_measured else Path(empty)
        read, liver = (lambda rank: volume.hu(order[rank])), tuple(meta.liver_pixels)
        changed = {"folder": folder, "meta": meta, "read": read, "read_mask": masks.__getitem__, "liver_pixels": liver}
        altered = Altered(**{**vars(volume), **changed}, listed=headers)
        return {finding.code for finding in audit([altered], {})[1] if finding.level != "note"}


def shifted(masks: Masks, by: int) -> Masks:
    blank = [np.zeros_like(masks[0])] * abs(by)
    return blank + masks[:-by] if by > 0 else masks[-by:] + blank


def faulty_masks(volume: StoredScan, other: StoredScan) -> dict[str, tuple[Masks, set[str]]]:
    """What was done: the masks, and the codes that say so."""
    masks = [volume.mask(k) for k in range(volume.slices)]
    blank = np.zeros_like(masks[0])
    labelled = [k for k, mask in enumerate(masks) if mask.any()]
    middle = labelled[len(labelled) // 2]
    others = [other.mask(k) for k in range(other.slices)]
    others_liver = [mask for mask in others if mask.any()]
    from_there = [blank] * labelled[0] + others_liver + [blank] * volume.slices
    return {
        "reversed": (masks[::-1], {"masks_reversed"}),
        **{f"shifted by {by}": (shifted(masks, by), {"masks_shifted"}) for by in (-5, -2, -1, 1, 2, 5)},
        "mirrored": ([np.ascontiguousarray(mask[:, ::-1]) for mask in masks], {"mask_mirrored"}),
        "one blanked": ([*masks[:middle], blank, *masks[middle + 1 :]], {"mask_missing"}),
        "one dropped": (masks[:middle] + masks[middle + 1 :] + [blank], {"masks_shifted"}),
        "one doubled": (masks[: middle + 1] + masks[middle:-1], {"mask_doubled", "masks_shifted"}),
        "of another": ((others + [blank] * volume.slices)[: volume.slices], {"masks_fit_nowhere"}),
        "of another, at the liver": (from_there[: volume.slices], {"masks_fit_nowhere"}),
    }


def moved(header: SliceHeader, *mm: float) -> SliceHeader:
    x, y, z = np.add(header.position_mm, mm)
    return replace(header, position_mm=(float(x), float(y), float(z)))


def faulty_headers(volume: StoredScan) -> dict[str, tuple[list[SliceHeader], set[str]]]:
    headers = volume.headers()
    n, half = len(headers), len(headers) // 2
    first = headers[0].position_mm[2]
    lean = float(np.tan(np.radians(10)))

    def later(change: Callable[[SliceHeader], SliceHeader]) -> list[SliceHeader]:
        return headers[:half] + [change(header) for header in headers[half:]]

    spacing = 3.2 if abs(volume.meta.spacing_mm[0] - 3.2) > 1 else 2.0
    thick = [replace(h, spacing_between_slices_mm=spacing, slice_thickness_mm=spacing) for h in headers]
    contradicted = [replace(h, spacing_between_slices_mm=5.0, slice_thickness_mm=4.0) for h in headers]
    return {
        "sideways": (later(lambda header: moved(header, 30, 0, 0)), {"shifted_sideways"}),
        "tilted": ([moved(h, 0, lean * (h.position_mm[2] - first), 0) for h in headers], {"gantry_tilt"}),
        "one UID": ([replace(header, uid=headers[0].uid) for header in headers], {"uids_not_unique"}),
        "a UID twice": ([replace(headers[0], uid=headers[n - 1].uid), *headers[1:]], {"uids_not_unique"}),
        "no UIDs": ([replace(header, uid="") for header in headers], {"uids_not_unique"}),
        "another patient": (later(lambda header: replace(header, person="another")), {"mixed_patients"}),
        "another study": (later(lambda header: replace(header, study="another")), {"mixed_studies"}),
        "another series": (later(lambda header: replace(header, series="another")), {"mixed_series"}),
        "another frame": (later(lambda header: replace(header, frame="another")), {"mixed_frames"}),
        "thickness": (thick, {"thickness_taken_for_spacing"}),
        "spacing": (contradicted, {"spacing_contradicted"}),
    }


def wrongly_named(volumes: list[StoredScan], volume: StoredScan) -> list[str]:
    """The faults of one scan that other codes name than those that should, and sound parts that are accused."""
    sound = codes(volume)
    wrong = [f"{volume.name}, sound: {sound}"] if not sound <= {"liver_cut_off", "identity"} else []
    k = volume.slices // 2
    exchanged = [*range(k), k + 1, k, *range(k + 2, volume.slices)]
    other = volumes[(volumes.index(volume) + 1) % len(volumes)]
    named = {
        **{f"masks {what}": (codes(volume, masks), say) for what, (masks, say) in faulty_masks(volume, other).items()},
        **{what: (codes(volume, headers=listed), say) for what, (listed, say) in faulty_headers(volume).items()},
        "names exchanged": (codes(volume, order=exchanged), {"slice_out_of_order"}),
    }
    for what, (found, expected) in named.items():
        # A mask doubled in thin slices moves the others too little to be told; wrong masks end elsewhere.
        missing = expected - found - ({"masks_shifted"} if what == "masks one doubled" else set())
        if missing or found - expected - sound - {"liver_cut_off"}:
            wrong.append(f"{volume.name}, {what}: {found}")
    return wrong


@pytest.mark.slow
def test_every_fault_on_every_real_scan_is_named_as_what_it_is(real_root: Path, tmp_path: Path) -> None:
    volumes = open_volumes(tmp_path, find_patients(real_root).values())
    wrong = [line for lines in in_parallel(partial(wrongly_named, volumes), volumes, "Scans") for line in lines]
    assert not wrong, "\n".join(wrong)


def faulty_orders(n: int, liver: list[int], times: int) -> Iterator[tuple[str, list[int | None]]]:
    """Which mask is shown at each slice: shifted by 1 to 5, reversed, one dropped, one doubled."""
    draw, ranks = random.Random(0), list(range(n))
    yield "reversed", ranks[::-1]
    for _ in range(times):
        shift = draw.randint(1, 5)
        yield "shifted", [None] * shift + ranks[:-shift] if draw.random() < 0.5 else ranks[shift:] + [None] * shift  # type: ignore[operator]
        k = draw.choice(liver[:-3])
        yield "dropped", ranks[:k] + ranks[k + 1 :] + [None]
        yield "doubled", ranks[: k + 1] + ranks[k:-1]


def test_real_scans_are_sound_and_wrong_orders_found(real_root: Path, tmp_path: Path) -> None:
    volumes, faults = decode(tmp_path, find_patients(real_root).values())
    assert [f for f in audit(volumes, {}, faults)[1] if f.level == "error"] == []
    volume = next(v for v in volumes if v.name == "3")
    slices, masks = ([read(k) for k in range(78)] for read in (volume.hu, volume.mask))
    blank = np.zeros_like(masks[0])
    for kind, order in faulty_orders(78, [k for k in range(78) if masks[k].any()], 2):
        assert align(slices, [blank if k is None else masks[k] for k in order]).misfits, kind
    (end,) = align(slices, masks).beyond.items()  # above the dome lies lung; below, the scan ends within the liver
    assert end[0] == 6 and end[1] < 0.2
