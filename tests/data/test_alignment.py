"""What the audit's findings don't tell: the numbers behind them."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from chaos_seg.data.alignment import MAX_SHIFT, MIRRORED, align
from chaos_seg.data.sources.phantom import render

ROWS, COLUMNS = np.indices((48, 48))


def disc(row: int, column: int) -> np.ndarray:
    return ((ROWS - row) ** 2 + (COLUMNS - column) ** 2 < 10**2).astype(np.uint8)


def scan(labelled: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ten slices; from the fourth on a liver of 90 and 110 HU, equally many, that moves to the right."""
    masks = [disc(24, 14 + 4 * (k - 3)) * (3 <= k < 3 + labelled) for k in range(10)]
    slices = []
    for mask in masks:
        hu = np.full(mask.shape, -100, np.int16)
        under = np.flatnonzero(mask)
        hu.flat[under] = np.where(np.arange(len(under)) % 2, 90, 110)
        slices.append(hu)
    return slices, masks


def test_beyond_the_ends_is_the_share_of_the_mask_beside_that_looks_like_liver() -> None:
    slices, masks = scan(labelled=4)
    slices[2][:, :14] = 117  # 1.7 standard deviations above the mean
    slices[2][:20] = 121  # 2.1
    slices[7][:, 26:] = 90
    alignment = align(slices, masks)
    cores = {rank: ndimage.binary_erosion(masks[beside], np.ones((3, 3))) for rank, beside in ((2, 3), (7, 6))}
    alike = {2: (COLUMNS < 14) & (ROWS >= 20), 7: COLUMNS >= 26}
    assert alignment.beyond == {rank: round(float(alike[rank][core].mean()), 3) for rank, core in cores.items()}
    assert alignment.liver_hu == pytest.approx([100, 10], abs=0.1)


@pytest.mark.parametrize(("labelled", "values"), [(3, 0), (4, 2 * MAX_SHIFT + 1)])
def test_four_slices_with_liver_are_enough_to_compare(labelled: int, values: int) -> None:
    profile = align(*scan(labelled)).profile
    assert len(profile) == values and (not values or int(np.argmax(profile)) == MAX_SHIFT)


def test_reversed_masks_are_told_from_sound_ones() -> None:
    pairs = list(render(np.random.default_rng(5), 24, 96))
    slices = [hu.clip(-2048, 3071).astype(np.int16) for hu, _ in pairs]
    masks = [liver.astype(np.uint8) for _, liver in pairs]
    assert align(slices, masks).misfits == []
    (misfit,) = align(slices, masks[::-1]).misfits
    assert misfit.how == "reversed" and misfit.gain > 1.1


@pytest.fixture(scope="module")
def drawn() -> tuple[list[np.ndarray], list[np.ndarray]]:
    pairs = list(render(np.random.default_rng(5), 40, 160))
    return [hu.clip(-2048, 3071).astype(np.int16) for hu, _ in pairs], [liver.astype(np.uint8) for _, liver in pairs]


@pytest.mark.parametrize("shift", [-5, -1, 1, 5])
def test_shift_is_measured(drawn: tuple[list[np.ndarray], list[np.ndarray]], shift: int) -> None:
    slices, masks = drawn
    blank = [np.zeros_like(masks[0])] * abs(shift)
    moved = blank + masks[:-shift] if shift > 0 else masks[-shift:] + blank
    (misfit,) = align(slices, moved).misfits
    assert (misfit.how, misfit.shift) == ("shifted", -shift)


@pytest.mark.parametrize("how", MIRRORED)
def test_mirrored_masks_are_told_how_to_fit(drawn: tuple[list[np.ndarray], list[np.ndarray]], how: str) -> None:
    slices, masks = drawn
    inverse = {"turned by 90 degrees": 1, "turned by 270 degrees": -1}  # np.rot90 turns the other way
    mirror: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "columns mirrored": np.fliplr,
        "rows mirrored": np.flipud,
        "turned by 180 degrees": lambda mask: np.rot90(mask, 2),
        "transposed": np.transpose,
        "transposed along the other diagonal": lambda mask: np.rot90(mask, 2).T,
        **{turned: (lambda mask, k=k: np.rot90(mask, k)) for turned, k in inverse.items()},
    }
    (misfit,) = align(slices, [np.ascontiguousarray(mirror[how](mask)) for mask in masks]).misfits
    assert misfit.how == how


@pytest.mark.parametrize("seed", [6, 7, 8])
def test_masks_of_another_scan_fit_nowhere(drawn: tuple[list[np.ndarray], list[np.ndarray]], seed: int) -> None:
    others = [liver.astype(np.uint8) for _, liver in render(np.random.default_rng(seed), 40, 160)]
    (misfit,) = align(drawn[0], others).misfits
    assert misfit.how == "nowhere"
