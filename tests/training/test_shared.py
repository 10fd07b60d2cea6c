"""Shared models that are not as they were handed on."""

import random
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from chaos_seg.errors import UserError
from chaos_seg.training.checkpoints import load_model
from chaos_seg.training.shared import is_shared, write_sums


@pytest.fixture
def copy(shared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared, tmp_path / "liver"))


def test_a_changed_byte_anywhere_is_one_sentence(copy: Path) -> None:
    for path in sorted(path for path in copy.rglob("*") if path.is_file()):
        content = path.read_bytes()
        place = len(content) // 2
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        name = path.relative_to(copy).as_posix()
        expected = (
            "SHA256SUMS to list|as it was handed on|found no" if name == "SHA256SUMS" else f"expected {name} as it"
        )
        with pytest.raises(UserError, match=expected) as error:
            load_model(copy)
        assert "\n" not in str(error.value)
        path.write_bytes(content)
    load_model(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "SHA256SUMS", "check/mask.png"])
def test_a_lost_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"expected a folder of chaos_seg.share, found no {name} in it"):
        load_model(copy)


def test_any_damage_to_the_zip_is_one_sentence_or_none(shared: Path, tmp_path: Path) -> None:
    """Bytes changed, cut off and doubled: never another model, never a traceback."""
    content, draw = shared.with_name("liver.zip").read_bytes(), random.Random(0)
    weights = load_model(shared)[0].state_dict()
    refused = 0
    for number in range(60):
        damaged, place = bytearray(content), draw.randrange(len(content) - 4000 if number % 2 else len(content))
        place = len(content) - draw.randrange(1, 2000) if number % 4 == 2 else place  # the directory of the zip
        damaged[place] ^= 1 << draw.randrange(8)
        if number % 10 == 0:
            damaged = damaged[:place]
        (tmp_path / "a.zip").write_bytes(damaged)
        try:
            found = load_model(tmp_path / "a.zip")[0].state_dict()
            assert all(torch.equal(value, weights[name]) for name, value in found.items())
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 40


@pytest.mark.parametrize("line", ["x  ../secret", "x  /etc/passwd", "no sum", ""])
def test_sums_that_lead_elsewhere_are_refused(copy: Path, line: str) -> None:
    (copy.parent / "secret").write_text("secret")
    (copy / "SHA256SUMS").write_text(line.replace("x", "0" * 64))
    with pytest.raises(UserError, match=r"SHA256SUMS"):
        load_model(copy)


def test_other_folders_and_zips(copy: Path, tmp_path: Path) -> None:
    """A run folder, a zip of scans, a folder of another program and one whose config is forged."""
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        archive.writestr("a.dcm", b"x")
    assert not is_shared(tmp_path / "empty") and not is_shared(tmp_path / "scans.zip")
    with pytest.raises(UserError, match=r"empty: expected a checkpoint, found no such file"):
        load_model(tmp_path / "empty")
    with pytest.raises(UserError, match=r"scans.zip: expected a checkpoint of chaos_seg, found something else"):
        load_model(tmp_path / "scans.zip")
    (tmp_path / "empty" / "config.json").write_text("{}")  # Hugging Face's folders have these, too
    (tmp_path / "empty" / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"empty: expected a folder of chaos_seg.share, found no SHA256SUMS in it"):
        load_model(tmp_path / "empty")
    for forged in ("{}", "[]", "no json"):
        (copy / "config.json").write_text(forged)
        write_sums(copy)
        with pytest.raises(UserError, match=r"liver: expected a checkpoint of chaos_seg, found something else"):
            load_model(copy)
