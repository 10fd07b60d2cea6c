"""Training that begins with another model's weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chaos_seg.config import TrainConfig
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.reopened import keeping_the_models, run_once
from chaos_seg.reporting.runs import read_runs
from chaos_seg.run_folder import RunFolder
from chaos_seg.training.checkpoints import model_hash, read_checkpoint
from chaos_seg.training.initial import begin_with, freeze, told
from chaos_seg.training.segmenter import Segmenter

Configure = Callable[..., TrainConfig]


def segmenter(name: str = "unet", image_size: int = 32, **options: object) -> Segmenter:
    module = Segmenter(
        {"name": name, **(options or {"base": 4, "depth": 2})},
        {"name": "dice"},
        {"name": "window", "image_size": image_size, "level_hu": 55.0, "width_hu": 300.0},
        {"name": "adam", "learning_rate": 1e-3},
    )
    for value in module.parameters():
        torch.nn.init.normal_(value)  # no seed makes these
    return module


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(segmenter(), tmp_path / "model.ckpt")


def saved(module: Segmenter, path: Path) -> Path:
    torch.save({"hyper_parameters": dict(module.hparams), "state_dict": module.state_dict(), "epoch": 3}, path)
    return path


def weights(path: Path) -> dict[str, Any]:
    return dict(read_checkpoint(path)["state_dict"])


def test_what_fits_is_taken_and_what_does_not_is_named(tmp_path: Path) -> None:
    """Other weights of the head, one that is gone and one that is new."""
    given = segmenter()
    content = {"hyper_parameters": dict(given.hparams), "state_dict": dict(given.state_dict()), "epoch": 3}
    content["state_dict"]["net.head.weight"] = torch.zeros(3, 4, 1, 1)
    content["state_dict"]["net.second.weight"] = content["state_dict"].pop("net.head.bias")
    torch.save(content, tmp_path / "other.ckpt")
    module = segmenter()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    facts = begin_with(module, tmp_path / "other.ckpt", freeze_encoder=True)
    assert facts["left"] == {
        "net.head.weight": "[3, 4, 1, 1] there, [1, 4, 1, 1] here",
        "net.head.bias": "not in the model",
        "net.second.weight": "not in this network",
    }
    assert facts["of"] - facts["numbers"] == 5 and facts["sha256"] == model_hash(tmp_path / "other.ckpt")
    assert f"{facts['numbers']} of {facts['of']} numbers; not taken: net.head.weight ([3" in told(facts)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name] if "head" in name else given.state_dict()[name]), name


@pytest.mark.parametrize("options", [{"base": 8, "depth": 2}, {"base": 4, "depth": 4}])
def test_weights_of_another_network_are_refused(model: Path, options: dict[str, Any]) -> None:
    module = segmenter(**options)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(UserError, match=r"expected weights of the network .*, found those of .* numbers fit") as error:
        begin_with(module, model, freeze_encoder=False)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_an_encoder_that_is_not_the_models_can_not_be_frozen(tmp_path: Path) -> None:
    content = torch.load(saved(segmenter(), tmp_path / "model.ckpt"), weights_only=True)
    content["state_dict"]["net.encoder.0.0.weight"] = torch.zeros(4, 3, 3, 3)
    torch.save(content, tmp_path / "model.ckpt")
    assert begin_with(segmenter(), tmp_path / "model.ckpt", False)["left"]
    with pytest.raises(UserError, match=r"wholly the model's, found net.encoder.0.0.weight new \(\[4, 3, 3, 3\] th"):
        begin_with(segmenter(), tmp_path / "model.ckpt", True)


def test_a_run_learns_from_the_models_weights_on_and_says_so(
    configure: Configure, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run, begun = tmp_path / "run", ("epochs=3", f"init={model}", "freeze_encoder=true", "learning_rate=1e-2")
    train(configure(*begun, "epochs=2"), run)
    facts = json.loads((run / "manifest.json").read_text())["init"]
    assert (facts["sha256"], facts["path"], facts["left"]) == (model_hash(model), str(model), {})
    assert f"Begun with {model} ({model_hash(model)[:12]}): {facts['of']} of {facts['of']} numbers" in caplog.text
    first, last = weights(model), weights(run / "checkpoints" / "last.ckpt")
    for name, value in last.items():  # batch norm's statistics too, through two epochs with validation between them
        assert torch.equal(value, first[name]) == (".encoder." in name), name

    plain = RunFolder(Path(shutil.copytree(run, tmp_path / "plain")))
    plain.manifest_file.write_text(json.dumps({**plain.manifest(), "init": None}))
    arms = [one.arm for one in read_runs([run, plain.path])]  # one that began with a model repeats none that did not
    assert arms == [f"bce, init={model_hash(model)[:12]}", "bce, init=None"]

    moved = model.rename(tmp_path / "moved.ckpt")  # a run that goes on has the weights itself
    config = configure(*begun, f"ckpt_path={run / 'checkpoints' / 'last.ckpt'}")
    train(config, run)
    assert json.loads((run / "manifest.json").read_text())["init"] == facts
    last = weights(run / "checkpoints" / "last.ckpt")
    assert all(torch.equal(last[name], first[name]) for name in first if ".encoder." in name)
    saved(segmenter(), model)
    for go_on in (run_once, resume):
        with pytest.raises(
            UserError, match=f"made with init={facts['sha256']}, this command asks for {model_hash(model)}"
        ):
            go_on(configure(*begun, f"init={model}"), run)
        with pytest.raises(UserError, match=f"made with init={facts['sha256']}, this command asks for None"):
            go_on(configure("epochs=3", "learning_rate=1e-2"), run)
    run_once(configure(*begun, f"init={moved}"), run)  # the same model in another place


def resume(config: TrainConfig, run: Path) -> None:
    config.ckpt_path = str(run / "checkpoints" / "last.ckpt")
    train(config, run)


def test_network_and_preprocessing_are_the_models_but_for_what_is_typed(configure: Configure, model: Path) -> None:
    config = configure(f"init={model}", "image_size=64", "network.base=16", "preprocessing=soft_tissue")
    rest = {"neighbours": 0, "distance_mm": 5.0, "crop": False}
    window = {"name": "window", "level_hu": 55.0, "width_hu": 300.0, **rest}
    kept = keeping_the_models(config, [f"init={model}", "loss=dice", "experiment=best_cpu"])
    assert (kept.network, kept.preprocessing) == (dict(segmenter().hparams["network"]), window)
    assert kept.image_size == 32 and kept.epochs == config.epochs
    kept = keeping_the_models(config, ["network.base=16", "++preprocessing.width_hu=400", "image_size=64"])
    assert kept.network == {**segmenter().hparams["network"], "base": 16}
    assert (kept.preprocessing, kept.image_size) == ({**window, "width_hu": 400}, 64)
    kept = keeping_the_models(config, ["preprocessing=soft_tissue", "network=unet"])
    assert (kept.preprocessing, kept.network) == (config.preprocessing, config.network)


def test_what_a_user_can_mend(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"freeze_encoder=True: expected init=CKPT beside it"):
        configure("freeze_encoder=true")
    with pytest.raises(UserError, match=r"none.ckpt: expected a checkpoint, found no such file"):
        train(configure(f"init={tmp_path / 'none.ckpt'}"), tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists() and not (tmp_path / "run" / "checkpoints").exists()


def test_a_network_without_an_encoder_has_none_to_freeze() -> None:
    module = segmenter()
    module.net = torch.nn.Conv2d(1, 1, 1)
    with pytest.raises(UserError, match="expected a network with a part called encoder, found unet"):
        freeze(module)
