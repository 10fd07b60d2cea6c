import numpy as np
import pytest
from scipy import ndimage

from chaos_seg.data.preprocessing import Window, resize_image, resize_mask, window


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


def test_what_is_cropped_goes_back_to_its_place() -> None:
    hu, mask = np.full((200, 200, 1), -1000, np.int16), np.zeros((200, 200), np.uint8)
    hu[60:120, 40:140] = 40
    mask[70:110, 50:90] = 1
    cropped = Window(110, 40, 400, crop=True)
    assert cropped.image(hu).shape == (110, 110, 1) and cropped.image(hu)[30:80, 10:100].min() == 0
    small = cropped.mask(mask, hu)
    assert small.sum() == mask.sum()  # pixels are as large as before
    assert (cropped.back(small.astype(np.float32), hu) == mask).all()
    whole, square = (Window(55, 40, 400, crop=crop).mask(mask, hu).sum() for crop in (False, True))
    assert whole / square == pytest.approx((110 / 200) ** 2, abs=0.02)


@pytest.mark.parametrize(("given", "size"), [((320, 260), 256), ((300, 300), 256), ((100, 100), 128), ((512, 512), 64)])
def test_more_channels_than_opencv_takes_are_each_resized_alone(given: tuple[int, int], size: int) -> None:
    image = np.random.default_rng(0).standard_normal((*given, 7)).astype(np.float32)
    alone = [resize_image(image[..., k], (size, size)) for k in range(7)]
    assert np.array_equal(resize_image(image, (size, size)), np.stack(alone, axis=-1))


def test_each_channel_is_windowed_and_resized_like_the_slice_alone() -> None:
    hu = np.random.default_rng(0).integers(-500, 500, (40, 60, 3)).astype(np.int16)
    image = Window(16, 0, 800, neighbours=1).image(hu)
    alone = np.concatenate([Window(16, 0, 800).image(hu[..., c, None]) for c in range(3)], axis=-1)
    assert image.shape == (16, 16, 3) and (image == alone).all()
