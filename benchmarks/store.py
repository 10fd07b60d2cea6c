"""The store against reading DICOM each time and against MONAI's PersistentDataset and CacheDataset, in one run.

    pip install -e '.[monai]'
    python benchmarks/store.py [--patients 20] [--slices 40] [--size 512]

All four hand out the same HU and masks, decoded by the same functions, of the same phantom. Each is built and read in
a process of its own; files are in the system's cache. Build times are set against one process that decodes the same
files once: with pydicom's pixel_array alone, and to HU and masks. Slices are read at random; CacheDataset hands out
what it holds in memory. Goals: build at most 1.3 times one decoding; 20 times the slices a second of DICOM reading and
not slower than MONAI; memory that does not grow with patients; second start below 0.5 s.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from monai.data import CacheDataset, PersistentDataset
from monai.transforms import Transform
from PIL import Image
from pydicom.pixels import apply_modality_lut

from chaos_seg.data.dicom import read_mask, read_slice
from chaos_seg.data.sources.chaos import find_patients, pair_slices
from chaos_seg.data.sources.phantom import Phantom, write_phantom
from chaos_seg.data.store import open_volumes

KINDS = ("DICOM each time", "PersistentDataset", "CacheDataset", "chaos_seg store")
READS = 2000
Item = dict[str, Any]
Get = Callable[[int], tuple[np.ndarray, np.ndarray]]


class Decode(Transform):
    """One slice and its mask; a transform of MONAI's, since only those are cached."""

    def __call__(self, item: Item) -> Item:
        return {"image": read_slice(Path(item["image"]))[1], "label": read_mask(Path(item["label"]))[1]}


def as_pair(item: Item) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(item["image"]), np.asarray(item["label"])


def opened(kind: str, root: Path, cache: Path, patients: int) -> tuple[Get, int]:
    """A function that returns slice and mask by index, and how many there are; builds what is not in `cache`."""
    folders = list(find_patients(root).values())[:patients]
    if kind == "chaos_seg store":
        volumes = open_volumes(cache, folders)
        index = [(volume, rank) for volume in volumes for rank in range(volume.slices)]
        return lambda k: (index[k][0].hu(index[k][1]), index[k][0].mask(index[k][1])), len(index)
    items = [{"image": str(s.path), "label": str(s.mask_path)} for folder in folders for s in pair_slices(folder)[0]]
    if kind == "DICOM each time":
        return lambda k: as_pair(Decode()(items[k])), len(items)
    dataset: Any
    if kind == "PersistentDataset":
        dataset = PersistentDataset(items, Decode(), cache_dir=cache)
        for k in range(0 if len(list(cache.iterdir())) == len(items) else len(items)):
            dataset[k]
    else:
        dataset = CacheDataset(items, Decode(), num_workers=2, progress=False)
    return lambda k: as_pair(dataset[k]), len(items)


def measure(kind: str, root: Path, cache: Path, patients: int) -> Item:
    """Seconds to open, random slices a second and peak memory of this process and its children."""
    start = time.perf_counter()
    get, total = opened(kind, root, cache, patients)
    get(0)
    seconds = time.perf_counter() - start
    order = np.random.default_rng(0).integers(total, size=READS)
    rates = []
    for part in np.array_split(order, 5):
        start = time.perf_counter()
        for k in part.tolist():
            get(k)
        rates.append(len(part) / (time.perf_counter() - start))
    check = sum(int(image.sum()) + int(mask.sum()) for image, mask in map(get, order[:50].tolist()))
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"seconds": seconds, "rate": float(np.median(rates)), "mib": peak / 1024, "check": check}


def in_a_process(kind: str, root: Path, cache: Path, patients: int) -> Item:
    command = [sys.executable, __file__, "--measure", kind, str(root), str(cache), "--patients", str(patients)]
    answer: Item = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer


def once(root: Path, to_hu: bool) -> float:
    """Seconds for pixel_array of every DICOM file, one after the other; `to_hu`: and HU, and every mask by Pillow.

    The better of two passes.
    """
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        for path in root.rglob("*.dcm"):
            dataset = pydicom.dcmread(path)
            _ = apply_modality_lut(dataset.pixel_array, dataset) if to_hu else dataset.pixel_array
        for path in root.rglob("*.png") if to_hu else ():
            with Image.open(path) as image:
                _ = np.asarray(image)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description="The store against DICOM and MONAI.")
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--slices", type=int, default=40)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        kind, root, cache = args.measure
        print(json.dumps(measure(kind, Path(root), Path(cache), args.patients)))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        root = write_phantom(place, Phantom(args.patients, args.slices, args.size, seed=0))
        for path in root.rglob("*.*"):
            path.read_bytes()
        bare, whole = once(root, to_hu=False), once(root, to_hu=True)
        slices = args.patients * args.slices
        print(
            f"{args.patients} patients, {slices} slices of {args.size} x {args.size}; one process decodes them once in "
            f"{bare:.2f} s (pixel_array), {whole:.2f} s (HU and masks)\n"
        )
        print(f"{'':<18} build s  /pixel_array  /HU,mask  slices/s  of DICOM  peak MiB  disk MiB  second start s")
        rates: dict[str, float] = {}
        checks = set()
        for kind in KINDS:
            cache = place / kind.replace(" ", "_")
            first = in_a_process(kind, root, cache, args.patients)
            second = in_a_process(kind, root, cache, args.patients)
            rates[kind] = max(first["rate"], second["rate"])
            checks |= {first["check"], second["check"]}
            disk = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) / 2**20
            ratio = rates[kind] / rates[KINDS[0]]
            seconds = first["seconds"]
            built = f"{seconds:>7.2f}  {seconds / bare:>12.2f}  {seconds / whole:>8.2f}"
            access = f"{rates[kind]:>8.0f}  {ratio:>8.1f}"
            rest = f"{first['mib']:>8.0f}  {disk:>8.0f}  {second['seconds']:>14.3f}"
            print(f"{kind:<18} {built}  {access}  {rest}", flush=True)
        few = max(1, args.patients // 4)
        fewer = in_a_process("chaos_seg store", root, place / "few", few)
        print(f"\nchaos_seg store with {few} patients: peak {fewer['mib']:.0f} MiB")
        assert len(checks) == 1, "the four handed out different slices"


if __name__ == "__main__":
    main()
