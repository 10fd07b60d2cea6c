import numpy as np
import pytest
from scipy import ndimage

from chaos_seg.evaluation import distances
from chaos_seg.evaluation.distances import MAX_SIDE, Border, Grid, _squares, border_distances, nearest_mm
from chaos_seg.evaluation.masks import border

SPACING = np.array([2.5, 0.7, 0.8])


def brute(a: np.ndarray, b: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    apart = (a[:, :, None] - b[:, None]) * spacing[:, None, None]
    return np.sqrt((apart**2).sum(axis=0)).min(axis=1)


@pytest.mark.parametrize("many", [0, 300_000])  # a transform of each plane, or neighbours and a tree
@pytest.mark.parametrize("shift", [0, 3, 40])  # all near, some, none
@pytest.mark.parametrize("spacing", [SPACING, np.array([2.5, 0.7, 0.7]), np.array([0.3, 0.7, 0.7])])
def test_distances_are_those_of_all_pairs(
    many: int, shift: int, spacing: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(shift)
    a, b = (np.stack(np.nonzero(rng.random((7, 15, 12)) < share)) for share in (0.4, 0.05))
    b[1] += shift
    monkeypatch.setattr(distances, "MANY", many)
    grid = Grid((7, 15 + shift, 12), spacing)
    numbers_a, numbers_b = (np.ravel_multi_index(tuple(places), grid.shape) for places in (a, b))
    assert nearest_mm(numbers_a, numbers_b, grid) == pytest.approx(brute(a, b, spacing), rel=1e-14)
    assert nearest_mm(numbers_b, numbers_a, grid) == pytest.approx(brute(b, a, spacing), rel=1e-14)


@pytest.mark.parametrize("spacing", [SPACING, np.array([2.5, 0.7, 0.7])])
def test_planes_are_looked_at_no_further_than_some_of_them_need(
    spacing: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distances, "MANY", 0)
    rng, grid = np.random.default_rng(0), Grid((40, 90, 120), spacing)
    marked, other = np.zeros(grid.shape, bool), rng.random(grid.shape) < 0.001
    marked[:, 20:30, 30:50] = rng.random((40, 10, 20)) < 0.05
    other[3:14] = other[20] = False
    other[5, 80, 100] = other[20, 25, 40] = True  # far from all of the marked; a single one amid them
    a, b = (np.flatnonzero(volume) for volume in (marked, other))
    assert nearest_mm(a, b, grid) == pytest.approx(brute(grid.places(a), grid.places(b), spacing), rel=1e-14)


def test_border_where_the_volume_ends() -> None:
    mask = np.zeros((4, 6, 6), bool)
    mask[:, :4, 1:5] = True  # leaves the volume on both ends of the first axis, and at the start of the second
    found = Border.of(mask)
    places = np.unravel_index(found.voxels[found.inner], mask.shape)
    assert set(zip(*places, strict=True)) == {(z, y, x) for z in range(4) for y in range(4) for x in (1, 4)} | {
        (z, 3, x) for z in range(4) for x in range(1, 5)
    }
    with_six_neighbours = 2 * 2 * 2
    assert len(found.voxels) == mask.sum() - with_six_neighbours


@pytest.mark.parametrize("seed", range(6))
def test_borders_with_and_without_the_volumes_ends(seed: int) -> None:
    rng = np.random.default_rng(seed)
    blobs = [ndimage.gaussian_filter(rng.standard_normal((9, 24, 24)), 1.5) > 0.05 for _ in range(3)]
    blobs[2][:, :, : 4 * seed] = False  # far from a part of the other's border
    reference = blobs.pop()
    for mask, found in zip(blobs, border_distances(blobs, reference, SPACING), strict=True):
        for ends in (False, True):
            a, b = (np.stack(np.nonzero(border(one, outside=not ends))) for one in (mask, reference))
            expected = brute(a, b, SPACING), brute(b, a, SPACING)
            for distances_mm, true in zip(found.mm(ends), expected, strict=True):
                assert distances_mm == pytest.approx(true, rel=1e-14)


@pytest.mark.parametrize("spacing", [(0.7, 0.7), (0.7, 0.8)])
@pytest.mark.parametrize("shape", [(60, 90), (MAX_SIDE, MAX_SIDE), (MAX_SIDE + 1, 60), (1024, 1024)])
def test_squares_in_a_plane_are_exact_up_to_its_corners(spacing: tuple[float, float], shape: tuple[int, int]) -> None:
    """In the last shape OpenCV takes the second nearest for the nearest."""
    rows, columns = np.indices(shape)
    for points in ([(0, 0), (5, 20)], [(0, 0)], [(3, shape[1] - 1), (shape[0] - 1, 1), (7, 7)]):
        outside = np.ones(shape, bool)
        outside[tuple(zip(*points, strict=True))] = False
        each = [((rows - y) * spacing[0]) ** 2 + ((columns - x) * spacing[1]) ** 2 for y, x in points]
        found = _squares(outside, np.array(spacing)).astype(float) * spacing[0] ** 2
        np.testing.assert_allclose(found, np.min(each, axis=0), rtol=1e-12)
