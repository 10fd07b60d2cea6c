"""What Hydra refuses of a command line, in one sentence."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import CompactHydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf

from chaos_seg.run_settings import flat


def refused(error: CompactHydraException, conf: Path, command: str, arguments: Sequence[str]) -> str:
    """Which of the `arguments` of a command is wrong, and what was expected in its place.

    Args:
        error: what Hydra raised.
        conf: the folder of the command's configuration, whose groups are folders.
    """
    where = f"python -m chaos_seg.{command} --help lists what there is"
    if found := re.search(r"Could not (?:find|load) '(.+)/(.+?)'", str(error)):
        group, option = found.groups()
        options = ", ".join(sorted(file.stem for file in (conf / group).glob("*.yaml")))
        if isinstance(error, MissingConfigException) and options:
            return f"{group}={option}: expected one of {options}; {where}."
    if isinstance(error, OverrideParseException):
        if "=" not in error.override:
            return f"{error.override}: expected SETTING=VALUE; {where}."
        reason = str(error).removeprefix(f"Error parsing override '{error.override}'\n").splitlines()[0]
        return f"{error.override}: expected a value in Hydra's grammar, but {reason}; close it, or put it in quotes."
    if found := re.match(r"Could not override '(.+?)'\.", str(error)):
        near = get_close_matches(found[1], _settings(conf, command, arguments), 1)
        meant = f"did you mean {near[0]}? " if near else ""
        if ".options." in found[1]:  # of another library's network, whose options no file lists
            meant += f"+{found[1]}=VALUE hands on an option of its own; "
        return f"{found[1]}: {command} has no such setting; {meant}{where}."
    return str(error)


def _settings(conf: Path, command: str, arguments: Sequence[str]) -> list[str]:
    """The names of all settings and groups under the options that `arguments` choose."""
    chosen = [text for text in arguments if (conf / text.partition("=")[0]).is_dir() and "," not in text]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            config = OmegaConf.to_container(compose(command, overrides=chosen))
    except CompactHydraException:
        return []
    groups = [str(path.relative_to(conf)) for path in conf.rglob("*") if path.is_dir()]
    return [*flat(config), *groups]
