"""Where a mask is in the patient, by other readers and by the standard's attributes alone."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy.spatial import cKDTree

from chaos_seg.data.dicom import read_mask, read_slice

hd = pytest.importorskip("highdicom")


nib = pytest.importorskip("nibabel")


sitk = pytest.importorskip("SimpleITK")


def source_points(paths: Iterable[Path]) -> np.ndarray:
    """Where the liver is, by the attributes of the slices alone (PS3.3 C.7.6.2.1.1)."""
    points = [placed(pydicom.dcmread(path), read_slice(path)[1] > 0) for path in paths]
    return np.concatenate(points)


def placed(ds: pydicom.Dataset, plane: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(plane)
    orientation = np.array(ds.ImageOrientationPatient, float)
    between_rows, between_columns = map(float, ds.PixelSpacing)
    along_row, along_column = columns[:, None] * orientation[:3], rows[:, None] * orientation[3:]
    return np.array(ds.ImagePositionPatient, float) + along_row * between_columns + along_column * between_rows


def by_nibabel(path: Path) -> np.ndarray:
    image = nib.load(path)
    points = nib.affines.apply_affine(image.affine, np.argwhere(np.asarray(image.dataobj)))
    return points * [-1, -1, 1]


def by_itk(path: Path) -> np.ndarray:
    image = sitk.ReadImage(str(path))
    marked = np.argwhere(sitk.GetArrayFromImage(image))[:, ::-1]
    return np.array([image.TransformIndexToPhysicalPoint([int(k) for k in index]) for index in marked])


def by_highdicom(path: Path, sources: list[Path]) -> np.ndarray:
    """The mask of each source slice, as highdicom links it, which is compared with the frames' own positions."""
    seg = hd.seg.segread(path)
    slices = [pydicom.dcmread(source) for source in sources]
    uids = [ds.SOPInstanceUID for ds in slices]
    masks = seg.get_pixels_by_source_instance(uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True)
    linked = np.concatenate([placed(ds, plane[..., 0]) for ds, plane in zip(slices, masks, strict=True)])
    own = []
    for plane, groups in zip(
        seg.pixel_array.reshape(-1, seg.Rows, seg.Columns), seg.PerFrameFunctionalGroupsSequence, strict=True
    ):
        shared = seg.SharedFunctionalGroupsSequence[0]
        ds = pydicom.Dataset()
        ds.ImagePositionPatient = groups.PlanePositionSequence[0].ImagePositionPatient
        ds.ImageOrientationPatient = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        ds.PixelSpacing = shared.PixelMeasuresSequence[0].PixelSpacing
        own.append(placed(ds, plane))
    assert same_points(np.concatenate(own), linked)
    return linked


def by_png(folder: Path, sources: list[Path]) -> np.ndarray:
    """PNG have no place: the k-th is of the k-th slice from the head down."""
    slices = sorted((pydicom.dcmread(path) for path in sources), key=height, reverse=True)
    masks = [read_mask(path)[1] for path in sorted(folder.iterdir())]
    return np.concatenate([placed(ds, mask) for ds, mask in zip(slices, masks, strict=True)])


def height(ds: pydicom.Dataset) -> float:
    orientation = np.array(ds.ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    return float(np.sign(normal[np.abs(normal).argmax()]) * (normal @ np.array(ds.ImagePositionPatient, float)))


def same_points(points: np.ndarray, expected: np.ndarray) -> bool:
    """Whether each point has one of the other set within 0.01 mm, and there are as many."""
    apart = max(cKDTree(a).query(b)[0].max() for a, b in ((points, expected), (expected, points)))
    return len(points) == len(expected) and apart < 0.01
