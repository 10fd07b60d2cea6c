from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from chaos_seg.config import TrainConfig
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.files import read_json, write_json
from chaos_seg.reopened import settings_of, stopped_before
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


def test_a_stopped_run_with_the_same_settings_is_found(configure: Callable[..., TrainConfig], tmp_path: Path) -> None:
    run, new = RunFolder(tmp_path / "runs" / "a"), tmp_path / "runs" / "b"
    train(configure(), run.path)
    assert stopped_before(configure(), new) is None  # it is finished
    write_json(run.manifest_file, {**read_json(run.manifest_file), "status": "failed"})
    assert stopped_before(configure("overlay_every_epochs=3"), new) == run.path
    for other in ("epochs=5", "loss=dice", "data.split.val=[4]"):
        assert stopped_before(configure(other), new) is None
    assert stopped_before(configure(), run.path) is None
    with run.recorded(True, 1):
        assert stopped_before(configure(), new) is None  # it works
    (run.path / "config.yaml").write_text("network: {}")
    assert stopped_before(configure(), new) is None
