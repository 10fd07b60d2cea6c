from dataclasses import asdict
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, MissingConfigException

from chaos_seg.command_line import CONF_DIR
from chaos_seg.config import TrainConfig, checked
from chaos_seg.data.splits import Split
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.registry import SPLITS
from chaos_seg.training.checkpoints import read_checkpoint
from chaos_seg.training.trainer import build_trainer

EXPERIMENTS = sorted(path.stem for path in (CONF_DIR / "experiment").glob("*.yaml"))
SLOTS = (
    *("data", "data/split", "preprocessing", "augmentation", "network", "loss", "optimizer", "scheduler", "logger"),
    "trainer",
)
GROUPS = [f"{group}={path.stem}" for group in SLOTS for path in sorted((CONF_DIR / group).glob("*.yaml"))]


def composed(*overrides: str) -> TrainConfig:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return checked(TrainConfig, compose("train", overrides=list(overrides)))


@pytest.mark.parametrize("loss", ["bce", "dice", "iou"])
def test_a_loss_alone_is_the_study_to_the_letter(loss: str) -> None:
    config = composed(f"loss={loss}")
    assert config.loss["name"] == loss
    assert (config.image_size, config.batch_size, config.epochs, config.learning_rate) == (512, 8, 400, 1e-5)
    assert config.network == {"name": "unet", "base": 8, "depth": 4, "dropout": 0.2, "dropout_at": "bottom"}
    assert config.threshold == 100
    assert config.preprocessing.items() >= {"name": "window", "level_hu": 0, "width_hu": 2800, "crop": False}.items()
    assert config.preprocessing["neighbours"] == 0
    assert config.augmentation == {"rotation": {"degrees": 5}}
    assert (config.optimizer, config.scheduler) == ({"name": "adam"}, {"name": "constant"})
    assert SPLITS.build(config.data.split, []) == Split(
        ("30", "28", "24", "27", "8", "22", "23", "21", "10", "6", "2", "14", "19", "18", "1"),
        ("16", "25", "5", "26"),
        ("29",),
    )


@pytest.mark.parametrize("override", GROUPS)
def test_every_choice_composes(override: str) -> None:
    composed(override)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_two_steps(name: str, phantom_root: Path, tmp_path: Path) -> None:
    """With its own image size, rate and network, and but for the GPU's its batch; only the data is smaller."""
    here = ("trainer=cpu", "batch_size=1") if name == "best" else ()
    config = composed(
        f"experiment={name}", "epochs=1", "trainer.limit_train_batches=2", f"data.store={tmp_path}", *here
    )
    if config.data.source["name"] == "chaos":
        config.data.root, config.num_workers = str(phantom_root), 0
        few, some = (["1"], ["3"], []), (["1", "2"], ["3"], ["4"])
        config.data.split |= dict(zip(("train", "val", "test"), few if here else some, strict=True))
    else:
        config.data.source["slices"] = 4
    summary = train(config, tmp_path / "run")
    assert summary["epoch"] == 0 and summary["synthetic"]
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("learning_rate=abc", "learning_rate: Value 'abc' of type 'str' could not be converted to Float"),
        ("+tpyo=1", "tpyo: Key 'tpyo' not in 'TrainConfig'"),
        ("epochs=0", "epochs=0: expected a number above 0"),
        ("threshold=255", "threshold=255.0: expected a number from 1 to below 255"),
        ("+trainer.tpyo=1", "trainer.tpyo: Key 'tpyo' not in 'TrainerConfig'"),
        ("num_workers=-1", "num_workers=-1: expected a number from 0"),
        ("half_size_epochs=400", "half_size_epochs=400: expected a share below 1 or a number below epochs=400"),
        ("half_size_epochs=1.5", "half_size_epochs=1.5: expected a share below 1 or a number below epochs=400"),
        ("half_size_epochs=-1", "half_size_epochs=-1: expected a share below 1 or a number"),
        ("half_size_epochs=half", "half_size_epochs=half: expected a share below 1 or a number"),
        ("seed=-1", "seed=-1: expected a number from 0 to"),
        ("seed=99999999999", "seed=99999999999: expected a number from 0 to"),
    ],
)
def test_mistyped_keys_and_values_are_refused(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        composed(override)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+network.bsae=16"], "network unet: got an unexpected keyword argument 'bsae'; its options are: base, depth"),
        (["network.base=[8]"], r"network.base=\[8\]: expected int, found list"),
        (["network.base=0"], "network.base=0: expected a number above 0"),
        (["network.dropout=1"], "network.dropout=1.0: expected a number from 0 to below 1"),
        (["network.name=unet3"], "network.name=unet3: expected one of"),
        (["image_size=500"], "image_size=500: expected a multiple of 16 for this network"),
        (["preprocessing.width_hu=0"], "preprocessing.width_hu=0.0: expected a number above 0"),
        (["augmentation.rotation.degrees=-5"], r"augmentation.rotation.degrees=-5.0: expected degrees from 0"),
        (["+augmentation.rotaton.degrees=5"], "augmentation.name=rotaton: expected one of affine, blur"),
        (["data/split=seeded", "data.split.seed=-1"], "data.split.seed=-1: expected a number from 0"),
        (["data/split=seeded", "data.split.val_patients=-1"], "data.split.val_patients=-1: expected 0 or more"),
        (["data.split.test=null"], "data.split.test=None: expected list"),
        (["data.split.name=folds"], "data.split.name=folds: expected one of kfold, lists, seeded"),
        (["data.split.test=[16]"], "a patient on two sides is a leak"),
        (["scheduler=cosine", "scheduler.warmup=1"], "scheduler.warmup=1.0: expected a share of the steps"),
        (["+logger.wondb={}"], "logger.name=wondb: expected one of csv, mlflow, tensorboard"),
    ],
)
def test_what_a_slot_refuses_is_refused_before_training(
    overrides: list[str], said: str, phantom_root: Path, tmp_path: Path
) -> None:
    config = composed(*overrides, f"data.root={phantom_root}", f"data.store={tmp_path}", "trainer=cpu", "epochs=1")
    if "split" not in "".join(overrides):
        config.data.split |= {"train": ["1", "2"], "val": ["3"], "test": ["4"]}
    with pytest.raises(UserError, match=said) as error:
        train(config, tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize("option", ["precision=foo", "devices=abc", "accelerator=foo", "strategy=foo"])
def test_trainer_values_that_lightning_refuses(option: str) -> None:
    with pytest.raises(UserError, match=r"^trainer: .*; choose another trainer=") as error:
        build_trainer(asdict(composed("trainer=cpu", f"trainer.{option}").trainer), Path())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("override", ["loss=dyce", "tpyo=1"])
def test_hydra_refuses_the_rest(override: str) -> None:
    with pytest.raises((ConfigCompositionException, MissingConfigException), match=r"dyce|tpyo"):
        composed(override)


def test_splits_by_configuration() -> None:
    patients = [str(n) for n in range(10)]
    fold = SPLITS.build(composed("data/split=kfold", "data.split.fold=3").data.split, patients)
    assert (len(fold.train), len(fold.val), len(fold.test)) == (6, 2, 2)
    seeded = SPLITS.build(composed("data/split=seeded", "data.split.val_patients=3").data.split, patients)
    assert (len(seeded.train), len(seeded.val), len(seeded.test)) == (6, 3, 1)


def test_no_data_root(monkeypatch: pytest.MonkeyPatch, phantom_root: Path) -> None:
    monkeypatch.delenv("CHAOS_ROOT", raising=False)
    with pytest.raises(UserError, match=r"No data root: set data.root=FOLDER or the environment variable CHAOS_ROOT"):
        composed().data.open()
    monkeypatch.setenv("CHAOS_ROOT", str(phantom_root))
    assert list(composed().data.open().patients) == ["1", "2", "3", "4"]
