import numpy as np
import pytest
from scipy import ndimage

from chaos_seg.data.transforms import Rotation, resize_image, resize_mask, window


def test_paper_window_is_division_by_1400_clipped() -> None:
    hu = np.array([[-2048, -1400, -1024, 0, 141, 1400, 3071]], np.int16)
    assert window(hu, 0, 2800) == pytest.approx(np.clip(hu / 1400, -1, 1))
    assert window(hu, 0, 2800).dtype == np.float32


def test_soft_tissue_window() -> None:
    assert window(np.array([-1000, -160, 40, 240, 900]), 40, 400).tolist() == [-1, -1, 0, 1, 1]


@pytest.mark.parametrize("times", [2, 3, 4])
def test_a_smaller_image_has_the_means_of_what_its_pixels_cover(times: int) -> None:
    image = np.random.default_rng(0).random((4 * times, 4 * times)).astype(np.float32)
    means = image.reshape(4, times, 4, times).mean((1, 3))
    assert resize_image(image, (4, 4)) == pytest.approx(means, abs=1e-6)  # bilinear agrees at 2 only


def test_resizing_halves_without_a_shift() -> None:
    rows, columns = np.mgrid[:128, :128]
    rng, shifts, areas = np.random.default_rng(0), [], []
    for row, column, radius in zip(
        rng.uniform(50, 78, 40), rng.uniform(50, 78, 40), rng.uniform(20, 40, 40), strict=True
    ):
        disc = ((rows - row) ** 2 + (columns - column) ** 2 < radius**2).astype(np.uint8)
        small = resize_mask(disc, (64, 64))
        expected = (np.array(ndimage.center_of_mass(disc)) + 0.5) / 2 - 0.5
        shifts.append(np.array(ndimage.center_of_mass(small)) - expected)
        areas.append(4 * small.sum() / disc.sum())
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.03  # nearest neighbour is off by 0.25
    assert np.mean(areas) == pytest.approx(1, abs=0.002)  # with all ties as liver it is 1.03


def test_sizes_are_rows_then_columns() -> None:
    image = np.random.default_rng(0).random((8, 12)).astype(np.float32)
    assert resize_image(image, (4, 2)) == pytest.approx(image.reshape(4, 2, 2, 6).mean((1, 3)), abs=1e-6)


def test_more_than_half_of_a_pixel_is_liver_and_of_just_halves_every_other() -> None:
    half = np.zeros((8, 8), np.uint8)
    half[:3] = 1
    assert resize_mask(half, (4, 4)).sum(axis=1).tolist() == [4, 2, 0, 0]
    assert resize_mask(np.ascontiguousarray(half.T), (4, 4)).sum(axis=0).tolist() == [4, 2, 0, 0]
    fifths = np.zeros((5, 10), np.uint8)
    fifths[:2, :5] = fifths[2, :2] = 1  # 12 of 25
    fifths[:3, 5:8] = fifths[:2, 8:] = 1  # 13 of 25
    assert resize_mask(fifths, (1, 2)).tolist() == [[0, 1]]


@pytest.mark.parametrize("size", [(7, 7), (33, 33), (64, 64), (100, 100)])
def test_resizing_to_any_size(size: tuple[int, int]) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 1
    small = resize_mask(mask, size)
    assert small.shape == size and set(np.unique(small)) == {0, 1} and small.mean() == pytest.approx(0.25, abs=0.08)
    assert resize_image(mask.astype(np.float32), size).shape == size


def bar() -> np.ndarray:
    mask = np.zeros((101, 101), np.uint8)
    mask[48:53, 10:91] = 1
    return mask


def angle_of(mask: np.ndarray) -> float:
    """Direction of the longest axis of a mask, degrees."""
    rows, columns = np.nonzero(mask)
    covariance = np.cov(columns - columns.mean(), rows - rows.mean())
    return float(np.degrees(0.5 * np.arctan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])))


def test_rotation_is_uniform_within_its_limits() -> None:
    rotation, mask = Rotation(5), bar()
    angles = np.array([angle_of(rotation(mask.astype(np.float32), mask, (0, epoch, 7))[1]) for epoch in range(400)])
    assert np.abs(angles).max() < 5.2 and np.abs(angles).max() > 4.8
    assert angles.mean() == pytest.approx(0, abs=0.5)
    assert angles.std() == pytest.approx(5 / np.sqrt(3), rel=0.08)  # of a uniform distribution


def test_rotation_keeps_the_mask_binary_turns_both_alike_and_repeats_the_border() -> None:
    mask = bar()
    image = mask * 2.0 - 3.0  # -3 outside: a border of zeros would show
    turned, turned_mask = Rotation(5)(image.astype(np.float32), mask, (1, 2, 3))
    assert set(np.unique(turned_mask)) == {0, 1} and turned_mask.dtype == np.uint8
    assert turned.max() <= -1 and turned.min() == -3
    assert np.abs((turned > -2) ^ (turned_mask > 0)).mean() < 0.01


def test_a_turned_image_is_bilinear_and_a_turned_mask_nearest() -> None:
    ramp = np.tile(np.arange(99, dtype=np.float32), (99, 1))
    dots = np.zeros((99, 99), np.uint8)
    dots[1::4, 1::4] = 1
    turned, turned_dots = Rotation(20)(ramp, dots, (0, 0, 0))
    inside = turned[25:75, 25:75]  # of it no pixel comes from beyond the border
    assert np.abs(np.diff(inside, axis=1) - np.diff(inside, axis=1).mean()).max() < 0.1  # steps of nearest are 0 and 1
    lone = turned_dots[25:75, 25:75].mean()
    assert lone == pytest.approx(1 / 16, rel=0.05)  # of bilinear dots 61 % are left


def test_rotation_is_a_pure_function_of_its_entropy() -> None:
    image = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    mask = (image > 0.5).astype(np.uint8)
    rotation = Rotation(5)
    first = rotation(image, mask, (0, 1, 2))[0]
    assert not np.array_equal(rotation(image, mask, (0, 1, 3))[0], first)
    assert not np.array_equal(rotation(image, mask, (0, 2, 2))[0], first)
    assert not np.array_equal(rotation(image, mask, (1, 1, 2))[0], first)
    assert np.array_equal(Rotation(5)(image, mask, (0, 1, 2))[0], first)
