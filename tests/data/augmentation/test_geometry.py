import numpy as np
import pytest

from chaos_seg.data.augmentation import Augmentation


def rotated(degrees: float) -> Augmentation:
    return Augmentation({"rotation": {"degrees": degrees}})


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
    rotation, mask = rotated(5), bar()
    angles = np.array([angle_of(rotation(mask.astype(np.float32), mask, (0, epoch, 7))[1]) for epoch in range(400)])
    assert np.abs(angles).max() < 5.2 and np.abs(angles).max() > 4.8
    assert angles.mean() == pytest.approx(0, abs=0.5)
    assert angles.std() == pytest.approx(5 / np.sqrt(3), rel=0.08)  # of a uniform distribution


def test_rotation_keeps_the_mask_binary_turns_both_alike_and_repeats_the_border() -> None:
    mask = bar()
    image = mask * 2.0 - 3.0  # -3 outside: a border of zeros would show
    turned, turned_mask = rotated(5)(image.astype(np.float32), mask, (1, 2, 3))
    assert set(np.unique(turned_mask)) == {0, 1} and turned_mask.dtype == np.uint8
    assert turned.max() <= -1 and turned.min() == -3
    assert np.abs((turned > -2) ^ (turned_mask > 0)).mean() < 0.01


def test_a_turned_image_is_bilinear_and_a_turned_mask_nearest() -> None:
    ramp = np.tile(np.arange(99, dtype=np.float32), (99, 1))
    dots = np.zeros((99, 99), np.uint8)
    dots[1::4, 1::4] = 1
    turned, turned_dots = rotated(20)(ramp, dots, (0, 0, 0))
    inside = turned[25:75, 25:75]  # of it no pixel comes from beyond the border
    assert np.abs(np.diff(inside, axis=1) - np.diff(inside, axis=1).mean()).max() < 0.1  # steps of nearest are 0 and 1
    lone = turned_dots[25:75, 25:75].mean()
    assert lone == pytest.approx(1 / 16, rel=0.05)  # of bilinear dots 61 % are left


def test_rotation_is_a_pure_function_of_its_entropy() -> None:
    image = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    mask = (image > 0.5).astype(np.uint8)
    rotation = rotated(5)
    first = rotation(image, mask, (0, 1, 2))[0]
    assert not np.array_equal(rotation(image, mask, (0, 1, 3))[0], first)
    assert not np.array_equal(rotation(image, mask, (0, 2, 2))[0], first)
    assert not np.array_equal(rotation(image, mask, (1, 1, 2))[0], first)
    assert np.array_equal(rotated(5)(image, mask, (0, 1, 2))[0], first)


def step(name: str, **options: object) -> Augmentation:
    return Augmentation({name: {"share": 1.0, **options}})


SLICE = np.random.default_rng(3).uniform(-1, 1, (64, 64)).astype(np.float32)


MASK = np.zeros((64, 64), np.uint8)


MASK[20:40, 24:50] = 1


def test_affine_moves_image_and_mask_alike() -> None:
    for k in range(20):
        image, mask = step("affine", degrees=30, scale=0.3, shift=0.1)(MASK.astype(np.float32), MASK, (0, k, 2))
        assert np.mean((image > 0.5) != (mask > 0)) < 0.01 and set(np.unique(mask)) <= {0, 1}
    long = [step("affine", degrees=30, scale=0, shift=0)(bar() * 1.0, bar(), (0, k, 2))[1] for k in range(200)]
    angles = np.array([angle_of(mask) for mask in long])
    assert 28 < angles.max() < 30.5 and -30.5 < angles.min() < -28
    edge = np.tile(np.linspace(-1, -0.5, 64, dtype=np.float32), (64, 1))
    moved, outlined = step("affine", degrees=0, scale=0, shift=0.1)(edge, np.ones((64, 64), np.uint8), (0, 1, 2))
    assert moved.min() == -1 and moved.max() <= -0.5  # the border goes on, not 0
    assert 0 < outlined.mean() < 1  # and no liver beyond it
    areas = [
        step("affine", degrees=0, scale=0.3, shift=0)(SLICE, MASK, (0, k, 2))[1].sum() / MASK.sum() for k in range(300)
    ]
    assert np.exp(-0.6) * 0.95 < min(areas) < 0.6 and 1.7 < max(areas) < np.exp(0.6) * 1.05
    centres = [
        np.argwhere(step("affine", degrees=0, scale=0, shift=0.1)(SLICE, MASK, (0, k, 2))[1]).mean(axis=0)
        - (29.5, 36.5)
        for k in range(200)
    ]
    assert 5.5 < np.abs(centres).max() < 7 and np.abs(np.mean(centres, axis=0)).max() < 1
