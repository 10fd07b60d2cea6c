"""How often the audit finds wrong masks and names the fault, and how often it accuses sound ones, on a CHAOS tree.

    CHAOS_REAL_ROOT=/path/to/CHAOS python benchmarks/audit_detection.py [--times 20]

Injected into every scan: masks shifted by 1 to 5 slices, the whole order reversed, mirrored left to right, those of
another patient, one mask blanked, dropped or doubled so that the later ones move up or down by one. The number of masks
stays right (an empty one at the end, or the last one left out), for a wrong number is always found when files are
paired. Sound: the scan itself, random stretches of half to all of its slices, and every second slice of them. Named is
a fault whose own code is among the findings. Goals: at least 99 % of the faults found and named, at most 1 % of the
sound accused.
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from chaos_seg.data.alignment import align
from chaos_seg.data.audit.masks import masks as mask_findings
from chaos_seg.data.measures import measured
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import StoredScan, open_volumes
from chaos_seg.parallel import in_parallel

Ranks = list[int | None]  # the mask beside each slice; None is an empty one
NAMES = {
    "reversed": "masks_reversed",
    "shifted": "masks_shifted",
    "dropped": "masks_shifted",
    "doubled": "mask_doubled",
    "blanked": "mask_missing",
    "mirrored": "mask_mirrored",
    "another's": "masks_fit_nowhere",
}
ACCUSING = {*NAMES.values(), "implausible_liver_hu", "liver_on_the_left"}


def orders(liver: list[int], times: int, draw: random.Random) -> Iterator[tuple[str, str, range, Ranks]]:
    """Kind, what was done, the slices and their masks; `liver` counts the liver's pixels by slice."""
    n = len(liver)
    ranks: Ranks = list(range(n))
    labelled = [k for k in range(n) if liver[k]]
    yield "reversed", "", range(n), ranks[::-1]
    for _ in range(times):
        shift, later = draw.randint(1, 5), draw.random() < 0.5
        blank: Ranks = [None] * shift
        moved = blank + ranks[:-shift] if later else ranks[shift:] + blank
        yield "shifted", f"by {shift if later else -shift}", range(n), moved
        k = draw.choice(labelled)
        kind = "dropped" if k != labelled[-1] else "blanked"  # there is none behind it that could move up
        yield kind, f"mask {k + 1} of {n}", range(n), [*ranks[:k], *ranks[k + 1 :], None]
        k = draw.choice(labelled[:-1] if labelled[-1] == n - 1 else labelled)  # the last one doubled changes nothing
        yield "doubled", f"mask {k + 1} of {n}", range(n), ranks[: k + 1] + ranks[k:-1]
        k = draw.choice(labelled[1:-1])
        yield "blanked", f"mask {k + 1} of {n}", range(n), [*ranks[:k], None, *ranks[k + 1 :]]
        length = draw.randint(n // 2, n)
        start, step = draw.randint(0, n - length), draw.choice((1, 1, 2))
        part = range(start, start + length, step)
        yield "sound", f"slices {start + 1} to {start + length}, every {step}", part, list(part)
    yield "sound", "whole", range(n), ranks


def examine(times: int, volumes: list[StoredScan], volume: StoredScan) -> list[tuple[str, str, set[str]]]:
    """Kind, what was done and what the masks are accused of, for every case of one scan."""
    n = volume.slices
    slices, masks = ([read(rank) for rank in range(n)] for read in (volume.hu, volume.mask))
    blank = np.zeros_like(masks[0])
    draw = random.Random(int(volume.meta.key, 16))
    cases = [
        (kind, what, part, [blank if mask is None else masks[mask] for mask in ranks])
        for kind, what, part, ranks in orders(volume.meta.liver_pixels or [], times, draw)
    ]
    cases.append(("mirrored", "", range(n), [np.ascontiguousarray(mask[:, ::-1]) for mask in masks]))
    others = [other for other in volumes if other != volume and other.meta.shape[1:] == volume.meta.shape[1:]]
    for other in draw.sample(others, min(times, len(others))):
        theirs = [other.mask(rank) if rank < other.slices else blank for rank in range(n)]
        cases.append(("another's", f"patient {other.name}", range(n), theirs))
    results = []
    for kind, what, part, shown in cases:
        # Of the scan's own measures only those of the masks' fit are asked for.
        liver = [int(np.count_nonzero(mask)) for mask in shown]
        scan = replace(volume, meta=replace(volume.meta, shape=(len(part), *blank.shape), liver_pixels=liver))
        alignment = align((slices[rank] for rank in part), shown)
        measures = replace(measured(volume), alignment=alignment, liver_side=None, bone_side=None)
        found = {finding.code for finding in mask_findings(scan, measures, in_order=True)} & ACCUSING
        results.append((kind, f"patient {volume.name}, {what}", found))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Detection of wrong mask orders on real scans.")
    parser.add_argument("--times", type=int, default=20, help="of each kind in each scan")
    args = parser.parse_args()
    if "CHAOS_REAL_ROOT" not in os.environ:
        sys.exit("Set CHAOS_REAL_ROOT to a CHAOS tree.")
    with tempfile.TemporaryDirectory() as store:
        volumes = open_volumes(Path(store), find_patients(Path(os.environ["CHAOS_REAL_ROOT"])).values())
        task: Callable[[StoredScan], list[tuple[str, str, set[str]]]] = partial(examine, args.times, volumes)
        results = [case for cases_of_one in in_parallel(task, volumes, "Scans") for case in cases_of_one]
    for kind, what, found in results:
        if kind == "sound" and found:
            print(f"accused though sound, {', '.join(sorted(found))}: {what}")
        elif kind != "sound" and NAMES[kind] not in found:
            print(f"{kind}, {'named ' + ', '.join(sorted(found)) if found else 'not found'}: {what}")
    print("          accused             named as what it is")
    for kind in (*NAMES, "sound", "faults"):
        of_kind = [(NAMES.get(k), found) for k, _, found in results if kind in (k, "faults" if k != "sound" else k)]
        accused, named = [bool(found) for _, found in of_kind], [name in found for name, found in of_kind]
        line = f"{kind:<9} {sum(accused):>4} of {len(accused):>4} ({100 * np.mean(accused):5.1f} %)"
        print(line + ("" if kind == "sound" else f"  {sum(named):>4} ({100 * np.mean(named):5.1f} %)"))


if __name__ == "__main__":
    main()
