import tracemalloc
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from chaos_seg.evaluation.masks import (
    BRIDGE_MM,
    border,
    bounding_box,
    check_masks,
    checked_spacing,
    far_errors,
    fill_holes,
    intersection,
    largest_component,
    pixels_in_largest_component,
)


def test_box_holds_the_mask_and_its_margin_stops_at_the_volume() -> None:
    mask = np.zeros((5, 6, 7), bool)
    mask[0, 2, 3] = mask[2, 4, 6] = True
    assert bounding_box(mask) == (slice(0, 3), slice(2, 5), slice(3, 7))
    assert mask[bounding_box(mask, margin=1)].shape == (4, 5, 5)
    assert mask[bounding_box(np.zeros((5, 6, 7), bool), margin=1)].size == 0


def test_intersection_of_boxes_that_meet_and_of_boxes_that_do_not() -> None:
    mask = np.ones((9, 9, 9), bool)
    a, b = (slice(0, 2), slice(3, 4), slice(5, 9)), (slice(1, 5), slice(0, 9), slice(6, 7))
    assert intersection(a, b) == intersection(b, a) == (slice(1, 2), slice(3, 4), slice(6, 7))
    far = (slice(4, 6), slice(3, 4), slice(5, 9))
    assert mask[intersection(a, far)].size == mask[intersection(far, a)].size == 0


def test_border_is_what_has_background_among_6_neighbours() -> None:
    cube = np.zeros((5, 5, 5), bool)
    cube[1:4, 1:4, 1:4] = True
    assert np.count_nonzero(border(cube)) == 26 and not border(cube)[2, 2, 2]
    cube[:] = True
    cube[0, 0, 0] = False  # with 26 neighbours, (1, 1, 1) would be border too
    assert np.argwhere(border(cube)).tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_outside_the_volume_is_foreground() -> None:
    half = np.zeros((4, 4, 4), bool)
    half[:2] = True
    assert np.argwhere(border(half).any(axis=(1, 2))).tolist() == [[1]]
    assert not border(np.ones((3, 3, 3), bool)).any()


WIDE = (9.0, 9.0)  # mm of a pixel that no bridge is thinner than


def test_largest_component_keeps_what_hangs_on_by_a_corner() -> None:
    liver, other = np.zeros((2, 6, 6, 6), np.uint8)
    liver[3:5, 3:5, 3:5] = 1
    liver[2, 2, 2] = 1  # touches the others by a corner
    other[0, :2, :4] = 1  # as large as liver without that corner
    kept = np.stack([*largest_component(liver | other, WIDE)])
    assert kept.dtype == bool and np.array_equal(kept, liver > 0)


def test_of_equal_components_the_first_is_kept_and_of_none_none() -> None:
    mask = np.zeros((3, 3, 3), bool)
    mask[0, 0, 0] = mask[2, 2, 2] = True
    assert np.argwhere(np.stack([*largest_component(mask, WIDE)])).tolist() == [[0, 0, 0]]
    assert not np.any([*largest_component(np.zeros((3, 3, 3), bool), WIDE)])
    assert [*largest_component(np.zeros((0, 3, 3), bool), WIDE)] == [*fill_holes(np.zeros((0, 3, 3), bool))] == []


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """Noise of any density, so that parts of equal size, rings, tunnels and holes over several planes are frequent."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)))
    noise = np.random.default_rng(draw(st.integers(0, 2**32))).random(shape)
    return noise < draw(st.sampled_from((0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.97)))


@settings(max_examples=300, deadline=None)
@given(masks(), st.sampled_from((WIDE, (4.0, 4.0), (3.0, 1.5))))
def test_plane_by_plane_is_the_same_as_in_the_volume(mask: np.ndarray, pixel_mm: tuple[float, float]) -> None:
    rows, columns = np.mgrid[-4:5, -4:5]
    disc = ((rows * pixel_mm[0]) ** 2 + (columns * pixel_mm[1]) ** 2 <= BRIDGE_MM**2)[None]
    core = ndimage.binary_erosion(mask, disc, border_value=1)
    if not core.any():
        disc, core = np.ones((1, 1, 1)), mask
    labels, components = ndimage.label(core, np.ones((3, 3, 3)))
    filled = [ndimage.binary_fill_holes(np.pad(plane, 1)) for plane in core]
    depth = np.stack([ndimage.distance_transform_edt(plane)[1:-1, 1:-1] for plane in filled])
    bulk = np.bincount(labels.ravel(), depth.ravel())[1:]
    assume(len(bulk) < 2 or np.diff(np.sort(bulk)[-2:]) > 1e-4 or np.ptp(depth[core]) == 0)  # equal but for rounding
    expected = labels == bulk.argmax() + 1 if components else np.zeros_like(mask)
    assert np.array_equal([*largest_component(mask, pixel_mm)], ndimage.binary_dilation(expected, disc))
    if pixel_mm == WIDE:
        assert pixels_in_largest_component(iter(mask)) == expected.sum(axis=(1, 2)).tolist()
    assert np.array_equal([*fill_holes(mask)], ndimage.binary_fill_holes(mask))


def test_what_hangs_on_by_a_thin_bridge_is_cut_off() -> None:
    liver, bridge, spleen = np.zeros((3, 5, 60, 60), bool)
    liver[:, 5:35, 5:35] = bridge[2, 35:45, 20:26] = spleen[:, 45:58, 10:50] = True
    corners = ~ndimage.binary_opening(liver[0], np.hypot(*np.mgrid[-4:5, -4:5]) <= 4)
    kept = np.stack([*largest_component(liver | bridge | spleen, (1, 1))])
    assert not (kept & (bridge | spleen))[:, 38:].any() and np.array_equal(kept[0], liver[0] & ~corners)
    assert (kept <= (liver | bridge)).all() and np.array_equal([*largest_component(bridge, (1, 1))], bridge)


def test_a_liver_is_larger_than_a_sheet_of_more_voxels() -> None:
    liver, sheet = np.zeros((2, 12, 40, 40), bool)
    liver[:4, 2:14, 2:14] = True
    sheet[6:, 30:33, :] = True
    assert sheet.sum() > liver.sum() and np.array_equal([*largest_component(liver | sheet, WIDE)], liver)
    liver[:, 4:13:2, 4:13:2] = False  # noise
    assert np.array_equal([*largest_component(liver | sheet, WIDE)], liver)


def test_legs_that_meet_planes_later_are_one_part() -> None:
    legs, block = np.zeros((2, 8, 3, 16), bool)
    legs[:, 1, 1] = legs[:, 1, 5] = legs[7, 1, 1:6] = True
    block[:3, 1, 9:13] = True  # larger than either leg
    assert np.array_equal([*largest_component(legs | block, WIDE)], legs)


def test_a_long_mask_is_never_held_as_a_volume() -> None:
    class Long(Sequence[np.ndarray]):
        """200 planes, made when they are asked for."""

        def __len__(self) -> int:
            return 200

        def __getitem__(self, rank):  # type: ignore[no-untyped-def]
            if rank >= len(self):
                raise IndexError
            plane = np.zeros((96, 96), bool)
            plane[20:60, 30 + rank // 10 : 90], plane[40:50, 60:70], plane[70 + rank % 20, 5] = True, False, True
            return plane

    volume = 200 * 96 * 96  # bytes, as bool; labels are four times that
    for function in (partial(largest_component, pixel_mm=(2, 2)), pixels_in_largest_component, fill_holes):
        tracemalloc.start()
        for _ in function(Long()):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < volume / 3, function.__name__


def test_holes_are_what_is_closed_in_all_three_dimensions() -> None:
    mask = np.zeros((7, 7, 7), np.uint8)
    mask[1:6, 1:6, 1:6] = 1
    closed = mask > 0
    mask[3, 3, 3] = 0  # a hole
    mask[5, 2, 2] = closed[5, 2, 2] = 0  # closed within its slice alone
    filled = np.stack(list(fill_holes(mask)))
    assert filled.dtype == bool and np.array_equal(filled, closed)
    assert not any(plane.any() for plane in fill_holes(np.zeros((3, 3, 3), np.uint8)))


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 1, 1), (0, 1, 1), (1, -1, 1), (1, np.nan, 1), (np.inf, 1, 1)])
def test_spacing_is_three_positive_numbers(spacing: tuple) -> None:
    with pytest.raises(ValueError, match="three positive numbers"):
        checked_spacing(spacing)


def test_masks_are_two_of_one_volume_and_not_probabilities() -> None:
    mask = np.zeros((2, 3, 4), bool)
    check_masks(mask, mask.astype(np.uint8))
    with pytest.raises(ValueError, match=r"\(2, 3, 4\) and reference \(1, 3, 4\) differ in shape"):
        check_masks(mask, mask[1:])
    with pytest.raises(ValueError, match="slices, rows, columns"):
        check_masks(mask[0], mask[0])
    with pytest.raises(ValueError, match="predicted: expected a mask of booleans or integers, found float32"):
        check_masks(mask.astype(np.float32), mask)


def test_far_errors_by_hand() -> None:
    true = np.zeros((30, 30), bool)
    true[10:21, 10:21] = True
    predicted = true.copy()
    predicted[10:21, 21:28] = True  # 1 to 7 columns outside of it, 11 rows
    predicted[15, 15] = False  # 6 pixels inside of it along both axes
    assert far_errors(predicted, true, (1.0, 1.0), 5.0) == (2 * 11, 1)
    assert far_errors(predicted, true, (1.0, 0.5), 5.0) == (0, 0)  # 3.5 mm and 3 mm at most
    assert far_errors(predicted, true, (1.0, 0.5), 2.0) == (3 * 11, 1)
    assert far_errors(true, true, (1.0, 1.0), 5.0) == (0, 0)
    assert far_errors(predicted, np.zeros_like(true), (1.0, 1.0), 5.0) == (int(predicted.sum()), 0)
    assert far_errors(np.zeros_like(true), true, (1.0, 1.0), 5.0) == (0, 1)  # one pixel lies 6 mm inside


@pytest.mark.parametrize("mm", [0.8, 0.5, 0.75])
def test_rounded_spacing_gives_the_same_disc(mm: float) -> None:
    blob = np.hypot(*np.mgrid[-12:13, -12:13] * mm)[None] <= BRIDGE_MM + 1e-9
    other = (float(np.float32(mm)), mm + 1e-6)
    for pixel_mm in ((mm, mm), other, other[::-1], (mm - 1e-6, mm)):
        assert np.array_equal([*largest_component(blob, pixel_mm)], blob)
        wider = np.pad(blob, ((0, 0), (0, 0), (0, 1)))
        wider[0, 12, -1] = True  # a pixel on its own beside the disc
        assert np.array_equal([*largest_component(wider, pixel_mm)], np.pad(blob, ((0, 0), (0, 0), (0, 1))))


@pytest.mark.parametrize("pixel_mm", [(0.0, 1.0), (float("nan"), 1.0), (1e-9, 1e-9)])
def test_odd_spacing_opens_nothing_that_is_wide(pixel_mm: tuple[float, float]) -> None:
    mask = np.zeros((2, 100, 100), bool)
    mask[:, 5:95] = True
    assert np.array_equal([*largest_component(mask, pixel_mm)], mask)
