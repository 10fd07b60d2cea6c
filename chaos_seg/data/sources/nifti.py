"""NIfTI pairs of image and label map: nnU-Net's raw layout, those of the MSD and of LiTS, or two patterns.

    imagesTr/x_0000.nii.gz  labelsTr/x.nii.gz      nnU-Net; dataset.json may name the labels
    imagesTr/x.nii.gz       labelsTr/x.nii.gz      Medical Segmentation Decathlon, likewise
    **/volume-x.nii         **/segmentation-x.nii  LiTS

In a pattern * is the patient's name, **/ any folders, and .nii is .nii.gz too.
"""

import glob
import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from chaos_seg.data.axial import upright
from chaos_seg.data.dicom import SliceHeader
from chaos_seg.data.nifti import as_hu, nifti_volume
from chaos_seg.data.scan import GRID_MM, Scan
from chaos_seg.data.sources import Source
from chaos_seg.data.sources.chaos import natural_key
from chaos_seg.data.sources.labels import MAX_LABEL, chosen, encoding, expect_everywhere, listed, modality_in, names_in
from chaos_seg.errors import UserError, printable
from chaos_seg.registry import SOURCES

log = logging.getLogger(__name__)

LAYOUTS = (
    ("imagesTr/*_0000.nii.gz", "labelsTr/*.nii.gz"),
    ("imagesTr/*.nii.gz", "labelsTr/*.nii.gz"),
    ("**/volume-*.nii", "**/segmentation-*.nii"),
)
NAMED = 5  # of several files, in a sentence


@SOURCES.register("nifti")
def nifti(
    root: Path | None,
    store: Path | None = None,
    images: str | None = None,
    masks: str | None = None,
    labels: list[int | str] | None = None,
) -> Source:
    """Images and label maps below `root`.

    Args:
        images, masks: patterns; None looks for the known layouts.
        labels: values of the organ, or their names in dataset.json; None when there is only one.

    Raises:
        UserError: no pairs, one without the other, or a choice of labels that dataset.json does not have.
    """
    if root is None or not root.is_dir():
        raise UserError(f"data.root={root}: expected the folder of the NIfTI pairs, found none; name it.")
    if (images is None) != (masks is None):
        given, lacking = ("images", "masks") if masks is None else ("masks", "images")
        raise UserError(f"data.source.{lacking}: expected a pattern beside data.source.{given}, found none; give both.")
    layouts = LAYOUTS if images is None or masks is None else ((images, masks),)
    found = next((layout for layout in layouts if all(_matches(root, pattern) for pattern in layout)), None)
    if found is None:
        known = "; ".join(" with ".join(layout) for layout in layouts)
        raise UserError(f"{root}: expected images and label maps in {known}; found none; name the folder above them.")
    said = root / "dataset.json"
    pairs, values, modality = _pairs(root, *found), chosen(labels, names_in(said)), modality_in(said)
    _tell_channels(root, found)
    patients = {name: NiftiPatient(name, *pairs[name], values, modality) for name in sorted(pairs, key=natural_key)}
    return Source(root, patients, partial(expect_everywhere, values))


@dataclass(frozen=True)
class NiftiPatient:
    """An image and its label map; `labels` are the organ's, and () is the only one there is."""

    patient: str
    image: Path
    mask: Path
    labels: tuple[int, ...]
    modality: str
    labelled: bool = True

    @property
    def place(self) -> Path:
        return self.image

    @property
    def variant(self) -> str:
        return f"labels {self.labels} {self.modality}"

    def files(self) -> list[Path]:
        return [self.image, self.mask]

    def slices(self) -> tuple[list["NiftiSlice"], list[UserError]]:
        """Axial, from the head down, whatever the axes of the files are."""
        try:
            image, mask = nifti_volume(self.patient, self.image), nifti_volume(self.patient, self.mask)
            _expect_same_place(image, mask)
            there = _values(mask)
            if not self.labels and len(there) > 1:
                raise UserError(
                    f"{self.mask}: expected one value beside 0, found {listed(there)}; choose those of the organ with "
                    f"data.source.labels=[{there[0]}]."
                )
        except UserError as error:
            return [], [error]
        values = [value for value in there if value in self.labels or not self.labels]
        organ, how = np.isin(np.arange(MAX_LABEL + 1), values).astype(np.uint8), encoding(values, there)
        of_image = replace(image, modality=self.modality)
        scan = upright(replace(of_image, read_mask=lambda rank: organ[mask.read(rank).astype(np.int32)]))
        return [NiftiSlice(self.image, self.mask, scan, rank, how) for rank in range(scan.slices)], []


@dataclass(frozen=True)
class NiftiSlice:
    """An axial slice of a pair."""

    path: Path
    mask_path: Path
    scan: Scan
    rank: int
    encoding: str

    def read(self) -> tuple[SliceHeader, np.ndarray]:
        scan = self.scan
        stored = scan.read(self.rank)
        hu, finite = as_hu(stored, scan.modality), stored[np.isfinite(stored)]
        position, (_, *spacing_mm) = scan.origin_mm[self.rank].tolist(), scan.spacing_mm
        directions = [step / np.linalg.norm(step) for step in (scan.column_mm, scan.row_mm)]
        orientation = np.concatenate(directions).tolist()
        content = hashlib.sha256(repr((position, orientation, spacing_mm)).encode() + hu.tobytes()).hexdigest()
        return SliceHeader(
            rows=hu.shape[0],
            columns=hu.shape[1],
            position_mm=tuple(position),
            orientation=tuple(orientation),
            pixel_spacing_mm=tuple(spacing_mm),
            hu_min=int(finite.min(initial=0)),
            hu_max=int(finite.max(initial=0)),
            content=content,
            uid=content[:16],  # there is no SOPInstanceUID: what tells slices apart is what they hold
            transfer_syntax="NIfTI",
            modality=scan.modality,
        ), hu

    def read_mask(self) -> tuple[str, np.ndarray]:
        return self.encoding, self.scan.mask(self.rank)

    def mask_digest(self) -> bytes:
        return hashlib.sha256(self.scan.mask(self.rank).tobytes()).digest()


def _matches(root: Path, pattern: str) -> list[tuple[str, Path]]:
    """Files of a pattern, each with what its * stand for."""
    base = pattern.removesuffix(".gz")
    if "*" not in base.replace("**/", ""):
        raise UserError(f"{pattern}: expected a * where the patient's name stands, found none; put it there.")
    literal = re.sub(r"[?\[]", r"[\g<0>]", base)  # * alone is a wildcard
    wildcards = {"**/": "(?:.*/)?", "*": "([^/]*)"}
    parts = (wildcards.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*)", base))
    named = re.compile("".join(parts) + r"(?:\.gz)?")
    found = []
    # Not Path.glob, which follows no links to folders and takes hidden files.
    paths = {p for end in ("", ".gz") for p in glob.glob(literal + end, root_dir=root, recursive=True)}  # noqa: PTH207
    for path in sorted(paths):
        if match := named.fullmatch(path):
            found.append(("_".join(filter(None, match.groups())), root / path))
    return found


def _pairs(root: Path, images: str, masks: str) -> dict[str, tuple[Path, Path]]:
    """Image and label map of each patient.

    Raises:
        UserError: one without the other, a name that comes twice or can't be printed.
    """
    sides = []
    for pattern in (images, masks):
        by_name: dict[str, Path] = {}
        for name, path in _matches(root, pattern):
            if name in by_name:
                raise UserError(f"{path}: expected one file of {name!r}, found {by_name[name]} too; remove one.")
            if printable(name) != name:
                raise UserError(f"{path.parent}: expected names of printable characters, found {name!r}; rename it.")
            by_name[name] = path
        sides.append(by_name)
    image_of, mask_of = sides
    without = [path.name for name, path in image_of.items() if name not in mask_of]
    alone = [path.name for name, path in mask_of.items() if name not in image_of]
    if without or alone:
        lacking = {"no label map for": without, "no image for": alone}
        found = [f"{what} {_first(names)}" for what, names in lacking.items() if names]
        raise UserError(
            f"{root}: expected a label map {masks} for each image {images}, found {' and '.join(found)}; complete the "
            "pairs or move the others away."
        )
    return {name: (path, mask_of[name]) for name, path in image_of.items()}


def _tell_channels(root: Path, layout: tuple[str, str]) -> None:
    """nnU-Net has a file for each channel; a network here sees the first."""
    others = len(list((root / "imagesTr").glob("[!.]*_000[1-9].nii*"))) if layout == LAYOUTS[0] else 0
    if others:
        log.warning("%s: %d images of further channels (_0001 and so on) are left out.", root / "imagesTr", others)


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(sorted(names, key=natural_key)[:NAMED]) + more


def _values(mask: Scan) -> list[int]:
    """The labels in a label map but 0, sorted.

    Raises:
        UserError: other numbers than a label map has.
    """
    counts = np.zeros(MAX_LABEL + 1, np.int64)
    for rank in range(mask.slices):
        plane = mask.read(rank)
        whole = bool((plane >= 0).all() and (plane <= MAX_LABEL).all() and (plane == np.rint(plane)).all())
        if not whole:  # NaN is not either
            raise UserError(
                f"{mask.files[0]}: expected a label map of whole numbers from 0 to {MAX_LABEL}, found "
                f"{plane.min():g} to {plane.max():g} in slice {rank + 1}; name the label maps, not images or "
                "probabilities."
            )
        of_plane = np.bincount(plane.astype(np.int32).ravel())
        counts[: len(of_plane)] += of_plane
    return [value for value in np.flatnonzero(counts).tolist() if value]


def _expect_same_place(image: Scan, mask: Scan) -> None:
    """Raises UserError when voxels of the two lie further apart than GRID_MM."""
    if image.shape == mask.shape and np.abs(_corners(image) - _corners(mask)).max() <= GRID_MM:
        return
    raise UserError(
        f"{mask.files[0]}: expected the geometry of {image.files[0].name}, {_geometry(image)}; found "
        f"{_geometry(mask)}; resample the label map onto its image, or restore the header."
    )


def _corners(scan: Scan) -> np.ndarray:
    """The outermost voxels, mm, (4, 2, 3)."""
    (_, rows, columns), ends = scan.shape, scan.origin_mm[[0, -1]]
    beside = np.stack([np.zeros(3), scan.row_mm * (rows - 1), scan.column_mm * (columns - 1)])
    return np.stack([*(ends + offset for offset in beside), ends + beside[1] + beside[2]])


def _geometry(scan: Scan) -> str:
    step = scan.origin_mm[1] - scan.origin_mm[0] if scan.slices > 1 else scan.normal * scan.thickness_mm
    steps = " ".join(f"({', '.join(f'{x:.4g}' for x in axis)})" for axis in (scan.column_mm, scan.row_mm, step))
    origin = ", ".join(f"{x:.2f}" for x in scan.origin_mm[0])
    return f"{' x '.join(map(str, scan.shape[::-1]))} voxels, steps {steps} mm from ({origin}) in LPS"
