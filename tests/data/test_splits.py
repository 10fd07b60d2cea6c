import pytest

from chaos_seg.data.splits import SIDES, Split, k_fold_split, seeded_split
from chaos_seg.errors import UserError

PATIENTS = [str(n) for n in range(1, 21)]


def test_a_patient_on_two_sides_is_an_error() -> None:
    with pytest.raises(UserError, match=r"patient 5 \(train, test\) more than once: a patient on two sides is a leak"):
        Split(("4", "5"), ("6",), ("5",))
    with pytest.raises(UserError, match=r"patient 6 \(val, val\)"):
        Split(("4", "5"), ("6", "6"))


@pytest.mark.parametrize("side", ["train", "val"])
def test_an_empty_side_is_an_error(side: str) -> None:
    with pytest.raises(UserError, match=f"no {side} patient"):
        Split(**{"train": ("1",), "val": ("2",), side: ()})


def test_seeded_split_covers_everyone_once_and_depends_on_the_seed_only() -> None:
    split = seeded_split(PATIENTS, 4, 1, seed=0)
    assert [len(split[side]) for side in SIDES] == [15, 4, 1]
    assert sorted(split.patients) == sorted(PATIENTS)
    assert split == seeded_split(PATIENTS[::-1], 4, 1, seed=0) != seeded_split(PATIENTS, 4, 1, seed=1)
    with pytest.raises(UserError, match="leave none of the 20 patients"):
        seeded_split(PATIENTS, 15, 5, seed=0)


@pytest.mark.parametrize("folds", [3, 5, 7, 20])
def test_k_fold_tests_and_validates_everyone_once(folds: int) -> None:
    splits = [k_fold_split(PATIENTS, folds, fold, seed=0) for fold in range(folds)]
    for side in ("val", "test"):
        assert sorted(p for split in splits for p in split[side]) == sorted(PATIENTS)
    assert all(sorted(split.patients) == sorted(PATIENTS) for split in splits)
    assert max(len(s.test) for s in splits) - min(len(s.test) for s in splits) <= 1


def test_the_next_fold_validates() -> None:
    splits = [k_fold_split(PATIENTS, 5, fold, seed=0) for fold in range(5)]
    assert all(split.val == splits[(fold + 1) % 5].test for fold, split in enumerate(splits))


def test_another_seed_folds_otherwise() -> None:
    assert k_fold_split(PATIENTS, 5, 0, seed=0) == k_fold_split(PATIENTS[::-1], 5, 0, seed=0)
    assert k_fold_split(PATIENTS, 5, 0, seed=0) != k_fold_split(PATIENTS, 5, 0, seed=1)


def test_k_fold_bounds() -> None:
    with pytest.raises(UserError, match=r"data.split.folds=2: expected 3 to 20"):
        k_fold_split(PATIENTS, 2, 0, seed=0)
    with pytest.raises(UserError, match=r"data.split.fold=5: expected 0 to 4"):
        k_fold_split(PATIENTS, 5, 5, seed=0)
