"""The schema of the configuration, which has its defaults in conf/ and nowhere else."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from chaos_seg.data.sources import Source
from chaos_seg.data.sources.archive import Archive
from chaos_seg.data.splits import SIDES, Split
from chaos_seg.errors import UserError
from chaos_seg.registry import SOURCES, SPLITS
from chaos_seg.run_folder import RunFolder
from chaos_seg.sharing.stated import Stated

C = TypeVar("C")


@dataclass
class DataConfig:
    root: str | None
    store: str
    audit: bool  # refuse to train on data in which the audit finds an error
    source: dict[str, Any]  # name and options: registry.SOURCES knows which
    split: dict[str, Any]  # and SPLITS

    def __post_init__(self) -> None:
        for side in set(SIDES) & self.split.keys():
            if isinstance(self.split[side], list):
                self.split[side] = [str(patient) for patient in self.split[side]]

    def open(self) -> Source:
        """The patients there are."""
        root = None if self.root is None else Path(self.root)
        source: Source = SOURCES.build(self.source, root, Path(self.store))
        return source

    @property
    def synthetic(self) -> bool:
        """Whether its patients are made, and need no root."""
        return bool(self.source["name"] == "phantom")

    def divided(self, source: Source) -> Split:
        """The split of the patients with masks."""
        split: Split = SPLITS.build(self.split, source.labelled)
        return split


@dataclass
class TrainerConfig:
    """The options of lightning.Trainer that a run may choose; the others are the run's own."""

    accelerator: str
    devices: Any  # a number, "auto" or a list
    strategy: str
    precision: str
    deterministic: Any  # true, false or "warn"
    limit_train_batches: Any  # a number, or a share of all as a float


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
    init: str | None
    freeze_encoder: bool
    ema_decay: float
    best_by: str  # validation or last
    half_size_epochs: Any  # a number, or a share of all below 1
    compile: bool
    ckpt_path: str | None
    data: DataConfig
    # Slots: name and options, registry.py knows which; augmentation and logger {name: options, ...}, in this order.
    preprocessing: dict[str, Any]
    augmentation: dict[str, Any]
    network: dict[str, Any]
    loss: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    logger: dict[str, Any]
    trainer: TrainerConfig

    def __post_init__(self) -> None:
        _expect(0 <= self.seed < 2**32, "seed", self.seed, "a number from 0 to 4294967295")
        _expect((self.num_workers or 0) >= 0, "num_workers", self.num_workers, "a number from 0")
        for key in ("image_size", "batch_size", "learning_rate", "epochs", "overlay_every_epochs"):
            _expect(getattr(self, key) > 0, key, getattr(self, key), "a number above 0")
        _expect(not self.freeze_encoder or self.init is not None, "freeze_encoder", True, "init=CKPT beside it")
        _expect(self.best_by in ("validation", "last"), "best_by", self.best_by, "validation or last")
        half = self.half_size_epochs
        counts = type(half) is int or (type(half) is float and half < 1)
        wanted = f"a share below 1 or a number below epochs={self.epochs}"
        _expect(counts and 0 <= half < self.epochs, "half_size_epochs", half, wanted)
        _expect(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "a number from 0 to below 1")
        _expect_threshold(self.threshold)

    def small_epochs(self) -> int:
        """How many of the first epochs are at half of the image size: never all."""
        half = self.half_size_epochs
        return min(round(half * self.epochs), self.epochs - 1) if half < 1 else int(half)


@dataclass
class AuditConfig:
    """What `python -m chaos_seg.audit` takes."""

    data: DataConfig
    runs: str | None


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
    device: str

    def __post_init__(self) -> None:
        if self.threshold is not None:
            _expect_threshold(self.threshold)


@dataclass
class SubmitConfig:
    """What `python -m chaos_seg.submit` takes; conf/submit.yaml says what each is for."""

    run: str
    output: str
    checkpoint: str
    threshold: float | None
    largest_component: bool | None  # None: as validation patients speak for it
    root: str | None
    store: str | None
    device: str

    def __post_init__(self) -> None:
        _expect(self.checkpoint in ("best", "last"), "checkpoint", self.checkpoint, "best or last")
        if self.threshold is not None:
            _expect_threshold(self.threshold)


@dataclass
class ShareConfig:
    """What `python -m chaos_seg.share` takes; conf/share.yaml says what each is for."""

    run: str
    output: str
    checkpoint: str
    stated: Stated

    def __post_init__(self) -> None:
        _expect(self.checkpoint in ("best", "last"), "checkpoint", self.checkpoint, "best or last")


@dataclass
class PostprocessConfig:
    largest_component: bool | None  # None: as validation patients speak for it
    fill_holes: bool


@dataclass
class TtaConfig:
    rotations_deg: list[float]
    scales: list[float]

    def views(self) -> list[list[float]]:
        """Every angle in degrees at every scale."""
        return [[angle, scale] for scale in self.scales for angle in self.rotations_deg]


@dataclass
class PredictConfig:
    """What `python -m chaos_seg.predict` takes; conf/predict.yaml says what each is for."""

    ckpt: Any  # a path, perhaps with wildcards, or a list of paths
    input: str | None
    output: str | None
    check: bool
    series: Any  # all, a name, a list of names or null
    formats: list[str] | None
    format: dict[str, dict[str, Any]]
    alarms: bool
    threshold: float | None
    device: str
    batch_size: int | None
    postprocess: PostprocessConfig
    tta: TtaConfig

    def __post_init__(self) -> None:
        for key in ("input", "output"):
            _expect(self.check or getattr(self, key) is not None, key, None, "a path, or check=true")
        _expect(self.formats is None or bool(self.formats), "formats", self.formats, "at least one")
        _expect(self.batch_size is None or self.batch_size > 0, "batch_size", self.batch_size, "a number above 0")
        good = bool(self.tta.rotations_deg) and min(self.tta.scales, default=0) > 0
        _expect(good, "tta", self.tta, "at least one angle and one scale, all scales above 0")
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
        matches = [[path] if "*" not in path or Path(path).exists() else self._matching(path) for path in given]
        _expect(all(matches), "ckpt", self.ckpt, "checkpoints, found none")
        return [path for paths in matches for path in paths]

    @staticmethod
    def _matching(path: str) -> list[str]:
        pattern = Path(re.sub(r"[?\[]", r"[\g<0>]", path))  # * alone is a wildcard
        return sorted(str(path) for path in Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))


def _expect(holds: bool, key: str, value: object, expected: str) -> None:
    if not holds:
        raise UserError(f"{key}={value}: expected {expected}; correct this setting.")


def _expect_threshold(threshold: float) -> None:
    _expect(1 <= threshold < 255, "threshold", threshold, "a number from 1 to below 255, 127.5 a probability of 0.5")


def _expect_ids(cfg: DictConfig | ListConfig) -> None:
    """Refuse what YAML made of an id that is not in quotes; whole numbers stand for the text that they print as."""
    for side in SIDES:
        patients = OmegaConf.select(cfg, f"data.split.{side}")
        for patient in patients if isinstance(patients, ListConfig) else ():
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
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key}: expected a value, found none; give it as {error.full_key}=VALUE.") from None
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"{error.full_key or 'configuration'}: {reason}; see conf/ for what there is.") from None
    assert isinstance(result, schema)
    return result


def _run_dir(ckpt_path: str | None, fresh: str) -> str:
    run = RunFolder.of_checkpoint(ckpt_path or "")
    return str(run.path) if ckpt_path and run.exists else fresh


# A run resumes in its own folder, where Hydra's record of the first command stays as it was.
OmegaConf.register_new_resolver("run_dir", _run_dir)
OmegaConf.register_new_resolver("hydra_subdir", lambda run: None if RunFolder(Path(run)).exists else ".hydra")
