from pathlib import Path

from chaos_seg.files import read_csv
from chaos_seg.training.loggers import EpochTable


def test_a_repeated_epoch_takes_its_own_place_and_ends_the_table(tmp_path: Path) -> None:
    """A run killed between the row and the checkpoint of an epoch trains it again."""
    for epoch, loss in ((0, 0.5), (1, 0.4), (2, 0.3), (1, 0.45)):
        metrics = {"train/loss": loss, "val/loss": 0.6, "val/dice": 0.7, "train/ms_per_slice": 9.0}
        EpochTable(tmp_path / "metrics.csv").log_metrics(metrics, epoch)
    assert [(row["epoch"], row["train/loss"]) for row in read_csv(tmp_path / "metrics.csv")] == [
        ("0", "0.5"),
        ("1", "0.45"),
    ]
