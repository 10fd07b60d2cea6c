"""From a zip to audited, decoded data, in this process and as a user starts it."""

import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from chaos_seg.command_line import CONF_DIR
from chaos_seg.config import PrepareConfig, checked
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import data_hash, open_volumes
from chaos_seg.errors import UserError
from chaos_seg.prepare import prepare


@pytest.fixture(scope="module")
def archive(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom as a zip of the challenge."""
    path = tmp_path_factory.mktemp("zip") / "CHAOS_Train_Sets.zip"
    with zipfile.ZipFile(path, "w") as file:
        for member in sorted(phantom_root.rglob("*")):
            file.write(member, member.relative_to(phantom_root))
    return path


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., PrepareConfig]:
    def make(*overrides: str) -> PrepareConfig:
        place = (f"data.root={tmp_path / 'chaos'}", f"data.store={tmp_path / 'store'}")
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return checked(PrepareConfig, compose("prepare", overrides=[*place, *overrides]))

    return make


@pytest.fixture
def served(archive: Path) -> Iterator[str]:
    """The address of a server that has the zip."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(archive.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{archive.name}"
        server.shutdown()


def content(tree: Path) -> str:
    return data_hash(open_volumes(tree.parent / "again", find_patients(tree).values()))


def test_downloads_unpacks_audits_and_decodes(
    configure: Callable[..., PrepareConfig],
    served: str,
    archive: Path,
    phantom_root: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = archive.read_bytes()
    md5 = hashlib.md5(data).hexdigest()
    config = configure(f"downloads=[{{url:'{served}',bytes:{len(data)},md5:{md5}}}]")
    caplog.set_level("INFO")
    assert prepare(config, tmp_path / "audit") == 0
    assert "CC BY-NC-SA 4.0" in caplog.text and "Kavur" in caplog.text
    assert (
        "4 patients, 28 slices, 0 errors" in caplog.text
        and "Ready: python -m chaos_seg.train data.root=" in caplog.text
    )
    told = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert told["fingerprint"] == content(phantom_root) and told["synthetic"]
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "SYNTHETIC" in page and "http://" not in page

    shutil.rmtree(tmp_path / "chaos" / "downloads")  # neither the zip nor the server is needed any more
    again = configure(f"downloads=[{{url:'http://127.0.0.1:1/a.zip',bytes:{len(data)},md5:{md5}}}]")
    assert prepare(again, tmp_path / "audit") == 0
    assert "a.zip: unpacked already" in caplog.text


def test_counts_errors_and_keeps_what_is_there(
    configure: Callable[..., PrepareConfig], archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert prepare(configure(f"archive={archive}"), tmp_path / "audit") == 0
    mask = tmp_path / "chaos" / "Train_Sets" / "CT" / "1" / "Ground" / "liver_GT_003.png"
    Image.new("L", (32, 32)).save(mask)
    with pytest.raises(UserError, match=r"found other files in Train_Sets/CT/1; give overwrite=true"):
        prepare(configure(f"archive={archive}"), tmp_path / "audit")
    assert prepare(configure(f"archive=[{archive}]", "overwrite=true"), tmp_path / "audit") == 0
    Image.new("1", (32, 32)).save(mask)
    caplog.clear()
    assert prepare(configure("downloads=[]"), tmp_path / "audit") == 1
    assert (
        "error    mask_missing, patient 1: slice 4 of 7 has an empty mask between slices with liver" in caplog.text
        and "Ready" not in caplog.text
    )


@pytest.mark.slow
def test_killed_anywhere_and_run_again_it_ends_in_the_same_state(
    start: Callable[..., Any],
    finish: Callable[..., tuple[int, str, str]],
    archive: Path,
    phantom_root: Path,
    tmp_path: Path,
) -> None:
    """SIGKILL when the first patient is in place, and when the first volume is decoded; then to the end, twice."""
    command = ["prepare", "data.root=chaos", "data.store=store", f"archive={archive}"]
    killed = []
    for sign in ("chaos/Train_Sets/CT/.partial", "store/volumes"):
        process = start(command, tmp_path)
        while not (tmp_path / sign).exists() and process.poll() is None:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed.append(process.pid)
    outputs = []
    for _ in range(2):
        code, out, err = finish(command, tmp_path)
        assert code == 0, err
        outputs.append(re.sub(r"Decoding patients: \d+\n", "", out.split("Page with pictures")[0]))  # what a kill left
    assert outputs[0] == outputs[1] and "0 errors" in outputs[0]
    assert content(tmp_path / "chaos") == content(phantom_root)
    ct = tmp_path / "chaos" / "Train_Sets" / "CT"
    assert sorted(path.name for path in ct.iterdir()) == ["1", "2", "3", "4"]
    for pid in killed:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # the processes that it decoded with outlive it
