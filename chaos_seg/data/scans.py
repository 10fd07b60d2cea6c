"""Scans to predict: the CT series in any folder of DICOM, a CHAOS tree, or NIfTI files, read slice by slice."""

import functools
import hashlib
import logging
import os
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from chaos_seg.data.chaos import find_patients, natural_key
from chaos_seg.data.dicom import HU_RANGE, read_slice, slice_normal
from chaos_seg.errors import UserError

log = logging.getLogger(__name__)

GEOMETRY_MM = 0.01  # positions and spacings that differ by less are the same
UNEVEN = 0.02  # of the step between slices: more is a gap to warn of
_TAGS = [
    *("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "PatientID", "Modality", "ImageType"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "SliceThickness", "SyntheticData"),
]


_Member = tuple[Path, pydicom.Dataset]


@dataclass(frozen=True)
class Scan:
    """A CT volume whose slices are read one by one; millimetres in DICOM patient coordinates (LPS).

    `origin_mm` (slices, 3) is the centre of each slice's first pixel; `row_mm` and `column_mm` (3,) are the steps to
    the next row and to the next column.
    """

    name: str
    files: tuple[Path, ...]  # the DICOM slices in their order, or one NIfTI
    shape: tuple[int, int, int]  # slices, rows, columns
    origin_mm: np.ndarray
    row_mm: np.ndarray
    column_mm: np.ndarray
    read: Callable[[int], np.ndarray]
    warnings: tuple[str, ...] = ()
    synthetic: bool = False  # SyntheticData (0008,001C)
    thickness_mm: float = 1.0  # of a single slice, which has no distance to another

    @property
    def is_dicom(self) -> bool:
        return len(self.files) == self.shape[0] and not _is_nifti(self.files[0])

    def hu(self, rank: int) -> np.ndarray:
        """Slice `rank` as int16 HU (rows, columns)."""
        return self.read(rank)

    @property
    def z_mm(self) -> np.ndarray:
        """Position of each slice along the normal of the slices, float64 (slices,)."""
        normal = np.cross(self.column_mm, self.row_mm)
        return self.origin_mm @ (normal / np.linalg.norm(normal))

    @property
    def step_mm(self) -> float:
        """The usual distance between slices; the thickness of a single one."""
        return float(np.median(np.diff(np.sort(self.z_mm)))) if self.shape[0] > 1 else self.thickness_mm

    @property
    def in_order(self) -> bool:
        """Whether the slices follow one another along the body."""
        steps = np.diff(self.z_mm)
        return bool((steps > 0).all() or (steps < 0).all())

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between slices, rows and columns."""
        return self.step_mm, float(np.linalg.norm(self.row_mm)), float(np.linalg.norm(self.column_mm))

    def volume_ml(self, liver_pixels: np.ndarray) -> float:
        """Volume of a mask with so many pixels in each slice (slices,); a slice reaches half-way to its neighbours."""
        order = np.argsort(self.z_mm)
        steps = np.diff(self.z_mm[order])
        ends = np.full(1, self.step_mm)
        thickness = (np.concatenate([ends, steps]) + np.concatenate([steps, ends])) / 2
        area = np.linalg.norm(np.cross(self.column_mm, self.row_mm))
        return float((liver_pixels[order] * thickness).sum() * area / 1000)


@dataclass(frozen=True)
class FoundScan:
    """A scan that was found and not yet looked at: open() tells what is wrong with it.

    `identity` is a hash that is another one for other slices: of their UIDs or names, with sizes, or of a NIfTI file.
    """

    name: str
    patient: str
    identity: str
    open: Callable[[], Scan]


def find_scans(place: Path, series: str | None = None) -> list[FoundScan]:
    """The scans in a file or folder, which are read and never written to.

    A CHAOS tree gives its patients, slices in file-name order; another folder every CT series at any depth, slices
    from the head down, and every NIfTI. A patient with several series needs a choice.

    Args:
        place: a folder, a NIfTI file or one DICOM file.
        series: `all`, or the name of one scan; None takes all when no patient has several.

    Raises:
        UserError: nothing there, or several series without a choice.
    """
    if not place.exists():
        raise UserError(f"input={place}: expected a folder or a file, found none; name the folder of a scan.")
    place = place.resolve()
    if any((place / subset / "CT").is_dir() for subset in ("Train_Sets", "Test_Sets")):
        patients = find_patients(place).values()
        return _chosen([_chaos_patient(patient.patient, patient.dicom_dir) for patient in patients], series, place)
    files = sorted(_ordinary_files(place), key=lambda path: natural_key(str(path)))
    members: dict[str, list[_Member]] = {}
    damaged: list[Path] = []
    for path in files:
        if not _is_nifti(path):
            try:
                if (header := _header(path)) is not None:
                    members.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
            except UserError as error:
                log.warning("%s", error)
                damaged.append(path)
    found: dict[str, FoundScan] = {}
    others: list[str] = []
    for listed in members.values():
        kept = [one for one in listed if not _is_localiser(one[1])]
        if kept and kept[0][1].get("Modality") == "CT":
            name = _name(listed, place, found)
            found[name] = _dicom_series(name, listed, damaged)
        else:
            others.append("localiser" if not kept else str(kept[0][1].get("Modality", "no modality")))
    for path in filter(_is_nifti, files):
        parts = path.relative_to(place).parts if place.is_dir() else (path.name,)
        name = _free("_".join(parts).removesuffix(".gz").removesuffix(".nii"), found)
        found[name] = FoundScan(name, name, _content(path), functools.partial(_nifti_scan, name, path))
    if not found:
        seen = f" ({', '.join(sorted(set(others)))} series are not)" if others else ""
        raise UserError(f"input={place}: expected a CT series or a NIfTI file, found none{seen}; name another folder.")
    if others:
        log.warning("Left out, no CT slices: %s", ", ".join(sorted(others)))
    return _chosen(list(found.values()), series, place)


def _chosen(found: Sequence[FoundScan], series: str | None, place: Path) -> list[FoundScan]:
    if series is not None and series != "all":
        chosen = [one for one in found if one.name == series]
        if not chosen:
            names = ", ".join(one.name for one in found)
            raise UserError(f"series={series}: expected one of {names} in {place}; name one, or all.")
        return chosen
    patients = [one.patient for one in found]
    several = [one.name for one in found if patients.count(one.patient) > 1]
    if several and series is None:
        raise UserError(
            f"input={place}: expected one CT series a patient, found {', '.join(several)}; choose with series=NAME, or "
            "series=all."
        )
    return list(found)


def _chaos_patient(patient: str, folder: Path) -> FoundScan:
    def listed() -> list[_Member]:
        paths = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: natural_key(path.name))
        return [(path, header) for path in paths if (header := _header(path)) is not None]

    names = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir())
    return FoundScan(patient, patient, _hash(names), lambda: _dicom_scan(patient, listed(), by_name=True))


def _dicom_series(name: str, members: Sequence[_Member], damaged: Sequence[Path]) -> FoundScan:
    once: dict[str, _Member] = {}  # a copy of a slice elsewhere is the same slice
    for path, header in members:
        once.setdefault(str(header.SOPInstanceUID), (path, header))
    kept = list(once.values())
    folders = {path.parent for path, _ in kept}
    lost = [path.name for path in damaged if path.parent in folders]
    told = [f"{len(lost)} files beside its slices can't be read, {lost[0]} first"] if lost else []
    identity = _hash(sorted((uid, path.stat().st_size) for uid, (path, _) in once.items()))
    patient = str(kept[0][1].get("PatientID", ""))
    return FoundScan(name, patient, identity, functools.partial(_dicom_scan, name, kept, by_name=False, told=told))


def _is_localiser(header: pydicom.Dataset) -> bool:
    return "LOCALIZER" in list(header.get("ImageType") or [])


def _hash(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ordinary_files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for folder, _, names in os.walk(place):
        yield from (path for name in names if (path := Path(folder, name)).is_file() and not name.startswith("."))


def _is_nifti(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz"))


def _header(path: Path) -> pydicom.Dataset | None:
    """The attributes that tell a series and its geometry; None for what is no DICOM file.

    Raises:
        UserError: it is one by its name or its preamble, but can't be read.
    """
    try:
        with path.open("rb") as file:
            dicom = file.read(132)[128:] == b"DICM"
        if not dicom and path.suffix.lower() != ".dcm":
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        if "SOPInstanceUID" not in header:
            raise ValueError("it has no SOPInstanceUID")
        return header if "Modality" in header else None  # a DICOMDIR has none
    except OSError as error:
        raise UserError(f"{path}: expected a DICOM file, but {error.strerror or error}; copy it again.") from None
    except Exception as error:  # damaged bytes raise anything in pydicom
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: expected a DICOM file, found a damaged one ({reason:.100}); copy it again.") from None


def _name(members: Sequence[_Member], place: Path, taken: Mapping[str, Any]) -> str:
    """The folder of a series below `place`, with the series number where several lie in one."""
    folder = Path(os.path.commonpath([path.parent for path, _ in members]))
    parts = folder.relative_to(place).parts if place.is_dir() and folder != place else (folder.name,)
    name = "_".join(parts) or "scan"
    number = members[0][1].get("SeriesNumber")
    return _free(name if name not in taken or number in (None, "") else f"{name}_series{number}", taken)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    return next(n for n in (name, *(f"{name}_{k}" for k in range(2, 100_000))) if n not in taken)


def _dicom_scan(name: str, members: Sequence[_Member], by_name: bool, told: Sequence[str] = ()) -> Scan:
    """A series as a scan, its slices by file name or from the head down.

    Raises:
        UserError: no slice, a slice of another geometry, or two at one place.
    """
    kept = [(path, header) for path, header in members if not _is_localiser(header)]
    if len(kept) < len(members):
        told = [*told, f"{len(members) - len(kept)} localiser slices left out"]
    if not kept:
        raise UserError(f"{name}: expected CT slices, found none; name another series.")
    slices = [(path, *_geometry(path, header)) for path, header in kept]
    first, _, orientation, spacing, size = slices[0]
    for path, _, *found in slices[1:]:
        for what, one, other, tolerance in zip(
            ("ImageOrientationPatient", "PixelSpacing", "Rows and Columns"),
            (orientation, spacing, size),
            found,
            (GEOMETRY_MM / 10, GEOMETRY_MM / 10, 0.5),
            strict=True,
        ):
            if np.abs(one - other).max() > tolerance:
                raise UserError(
                    f"{path}: expected the {what} of {first.name}, {one.tolist()}, found {other.tolist()}; it is of "
                    "another series: remove it."
                )
    normal = slice_normal(tuple(orientation))
    normal = normal * np.sign(normal[np.abs(normal).argmax()])  # towards the head, the back or the left
    if not by_name:
        slices.sort(key=lambda one: -float(normal @ one[1]))
    z = np.array([float(normal @ one[1]) for one in slices])
    order = np.argsort(z)
    for one, other in pairwise(order):
        if z[other] - z[one] < GEOMETRY_MM:
            raise UserError(
                f"{slices[other][0]}: expected one slice at {z[one]:.2f} mm, found {slices[one][0].name} there too; "
                "remove one of the two."
            )
    if len(set(np.sign(np.diff(z)))) > 1:
        told = [*told, "file names are not in the order of the slices: masks are numbered by file name"]
    thickness = float(kept[0][1].get("SliceThickness") or 0)
    if len(slices) == 1:
        told = [*told, f"a single slice: its volume is that of {thickness or 1.0:g} mm"]
    files = tuple(one[0] for one in slices)
    return Scan(
        name=name,
        files=files,
        shape=(len(slices), int(size[0]), int(size[1])),
        origin_mm=np.array([one[1] for one in slices]),
        row_mm=orientation[3:] * spacing[0],
        column_mm=orientation[:3] * spacing[1],
        read=functools.partial(_read_dicom, files),
        warnings=(*told, *_gaps(z)),
        synthetic=kept[0][1].get("SyntheticData") == "YES",
        thickness_mm=thickness or 1.0,
    )


def _geometry(path: Path, header: pydicom.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Position (3,), orientation (6,), pixel spacing (2,) and size (2,) of a slice."""
    if (int(header.get("NumberOfFrames") or 1), int(header.get("SamplesPerPixel") or 1)) != (1, 1):
        raise UserError(
            f"{path}: expected one grey slice a file, found several frames or colours; export it as single slices."
        )
    try:
        found = [
            np.array([float(value) for value in header[tag].value])
            for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
        ]
        position, orientation, spacing = found
        size = np.array([int(header.Rows), int(header.Columns)])
        axes = orientation.reshape(2, 3)
        sound = np.isfinite(np.concatenate(found)).all() and position.shape == (3,) and spacing.min() > 0
        sound = sound and np.allclose(axes @ axes.T, np.eye(2), atol=1e-3) and spacing.shape == (2,)
    except (KeyError, TypeError, ValueError, AttributeError):
        sound = False
    if not sound:
        raise UserError(
            f"{path}: expected ImagePositionPatient, ImageOrientationPatient and PixelSpacing, found none that can be "
            "used; without them no mask can be placed, so export the series again."
        )
    return position, orientation, spacing, size


def _gaps(z: np.ndarray) -> list[str]:
    """Where the distance between neighbours is not the usual one."""
    ordered = np.sort(z)
    steps = np.diff(ordered)
    usual = float(np.median(steps)) if len(steps) else 0.0
    uneven = np.flatnonzero(np.abs(steps - usual) > UNEVEN * usual)
    if not len(uneven):
        return []
    places = ", ".join(f"{ordered[k]:.1f} to {ordered[k + 1]:.1f} mm" for k in uneven[:5])
    more = f" and {len(uneven) - 5} more" if len(uneven) > 5 else ""
    return [f"uneven: slices are {usual:.2f} mm apart, but not from {places}{more}; masks are placed where they are"]


def _read_dicom(files: Sequence[Path], rank: int) -> np.ndarray:
    return read_slice(files[rank])[1]


def _nifti_scan(name: str, path: Path) -> Scan:
    try:
        import nibabel as nib
    except ImportError:
        raise UserError(f"{path}: NIfTI needs nibabel; install it with pip install -e '.[clinical]'.") from None
    try:
        image: Any = nib.load(path, keep_file_open=True)
        affine = np.asarray(image.affine, float)
        shape = tuple(int(n) for n in image.shape)
        kind = image.get_data_dtype().kind
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: expected a NIfTI volume, found none that can be read ({reason:.200}).") from None
    flat = not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6
    if len(shape) != 3 or min(shape) < 1 or flat or kind not in "iuf":
        raise UserError(
            f"{path}: expected a volume of numbers with three axes and an affine, found shape {shape}, kind {kind!r}; "
            "save one volume of HU."
        )
    steps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]  # RAS to LPS
    # nibabel's axes are (column, row, slice) of a scanner's file; which is which in the patient, Axial tells.
    ranks = np.arange(shape[2])[:, None]

    def read(rank: int) -> np.ndarray:
        try:
            plane = np.asarray(image.dataobj[..., rank], np.float32).T
        except (EOFError, ValueError, TypeError, OSError, zlib.error) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{path}: slice {rank + 1} of {shape[2]} can't be read ({reason:.200}); copy it again."
            ) from None
        return np.clip(np.rint(np.nan_to_num(plane, nan=HU_RANGE[0])), *HU_RANGE).astype(np.int16)

    return Scan(
        name=name,
        files=(path,),
        shape=(shape[2], shape[1], shape[0]),
        origin_mm=steps[:, 3] + ranks * steps[:, 2],
        row_mm=steps[:, 1],
        column_mm=steps[:, 0],
        read=read,
        warnings=() if str(image.header.get_xyzt_units()[0]) in ("mm", "unknown") else ("its units are not mm",),
    )


@dataclass(frozen=True)
class Axial:
    """A scan seen as the network was trained: slices along the body, rows to the back, columns to the left."""

    axes: tuple[int, int, int]  # the scan's axis that is the slices', the rows' and the columns'
    flips: tuple[bool, bool, bool]

    @classmethod
    def of(cls, scan: Scan) -> "Axial":
        """From the scan's directions; an oblique scan takes the nearest axes."""
        step = scan.origin_mm[-1] - scan.origin_mm[0] if scan.shape[0] > 1 else np.cross(scan.column_mm, scan.row_mm)
        directions = np.stack([d / np.linalg.norm(d) for d in (step, scan.row_mm, scan.column_mm)])  # (axis, xyz)
        axes = [-1, -1, -1]  # of z, y, x
        left = {0, 1, 2}
        for _ in range(3):  # the clearest first, each axis once
            axis, along = max(
                ((a, b) for a in left for b in range(3) if axes[2 - b] < 0), key=lambda p: abs(directions[p])
            )
            axes[2 - along] = axis
            left.remove(axis)
        z, y, x = axes
        return cls((z, y, x), (False, bool(directions[y, 1] < 0), bool(directions[x, 0] < 0)))

    @property
    def streams(self) -> bool:
        """Whether the scan's slices are axial, so that they can be read one by one."""
        return self.axes[0] == 0

    def slices(self, scan: Scan) -> Iterator[np.ndarray]:
        """HU of each axial slice, as the network wants it."""
        if self.streams:
            yield from (self._plane(scan.hu(rank)) for rank in range(scan.shape[0]))
        else:
            yield from np.flip(
                np.stack([scan.hu(rank) for rank in range(scan.shape[0])]).transpose(self.axes), self._flipped
            )

    @property
    def _flipped(self) -> tuple[int, ...]:
        return tuple(axis for axis, flip in enumerate(self.flips) if flip)

    def _plane(self, plane: np.ndarray) -> np.ndarray:
        turned = plane.T if self.axes[1] == 2 else plane
        return np.ascontiguousarray(np.flip(turned, tuple(axis - 1 for axis in self._flipped)))

    def plane_back(self, plane: np.ndarray) -> np.ndarray:
        """An axial slice in the scan's own axes again, where it streams."""
        turned = np.flip(plane, tuple(axis - 1 for axis in self._flipped))
        return turned.T if self.axes[1] == 2 else turned

    def back(self, mask: np.ndarray) -> np.ndarray:
        """A volume of axial slices in the scan's own axes again."""
        return np.flip(mask, self._flipped).transpose(np.argsort(self.axes))
