"""Each setting of the reference study against those of runs: stated, assumed or changed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from chaos_seg.reporting.reference import LOSS_AVERAGES, SETTINGS, SLICES, Setting
from chaos_seg.reporting.runs import REPEATS
from chaos_seg.reporting.tables import Column, Table
from chaos_seg.run_settings import complete_settings, flat, is_incidental


def deviations_table(configs: Sequence[Mapping[str, Any]], slices: Mapping[str, int], synthetic: bool) -> Table:
    """Every setting of the study with 'stated', 'assumed' or 'changed', and why; then all others that were changed.

    Args:
        configs: of the runs, {"network.base": 8, ...}; trainer.devices as a number or a list.
        slices: of each patient that was scored, by id.
        synthetic: whether the patients are phantoms.
    """
    configs = [{**config, "trainer.devices": _number(config.get("trainer.devices"))} for config in configs]
    defaults = {loss: default_settings(loss) for loss in dict.fromkeys(config["loss.name"] for config in configs)}
    rows = []
    for setting in SETTINGS:
        key, entry = setting.only or ("", None)
        having = [config for config in configs if setting.only is None or config.get(key) == entry]
        others = dict.fromkeys(str(config.get(key)) for config in configs if config not in having)
        if setting.name == "Patients":
            same = slices == SLICES and not synthetic
            here = "the same" if same else f"{len(slices)} {'synthetic phantoms' if synthetic else 'other patients'}"
            mark, why = "stated" if same else "changed", setting.why
        elif not having:
            here, mark, why = "", "changed", ""
        elif setting.keys:
            here, mark, why = _judged(setting, having, defaults)
        else:
            here, why = setting.here, setting.why
            mark = "assumed" if setting.stated is None else "changed" if setting.why else "stated"
        if others:
            here = "; ".join([*([here] if having else []), f"{', '.join(others)}: its own way"])
            mark, why = "changed", f"Not the study's {key.split('.')[0]}."
        rows.append([setting.name, setting.stated, here, mark, "" if mark == "stated" else why])
    shown = {*REPEATS, *(key for setting in SETTINGS for key in setting.keys)}
    for key in dict.fromkeys(key for config in configs for key in config):
        if key not in shown and not is_incidental(key) and not key.startswith("data.source"):  # which has its own line
            here, mark, why = _judged(Setting(key, None, "", (key,)), configs, defaults)
            if mark == "changed":
                rows.append([key, None, here, mark, why])
    columns = [Column(title) for title in ("Setting", "Study", "Here", "Mark", "Why, or what it does")]
    note = (
        "Stated: as the study says. Assumed: the study is silent. Changed: otherwise than it says, or than the default "
        "where it is silent."
    )
    return Table("deviations", "Settings of the reference study, and of this one", columns, rows, note)


@cache
def default_settings(loss: str) -> Mapping[str, Any]:
    """Every setting of the study's experiment under a loss, as conf/ has it, {"network.base": 8, ...}."""
    from hydra import compose, initialize_config_dir  # these take seconds to import

    from chaos_seg.command_line import CONF_DIR
    from chaos_seg.config import TrainConfig, checked

    ours = (CONF_DIR / "loss" / f"{loss}.yaml").is_file()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = checked(TrainConfig, compose("train", overrides=[f"loss={loss}"] if ours else []))
    return flat(complete_settings(asdict(config)))


def _judged(
    setting: Setting, configs: Sequence[Mapping[str, Any]], defaults: Mapping[str, Mapping[str, Any]]
) -> tuple[str, str, str]:
    """What a setting with keys is here, its mark, and why."""
    used = [tuple(config.get(key) for key in setting.keys) for config in configs]
    here = "; ".join(dict.fromkeys(value for values in used if (value := _in_words(setting, values)))) or "none"
    if setting.name == "Loss":
        return here, "stated" if all(name in LOSS_AVERAGES for (name,) in used) else "changed", setting.why
    if setting.stated is not None:
        return here, "stated" if all(values == setting.same for values in used) else "changed", setting.why
    usual = [tuple(defaults[config["loss.name"]].get(key) for key in setting.keys) for config in configs]
    other = {_in_words(setting, b) for a, b in zip(used, usual, strict=True) if repr(a) != repr(b)}  # 1 is not 1.0
    if not other or set(setting.keys) <= {*REPEATS}:
        return here, "assumed", setting.why
    return here, "changed", f"The default is {'; '.join(sorted(other)) or 'none'}."


def _in_words(setting: Setting, values: Sequence[Any]) -> str:
    if setting.name == "Split":
        options = {key.rsplit(".", 1)[-1]: v for key, v in zip(setting.keys, values, strict=True) if v is not None}
        rule = str(options.pop("name", ""))
        return ", ".join([rule, *(f"{key} {' '.join(v) if isinstance(v, list) else v}" for key, v in options.items())])
    if setting.name == "Batch size" and values[1] != 1:
        total = f"{values[0] * values[1]}: " if isinstance(values[1], int) else ""
        return f"{total}{values[0]} on each of {values[1]} devices"
    if setting.alike and tuple(values) == setting.same:
        return setting.alike
    return "" if values[0] is None else setting.here.format(*values)


def _number(devices: Any) -> Any:
    return len(devices) if isinstance(devices, list) else devices
