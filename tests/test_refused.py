"""What Hydra refuses of a command line, in one sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("command", "overrides", "said"),
    [
        ("train", ("loss=dyce",), "loss=dyce: expected one of bce, dice, dice_bce, dice_topk, iou; "),
        ("train", ("data/split=best",), "data/split=best: expected one of kfold, paper, seeded; "),
        ("train", ("logger=[csv,tb]",), "logger=tb: expected one of csv, mlflow, tensorboard, wandb; "),
        ("train", ("epoch=3",), "epoch: train has no such setting; did you mean epochs? "),
        ("train", ("network=resunet", "network.fould=3"), "network.fould: train has no such setting; did you mean net"),
        (
            "train",
            ("network=monai", "network.options.strdes=[2]"),
            "network.options.strdes: train has no such setting; did you mean network.options.strides? "
            "+network.options.strdes=VALUE hands on an option of its own; ",
        ),
        ("train", ("xyzzy=3",), "xyzzy: train has no such setting; python -m chaos_seg.train --help lists"),
        ("train", ("--multirun", "loss=bce,dice", "seeds=1"), "seeds: train has no such setting; did you mean seed? "),
        ("train", ("dice",), "dice: expected SETTING=VALUE; "),
        ("train", ("epochs=[1",), "epochs=[1: expected a value in Hydra's grammar, but "),
        ("predict", ("inptu=x",), "inptu: predict has no such setting; did you mean input? "),
        ("predict", ("input=x", "output=y"), "ckpt: expected a value, found none; give it as ckpt=VALUE."),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_it_names_what_is_wrong_and_what_there_is(
    finish: Callable[..., tuple[int, str, str]], tmp_path: Path, command: str, overrides: tuple[str, ...], said: str
) -> None:
    code, out, err = finish([command, *overrides], tmp_path)
    (line,) = err.strip().splitlines()
    assert code == 1 and line.startswith(said) and out == ""
