"""The schema of the configuration, which has its defaults in conf/ and nowhere else."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from chaos_seg.command_line import escaped
from chaos_seg.data.sources.archive import Archive
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.sources.phantom import Phantom, write_phantom
from chaos_seg.data.splits import SIDES, Split, k_fold_split, seeded_split
from chaos_seg.errors import UserError

C = TypeVar("C")


@dataclass
class SplitConfig:
    """`lists` takes train, val, test; `seeded` takes val_patients, test_patients, seed; `kfold` folds, fold, seed."""

    method: str
    train: list[str] | None = None
    val: list[str] | None = None
    test: list[str] | None = None
    val_patients: int | None = None
    test_patients: int | None = None
    folds: int | None = None
    fold: int | None = None
    seed: int | None = None

    def split(self, patients: list[str]) -> Split:
        """The split of `patients`, those that the tree has; lists don't depend on them."""
        takes = {
            "lists": ("train", "val", "test"),
            "seeded": ("val_patients", "test_patients", "seed"),
            "kfold": ("folds", "fold", "seed"),
        }
        if self.method not in takes:
            raise UserError(f"data.split.method={self.method}: expected one of {', '.join(takes)}.")
        given = {key: getattr(self, key) for key in takes[self.method]}
        absent = [key for key, value in given.items() if value is None]
        if absent:
            raise UserError(f"data.split.method={self.method} needs {', '.join(absent)}: set data.split.{absent[0]}.")
        if self.method == "lists":
            return Split(**{side: tuple(listed) for side, listed in given.items()})
        if self.method == "seeded":
            return seeded_split(patients, given["val_patients"], given["test_patients"], given["seed"])
        return k_fold_split(patients, **given)


@dataclass
class DataConfig:
    root: str | None
    store: str
    phantom: Phantom | None
    audit: bool  # refuse to train on data in which the audit finds an error
    split: SplitConfig

    def tree(self) -> Path:
        """The root of the CHAOS tree; of the phantom's, which is written when it isn't there."""
        if self.phantom is not None:
            return write_phantom(Path(self.store), self.phantom)
        if self.root is None:
            raise UserError(
                "No data root: set data.root=FOLDER or the environment variable CHAOS_ROOT to the folder that holds "
                "Train_Sets, or try the built-in phantom with data=phantom."
            )
        return Path(self.root)

    def divided(self, root: Path) -> Split:
        """The split of the patients with masks in the tree `root`."""
        return self.split.split([p for p, folder in find_patients(root).items() if folder.mask_dir is not None])


@dataclass
class TransformConfig:
    level_hu: float
    width_hu: float
    rotation_deg: float


@dataclass
class ModelConfig:
    base: int
    depth: int
    dropout: float


@dataclass
class TrainerConfig:
    """The options of lightning.Trainer that a run may choose; the others are the run's own."""

    accelerator: str
    devices: Any  # a number, "auto" or a list
    strategy: str
    precision: str
    deterministic: Any  # true, false or "warn"
    limit_train_batches: Any  # a number, or a share of all as a float

    def first_device(self) -> Any:
        """What `devices` is for the first of them alone; Lightning reads "3," as a list, too."""
        if isinstance(self.devices, str) and "," in self.devices:
            return [int(self.devices.split(",")[0])]
        return self.devices[:1] if isinstance(self.devices, list) else 1

    def build(self, folder: Path, plugins: Sequence[Any] = (), **options: Any) -> L.Trainer:
        """A Lightning trainer with these options and others on top, whose own files, if any, are in `folder`.

        In a Slurm job Lightning would answer SIGUSR1 with a checkpoint beside ours, and start whatever it does next in
        that folder, scoring too, with those weights. Without that the signal ends the run, and last.ckpt resumes it.

        Raises:
            UserError: a value that Lightning refuses, such as a GPU that is not there.
        """
        try:
            in_slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()  # as Lightning chooses
            slurm = [SLURMEnvironment(auto_requeue=False)] if in_slurm else []
            options |= {"default_root_dir": folder, "plugins": [*plugins, *slurm]}
            return L.Trainer(**{**asdict(self), **options})
        except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(f"trainer: {reason}; choose another trainer=... or trainer.<option>.") from None


@dataclass
class TrainConfig:
    """What `python -m chaos_seg.train` takes; conf/train.yaml says what each is for."""

    name: str
    seed: int
    image_size: int
    batch_size: int
    learning_rate: float
    epochs: int
    threshold: float
    num_workers: int | None
    overlay_every_epochs: int
    ckpt_path: str | None
    data: DataConfig
    transform: TransformConfig
    model: ModelConfig
    trainer: TrainerConfig
    loss: dict[str, Any]  # name and options: build_loss knows which

    def __post_init__(self) -> None:
        seeds = {"seed": self.seed, "data.split.seed": self.data.split.seed or 0}
        if self.data.phantom is not None:
            seeds["data.phantom.seed"] = self.data.phantom.seed
        for key, seed in seeds.items():
            _expect(0 <= seed < 2**32, key, seed, "a number from 0 to 4294967295")
        for key in ("val_patients", "test_patients"):
            _expect(
                (getattr(self.data.split, key) or 0) >= 0,
                f"data.split.{key}",
                getattr(self.data.split, key),
                "0 or more",
            )
        _expect((self.num_workers or 0) >= 0, "num_workers", self.num_workers, "a number from 0")
        positive = ("image_size", "batch_size", "learning_rate", "epochs", "overlay_every_epochs")
        for key in positive:
            _expect(getattr(self, key) > 0, key, getattr(self, key), "a number above 0")
        _expect_threshold(self.threshold)
        _expect(self.transform.width_hu > 0, "transform.width_hu", self.transform.width_hu, "a number above 0")
        _expect(
            self.transform.rotation_deg >= 0, "transform.rotation_deg", self.transform.rotation_deg, "degrees from 0"
        )
        _expect(0 <= self.model.dropout < 1, "model.dropout", self.model.dropout, "a number from 0 to below 1")
        _expect(min(self.model.base, self.model.depth) > 0, "model", self.model, "base and depth above 0")
        factor = 2**self.model.depth
        _expect(
            self.image_size % factor == 0,
            "image_size",
            self.image_size,
            f"a multiple of {factor} (2^model.depth)",
        )
        _expect("name" in self.loss, "loss", self.loss, "a name and options")


@dataclass
class AuditConfig:
    """What `python -m chaos_seg.audit` takes."""

    data: DataConfig


@dataclass
class PrepareConfig:
    """What `python -m chaos_seg.prepare` takes; conf/prepare.yaml says what each is for."""

    data: DataConfig
    archive: Any  # a path, a list of paths or null
    overwrite: bool
    downloads: list[Archive]

    def zips(self) -> list[Path]:
        """The archives that are there already."""
        given = [self.archive] if isinstance(self.archive, str) else self.archive or []
        _expect(all(isinstance(path, str) for path in given), "archive", self.archive, "a path or a list of paths")
        return [Path(path) for path in given]


@dataclass
class EvaluateConfig:
    """What `python -m chaos_seg.evaluate` takes; conf/evaluate.yaml says what each is for."""

    run: str
    checkpoint: str
    threshold: float | None
    output: str | None
    root: str | None
    store: str | None
    trainer: TrainerConfig

    def __post_init__(self) -> None:
        _expect(self.checkpoint in ("best", "last"), "checkpoint", self.checkpoint, "best or last")
        if self.threshold is not None:
            _expect_threshold(self.threshold)


@dataclass
class SubmitConfig:
    """What `python -m chaos_seg.submit` takes; conf/submit.yaml says what each is for."""

    run: str
    output: str
    checkpoint: str
    threshold: float | None
    largest_component: bool
    root: str | None
    store: str | None
    device: str

    def __post_init__(self) -> None:
        _expect(self.checkpoint in ("best", "last"), "checkpoint", self.checkpoint, "best or last")
        if self.threshold is not None:
            _expect_threshold(self.threshold)


@dataclass
class PostprocessConfig:
    largest_component: bool
    fill_holes: bool


@dataclass
class TtaConfig:
    rotations_deg: list[float]


@dataclass
class PredictConfig:
    """What `python -m chaos_seg.predict` takes; conf/predict.yaml says what each is for."""

    ckpt: Any  # a path, perhaps with wildcards, or a list of paths
    input: str
    output: str
    series: Any  # all, a name, a list of names or null
    formats: list[str] | None
    alarms: bool
    threshold: float | None
    device: str
    batch_size: int | None
    postprocess: PostprocessConfig
    tta: TtaConfig

    def __post_init__(self) -> None:
        known = ("png", "challenge", "nifti", "dicom_seg")
        if self.formats is not None:
            _expect(bool(self.formats) and set(self.formats) <= set(known), "formats", self.formats, f"some of {known}")
        _expect(self.batch_size is None or self.batch_size > 0, "batch_size", self.batch_size, "a number above 0")
        _expect(bool(self.tta.rotations_deg), "tta.rotations_deg", self.tta.rotations_deg, "at least one angle")
        if self.threshold is not None:
            _expect_threshold(self.threshold)

    def names(self) -> list[str] | None:
        """The series chosen."""
        given = self.series if isinstance(self.series, list) else [self.series]
        return None if self.series is None else [str(name) for name in given]

    def checkpoints(self) -> list[str]:
        """The paths of the models."""
        given = [self.ckpt] if isinstance(self.ckpt, str) else list(self.ckpt or [])
        _expect(bool(given) and all(isinstance(path, str) for path in given), "ckpt", self.ckpt, "a path or a list")
        found = [[path] if "*" not in path or Path(path).exists() else self._matching(path) for path in given]
        _expect(all(found), "ckpt", self.ckpt, "checkpoints, found none")
        return [path for paths in found for path in paths]

    @staticmethod
    def _matching(path: str) -> list[str]:
        pattern = Path(re.sub(r"[?\[]", r"[\g<0>]", path))  # * alone is a wildcard
        return sorted(str(path) for path in Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))


def _expect(holds: bool, key: str, value: object, expected: str) -> None:
    if not holds:
        raise UserError(f"{key}={value}: expected {expected}; correct this setting.")


def _expect_threshold(threshold: float) -> None:
    _expect(0 < threshold < 255, "threshold", threshold, "a number between 0 and 255")


def _expect_ids(cfg: DictConfig | ListConfig) -> None:
    """Refuse what YAML made of an id that is not in quotes; whole numbers stand for the text that they print as."""
    for side in SIDES:
        listed = OmegaConf.select(cfg, f"data.split.{side}")
        for patient in listed if isinstance(listed, ListConfig) else ():
            if type(patient) not in (str, int):
                raise UserError(
                    f"data.split.{side}: expected ids of patients, found {patient}; write this id in quotes."
                )


def checked(schema: type[C], cfg: DictConfig | ListConfig) -> C:
    """`cfg` as an instance of its schema.

    Raises:
        UserError: a key that the schema doesn't have, a value of another type, or one out of range. Hydra alone lets
        `+typo=1` pass. Also an id of a patient that is no text.
    """
    _expect_ids(cfg)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), cfg)
        result = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"{error.full_key or 'configuration'}: {reason}; see conf/ for what there is.") from None
    assert isinstance(result, schema)
    return result


def as_yaml(config: TrainConfig) -> str:
    """The settings as text that OmegaConf reads back as they are, without an interpolation in any path."""

    def literal(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: literal(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [literal(inner) for inner in value]
        return escaped(value) if isinstance(value, str) else value

    return OmegaConf.to_yaml(literal(asdict(config)))


def _run_dir(ckpt_path: str | None, fresh: str) -> str:
    run = Path(ckpt_path or "").resolve().parent.parent
    return str(run) if ckpt_path and (run / "config.yaml").is_file() else fresh


def _hydra_subdir(run: str) -> str | None:
    return None if (Path(run) / "config.yaml").is_file() else ".hydra"


# A run resumes in its own folder, where Hydra's record of the first command stays as it was.
OmegaConf.register_new_resolver("run_dir", _run_dir)
OmegaConf.register_new_resolver("hydra_subdir", _hydra_subdir)
