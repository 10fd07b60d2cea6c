"""Lightning's trainer, with the options of a run."""

from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment

from chaos_seg.errors import UserError
from chaos_seg.training.trainer import build_trainer

CPU = {"accelerator": "cpu", "devices": 1}


@pytest.mark.parametrize(
    "wrong", [{"accelerator": "quantum"}, {"devices": 0}, {"precision": "12-exact"}, {"no_such_option": 1}]
)
def test_what_lightning_refuses_is_a_plain_sentence(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"^trainer: .*; choose another trainer=\.\.\. or trainer\.<option>\.$"):
        build_trainer({**CPU, **wrong}, tmp_path, logger=False)


def test_in_a_slurm_job_a_signal_ends_the_run_and_leaves_its_checkpoints_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in {"NTASKS": "1", "JOB_NAME": "train", "JOB_ID": "7", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    monkeypatch.setenv("SLURM_NODELIST", "node1")
    slurm = build_trainer(CPU, tmp_path, logger=False)._accelerator_connector.cluster_environment
    assert isinstance(slurm, SLURMEnvironment) and slurm.auto_requeue is False


@pytest.mark.parametrize(
    ("precision", "capabilities", "warned"),
    [
        ("bf16-mixed", {"avx2": True, "avx512_bf16": False, "amx_bf16": False}, True),
        ("bf16-mixed", {"avx2": True, "avx512_bf16": True, "amx_bf16": False}, False),
        ("32-true", {"avx512_bf16": False}, False),
        ("bf16-mixed", {}, False),  # not known
    ],
)
def test_a_processor_without_bfloat16_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    precision: str,
    capabilities: dict[str, bool],
    warned: bool,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    build_trainer({**CPU, "precision": precision}, tmp_path, logger=False)
    assert ("this processor has no bfloat16, 32-true is faster here" in caplog.text) is warned
