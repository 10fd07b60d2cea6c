import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chaos_seg.data.scan_names import folder_names
from chaos_seg.data.scans import find_scans

STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])


def test_names_are_printable_and_each_its_own() -> None:
    given = ["ct", "ct", "..ct", "a/b\n", "", "summary.json", "ct"]
    assert folder_names(given) == ["ct", "ct_2", "ct_3", "a_b_", "scan", "summary.json_2", "ct_4"]
    assert folder_names(["case1", "case1", "case1_2", "case1"]) == ["case1", "case1_3", "case1_2", "case1_4"]
    first, second = folder_names(["ä" * 90 + "1", "ä" * 90 + "2"])  # 181 bytes each, alike where they are cut
    assert first[:45] == second[:45] == "ä" * 45 and first != second and len(first.encode()) == 99


def test_a_name_fits_a_folder_whatever_the_path(write_series: Callable[..., list[Path]], tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (4, 6, 5))
    deep = tmp_path / "in" / "/".join("9" * 60 for _ in range(6))
    write_series(deep, hu, np.zeros(3), STEPS)
    latin = os.fsdecode(b"M\xfcller\n")
    write_series(tmp_path / "in" / latin, hu, np.zeros(3), STEPS, PatientID="m")
    write_series(tmp_path / "in" / "summary.json", hu, np.zeros(3), STEPS, PatientID="s")
    for scan in find_scans(tmp_path / "in").scans:
        assert len(scan.name.encode()) <= 100 and scan.name.isprintable() and scan.name != "summary.json"
        (tmp_path / scan.name).mkdir()
        assert scan.open().shape[0] == 4
