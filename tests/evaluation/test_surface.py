import math

import numpy as np
import pytest

from chaos_seg.evaluation.surface import hd95_and_surface_dice

SPACING = (2.0, 0.5, 1.0)


def volume(*places: tuple) -> np.ndarray:
    mask = np.zeros((6, 8, 30), np.uint8)
    for place in places:
        mask[place] = 1
    return mask


def hd95_mm(*masks_and_spacing) -> float:
    return hd95_and_surface_dice(*masks_and_spacing, tolerance_mm=1)[0]


def surface_dice(*masks_spacing_tolerance) -> float:
    return hd95_and_surface_dice(*masks_spacing_tolerance)[1]


def test_hd95_is_the_larger_of_two_interpolated_percentiles() -> None:
    row = volume((2, 3, slice(0, 21)))
    dot = volume((2, 3, 0))
    # From the row's voxels 0, 1 ... 20 mm, whose 95th percentile is 19; back 0. In one pool it would be 18.95.
    assert hd95_mm(row, dot, SPACING) == hd95_mm(dot, row, SPACING) == pytest.approx(19)


def test_outside_the_volume_is_background_for_monai() -> None:
    full, hollow = np.ones((5, 5, 5), bool), np.ones((5, 5, 5), bool)
    hollow[1:4, 1:4, 1:4] = False
    # The challenge's border has no voxel of the full volume; MONAI's is its 98 outer ones.
    assert hd95_mm(full, hollow, (1, 1, 1)) == 0 and surface_dice(full, hollow, (1, 1, 1), 0) == 1


def test_surface_dice_counts_edge_voxels_within_the_tolerance() -> None:
    a, b = volume((2, 3, slice(0, 10))), volume((2, 3, slice(4, 12)))
    # Further than 1 mm: 0, 1, 2 of the ten of a, and 11 of the eight of b is 2 mm from 9.
    assert surface_dice(a, b, SPACING, 1.0) == pytest.approx((10 - 3 + 8 - 1) / 18)
    assert surface_dice(a, b, SPACING, 4.0) == 1
    z_step = volume((1, 3, slice(0, 10))), volume((2, 3, slice(0, 10)))
    assert surface_dice(*z_step, SPACING, 1.9) == 0 and surface_dice(*z_step, SPACING, 2.0) == 1


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("seed", range(5))
def test_both_are_monais(seed: int) -> None:
    metrics = pytest.importorskip("monai.metrics")
    import torch

    rng = np.random.default_rng(seed)
    a, b = np.zeros((2, 9, 12, 11), bool)
    a[2:7, :9, 3:], b[3:8, 1:10, 4:] = rng.random((5, 9, 8)) > 0.3, rng.random((5, 9, 7)) > 0.1 + 0.2 * seed
    whole = [torch.from_numpy(mask)[None, None] for mask in (a, b)]
    options = {"include_background": True, "spacing": list(SPACING)}
    for tolerance in (0.5, 0.6, 1, 2):
        hd95 = float(metrics.compute_hausdorff_distance(*whole, percentile=95, **options))
        near = float(metrics.compute_surface_dice(*whole, [tolerance], **options))
        assert hd95_and_surface_dice(a, b, SPACING, tolerance) == (pytest.approx(hd95, rel=1e-6), pytest.approx(near))


def test_what_monai_1_6_said_of_two_boxes_that_leave_the_volume() -> None:
    a, b = volume((slice(0, 4), slice(0, 5), slice(0, 9))), volume((slice(1, 6), slice(1, 8), slice(3, 14)))
    hd95, near = hd95_and_surface_dice(a, b, SPACING, 2.0)
    assert (hd95, near) == (pytest.approx(5.656854152679443, rel=1e-6), pytest.approx(0.5180412530899048))


def test_empty_masks() -> None:
    empty, liver = volume(), volume((2, 3, 4))
    for pair in ((empty, liver), (liver, empty)):
        assert math.isnan(hd95_mm(*pair, SPACING)) and surface_dice(*pair, SPACING, 1) == 0
    assert math.isnan(hd95_mm(empty, empty, SPACING)) and math.isnan(surface_dice(empty, empty, SPACING, 1))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        surface_dice(volume(), volume((2, 3, 4))[1:], SPACING, 1)


def test_spacing_must_be_positive() -> None:
    with pytest.raises(ValueError, match="three positive numbers"):
        hd95_mm(volume((2, 3, 4)), volume((2, 3, 4)), (0.0, 1.0, 1.0))
