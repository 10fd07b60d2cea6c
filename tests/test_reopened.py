from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from chaos_seg.config import TrainConfig
from chaos_seg.errors import UserError
from chaos_seg.reopened import settings_of
from chaos_seg.run_folder import RunFolder


def test_another_root_takes_the_place_of_a_runs_phantom(
    configure: Callable[..., TrainConfig], phantom_root: Path, tmp_path: Path
) -> None:
    config, run = configure(), RunFolder(tmp_path)
    config.data.source = {"name": "phantom", "patients": 4, "slices": 7, "size": 32, "seed": 3}
    run.config.write_text(OmegaConf.to_yaml(asdict(config)))
    with pytest.raises(UserError, match=r"found no split.json, manifest.json in it"):
        settings_of(run, None, None)
    for file in (run.split_file, run.manifest_file):
        file.write_text("{}")
    assert settings_of(run, None, None).data == config.data
    moved = settings_of(run, str(phantom_root), str(tmp_path / "fast")).data
    assert (moved.open().root, moved.store) == (phantom_root, str(tmp_path / "fast"))
    config.data.source = {"name": "chaos"}
    run.config.write_text(OmegaConf.to_yaml(asdict(config)))
    assert settings_of(run, str(phantom_root), None).data.source == {"name": "chaos"}
