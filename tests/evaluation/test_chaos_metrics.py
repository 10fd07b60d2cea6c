"""Against answers by hand, a brute force that shares no code with the module, and the organisers' sample."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from chaos_seg.data.dicom import read_mask
from chaos_seg.data.sources.chaos import find_patients, natural_key
from chaos_seg.data.sources.phantom import render
from chaos_seg.data.store import open_volumes
from chaos_seg.evaluation import distances
from chaos_seg.evaluation.chaos_metrics import ChaosScores, chaos_scores
from chaos_seg.evaluation.masks import border

SPACING = (2.0, 0.7, 0.8)


def volume(*boxes: tuple, shape: tuple = (6, 16, 18)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box] = True
    return mask


def brute_border(mask: np.ndarray) -> np.ndarray:
    """Border voxels (n, 3) voxel by voxel and neighbour by neighbour; outside is foreground."""
    found = []
    for place in np.ndindex(mask.shape):
        around = [(*place[:k], place[k] + step, *place[k + 1 :]) for k in range(3) for step in (-1, 1)]
        inside = [n for n in around if all(0 <= i < size for i, size in zip(n, mask.shape, strict=True))]
        if mask[place] and not all(mask[n] for n in inside):
            found.append(place)
    return np.array(found, float).reshape(-1, 3)


def brute_scores(a: np.ndarray, b: np.ndarray, spacing: tuple) -> tuple[float, float, float, float]:
    """DICE, RAVD, ASSD and MSSD from the distances of all pairs."""
    points_a, points_b = brute_border(a) * spacing, brute_border(b) * spacing
    pairs = np.sqrt(((points_a[:, None] - points_b[None]) ** 2).sum(axis=-1))
    pooled = np.concatenate([pairs.min(axis=1), pairs.min(axis=0)])
    return (
        2 * (a & b).sum() / (a.sum() + b.sum()),
        100 * abs(int(a.sum()) - int(b.sum())) / b.sum(),
        pooled.mean(),
        pooled.max(),
    )


def metrics(scores: ChaosScores) -> tuple[float, float, float, float]:
    return scores.dice, scores.ravd_percent, scores.assd_mm, scores.mssd_mm


def test_two_single_voxels() -> None:
    a, b = volume((1, 2, 3)), volume((3, 12, 8))
    expected = math.sqrt((2 * 2.0) ** 2 + (10 * 0.7) ** 2 + (5 * 0.8) ** 2)
    assert metrics(chaos_scores(a, b, SPACING)) == pytest.approx((0, 0, expected, expected), rel=1e-15)


def test_a_shifted_row() -> None:
    a, b = volume((2, 3, slice(0, 4))), volume((2, 3, slice(2, 6)))
    # Each way two voxels 0 apart, one 0.8 and one 1.6 mm.
    assert metrics(chaos_scores(a, b, SPACING)) == pytest.approx((0.5, 0, 4.8 / 8, 1.6), rel=1e-15)


def test_assd_is_one_pool_not_the_mean_of_two_means_and_mssd_takes_both_ways() -> None:
    a, b = volume((2, 3, 4)), volume((2, 3, slice(4, 14)))
    scores = chaos_scores(a, b, SPACING)
    assert scores.assd_mm == pytest.approx(0.8 * sum(range(10)) / 11, rel=1e-15)
    assert scores.mssd_mm == chaos_scores(b, a, SPACING).mssd_mm == pytest.approx(7.2, rel=1e-15)


def test_ravd_is_a_share_of_the_reference() -> None:
    small, large = volume((2, 3, slice(0, 4))), volume((2, 3, slice(0, 5)))
    assert chaos_scores(large, small, SPACING).ravd_percent == 25
    assert chaos_scores(small, large, SPACING).ravd_percent == 20


def test_a_box_in_a_box() -> None:
    inner, outer = volume((slice(2, 3), slice(4, 5), slice(5, 6))), volume((slice(1, 4), slice(3, 6), slice(4, 7)))
    # From the outer box's 26 border voxels to its centre: 6 faces, 12 edges, 8 corners; from the centre 0.7 mm.
    z, y, x = (s**2 for s in SPACING)
    faces = 2 * sum(math.sqrt(d) for d in (z, y, x))
    edges = 4 * sum(math.sqrt(d) for d in (z + y, z + x, y + x))
    corners = 8 * math.sqrt(z + y + x)
    scores = chaos_scores(inner, outer, SPACING)
    assert scores.assd_mm == pytest.approx((faces + edges + corners + 0.7) / 27, rel=1e-14)
    assert scores.mssd_mm == pytest.approx(math.sqrt(z + y + x), rel=1e-15)


def test_no_border_where_a_mask_leaves_the_volume() -> None:
    a, b = volume((slice(0, 3),)), volume((slice(0, 4),))
    # Slices 2 and 3 alone: all other neighbours that lack are outside. With border_value 0, ASSD would be less.
    assert metrics(chaos_scores(a, b, SPACING))[2:] == pytest.approx((2.0, 2.0), rel=1e-15)


def blob(rng: np.random.Generator, shape: tuple, share: float) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 1.2)
    return field > np.quantile(field, 1 - share)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.7265625, 0.7265625), (5.0, 0.5, 0.9), (0.3, 2.0, 1.1)])
def test_random_blobs_against_brute_force(spacing: tuple) -> None:
    rng = np.random.default_rng(1)
    for shape in ((8, 12, 13), (1, 14, 14), (12, 9, 1), (5, 5, 5)):
        for share in (0.02, 0.3, 0.8):  # most of them touch the volume's faces
            a, b = blob(rng, shape, share), blob(rng, shape, share * rng.uniform(0.5, 1))
            assert metrics(chaos_scores(a, b, spacing)) == pytest.approx(brute_scores(a, b, spacing), rel=1e-12)


def test_random_blobs_far_apart_against_brute_force() -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        a, b = np.zeros((2, 10, 12, 60), bool)
        a[1:7, 2:9, :12], b[3:9, 4:12, 45:] = blob(rng, (6, 7, 12), 0.3), blob(rng, (6, 8, 15), 0.3)
        b[0, 0, 3] = True  # near, so that some voxels find a neighbour at once and others do not
        assert metrics(chaos_scores(a, b, SPACING)) == pytest.approx(brute_scores(a, b, SPACING), rel=1e-12)


def phantom_liver(slices: int = 16, size: int = 36) -> np.ndarray:
    return np.stack([liver for _, liver in render(np.random.default_rng(4), slices, size)])


@pytest.mark.parametrize(
    "faces", [(0, 1, 2, 3, 4, 5), (0,), (1,), (2,), (3,), (4,), (5,), (0, 3), ()], ids=lambda faces: str(faces)
)
def test_phantom_livers_that_touch_the_faces_of_the_volume_against_brute_force(faces: tuple) -> None:
    liver = phantom_liver()
    predicted = np.roll(liver, (1, -1, 2), (0, 1, 2)) | ndimage.binary_dilation(liver, iterations=2)
    predicted[:, 14:17, 14:17] = False
    extent = [np.flatnonzero(liver.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    cut = []
    for axis, found in enumerate(extent):  # cut two voxels into the liver at the faces that it is to touch
        low = found[0] + 2 if 2 * axis in faces else 0
        high = found[-1] - 1 if 2 * axis + 1 in faces else liver.shape[axis]
        cut.append(slice(low, high))
    a, b = predicted[tuple(cut)], liver[tuple(cut)]
    touched = [b.take(end, axis).any() for axis in range(3) for end in (0, -1)]
    assert [face for face, touch in enumerate(touched) if touch] == list(faces)
    spacing = (2.4, 0.7, 0.75)
    assert metrics(chaos_scores(a, b, spacing)) == pytest.approx(brute_scores(a, b, spacing), rel=1e-12)
    assert metrics(chaos_scores(b, a, spacing)) == pytest.approx(brute_scores(b, a, spacing), rel=1e-12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.2, 0.7, 0.7), (0.5, 2.0, 1.3)])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.97])
def test_masks_that_are_marked_all_over_against_brute_force(
    spacing: tuple, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their borders are too large for a KD-tree; the answer is the same, whoever is asked."""
    rng = np.random.default_rng(0)
    liver = volume((slice(4, 9), slice(6, 11), slice(3, 9)), shape=(13, 17, 15))
    everywhere = rng.random(liver.shape) < share
    for a, b in (
        (everywhere, liver),
        (liver, everywhere),
        (everywhere & ~ndimage.binary_dilation(liver, iterations=5), liver),
    ):
        by_tree = metrics(chaos_scores(a, b, spacing))
        assert by_tree == pytest.approx(brute_scores(a, b, spacing), rel=1e-14)
        with monkeypatch.context() as patch:
            patch.setattr(distances, "MANY", 0)
            patch.setattr(distances, "cKDTree", None)
            assert metrics(chaos_scores(a, b, spacing)) == pytest.approx(by_tree, rel=1e-14)


def test_border_is_the_brute_forces() -> None:
    liver = phantom_liver()[3:12, 8:30, :20]
    assert np.array_equal(np.argwhere(border(liver)), brute_border(liver))


def test_any_nonzero_is_liver_and_layout_does_not_matter() -> None:
    a, b = volume((slice(1, 4), slice(2, 9), 5)), volume((slice(1, 5), slice(3, 9), slice(4, 7)))
    expected = chaos_scores(a, b, SPACING)
    assert chaos_scores(a.astype(np.uint8) * 255, b.astype(np.int16) * 63, list(SPACING)) == expected
    assert chaos_scores(np.asfortranarray(a), b, np.array(SPACING)) == expected
    flipped = chaos_scores(a[::-1, :, ::-1], b[::-1, :, ::-1], SPACING)
    assert metrics(flipped) == pytest.approx(metrics(expected), rel=1e-14)  # the sum is in another order


def test_equal_masks_are_perfect() -> None:
    liver = phantom_liver()
    scores = chaos_scores(liver, liver, SPACING)
    assert metrics(scores) == (1, 0, 0, 0) and scores.score == 100


def test_nothing_predicted_scores_0_without_a_distance() -> None:
    scores = chaos_scores(volume(), volume((2, 3, 4)), SPACING)
    assert metrics(scores) == pytest.approx((0, 100, math.nan, math.nan), nan_ok=True)
    assert scores.points() == {"dice": 0, "ravd": 0, "assd": 0, "mssd": 0} and scores.score == 0


def test_liver_predicted_where_there_is_none_scores_0() -> None:
    scores = chaos_scores(volume((2, 3, 4)), volume(), SPACING)
    assert metrics(scores) == pytest.approx((0, math.nan, math.nan, math.nan), nan_ok=True)
    assert scores.score == 0


def test_two_empty_masks_have_no_score() -> None:
    scores = chaos_scores(volume(), volume(), SPACING)
    assert all(math.isnan(v) for v in (*metrics(scores), *scores.points().values(), scores.score))


def test_a_mask_that_fills_the_volume_has_no_border_and_no_distance() -> None:
    full, most = volume((...,)), volume((slice(1, 6),))
    for a, b in ((full, most), (most, full), (full, full)):
        scores = chaos_scores(a, b, SPACING)
        assert math.isnan(scores.assd_mm) and math.isnan(scores.mssd_mm)
        assert scores.points()["assd"] == scores.points()["mssd"] == 0 < scores.points()["dice"]


@pytest.mark.parametrize(
    ("metric", "value", "points"),
    [
        ("dice", 0.8, 80),
        ("dice", 0.7999, 0),
        ("dice", 0.97, 97),
        ("ravd", 0.0, 100),
        ("ravd", 1.25, 75),
        ("ravd", 4.9999, 0.002),
        ("ravd", 5.0001, 0),
        ("assd", 3.0, 80),
        ("assd", 14.9985, 0.01),
        ("assd", 15.1, 0),
        ("mssd", 15.0, 75),
        ("mssd", 59.994, 0.01),
        ("mssd", 61.0, 0),
    ],
)
def test_points_end_at_the_challenges_limits(metric: str, value: float, points: float) -> None:
    values = {"dice": 1.0, "ravd": 0.0, "assd": 0.0, "mssd": 0.0} | {metric: value}
    scores = ChaosScores(*values.values())
    assert scores.points() == pytest.approx(dict.fromkeys(values, 100) | {metric: points})
    assert scores.score == pytest.approx((300 + points) / 4)


def test_what_cannot_be_scored_is_refused() -> None:
    mask = volume((2, 3, 4))
    with pytest.raises(ValueError, match="differ in shape"):
        chaos_scores(mask, mask[1:], SPACING)
    with pytest.raises(ValueError, match="booleans or integers"):
        chaos_scores(mask.astype(float), mask, SPACING)
    with pytest.raises(ValueError, match="three positive numbers"):
        chaos_scores(mask, mask, (0.0, 1.0, 1.0))


def test_known_answer_of_the_organisers_sample(real_root: Path, tmp_path: Path) -> None:
    sample = os.environ.get("CHAOS_SAMPLE_ROOT")
    if sample is None:
        pytest.skip("needs the organisers' sample segmentation of patient 3: set CHAOS_SAMPLE_ROOT to its folder")
    files = sorted(Path(sample).glob("*.png"), key=lambda path: natural_key(path.name))
    predicted = np.stack([read_mask(path)[1] for path in files])
    patient = open_volumes(tmp_path, [find_patients(real_root)["3"]])[0]
    reference = np.stack([patient.mask(rank) for rank in range(patient.slices)])
    assert list(patient.meta.spacing_mm) == [2.0, 0.7265625, 0.7265625]
    assert [int(border(mask > 0).sum()) for mask in (predicted, reference)] == [94_361, 91_049]
    scores = chaos_scores(predicted, reference, patient.meta.spacing_mm)
    assert metrics(scores) == (0.9784341478506637, 0.6645339808356205, 0.7341309688269261, 14.0)
    assert round(scores.score, 2) == 89.08
