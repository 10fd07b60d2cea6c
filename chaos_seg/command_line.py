"""From what a user types to what Hydra reads: paths and names as they are typed, without Hydra's grammar.

In that grammar 2026_11_24 is the number 20261124, a comma begins a sweep and a space, a parenthesis or ~ is an error.
"""

import functools
import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError

from chaos_seg.errors import UserError, one_sentence, unusable_file
from chaos_seg.patient_ids import quoted_ids
from chaos_seg.sharing.stated import Stated

log = logging.getLogger(__name__)
Task = Callable[[DictConfig], None]

_HERE = Path(__file__).resolve().parent
CONF_DIR = next(path for path in (_HERE / "conf", _HERE.parent / "conf") if path.is_dir())  # wheel, checkout

# The settings of all commands that are paths or names.
PATHS = frozenset(
    {
        *("input", "output", "ckpt", "run", "root", "store", "ckpt_path", "init", "checkpoint", "archive", "runs"),
        *("data.root", "data.store", "hydra.run.dir", "hydra.sweep.dir"),
    }
)
_SOURCE = ("data.source.images", "data.source.masks")
_SHOWN = ("segment_label", "series_description", "content_description")
NAMES = frozenset(
    {
        *("name", "series", "hydra.sweep.subdir", "format.rtstruct.roi_name", "format.rtstruct.series_description"),
        *("logger.wandb.project", "logger.mlflow.experiment", "logger.mlflow.tracking_uri"),
        *(f"format.dicom_seg.{key}" for key in _SHOWN),
        *(f"stated.{field.name}" for field in fields(Stated)),
        *_SOURCE,
    }
)
SEVERAL = frozenset({"ckpt", "series", "archive"})  # these take lists too, [a,b]
RUN_FOLDER = frozenset({"name", "ckpt_path", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"})  # make its path

_QUOTED = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_ELEMENT = re.compile(rf"\s*({_QUOTED}(?=\s*,)|(?:\$\{{[^{{}}]*\}}|[^,])*?)\s*,", re.DOTALL)
_SWEEP = re.compile(r"\s*(?:choice|range|interval|glob|sort|shuffle|tag)\s*\(.*\)\s*", re.DOTALL)


def command(name: str, *arguments: str) -> str:
    """What a user types into a shell for it."""
    return " ".join([f"python -m chaos_seg.{name}", *map(shlex.quote, arguments)])


def hydra_command(name: str) -> Callable[[Task], Callable[[], None]]:
    """For the task of a command whose settings are conf/<name>.yaml: started with sys.argv, it ends in plain errors."""

    def as_main(task: Task) -> Callable[[], None]:
        start = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=name)(_plain_errors(task))

        @functools.wraps(task)
        def main() -> None:
            with one_sentence():
                given = [_resumed(text) for text in sys.argv[1:]] if name == "train" else sys.argv[1:]
                for text in given:
                    _expect_choice(text)
                flags = [text for text in given if text in ("-m", "--multirun")]  # argparse wants them first
                sys.argv[1:] = flags + literal_arguments(quoted_ids([text for text in given if text not in flags]))
            os.environ["HYDRA_FULL_ERROR"] = "1"  # or it prints its own words for what it refuses
            try:
                start()
            except KeyboardInterrupt:
                print("Stopped: what was finished is kept.", file=sys.stderr)
                sys.exit(130)
            except CompactHydraException as error:
                from chaos_seg.refused import refused

                sys.exit(refused(error, CONF_DIR, name, sys.argv[1:]))

        return main

    return as_main


def _expect_choice(argument: str) -> None:
    """Of what is chosen by name (loss, network, ...) Hydra answers null, or none of it, with a traceback."""
    given, equals, value = argument.partition("=")
    key = given.lstrip("+~").split("@")[0]
    nothing = (given.startswith("~") and key != "experiment") or (equals and value.lower() in ("null", ""))
    if nothing and key and (CONF_DIR / key).is_dir():
        names = ", ".join(sorted(file.stem for file in (CONF_DIR / key).glob("*.yaml")))
        raise UserError(f"{argument}: expected one of {names}; leave it out for the default.")


def _resumed(argument: str) -> str:
    """resume=RUN is short for ckpt_path=RUN/checkpoints/last.ckpt."""
    run = argument.removeprefix("resume=")
    return argument if run in (argument, "", "null") else f"ckpt_path={Path(run) / 'checkpoints' / 'last.ckpt'}"


def _plain_errors(task: Task) -> Task:
    """For a Hydra job: a UserError or a full disk ends it with its sentence and exit code 1, without a traceback."""

    @functools.wraps(task)
    def job(cfg: DictConfig) -> None:
        warnings.filterwarnings(
            "ignore",
            ".*(does not have many workers|treespec, LeafSpec|in eval mode at the start|exists and is not empty).*",
        )
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        try:
            task(cfg)
        except Exception as error:
            shown: Exception | None = error
            if isinstance(error, OSError):
                shown = unusable_file(error)
            if HydraConfig.get().mode == RunMode.MULTIRUN:  # Hydra runs the other jobs, then shows the first error
                log.error("%s", shown or error, exc_info=not isinstance(shown, UserError))
                if isinstance(shown, UserError):
                    raise CompactHydraException(str(shown)) from None
            elif isinstance(shown, UserError):
                sys.exit(str(shown))
            raise

    return job


def literal_arguments(arguments: Sequence[str]) -> list[str]:
    """Arguments for Hydra that give each path and name (PATHS, NAMES) exactly the text that is typed in `arguments`.

    `~` is expanded in paths. The text keeps Hydra's meaning where it is null, quoted, an interpolation such as
    ${oc.env:HOME}, a list where a list may be, or a sweep under --multirun; a path that exists is always that path.

    Raises:
        UserError: a run folder whose path Hydra (${) or TensorBoard (bytes that are no UTF-8) can not hold.
    """
    sweeps = any(
        argument in ("-m", "hydra.mode=MULTIRUN") or (len(argument) > 2 and "--multirun".startswith(argument))
        for argument in arguments
    )
    return [_literal_argument(argument, sweeps) for argument in arguments]


def _literal_argument(argument: str, sweeps: bool) -> str:
    prefixed, _, text = argument.partition("=")
    key = prefixed.lstrip("+")
    if key not in PATHS | NAMES or not text:
        return argument
    if key in PATHS and _exists(text):
        values = [_literal(key, text)]
    elif sweeps and (_SWEEP.fullmatch(text) or (key in SEVERAL and "]," in text)):
        values = [text]
    elif key in SEVERAL and text.startswith("[") and text.endswith("]"):
        values = [f"[{','.join(_literal(key, element) for element in _elements(text[1:-1]))}]"]
    else:
        values = [_literal(key, value) for value in (_elements(text) if sweeps else [text])]
    return f"{prefixed}={','.join(values)}"


def _elements(text: str) -> list[str]:
    """The parts of `text` between commas that are neither in a quoted part nor in an interpolation."""
    return _ELEMENT.findall(f"{text},") if text.strip() else []


def _literal(key: str, text: str) -> str:
    """A value in Hydra's grammar that gives `text`."""
    if key in PATHS and text[:1] == text[-1:] and text[:1] in ("'", '"') and _exists(text[1:-1]):
        text = text[1:-1]  # Lightning starts further processes with hydra.run.dir="<run folder>", quotes in it or not
    exists = key in PATHS and _exists(text)
    if text in ("", "null") or (re.fullmatch(_QUOTED, text, re.DOTALL) and not exists):
        return text
    if key in PATHS:
        text = _expanded(text)
    if exists or not _is_interpolation(text):
        if key in RUN_FOLDER and ("${" in text or any("\udc80" <= character <= "\udcff" for character in text)):
            raise UserError(f"{key}={text}: expected the path of a run folder in UTF-8 and without ${{; rename it.")
        text = escaped(text)
    # Quotes that need no escape leave the text of an interpolation as it is.
    return QuotedString(text, Quote.double if "'" in text and '"' not in text else Quote.single).with_quotes()


def escaped(text: str) -> str:
    """`text` without interpolations: what gives it back when OmegaConf resolves it."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def typed_positive(text: str) -> float:
    """A finite number above 0 from an argument; argparse says what it got otherwise."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def typed_path(text: str) -> Path:
    """For argparse: the shell expands ~ at the beginning of an argument, not in --output=~/x."""
    return Path(_expanded(text))


def _exists(text: str) -> bool:
    return os.path.lexists(_expanded(text))


def _expanded(text: str) -> str:
    return os.path.expanduser(text)  # noqa: PTH111 - Path leaves out ./ and a / at the end


def _is_interpolation(text: str) -> bool:
    try:
        OmegaConf.create([text])
    except GrammarParseError:
        return False
    return re.search(r"(?<!\\)(?:\\\\)*\$\{", text) is not None
