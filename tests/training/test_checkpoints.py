import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from chaos_seg.config import TrainConfig
from chaos_seg.data.preprocessing import Window
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.files import read_json
from chaos_seg.networks.unet import UNet
from chaos_seg.training.checkpoints import FORMAT, keep_chosen, load_model, read_checkpoint
from chaos_seg.training.segmenter import Segmenter


def test_a_loaded_model_is_the_one_that_was_saved_and_predicts(tmp_path: Path) -> None:
    settings = {
        "network": {"name": "unet", "base": 4, "depth": 2, "dropout": 0.5},
        "loss": {"name": "dice"},
        "preprocessing": {"name": "window", "image_size": 16, "level_hu": 40, "width_hu": 400},
        "optimizer": {"name": "adam", "learning_rate": 1e-3},
        "threshold": 77,
        "seed": 9,
    }
    module = Segmenter(**settings)  # type: ignore[arg-type]
    torch.nn.init.normal_(module.net.head.weight)  # no seed makes these
    content = {"hyper_parameters": settings, "state_dict": module.state_dict(), "epoch": 12, "training_range": {"a": 1}}
    torch.save(content, tmp_path / "best.ckpt")
    loaded, epoch = load_model(tmp_path / "best.ckpt")
    assert (epoch, loaded.settings["threshold"], loaded.training_range) == (12, 77, {"a": 1})
    assert not loaded.training and all(
        torch.equal(value, module.state_dict()[key]) for key, value in loaded.state_dict().items()
    )


def test_a_checkpoint_made_before_there_were_slots_is_read_as_the_studys(tmp_path: Path) -> None:
    settings = {
        "model": {"base": 4, "depth": 2, "dropout": 0.5},
        "loss": {"name": "dice"},
        "preprocessing": {"image_size": 16, "level_hu": 40.0, "width_hu": 400.0},
        "learning_rate": 1e-3,
        "threshold": 77.0,
        "seed": 9,
    }
    net = UNet(base=4, depth=2)
    weights = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"hyper_parameters": settings, "state_dict": weights, "epoch": 3}, tmp_path / "old.ckpt")
    module, epoch = load_model(tmp_path / "old.ckpt")
    assert (epoch, module.threshold, module.preprocessing) == (3, 77.0, Window(16, 40.0, 400.0))
    assert module.settings["optimizer"] == {"name": "adam", "learning_rate": 1e-3}
    assert torch.equal(module.net.head.weight, net.head.weight) and module.net.dropout.p == 0.5


def made(**changed: object) -> dict[str, object]:
    settings = {
        "network": {"name": "unet", "base": 2, "depth": 1},
        "loss": {"name": "dice"},
        "preprocessing": {"name": "window", "image_size": 16, "level_hu": 40, "width_hu": 400},
        "optimizer": {"name": "adam", "learning_rate": 1e-3},
    }
    weights = Segmenter(**settings).state_dict()  # type: ignore[arg-type]
    return {"format": FORMAT, "hyper_parameters": settings, "state_dict": weights, "epoch": 0, **changed}


def test_options_that_came_later_take_their_defaults(tmp_path: Path) -> None:
    """Neither the threshold, nor the schedule, nor the network's dropout stands in it."""
    torch.save(made(), tmp_path / "a.ckpt")
    module, _ = load_model(tmp_path / "a.ckpt")
    assert module.settings["scheduler"] == {"name": "constant"} and module.threshold == 100
    assert module.net.dropout.p == 0.2


def test_a_checkpoint_of_a_newer_version_or_of_a_network_that_is_not_here_is_refused(tmp_path: Path) -> None:
    torch.save(made(format=FORMAT + 1), tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=rf"a.ckpt: expected a checkpoint of format {FORMAT} or older, found format"):
        load_model(tmp_path / "a.ckpt")
    foreign = made()
    foreign["hyper_parameters"]["network"] = {"name": "theirs"}  # type: ignore[index]
    torch.save(foreign, tmp_path / "b.ckpt")
    with pytest.raises(UserError, match=r"b.ckpt: network.name=theirs: expected one of .*unet. Install what it was"):
        load_model(tmp_path / "b.ckpt")


Configure = Callable[..., TrainConfig]


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("text")
    torch.save({"epoch": 0, "state_dict": {}, "hyper_parameters": {"lr": 1}}, tmp_path / "other.ckpt")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "pickle.ckpt")  # would run code when loaded
    for name, said in {
        "none": "no such file",
        "text": "something else",
        "other": "another program",
        "pickle": "something else",
    }.items():
        with pytest.raises(UserError, match=rf"{name}.ckpt: expected a checkpoint.*{said}") as error:
            read_checkpoint(tmp_path / f"{name}.ckpt")
        assert "\n" not in str(error.value)


def test_weights_of_another_network(finished: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(finished / "checkpoints" / "best.ckpt")
    checkpoint["hyper_parameters"]["network"]["base"] = 8
    torch.save(checkpoint, tmp_path / "changed.ckpt")
    with pytest.raises(UserError, match=r"changed.ckpt: expected the weights of the network \{.*'base': 8"):
        load_model(tmp_path / "changed.ckpt")


def test_checkpoints_hold_plain_values_and_all_that_prediction_needs(configure: Configure, tmp_path: Path) -> None:
    train(configure("epochs=1", "preprocessing=soft_tissue"), tmp_path)
    module, epoch = load_model(tmp_path / "checkpoints" / "best.ckpt")  # weights_only
    assert epoch == 0
    assert module.preprocessing == Window(32, 40, 400)
    assert not module.training and module.net.depth == 2


def test_a_temperature_is_kept_beside_weights_that_stay(finished: Path, tmp_path: Path) -> None:
    best = Path(shutil.copytree(finished, tmp_path / "run")) / "checkpoints" / "best.ckpt"
    model, _ = load_model(best)
    assert model.temperature == read_json(finished / "summary.json")["temperature"] is not None
    keep_chosen(best, {"temperature": 2.5, "largest_component": True, "epoch": 99})
    again, epoch = load_model(best)
    assert again.temperature == 2.5 and again.largest_component and epoch < 99
    assert all((value == again.state_dict()[key]).all() for key, value in model.state_dict().items())
    assert load_model(best.with_name("last.ckpt"))[0].temperature is None
