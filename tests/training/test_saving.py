"""How Lightning saves: atomically, and in a folder that may move."""

from pathlib import Path

import pytest
import torch

from chaos_seg.training.saving import AtomicCheckpointIO, RunCheckpoint

SCORE = torch.tensor(0.75)


def run_checkpoint(folder: Path) -> RunCheckpoint:
    return RunCheckpoint(dirpath=folder, filename="best", monitor="val/dice", mode="max")


def test_a_best_score_moves_with_its_folder(tmp_path: Path) -> None:
    here, there = run_checkpoint(tmp_path / "here"), run_checkpoint(tmp_path / "there")
    here.best_model_path = here.kth_best_model_path = str(tmp_path / "here" / "best.ckpt")
    here.best_model_score = here.kth_value = here.current_score = SCORE
    here.best_k_models = {here.best_model_path: SCORE}
    there.load_state_dict(here.state_dict())
    moved = str(tmp_path / "there" / "best.ckpt")
    assert (there.best_model_path, there.kth_best_model_path, there.last_model_path) == (moved, moved, "")
    assert there.best_k_models == {moved: SCORE} and there.best_model_score == there.kth_value == SCORE
    assert there.dirpath == str(tmp_path / "there")


def test_a_checkpoint_that_can_not_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        AtomicCheckpointIO().save_checkpoint({"epoch": lambda: 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1} and list(tmp_path.iterdir()) == [path]
