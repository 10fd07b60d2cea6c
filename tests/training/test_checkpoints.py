from pathlib import Path

import pytest
import torch

from chaos_seg.training.checkpoints import AtomicCheckpointIO, RunCheckpoint, load_segmenter
from chaos_seg.training.segmenter import Segmenter

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


def test_a_loaded_model_is_the_one_that_was_saved_and_predicts(tmp_path: Path) -> None:
    settings = {
        "model": {"base": 4, "depth": 2, "dropout": 0.5},
        "loss": {"name": "dice"},
        "preprocessing": {"image_size": 16, "level_hu": 40, "width_hu": 400},
        "learning_rate": 1e-3,
        "threshold": 77,
        "seed": 9,
    }
    module = Segmenter(**settings)  # type: ignore[arg-type]
    torch.nn.init.normal_(module.net.head.weight)  # no seed makes these
    content = {"hyper_parameters": settings, "state_dict": module.state_dict(), "epoch": 12, "training_range": {"a": 1}}
    torch.save(content, tmp_path / "best.ckpt")
    loaded, epoch = load_segmenter(tmp_path / "best.ckpt")
    assert (epoch, loaded.hparams["threshold"], loaded.training_range) == (12, 77, {"a": 1})
    assert not loaded.training and all(
        torch.equal(value, module.state_dict()[key]) for key, value in loaded.state_dict().items()
    )
