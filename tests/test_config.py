from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, MissingConfigException

from chaos_seg.command_line import CONF_DIR
from chaos_seg.config import TrainConfig, checked
from chaos_seg.data.splits import Split
from chaos_seg.errors import UserError
from chaos_seg.train import train
from chaos_seg.training.checkpoints import read_checkpoint

EXPERIMENTS = sorted(path.stem for path in (CONF_DIR / "experiment").glob("*.yaml"))
GROUPS = [
    f"{group}={path.stem}"
    for group in ("data", "data/split", "transform", "loss", "trainer", "model")
    for path in sorted((CONF_DIR / group).glob("*.yaml"))
]


def composed(*overrides: str) -> TrainConfig:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return checked(TrainConfig, compose("train", overrides=list(overrides)))


@pytest.mark.parametrize("loss", ["bce", "dice", "iou"])
def test_a_loss_alone_is_the_study_to_the_letter(loss: str) -> None:
    config = composed(f"loss={loss}")
    assert config.loss["name"] == loss
    assert (config.image_size, config.batch_size, config.epochs, config.learning_rate) == (512, 8, 400, 1e-5)
    assert (config.model.base, config.model.dropout, config.threshold) == (8, 0.2, 100)
    assert (config.transform.level_hu, config.transform.width_hu, config.transform.rotation_deg) == (0, 2800, 5)
    assert config.data.split.split([]) == Split(
        ("30", "28", "24", "27", "8", "22", "23", "21", "10", "6", "2", "14", "19", "18", "1"),
        ("16", "25", "5", "26"),
        ("29",),
    )


@pytest.mark.parametrize("override", GROUPS)
def test_every_choice_composes(override: str) -> None:
    composed(override)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_two_steps(name: str, phantom_root: Path, tmp_path: Path) -> None:
    """With its own image size, batch, rate and network; only the data is smaller."""
    config = composed(f"experiment={name}", "epochs=1", "trainer.limit_train_batches=2", f"data.store={tmp_path}")
    if config.data.phantom is None:
        config.data.root, config.num_workers = str(phantom_root), 0
        config.data.split.train, config.data.split.val, config.data.split.test = ["1", "2"], ["3"], ["4"]
    else:
        config.data.phantom.slices = 4
    summary = train(config, tmp_path / "run")
    assert summary["epoch"] == 0 and summary["synthetic"]
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("learning_rate=abc", "learning_rate: Value 'abc' of type 'str' could not be converted to Float"),
        ("+tpyo=1", "tpyo: Key 'tpyo' not in 'TrainConfig'"),
        ("+model.bsae=16", "model.bsae: Key 'bsae' not in 'ModelConfig'"),
        ("model.base=[8]", "model.base"),
        ("epochs=0", "epochs=0: expected a number above 0"),
        ("threshold=255", "threshold=255.0: expected a number between 0 and 255"),
        ("image_size=500", r"image_size=500: expected a multiple of 16 \(2\^model.depth\)"),
        ("model.dropout=1", "model.dropout=1.0: expected a number from 0 to below 1"),
        ("+trainer.tpyo=1", "trainer.tpyo: Key 'tpyo' not in 'TrainerConfig'"),
        ("num_workers=-1", "num_workers=-1: expected a number from 0"),
        ("seed=-1", "seed=-1: expected a number from 0 to"),
        ("seed=99999999999", "seed=99999999999: expected a number from 0 to"),
        ("+data.split.seed=-1", "data.split.seed=-1: expected a number from 0 to"),
        ("+data.split.val_patients=-1", "data.split.val_patients=-1: expected 0 or more"),
        ("transform.rotation_deg=-5", r"transform.rotation_deg=-5.0: expected degrees from 0"),
    ],
)
def test_mistyped_keys_and_values_are_refused(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        composed(override)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("option", ["precision=foo", "devices=abc", "accelerator=foo", "strategy=foo"])
def test_trainer_values_that_lightning_refuses(option: str) -> None:
    with pytest.raises(UserError, match=r"^trainer: .*; choose another trainer=") as error:
        composed("trainer=cpu", f"trainer.{option}").trainer.build(Path())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("override", ["loss=dyce", "tpyo=1"])
def test_hydra_refuses_the_rest(override: str) -> None:
    with pytest.raises((ConfigCompositionException, MissingConfigException), match=r"dyce|tpyo"):
        composed(override)


def test_splits_by_configuration() -> None:
    patients = [str(n) for n in range(10)]
    fold = composed("data/split=kfold", "data.split.fold=3").data.split.split(patients)
    assert (len(fold.train), len(fold.val), len(fold.test)) == (6, 2, 2)
    seeded = composed("data/split=seeded", "data.split.val_patients=3").data.split.split(patients)
    assert (len(seeded.train), len(seeded.val), len(seeded.test)) == (6, 3, 1)
    with pytest.raises(UserError, match=r"data.split.method=lists needs test"):
        composed("data.split.test=null").data.split.split(patients)
    with pytest.raises(UserError, match=r"data.split.method=folds: expected one of lists, seeded, kfold"):
        composed("data.split.method=folds").data.split.split(patients)
    with pytest.raises(UserError, match="a patient on two sides is a leak"):
        composed("data.split.test=[16]").data.split.split(patients)


def test_no_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAOS_ROOT", raising=False)
    with pytest.raises(UserError, match=r"No data root: set data.root=FOLDER or the environment variable CHAOS_ROOT"):
        composed().data.tree()
    monkeypatch.setenv("CHAOS_ROOT", "/somewhere")
    assert str(composed().data.tree()) == "/somewhere"
