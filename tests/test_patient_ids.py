"""Ids of patients are text: what is typed on the command line, or written in a file, is what the split names."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from chaos_seg.command_line import CONF_DIR
from chaos_seg.config import TrainConfig, checked
from chaos_seg.errors import UserError
from chaos_seg.patient_ids import quoted_ids
from chaos_seg.train import _resumed

ODD = ["1_000", "1e5", "true", "007", "0o7", "null", "1.0", "0x1f", "nan", "1:30", "p-1", "3"]


def composed(*overrides: str) -> TrainConfig:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return checked(TrainConfig, compose("train", overrides=list(overrides)))


@pytest.mark.parametrize("text", ["[{}]", "[ {} ]"])
def test_ids_are_the_text_that_is_typed(text: str) -> None:
    typed = text.format(", ".join(ODD))
    assert composed(*quoted_ids([f"data.split.test={typed}"])).data.split["test"] == ODD


def test_what_is_in_quotes_and_plain_numbers_stay() -> None:
    typed = """data.split.val=['1_000',"a, b",3,16]"""
    assert composed(*quoted_ids([typed])).data.split["val"] == ["1_000", "a, b", "3", "16"]
    others = ["data.split.test=null", "data.split.test=[]", "data.split.folds=[1_000]", "tta.rotations_deg=[1_0]"]
    others += ["data.split.test=[${oc.env:HOME}]", "data.split.test=1_000"]
    assert quoted_ids(others) == others


def test_ids_outlast_a_sweep() -> None:
    """Hydra writes each job's overrides anew."""
    typed = quoted_ids(["data.split.test=[1_000,true],[007]", "++data.split.val=[1e5]"])
    jobs = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(typed), None)[0]
    found = [composed(*job).data.split for job in jobs]
    assert [(split["test"], split["val"]) for split in found] == [(["1_000", "true"], ["1e5"]), (["007"], ["1e5"])]


def test_ids_outlast_the_run_folder_and_a_resume(tmp_path: Path) -> None:
    config = composed(*quoted_ids([f"data.split.test=[{','.join(ODD)}]"]))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(asdict(config)))
    last = str(tmp_path / "checkpoints" / "last.ckpt")
    assert _resumed(last, []).data.split["test"] == ODD
    assert _resumed(last, quoted_ids(["data.split.test=[1_000]"])).data.split["test"] == ["1_000"]


@pytest.mark.parametrize("written", ["1e5", "true", "1.0", "null"])
def test_a_file_has_to_have_quotes_where_yaml_reads_no_text(written: str) -> None:
    file = OmegaConf.create(f"data: {{split: {{test: [3, {written}]}}}}")
    with pytest.raises(
        UserError, match=r"data.split.test: expected ids of patients, found .*; write this id in quotes"
    ):
        checked(TrainConfig, file)


@pytest.mark.slow
@pytest.mark.parametrize("command", [("train",), ("study", "study=paper")])
def test_every_command_that_trains_takes_ids_as_typed(
    finish: Callable[..., tuple[int, str, str]], command: tuple[str, ...], tmp_path: Path
) -> None:
    code, out, err = finish([*command, "data.split.test=[1_000,007]", "--cfg", "job"], tmp_path)
    assert code == 0, err
    assert OmegaConf.create(out).data.split["test"] == ["1_000", "007"]
