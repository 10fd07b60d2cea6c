"""Paths and names as a user types them, through Hydra's own parser and composition, then through the commands."""

import re
import sys
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from chaos_seg import compare, export, report
from chaos_seg.command_line import CONF_DIR, NAMES, PATHS, hydra_command, literal_arguments
from chaos_seg.config import (
    AuditConfig,
    EvaluateConfig,
    PredictConfig,
    PrepareConfig,
    ShareConfig,
    SubmitConfig,
    TrainConfig,
    checked,
)
from chaos_seg.errors import UserError
from chaos_seg.run_settings import as_yaml

SCHEMAS = {
    "train": TrainConfig,
    "audit": AuditConfig,
    "prepare": PrepareConfig,
    "evaluate": EvaluateConfig,
    "submit": SubmitConfig,
    "predict": PredictConfig,
    "share": ShareConfig,
}


NASTY = "Müller Jörg (1), k=v 'a' \"b\" $HOME %s {epoch} [x] #~"


def composed(command: str, *arguments: str) -> Any:
    """The settings that a command gets of these arguments, as its task sees them."""
    needed = {"predict": ("ckpt=c", "input=i", "output=o"), "evaluate": ("run=r",), "submit": ("run=r", "output=o")}
    needed["share"] = needed["submit"]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        overrides = literal_arguments([*needed.get(command, ()), *arguments])
        return checked(SCHEMAS[command], compose(command, overrides=overrides))


def swept(*arguments: str) -> list[Any]:
    """The values that Hydra's parser gives of each argument, those of a sweep as a tuple."""
    parsed = [OverridesParser.create().parse_override(argument) for argument in arguments if "=" in argument]
    return [tuple(found.sweep_string_iterator()) if found.is_sweep_override() else found.value() for found in parsed]


@pytest.mark.parametrize(
    "text",
    [
        *("/data/Müller Jörg", "scan (1)", "k=1", "a,b", "2026_11_24", "1_2", NASTY, "[a", "a]", "{a: b}", "a:b"),
        *("true", "0x10", "1e5", "NULL", " x ", "a\nb", "back\\slash", "end\\", "'", '"', "it's", "a#b", "choice(a,b)"),
        *("${", "${a", "${a b}", "$a", r"\${", "x\\\\${b c}", "%", "@a", "+a", "a/b=c", "\udcfcber", "日本", "-x"),
    ],
)
def test_a_path_and_a_name_arrive_as_they_were_typed(text: str) -> None:
    config = composed("predict", f"output={text}", f"input={text}", f"series={text}", f"ckpt={text}")
    assert (config.output, config.input, config.series, config.ckpt) == (text, text, text, text)
    given = composed("share", f"stated.data={text}", f"stated.license={text}").stated
    assert (given.data, given.license, given.contact) == (text, text, None)
    data = composed("prepare", f"data.root={text}", f"++data.store={text}", f"archive={text}")
    assert (data.data.root, data.data.store, data.archive) == (text, text, text)


@given(st.text(st.sampled_from("ab\\'\"${}[](),=~ \n\t:x?*%_1"), min_size=1) | st.text(min_size=1))
def test_any_text_arrives(text: str) -> None:
    """Through the parser, the sweeper, which writes a value anew, and OmegaConf; but what means something to Hydra."""
    assume(text not in ("null", "???"))
    assume(not (text[0] == text[-1] and text[0] in "'\"") and not (text[0] == "[" and text[-1] == "]"))
    assume(not re.search(r"\$\{[^{}]+\}", text))
    argument = literal_arguments([f"series={text}"])[0]
    override = OverridesParser.create().parse_override(argument)
    again = OverridesParser.create().parse_override(f"series={override.get_value_element_as_str()}")
    assert override.value() == again.value()
    assert OmegaConf.create({"series": again.value(), "line": argument}).series == text


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "a (1)"))
    config = composed("predict", "input=~/scans", "output=~", "ckpt=[~/a.ckpt,b~/c]", "series=~/x")
    home = str(tmp_path / "a (1)")
    assert (config.input, config.output, config.series) == (f"{home}/scans", home, "~/x")
    assert config.ckpt == [f"{home}/a.ckpt", "b~/c"]
    given = export.parser.parse_args(["~/x=1", "--output=~/a, b"])
    assert (given.checkpoint, given.output) == (Path(home, "x=1"), Path(home, "a, b"))
    assert report.parser.parse_args(["x", "--output=~/a"]).output == Path(home, "a")
    assert compare.parser.parse_args(["~/x", "y"]).runs == [Path(home, "x"), Path("y")]


def test_what_means_something_to_hydra_keeps_its_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "über (1), ${y}")
    config = composed("predict", 'ckpt="outputs/x y/*.ckpt"', "series=null", "input=${oc.env:X}/a, b", "output=''")
    assert (config.ckpt, config.series, config.output) == ("outputs/x y/*.ckpt", None, "")
    assert config.input == "über (1), ${y}/a, b"
    assert composed("predict", "input=${oc.env:NONE,'it is'}").input == "it is"
    assert composed("train", "data.root=").data.root == ""
    assert composed("train", "++data.root=a b", "data.split.val=[16,25]").data.root == "a b"
    assert literal_arguments(["~data.root", "loss=bce,dice", "--cfg", "job"]) == [
        "~data.root",
        "loss=bce,dice",
        "--cfg",
        "job",
    ]


def test_lists_of_paths_and_names() -> None:
    config = composed("predict", "ckpt=[a b.ckpt, 2026_1 ,'c,d.ckpt',${input}/x,it's]", "input=i")
    assert config.ckpt == ["a b.ckpt", "2026_1", "c,d.ckpt", "i/x", "it's"]
    assert composed("prepare", "archive=[Train Sets.zip,1_0]").archive == ["Train Sets.zip", "1_0"]
    assert composed("predict", "input=[a,b]").input == "[a,b]"  # it is one path


def test_a_path_that_exists_is_that_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("[a,b]", '"q"', "${oc.env:HOME}", "a,b", "choice(a,b)"):
        Path(name).touch()
        assert composed("predict", f"ckpt={name}").checkpoints() == [name]
        assert swept(*literal_arguments(["--multirun", f"data.root={name}"])) == [name.replace("${", r"\${")]


def test_a_path_in_quotes_that_exists_is_that_path(tmp_path: Path) -> None:
    """So does Lightning quote the run folder for the further processes of a run, whatever is in it."""
    for name in ('a "b"', "it's", "end\\", "${x"):
        (tmp_path / name).mkdir()
        assert composed("predict", f'input="{tmp_path / name}"').input == str(tmp_path / name)


def test_sweeps_are_swept_on_demand_alone() -> None:
    arguments = ["name=2026_1,b c, 'd,e'", "data.root=choice(a,b)", "ckpt=[a,b],[c]", "loss=bce,dice"]
    assert swept(*literal_arguments(["-m", *arguments])) == [
        ("'2026_1'", "'b c'", "'d,e'"),
        ("a", "b"),
        ("[a,b]", "[c]"),
        ("bce", "dice"),
    ]
    assert literal_arguments(["--multi", *arguments])[1:] == literal_arguments(["hydra.mode=MULTIRUN", *arguments])[1:]
    assert swept(*literal_arguments(arguments[:2])) == ["2026_1,b c, 'd,e'", "choice(a,b)"]


def test_arguments_that_were_made_literal_stay_so() -> None:
    """As they come to the further processes of a run on several devices."""
    given = literal_arguments(
        [f"{key}={text}" for key in ("data.root", "series") for text in (NASTY, "a\\", "${a", "a,b")]
    )
    assert literal_arguments(given) == given


@pytest.mark.parametrize("key", ["name", "hydra.run.dir", "ckpt_path"])
@pytest.mark.parametrize("text", ["a${b", "M\udcfcller"])
def test_a_run_folder_that_can_not_be_one_is_refused(key: str, text: str) -> None:
    with pytest.raises(UserError, match=rf"^{key}=.*: expected the path of a run folder in UTF-8 and without \$\{{; "):
        literal_arguments([f"{key}={text}"])
    assert literal_arguments([f"{key}=a/${{now:%Y}}"]) == [f"{key}='a/${{now:%Y}}'"]


def text_settings(schema: Any, prefix: str = "") -> set[str]:
    found = set()
    hints = get_type_hints(schema)
    for field in fields(schema):
        kinds = [hints[field.name], *get_args(hints[field.name])]
        nested = [kind for kind in kinds if is_dataclass(kind)]
        found |= {name for kind in nested for name in text_settings(kind, f"{prefix}{field.name}.")}
        if str in kinds or Any in kinds:
            found.add(f"{prefix}{field.name}")
    return found


def test_each_setting_that_is_text_is_a_path_a_name_or_a_choice() -> None:
    choices = {"device", "best_by", "downloads.url", "downloads.md5"}
    choices |= {f"trainer.{name}" for name in ("accelerator", "devices", "strategy", "precision", "deterministic")}
    settings = {name for schema in SCHEMAS.values() for name in text_settings(schema)}
    lists = {"formats", "format", "trainer.limit_train_batches", "half_size_epochs"}
    slots = {"data.source", "data.split", "preprocessing", "augmentation", "network", "loss", "optimizer", "scheduler"}
    assert settings - choices - lists - slots - {"logger"} == {
        key for key in PATHS | NAMES if not key.startswith(("hydra.", "data.source.", "format.", "logger."))
    }


def test_wildcards_in_odd_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / NASTY
    for name in ("iou_0", "iou_1", "bce_0"):
        (folder / name).mkdir(parents=True)
        (folder / name / "best.ckpt").touch()
    found = composed("predict", f"ckpt={folder}/iou_*/best.ckpt").checkpoints()
    assert found == [str(folder / name / "best.ckpt") for name in ("iou_0", "iou_1")]
    monkeypatch.chdir(folder)
    assert composed("predict", "ckpt=[bce*/best.ckpt,iou_1/best.ckpt]").checkpoints() == [
        "bce_0/best.ckpt",
        "iou_1/best.ckpt",
    ]


@pytest.mark.parametrize(
    "text", [NASTY, "2026_11_24", "a${b}", "\\${b", "a: b #c", "\udcfcber", "null", "- a", "a\n b "]
)
def test_a_runs_settings_are_read_back_as_they_were(text: str, tmp_path: Path) -> None:
    config = composed("train", "data.root=x", "data.split.val=[a]")
    config.data.root, config.name, config.data.split["val"] = text, text, [text]
    (tmp_path / "config.yaml").write_text(as_yaml(asdict(config)))
    assert checked(TrainConfig, OmegaConf.load(tmp_path / "config.yaml")) == config


def test_flags_may_stand_anywhere_and_resume_is_short_for_the_last_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr("hydra.main", lambda **_: lambda task: lambda: given.append(sys.argv[1:]))
    for arguments in (["seed=1", "--multirun", "loss=bce,dice"], ["resume=a, b", "epochs=3"], ["resume=null"]):
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        hydra_command("train")(lambda cfg: None)()
    assert given == [
        ["--multirun", "seed=1", "loss=bce,dice"],
        ["ckpt_path='a, b/checkpoints/last.ckpt'", "epochs=3"],
        ["resume=null"],
    ]


@pytest.mark.parametrize(
    "argument", ["loss=null", "loss=", "loss=Null", "data/split=null", "~loss", "~loss=bce", "~loss@x"]
)
def test_a_choice_of_nothing_is_refused(argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train", argument])
    with pytest.raises(SystemExit, match=rf"{argument}: expected one of \w+, .*; leave it out for the default\."):
        hydra_command("train")(lambda cfg: None)()
