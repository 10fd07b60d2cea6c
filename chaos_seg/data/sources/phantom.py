"""A synthetic CHAOS tree: abdomens of simple shapes, as real DICOM and 1-bit PNG with the traps of the real one.

Three rescale intercepts, both naming schemes, z that descends along the file names, SliceThickness larger than the
step, pixels of 49,944 HU in a corner, slices without liver at both ends. Spleen and muscle are as bright as the
liver, so that no threshold finds it: a network has to learn where it lies. Every file carries SyntheticData = YES.
"""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

from chaos_seg.data.sources import Source
from chaos_seg.data.sources.chaos import chaos
from chaos_seg.errors import UserError
from chaos_seg.files import locked, write_json
from chaos_seg.registry import SOURCES

INTERCEPTS = (-1000, -1024, -1200)
CORNER_HU = 49_944
FIELD_OF_VIEW_MM = 370.0
HEIGHT_MM = 240.0  # along z, from above the dome of the liver to below its tip
OVERLAP = 1.6  # SliceThickness / step


@dataclass(frozen=True)
class Phantom:
    """The settings that a phantom tree is a function of."""

    patients: int
    slices: int
    size: int  # rows and columns
    seed: int


@SOURCES.register("phantom")
def phantom(root: Path | None, store: Path, patients: int, slices: int, size: int, seed: int) -> Source:
    """Synthetic patients, written as a CHAOS tree into the store on first use."""
    return chaos(write_phantom(store, Phantom(patients, slices, size, seed)))


def write_phantom(store: Path, settings: Phantom) -> Path:
    """Write the tree that `settings` describe below `store`, unless it is there; returns its root."""
    if min(settings.patients, settings.slices) < 1 or settings.size < 16 or settings.seed < 0:
        raise UserError(
            f"data.source: expected at least 1 patient, 1 slice, size 16 and a seed from 0, found {settings.patients} "
            f"patients, {settings.slices} slices, size {settings.size} and seed {settings.seed}."
        )
    name = f"phantom_p{settings.patients}_s{settings.slices}_{settings.size}px_seed{settings.seed}"
    root = store / "phantoms" / name
    with locked(store / "locks" / name):
        if not root.is_dir():
            partial = root.with_name(f".{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                for number in range(1, settings.patients + 1):
                    _write_patient(partial / "Train_Sets" / "CT" / str(number), number, settings)
                write_json(partial / "phantom.json", asdict(settings))
                partial.rename(root)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return root


def _write_patient(folder: Path, number: int, phantom: Phantom) -> None:
    rng = np.random.default_rng([phantom.seed, number])
    dicom_dir, mask_dir = folder / "DICOM_anon", folder / "Ground"
    dicom_dir.mkdir(parents=True)
    mask_dir.mkdir()
    intercept = INTERCEPTS[number % len(INTERCEPTS)]
    study = [str(phantom.seed), str(number)]
    for rank, (hu, liver) in enumerate(render(rng, phantom.slices, phantom.size)):
        if number % 3 == 1:
            hu[0, :2] = CORNER_HU
        name = f"IMG-{number:04d}-{rank + 1:05d}.dcm" if number % 2 else f"i{rank:04d},0000b.dcm"
        dataset = _dicom(hu, intercept, number, rank, phantom, study)
        dataset.save_as(dicom_dir / name, enforce_file_format=True)
        Image.fromarray(liver).convert("1").save(mask_dir / f"liver_GT_{rank:03d}.png")


def _dicom(hu: np.ndarray, intercept: int, number: int, rank: int, phantom: Phantom, study: list[str]) -> Dataset:
    step = HEIGHT_MM / phantom.slices
    spacing = FIELD_OF_VIEW_MM / phantom.size
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid(entropy_srcs=[*study, str(rank)])
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[*study, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[*study, "series"])
    ds.SyntheticData = "YES"
    ds.Modality = "CT"
    ds.PatientName = f"PHANTOM^{number}"
    ds.PatientID = ""
    ds.InstanceNumber = rank + 1
    ds.ImagePositionPatient = [-FIELD_OF_VIEW_MM / 2, -FIELD_OF_VIEW_MM / 2, round(-step * rank, 4)]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [spacing, spacing]
    ds.SliceThickness = round(OVERLAP * step, 4)
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows = ds.Columns = phantom.size
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 0
    ds.RescaleIntercept = intercept
    ds.RescaleSlope = 1
    ds.PixelData = np.clip(hu - intercept, 0, 65535).astype("<u2").tobytes()
    return ds


def render(rng: np.random.Generator, slices: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw one patient, head first.

    Coordinates: x from -1 (the patient's right, left in the picture) to 1, y from -1 (front) to 1 (back), z from 0
    (head) to 1 (feet).

    Yields:
        int64 HU and bool liver, each (size, size), slice by slice.
    """
    anatomy = _Anatomy.drawn(rng)
    for rank in range(slices):
        section = _Section(anatomy, size, (rank + 0.5) / slices)
        hu = np.full((size, size), -1000.0)
        _paint_body(hu, section)
        _paint_organs(hu, section)
        liver = _paint_liver(hu, section)
        _paint_bones(hu, section)

        hu = ndimage.gaussian_filter(hu, size / 256)  # partial volume
        grain = ndimage.gaussian_filter(rng.standard_normal((size, size)), 0.6)
        hu += anatomy.noise_hu * grain / grain.std()
        hu[section.flat_x**2 + section.flat_y**2 > 1] = -2048  # outside the scanner's circle; the file stores it as 0
        yield np.rint(hu).astype(np.int64), liver


@dataclass(frozen=True)
class _Anatomy:
    """What differs between patients."""

    half_width: float
    half_depth: float
    fat: float
    wall: float
    shift: np.ndarray  # of all organs together, (3,)
    scale: float
    liver_hu: float
    spleen_hu: float
    heart_hu: float
    muscle_hu: float
    noise_hu: float
    waves: list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # frequency, phase and size of each
    rib_phase: float
    vessel_phase: np.ndarray
    kidneys_z: np.ndarray
    stomach: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "_Anatomy":
        draw = rng.uniform  # in this order, since a seed stands for a patient
        half_width, half_depth = draw(0.74, 0.92), draw(0.52, 0.68)
        fat, wall = draw(0.03, 0.12), draw(0.08, 0.13)
        shift = draw(-0.04, 0.04, 3)
        scale = draw(0.88, 1.12)
        liver_hu = draw(85, 165)
        spleen_hu, heart_hu, muscle_hu = liver_hu + draw(-8, 8, 3) - (0, 0, 6)
        return cls(
            half_width=half_width,
            half_depth=half_depth,
            fat=fat,
            wall=wall,
            shift=shift,
            scale=scale,
            liver_hu=liver_hu,
            spleen_hu=spleen_hu,
            heart_hu=heart_hu,
            muscle_hu=muscle_hu,
            noise_hu=draw(10, 18),
            waves=[(draw(1.5, 3.5, 3), draw(0, 2 * np.pi, 2), draw(0.015, 0.035, 2)) for _ in range(3)],
            rib_phase=draw(0, 1),
            vessel_phase=draw(0, 2 * np.pi, 4),
            kidneys_z=draw(0.6, 0.7, 2),
            stomach=draw(-0.05, 0.05, 3),
        )


class _Section:
    """One slice through a patient: where its pixels lie, and what contains them."""

    def __init__(self, anatomy: _Anatomy, size: int, z: float):
        self.anatomy, self.z = anatomy, z
        grid = (np.arange(size) + 0.5) / size * 2 - 1
        self.flat_y, self.flat_x = np.meshgrid(grid, grid, indexing="ij")
        self.x, self.y = self.flat_x.copy(), self.flat_y.copy()
        for frequency, phase, amplitude in anatomy.waves:  # bend the space, so that no organ is an ellipsoid
            self.x += amplitude[0] * np.sin(frequency[0] * self.flat_y * 2 + frequency[2] * z * 3 + phase[0])
            self.y += amplitude[1] * np.sin(frequency[1] * self.flat_x * 2 + frequency[2] * z * 3 + phase[1])
        radius = np.sqrt((self.flat_x / anatomy.half_width) ** 2 + (self.flat_y / anatomy.half_depth) ** 2)
        self.body, self.muscle = radius < 1, radius < 1 - anatomy.fat
        self.cavity = radius < 1 - anatomy.fat - anatomy.wall
        shift = anatomy.shift
        dome = 0.5 - anatomy.scale * (0.33 - 0.6 * ((self.x + 0.36 - shift[0]) ** 2 + (self.y - shift[1]) ** 2))
        self.lung = self.cavity & (z - shift[2] < np.minimum(dome, 0.36))  # the diaphragm lies on the liver

    def ball(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        """Inside of an ellipsoid, moved and scaled with the patient."""
        cx, cy, cz = (c + s for c, s in zip(centre, self.anatomy.shift, strict=True))
        rx, ry, rz = (r * self.anatomy.scale for r in radii)
        return ((self.x - cx) / rx) ** 2 + ((self.y - cy) / ry) ** 2 + ((self.z - cz) / rz) ** 2 < 1

    def tube(self, cx: float, cy: float, radius: float) -> np.ndarray:
        """Inside of a circle, the section of something that runs along z."""
        return (self.x - cx) ** 2 + (self.y - cy) ** 2 < radius**2


def _paint_body(hu: np.ndarray, section: _Section) -> None:
    hu[section.body] = -100
    hu[section.muscle] = section.anatomy.muscle_hu
    hu[section.cavity] = -95


def _paint_organs(hu: np.ndarray, section: _Section) -> None:
    """All but the liver, which lies over them."""
    anatomy, cavity, ball = section.anatomy, section.cavity, section.ball
    x, y, z = section.x, section.y, section.z
    bowel = cavity & (z > 0.55) & (np.sin(9 * x + 12 * z) * np.sin(11 * y + 7 * z) > 0.35) & (y < 0.15)
    hu[bowel] = 35
    gut = (0.28 + anatomy.stomach[0], -0.2 + anatomy.stomach[1], 0.42 + anatomy.stomach[2])
    hu[cavity & ball(gut, (0.26, 0.2, 0.2))] = 25
    hu[cavity & ball((gut[0], gut[1] - 0.1, gut[2]), (0.14, 0.07, 0.14))] = -900  # its air rises to the front
    hu[cavity & ball((0.52, 0.16, 0.45), (0.2, 0.24, 0.2))] = anatomy.spleen_hu
    for side, kidney_z in zip((-1, 1), anatomy.kidneys_z, strict=True):
        hu[cavity & ball((side * 0.36, 0.26, kidney_z), (0.12, 0.12, 0.17))] = anatomy.liver_hu + 55
        hu[cavity & ball((side * 0.32, 0.25, kidney_z), (0.04, 0.05, 0.1))] = 15
    heart = ball((0.05, -0.15, 0.05), (0.34, 0.3, 0.2))
    hu[heart & cavity] = anatomy.heart_hu
    hu[section.lung & ~heart] = -850


def _paint_liver(hu: np.ndarray, section: _Section) -> np.ndarray:
    """With its vessels, the gallbladder and the large vessels behind it; returns the mask of the liver."""
    anatomy, cavity, lung, ball, tube = section.anatomy, section.cavity, section.lung, section.ball, section.tube
    shift = anatomy.shift
    right = ball((-0.36, 0.0, 0.5), (0.42, 0.42, 0.33))
    left = ball((-0.02, -0.2, 0.38), (0.36, 0.18, 0.15))
    gallbladder = ball((-0.24, -0.2, 0.62), (0.08, 0.1, 0.08))
    cava, aorta = tube(-0.1 + shift[0], 0.2, 0.055), tube(0.08 + shift[0], 0.24, 0.055)
    spine = tube(0.0, anatomy.half_depth * 0.55, 0.15)
    liver = cavity & (right | left) & ~lung & ~gallbladder & ~cava & ~aorta & ~spine
    liver &= ~ball((-0.36, 0.3, anatomy.kidneys_z[0]), (0.15, 0.16, 0.19))  # the right kidney presses into it
    hu[liver] = anatomy.liver_hu
    for number, phase in enumerate(anatomy.vessel_phase):  # vessels inside the liver belong to it
        cx = -0.3 + 0.2 * np.cos(phase + 5 * section.z + number)
        cy = 0.2 * np.sin(phase + 4 * section.z - number)
        hu[liver & tube(cx + shift[0], cy + shift[1], 0.03)] = anatomy.liver_hu + 45
    hu[gallbladder & cavity & ~lung] = 12
    hu[(cava | aorta) & cavity] = anatomy.liver_hu + 60
    return liver


def _paint_bones(hu: np.ndarray, section: _Section) -> None:
    """Spine and ribs, and the muscles beside the spine."""
    anatomy, muscle, tube = section.anatomy, section.muscle, section.tube
    hu[tube(0.0, anatomy.half_depth * 0.55, 0.15)] = 180
    hu[tube(0.0, anatomy.half_depth * 0.55, 0.12)] = 260
    for side in (-1, 1):
        hu[muscle & tube(side * 0.24, anatomy.half_depth * 0.74, 0.16)] = anatomy.muscle_hu
    angle = np.arctan2(section.flat_y / anatomy.half_depth, section.flat_x / anatomy.half_width)
    striped = np.cos(9 * angle + 2 * np.pi * (4 * section.z + anatomy.rib_phase)) > 0.75
    ribs = muscle & ~section.cavity & striped & (section.z < 0.7)
    hu[ribs] = 350
