"""What stands side by side: made by hand from scores, and read from folders of real runs."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.evaluation.metrics import Case
from chaos_seg.evaluation.scores import ChallengeScore, PatientScore, patient_score
from chaos_seg.reporting import reference
from chaos_seg.reporting.comparison import (
    challenge_table,
    means_table,
    metrics_table,
    published_table,
    run_tables,
    study_tables,
)
from chaos_seg.reporting.reference import SLICES
from chaos_seg.reporting.runs import Run
from chaos_seg.reporting.tables import Table

BLANK = patient_score("0", "train", Case(np.array([[10, 0, 10, 80], [0, 0, 0, 100]]), (), (), (1.0, 1.0, 1.0)))


def scored(side: str, dice: dict[str, float]) -> list[PatientScore]:
    return [
        replace(
            BLANK,
            patient=patient,
            side=side,
            slices=SLICES.get(patient, 7),
            values={**BLANK.values, "volume_dice": value, "slice_dice": value},
        )
        for patient, value in dice.items()
    ]


def run(loss: str, scores: list[PatientScore], seed: int = 0, fold: int | None = None, synthetic: bool = False) -> Run:
    config = {"loss.name": loss, "seed": seed, "data.split.fold": fold}
    summary = {"synthetic": synthetic, "threshold": 100}
    return Run(Path(f"{loss}_{seed}_{fold}"), loss, config, {}, summary, scores, [])


def study_scores() -> list[PatientScore]:
    """The study's own patients and split, with the Dice that it printed."""
    return [row for side, dice in reference.PATIENTS.items() for row in scored(side, dice)]


def titled(table: Table) -> list[dict[str, object]]:
    return [dict(zip([column.title for column in table.columns], row, strict=True)) for row in table.rows]


def test_the_study_layout_has_its_printed_numbers_below_for_chaos_patients_alone() -> None:
    scores = study_scores()
    train_table, val_table, test_table = study_tables({"iou": scores}, ["volume_dice"], synthetic=False)
    assert [column.title for column in train_table.columns] == [
        "Patient id",
        *["30", "28", "24", "27", "8", "22", "23", "21", "10", "6", "2", "14", "19", "18", "1"],
        "Average",
    ]
    ours, empty, printed = train_table.rows
    assert empty == ["Both-empty slices", *[1] * 15, None]
    assert ours[1:-1] == printed[1:-1] and printed[-1] == 0.965 and ours[-1] == pytest.approx(0.963, abs=5e-4)
    assert val_table.rows[2] == ["study, published", 0.867, 0.845, 0.939, 0.943, 0.899]
    assert test_table.rows[2] == ["study, published", 0.944, 0.944]
    # Phantoms, and a patient of the same number who is someone else's, have no published Dice.
    assert all(len(table.rows) == 2 for table in study_tables({"iou": scores}, ["volume_dice"], synthetic=True))
    other = [replace(row, slices=50) for row in scores]
    assert all(len(table.rows) == 2 for table in study_tables({"iou": other}, ["volume_dice"], synthetic=False))


def test_the_studys_numbers_share_rows_with_its_own_patients_and_split_alone() -> None:
    same = run("bce", study_scores())
    (row, printed) = titled(means_table([same], "volume_dice"))
    assert row["study"] == 0.908 and printed["Loss"] == "study's tables" and published_table([same]) is None

    other_patients = run("bce", [*scored("train", {"200": 0.9}), *scored("val", {"201": 0.9})])
    swapped = {"29": "16", "16": "29"}
    other_split = run(
        "bce",
        [replace(r, patient=p, slices=SLICES[p]) for r in study_scores() for p in [swapped.get(r.patient, r.patient)]],
    )
    fewer = run("bce", study_scores()[1:])
    for apart, reason in (
        (other_patients, "0 of its 20 patients"),
        (other_split, "its 20 patients, but other ones in training, validation and test"),
        (fewer, "19 of its 20 patients"),
    ):
        table = means_table([apart], "volume_dice")
        assert len(table.rows) == 1 and "study" not in [column.title for column in table.columns]
        assert all(len(one.rows) == 2 for one in study_tables({"bce": apart.scores}, ["volume_dice"], synthetic=False))
        published = published_table([apart])
        assert published is not None and reason in published.note
        assert titled(published)[0] == {"Loss": "bce", "train": None, "val": None, "test": None, "average": 0.908}
        assert published.rows[-1] == ["its tables", 0.965, 0.899, 0.944, 0.936]
    assert published_table([run("bce", other_patients.scores, synthetic=True)]) is None


def test_means_in_one_table_rest_on_the_same_patients() -> None:
    def rows(values: dict[str, float]) -> list[PatientScore]:
        return [
            replace(row, values={**row.values, "slice_dice": value, "precision": value})
            for row, value in zip(scored("test", values), values.values(), strict=True)
        ]

    bce, dice = {"a": 0.1, "b": 0.4, "c": 0.6}, {"a": 0.2, "b": math.nan, "c": 0.8}
    runs = [run("bce", rows(bce)), run("dice", rows(dice)), run("iou", rows(dict.fromkeys("abc", math.nan)))]
    for metric in ("volume_dice", "slice_dice"):
        table = means_table(runs, metric)
        first, second, none = titled(table)
        assert (first["test"], second["test"]) == (pytest.approx(0.35), pytest.approx(0.5))
        assert first["n"] == second["n"] == 2 and first["patients"] == pytest.approx(0.35)
        assert none["n"] == 0 and math.isnan(none["test"])  # nobody to pair with: no reason to leave all out
        assert "b (dice)" in table.note
    table = metrics_table(runs)
    assert [row["Precision"] for row in titled(table)][:2] == [pytest.approx(0.35), pytest.approx(0.5)]
    assert "Precision, test: b (dice)" in table.note and "Binary accuracy" not in table.note
    (table,) = study_tables({one.arm: one.scores for one in runs}, ["volume_dice"], synthetic=True)
    assert [row["Average"] for row in titled(table)][:2] == [pytest.approx(0.35), pytest.approx(0.5)]
    assert titled(table)[0]["b"] == 0.4 and "Volume Dice: b (dice)" in table.note  # still shown, by itself

    def measured(arm: str, assd: dict[str, float]) -> list[ChallengeScore]:
        return [
            ChallengeScore(p, "test", "as predicted", 0.9, 5.0, value, 20.0, 70.0, math.nan, math.nan)
            for p, value in assd.items()
        ]

    table = challenge_table({"bce": measured("bce", bce), "dice": measured("dice", dice)})
    assert [row["ASSD mm"] for row in titled(table)] == [pytest.approx(0.35), pytest.approx(0.5)]
    assert "ASSD mm, test, as predicted: b (dice)" in table.note


def test_tables_say_when_losses_were_not_scored_on_the_same_patients() -> None:
    runs = [run("bce", scored("test", {"a": 0.5, "b": 0.9})), run("iou", scored("test", {"a": 0.5}))]
    by_loss = {one.arm: one.scores for one in runs}
    for table in (
        *(means_table(runs, "volume_dice"), metrics_table(runs)),
        *study_tables(by_loss, ["volume_dice"], synthetic=True),
        challenge_table(
            {
                arm: [
                    ChallengeScore(row.patient, "test", "as predicted", 0.9, 5.0, 1.0, 2.0, 7.0, math.nan, math.nan)
                    for row in rows
                ]
                for arm, rows in by_loss.items()
            }
        ),
    ):
        assert table.note.startswith("What is compared was not scored on the same patients"), table.name


def test_a_patient_counts_once_whatever_its_seeds_and_folds() -> None:
    runs = [
        run("bce", [*scored("train", {"a": 0.9}), *scored("test", {"b": 0.5, "c": 0.8})], seed=0, fold=0),
        run("bce", [*scored("train", {"a": 0.7}), *scored("test", {"b": 0.7, "c": 0.8})], seed=1, fold=0),
        run("bce", [*scored("train", {"b": 1.0}), *scored("test", {"a": 0.6})], seed=0, fold=1),
    ]
    table = means_table(runs, "volume_dice")
    row = dict(zip([column.title for column in table.columns], table.rows[0], strict=True))
    assert row["runs"] == 3 and row["n"] == 3
    assert row["train"] == pytest.approx((0.8 + 1.0) / 2) and row["test"] == pytest.approx((0.6 + 0.8 + 0.6) / 3)
    a, b, c = (0.9 + 0.7 + 0.6) / 3, (0.5 + 0.7 + 1.0) / 3, 0.8
    assert row["patients"] == pytest.approx((a + b + c) / 3)
    assert row["splits"] == pytest.approx((0.9 + 2 / 3) / 2)
    assert row["test from"] <= row["test"] <= row["to"]


def test_undefined_scores_are_dashes_and_left_out_of_means() -> None:
    scores = scored("test", {"a": 0.8, "b": math.nan})
    (table,) = study_tables({"bce": scores}, ["volume_dice"], synthetic=True)
    assert table.cells() == [["Volume Dice", "0.800", "–", "0.800"], ["Both-empty slices", "1", "1", "–"]]
    assert "–" in run_tables("bce", scores, [], synthetic=True)


def test_challenge_table_has_columns_for_what_was_measured() -> None:
    rows = [
        ChallengeScore("a", "test", masks, 0.9, 5.0, 1.0, 20.0, 70.0, math.nan, math.nan)
        for masks in ("as predicted", "largest component")
    ]
    table = challenge_table({"bce": rows})
    assert [column.title for column in table.columns][3:] == ["DICE", "RAVD %", "ASSD mm", "MSSD mm", "score"]
    assert [row[:3] for row in table.rows] == [["bce", "test", "as predicted"], ["bce", "test", "largest component"]]
    with_monai = challenge_table({"bce": [replace(rows[0], hd95_mm=3.0, surface_dice=0.8)]})
    assert [column.title for column in with_monai.columns][-2:] == ["HD95 mm", "surface Dice 3 mm"]
