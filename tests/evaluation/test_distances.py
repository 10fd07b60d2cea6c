import numpy as np
import pytest

from chaos_seg.evaluation import distances
from chaos_seg.evaluation.distances import border_voxels, nearest_mm
from chaos_seg.evaluation.masks import bounding_box

SPACING = np.array([2.5, 0.7, 0.8])


def brute(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    apart = (a[:, :, None] - b[:, None]) * SPACING[:, None, None]
    return np.sqrt((apart**2).sum(axis=0)).min(axis=1)


@pytest.mark.parametrize("many", [0, 300_000])  # a transform of each plane, or neighbours and a tree
@pytest.mark.parametrize("shift", [0, 3, 40])  # all near, some, none
def test_distances_are_those_of_all_pairs(many: int, shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(shift)
    a, b = (np.stack(np.nonzero(rng.random((7, 15, 12)) < share)) for share in (0.4, 0.05))
    b[1] += shift
    monkeypatch.setattr(distances, "MANY", many)
    for one, other in ((a, b), (b, a)):
        assert nearest_mm(one, other, SPACING) == pytest.approx(brute(one, other), rel=1e-14)


def test_border_where_the_volume_ends() -> None:
    mask = np.zeros((4, 6, 6), bool)
    mask[:, :4, 1:5] = True  # leaves the volume on both ends of the first axis, and at the start of the second
    box = bounding_box(mask, margin=1)
    inner = border_voxels(mask, box)
    assert {tuple(v) for v in inner.T} == {(z, y, x) for z in range(4) for y in range(4) for x in range(1, 5)} - {
        (z, y, x) for z in range(4) for y in range(3) for x in (2, 3)
    }
    outer = border_voxels(mask, bounding_box(mask), outside=False)
    assert outer.shape[1] == mask.sum() - 2 * 2 * 2  # but for what has all six neighbours inside
