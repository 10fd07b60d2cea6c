"""What `--help` says of a command: the settings, groups and comments of conf/, at once, before anything heavy loads."""

import re
import sys
import textwrap
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from chaos_seg.command_line import CONF_DIR

WIDTH = 120
OWN_OPTIONS = (
    "network",
    "loss",
    "optimizer",
    "scheduler",
    "preprocessing",
    "augmentation",
    "data/split",
)  # of each entry


def answer_help(command: str) -> None:
    """Print the help of conf/<command>.yaml and end the program, if that is what sys.argv asks for."""
    if not {"-h", "--help"}.isdisjoint(sys.argv[1:]):
        print(help_text(command))
        sys.exit()


def help_text(command: str) -> str:
    """The comments and settings of conf/<command>.yaml, then its groups with those of their default options."""
    comment, settings, content = _read(CONF_DIR / f"{command}.yaml")
    for base in (item for item in content["defaults"] if isinstance(item, str) and item != "_self_"):
        settings = _read(CONF_DIR / f"{base}.yaml")[1] + settings
    groups = [_group_text(group, default) for group, default in _groups(content["defaults"])]
    if "sweep" in content["hydra"]:
        groups.append(_group_text("hydra/launcher", None))
    if groups:
        groups.insert(0, "Groups (GROUP=OPTION), and the settings of the option that is taken when none is given:")
    parts = [
        f"python -m chaos_seg.{command} KEY=VALUE ...",
        "\n".join(comment),
        *([f"Settings (??? has to be given):\n{textwrap.indent(settings, '  ')}"] if settings else []),
        *groups,
        "Paths and names are taken as they are typed, quoted for the shell alone; ~ is the home folder; null is none.\n"
        "--cfg job shows every setting as it would be used, --multirun KEY=A,B runs a sweep, --hydra-help tells more.",
    ]
    return "\n\n".join(part.rstrip() for part in parts)


def _read(path: Path) -> tuple[list[str], str, dict[str, Any]]:
    """The comment that begins a file of conf/, its settings with their comments as they stand there, its content."""
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    comment = [line[1:].removeprefix(" ").rstrip() for line in takewhile(lambda line: line.startswith("#"), lines)]
    sections = re.split(r"^(?=\w)", "".join(lines[len(comment) :]), flags=re.MULTILINE)
    settings = "".join(section for section in sections if not section.startswith(("defaults:", "hydra:")))
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    return [line for line in comment if not line.startswith("@package")], settings.strip("\n"), content


def _groups(defaults: list[Any], parent: str = "") -> Iterator[tuple[str, str | None]]:
    """The groups of a defaults list and of the files that it names, each with its default option."""
    for item in defaults:
        if isinstance(item, dict):
            ((name, option),) = item.items()
            if name.startswith("override "):
                continue
            group = f"{parent}{name}"
            yield group, option
            file = CONF_DIR / group / f"{option}.yaml"
            if file.is_file():
                yield from _groups(_read(file)[2].get("defaults", []), f"{group}/")
        elif item != "_self_" and not parent:
            yield from _groups(_read(CONF_DIR / f"{item}.yaml")[2]["defaults"])


def _group_text(group: str, default: str | None) -> str:
    lines = []
    for file in sorted((CONF_DIR / group).glob("*.yaml"), key=lambda file: (file.stem != default, file.stem)):
        comment, settings, _ = _read(file)
        words = " ".join(line for line in comment if not line.startswith(" ")).rstrip(":")
        lines += [textwrap.fill(f"  {group}={file.stem}: {words}", WIDTH, subsequent_indent="    ")]
        if file.stem == default or group in OWN_OPTIONS:
            package = group.replace("/", ".")
            lines += [textwrap.indent(re.sub(r"^(?=\w)", f"{package}.", settings, flags=re.MULTILINE), "      ")]
    return "\n".join(lines)
