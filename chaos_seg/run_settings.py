"""The settings of a run as plain values: complete, by their present names, and which of them matter."""

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from chaos_seg.command_line import escaped
from chaos_seg.registry import (
    AUGMENTATIONS,
    LOGGERS,
    LOSSES,
    NETWORKS,
    OPTIMIZERS,
    PREPROCESSINGS,
    SCHEDULERS,
    SOURCES,
    SPLITS,
    complete_all,
)

# Settings that no weight and no score depends on, and why.
INCIDENTAL = {
    "name": "where the run folder lies",
    "ckpt_path": "a resumed run is the one that was not stopped",
    "num_workers": "augmentation is a function of seed, epoch and slice",
    "overlay_every_epochs": "pictures",
    "trainer.accelerator": "the same steps on another device",
    "data.root": "the data's hash says what it is",
    "data.store": "as data.root",
}


def is_incidental(key: str) -> bool:
    """Whether no weight and no score depends on a setting, "data.root"."""
    return key in INCIDENTAL or key.startswith("logger.")


def free_to_resume(settings: Mapping[str, Any]) -> frozenset[str]:
    """What may change when a run is resumed, beside what is incidental; a schedule ends with its own epochs, and so
    does a share of half-size ones.
    """
    bound = settings["scheduler"]["name"] != "constant" or 0 < settings["half_size_epochs"] < 1
    return frozenset({"data.audit"} if bound else {"epochs", "data.audit"})


def complete_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run with every option of every slot: equal when they make the same.

    Raises:
        UserError: a name or an option that its slot does not have.
    """
    preprocessing, optimizer = network_input(settings), weights_update(settings)
    done: dict[str, Any] = {
        "network": NETWORKS.complete(settings["network"]),
        "loss": LOSSES.complete(settings["loss"]),
        "scheduler": SCHEDULERS.complete(settings["scheduler"]),
        "preprocessing": {k: v for k, v in PREPROCESSINGS.complete(preprocessing).items() if k != "image_size"},
        "optimizer": {k: v for k, v in OPTIMIZERS.complete(optimizer).items() if k != "learning_rate"},
        "augmentation": complete_all(AUGMENTATIONS, settings["augmentation"]),
        "logger": complete_all(LOGGERS, settings["logger"]),
    }
    source, split = SOURCES.complete(settings["data"]["source"]), SPLITS.complete(settings["data"]["split"])
    return {**settings, **done, "data": {**settings["data"], "source": source, "split": split}}


def network_input(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The preprocessing of a run, to which its image size belongs."""
    return {**settings["preprocessing"], "image_size": settings["image_size"]}


def weights_update(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The optimizer of a run, to which its learning rate belongs."""
    return {**settings["optimizer"], "learning_rate": settings["learning_rate"]}


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, item in value.items() for k, v in flat(item, f"{prefix}.{key}" if prefix else key).items()}


def renamed(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as they are called now, those that came later at what was done before; before there were slots all was
    the study's U-Net with Adam.
    """
    settings = {
        "init": None,
        "freeze_encoder": False,
        "ema_decay": 0.0,
        "best_by": "validation",
        "half_size_epochs": 0,
        "compile": False,
        **settings,
    }
    if "model" not in settings:
        return settings
    rest = {key: value for key, value in settings.items() if key not in ("model", "transform")}
    window, degrees = dict(settings["transform"]), settings["transform"]["rotation_deg"]
    window.pop("rotation_deg")
    data = {key: value for key, value in settings["data"].items() if key != "phantom"}
    phantom, method = settings["data"]["phantom"], settings["data"]["split"]["method"]
    split = {key: value for key, value in data["split"].items() if key != "method" and value is not None}
    return {
        **rest,
        "data": {
            **data,
            "source": {"name": "phantom", **phantom} if phantom else {"name": "chaos"},
            "split": {"name": method, **split},
        },
        "preprocessing": {"name": "window", **window},
        "augmentation": {"rotation": {"degrees": degrees}} if degrees else {},
        "network": {"name": "unet", **settings["model"]},
        "optimizer": {"name": "adam"},
        "scheduler": {"name": "constant"},
        "logger": {"tensorboard": {}},
    }


def as_yaml(settings: Mapping[str, Any]) -> str:
    """The settings as text that OmegaConf reads back as they are, without an interpolation in any path."""
    return OmegaConf.to_yaml(literal(settings))


def literal(value: Any) -> Any:
    """Plain settings in which OmegaConf finds no interpolation."""
    if isinstance(value, dict):
        return {key: literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [literal(inner) for inner in value]
    return escaped(value) if isinstance(value, str) else value
