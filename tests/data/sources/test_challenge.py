from dataclasses import replace
from pathlib import Path

import pytest

from chaos_seg.data.sources import challenge
from tests.data.sources.zips import of


def test_given_zips_are_unpacked_and_those_of_the_challenge_fetched_unless_they_were(
    phantom_zip: Path, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fetched = []
    archive = replace(of(phantom_zip), url="https://nowhere.invalid/a.zip")

    def download(archive: challenge.Archive, path: Path) -> None:
        fetched.append(path)
        path.parent.mkdir(parents=True)
        path.write_bytes(phantom_zip.read_bytes())

    monkeypatch.setattr(challenge, "download", download)
    caplog.set_level("INFO")
    challenge.bring(root, [phantom_zip], [archive], overwrite=False)
    assert fetched == [] and "CC BY-NC-SA 4.0" in caplog.text and f"4 CT patients in {root}" in caplog.text
    challenge.bring(root, [], [archive], overwrite=False)
    assert fetched == [] and "unpacked already" in caplog.text
    other = root.with_name("other")
    challenge.bring(other, [], [archive], overwrite=False)
    assert [path.parent for path in fetched] == [other / "downloads"] and (other / "Train_Sets" / "CT" / "4").is_dir()
