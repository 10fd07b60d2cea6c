import numpy as np
import pytest

from chaos_seg.data.augmentation import Augmentation


def step(name: str, **options: object) -> Augmentation:
    return Augmentation({name: {"share": 1.0, **options}})


SLICE = np.random.default_rng(3).uniform(-1, 1, (64, 64)).astype(np.float32)


MASK = np.zeros((64, 64), np.uint8)


MASK[20:40, 24:50] = 1


def test_a_random_window_is_drawn_in_hu_before_clipping() -> None:
    hu = np.array([[-1000, 50, 300]], np.int16)
    drawn = [
        step("contrast_hu", factor=[0.5, 2], shift_hu=[-10, 20]).of_hu(hu, MASK, (0, k, 1))[0][0] for k in range(300)
    ]
    shifts, factors = np.array([d[1] - 50 for d in drawn]), np.array([(d[2] - d[1]) / 250 for d in drawn])
    assert -10 <= shifts.min() < -8 and 18 < shifts.max() <= 20
    assert 0.5 <= factors.min() < 0.53 and 1.95 < factors.max() <= 2
    assert drawn[0][0] == pytest.approx(50 - 1050 * factors[0] + shifts[0], rel=1e-4)  # linear, nothing is clipped
    image, mask = step("contrast_hu", factor=[0.5, 2], shift_hu=[-10, 20])(SLICE, MASK, (0, 0, 1))
    assert image is SLICE and mask is MASK  # not once more on the image


@pytest.mark.parametrize(
    ("name", "options"),
    [("gamma", {"power": [0.5, 2]}), ("noise", {"std": 0.2}), ("blur", {"pixels": 2.0}), ("low_resolution", {})],
)
def test_intensities_change_and_stay_in_range_and_masks_do_not(name: str, options: dict[str, object]) -> None:
    changed = [step(name, **options)(SLICE, MASK, (0, k, 3)) for k in range(30)]
    for image, mask in changed:
        assert mask is MASK and image.dtype == np.float32 and image.shape == SLICE.shape
        assert image.min() >= -1 and image.max() <= 1
    assert len({image.tobytes() for image, _ in changed}) > 12
    assert np.array_equal(step(name, **options)(SLICE, MASK, (0, 4, 3))[0], changed[4][0])


def test_intensities_by_hand() -> None:
    half = np.zeros((8, 8), np.float32)  # 0.5 where the image is 0 to 1
    values = [step("gamma", power=[0.5, 2])(half, MASK, (0, k, 0))[0][0, 0] for k in range(200)]
    assert 2 * 0.5**2 - 1 <= min(values) < -0.47 and 0.39 < max(values) <= 2 * 0.5**0.5 - 1
    powers = np.log((np.array(values) + 1) / 2) / np.log(0.5)
    assert np.mean(powers < 1) == pytest.approx(0.5, abs=0.08)  # as often below 1 as above: uniform in their logarithm
    rows = step("noise", std=0.2)(np.zeros((64, 64), np.float32), MASK, (0, 1, 0))[0]
    assert abs(np.corrcoef(rows)[0, 1]) < 0.5
    dot = np.zeros((65, 65), np.float32)
    dot[32, 32] = 1
    peaks = [step("blur", pixels=1.5)(dot, MASK, (0, k, 0))[0].max() for k in range(100)]
    assert 1 / (2 * np.pi * 1.5**2) * 0.98 < min(peaks) < 0.08 and max(peaks) > 0.9  # of a Gaussian: up to 1.5 pixels
    stripes = np.tile(np.sin(np.arange(64) * 2 * np.pi / 8).astype(np.float32), (64, 1))
    left = [step("low_resolution", least=0.5)(stripes, MASK, (0, k, 0))[0].std() / stripes.std() for k in range(60)]
    assert 0.5 < min(left) < 0.85 < max(left)  # of waves of 8 pixels, down to 4
    noisy = [step("noise", std=0.2)(np.zeros((64, 64), np.float32), MASK, (0, k, 0))[0].std() for k in range(100)]
    assert 0.18 < max(noisy) < 0.21 and min(noisy) < 0.02
    blurred = step("blur", pixels=3.0)(SLICE, MASK, (0, 1, 0))[0]
    coarse = step("low_resolution", least=0.2)(SLICE, MASK, (0, 1, 0))[0]
    for smooth in (blurred, coarse):
        assert (
            np.abs(np.diff(smooth)).mean() < np.abs(np.diff(SLICE)).mean() and abs(smooth.mean() - SLICE.mean()) < 0.02
        )


def test_gamma_of_what_lies_a_rounding_outside_is_no_nan() -> None:
    image = np.full((4, 4, 1), np.nextafter(np.float32(-1), np.float32(-2)))
    for seed in range(20):
        changed, _ = Augmentation({"gamma": {"power": [0.7, 1.5], "share": 1.0}})(
            image, np.zeros((4, 4), np.uint8), (seed,)
        )
        assert (changed == -1).all()
