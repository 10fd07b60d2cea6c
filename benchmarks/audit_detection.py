"""How often the audit finds masks in a wrong order, and how often it accuses sound ones, on the scans of a CHAOS tree.

    CHAOS_REAL_ROOT=/path/to/CHAOS python benchmarks/audit_detection.py [--times 20]

Injected into every scan: masks shifted by 1 to 5 slices, the whole order reversed, one mask dropped or doubled so that
the later ones move up or down by one. The number of masks stays right (an empty one at the end, or the last one left
out), for a wrong number is always found when files are paired. Sound: the scan itself, random stretches of half to
all of its slices, and every second slice of them. Goals: at least 99 % of the faults found, at most 1 % of the sound
accused.
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from chaos_seg.data.alignment import align
from chaos_seg.data.audit import LIVER_GOES_ON
from chaos_seg.data.chaos import find_patients
from chaos_seg.data.store import Volume, open_volumes
from chaos_seg.parallel import in_parallel

Order = list[tuple[int, int | None]]  # slice and the mask beside it; None is an empty one


def cases(liver: list[int], times: int, draw: random.Random) -> Iterator[tuple[str, str, Order]]:
    """Kind, what was done, and the order; `liver` counts the liver's pixels by slice."""
    n = len(liver)
    ranks: list[int | None] = list(range(n))
    labelled = [k for k in range(n) if liver[k]]

    def paired(masks: list[int | None]) -> Order:
        return list(zip(range(n), masks, strict=True))

    yield "reversed", "", paired(ranks[::-1])
    for _ in range(times):
        shift, later = draw.randint(1, 5), draw.random() < 0.5
        blank: list[int | None] = [None] * shift
        moved = blank + ranks[:-shift] if later else ranks[shift:] + blank
        yield "shifted", f"by {shift if later else -shift}", paired(moved)
        k = draw.choice(labelled)
        yield "dropped", f"mask {k + 1} of {n}", paired(ranks[:k] + ranks[k + 1 :] + [None])
        k = draw.choice(labelled[:-1] if labelled[-1] == n - 1 else labelled)  # the last one doubled changes nothing
        yield "doubled", f"mask {k + 1} of {n}", paired(ranks[: k + 1] + ranks[k:-1])
        length = draw.randint(n // 2, n)
        start, step = draw.randint(0, n - length), draw.choice((1, 1, 2))
        yield (
            "sound",
            f"slices {start + 1} to {start + length}, every {step}",
            paired(ranks)[start : start + length : step],
        )
    yield "sound", "whole", paired(ranks)


def examine(times: int, volume: Volume) -> list[tuple[str, str, bool]]:
    """Kind, what was done and whether the masks were accused, for every case of one scan."""
    slices = [volume.hu(rank) for rank in range(volume.slices)]
    masks = [volume.mask(rank) for rank in range(volume.slices)]
    blank = np.zeros_like(masks[0])
    results = []
    draw = random.Random(int(volume.meta.key, 16))
    for kind, what, order in cases(volume.meta.liver_pixels or [], times, draw):
        shown = [blank if mask is None else masks[mask] for _, mask in order]
        found = align((slices[rank] for rank, _ in order), shown)
        accused = bool(found.misfits or found.doubled) or any(v > LIVER_GOES_ON for v in found.beyond.values())
        results.append((kind, f"patient {volume.patient}, {what}", accused))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Detection of wrong mask orders on real scans.")
    parser.add_argument("--times", type=int, default=20, help="of each kind in each scan")
    args = parser.parse_args()
    if "CHAOS_REAL_ROOT" not in os.environ:
        sys.exit("Set CHAOS_REAL_ROOT to a CHAOS tree.")
    with tempfile.TemporaryDirectory() as store:
        volumes = open_volumes(Path(store), find_patients(Path(os.environ["CHAOS_REAL_ROOT"])).values())
        task: Callable[[Volume], list[tuple[str, str, bool]]] = partial(examine, args.times)
        results = [case for cases_of_one in in_parallel(task, volumes, "Scans") for case in cases_of_one]
    wrong = [(kind, what) for kind, what, accused in results if accused == (kind == "sound")]
    for kind, what in wrong:
        print(f"{'accused though sound' if kind == 'sound' else f'{kind}, not found'}: {what}")
    for kind in ("reversed", "shifted", "dropped", "doubled", "sound"):
        of_kind = [accused for k, _, accused in results if k == kind]
        print(f"{kind:<9} {sum(of_kind):>4} of {len(of_kind):>4} accused ({100 * np.mean(of_kind):.1f} %)")
    faults = [accused for kind, _, accused in results if kind != "sound"]
    print(f"faults    {sum(faults):>4} of {len(faults):>4} found   ({100 * np.mean(faults):.1f} %)")


if __name__ == "__main__":
    main()
