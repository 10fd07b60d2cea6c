"""Probabilities as NIfTI, read back by SimpleITK."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit, logit

from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import find_scans
from chaos_seg.inference.formats import writers_for
from chaos_seg.inference.levels import KeptLevels
from chaos_seg.inference.prediction import predict_scan
from chaos_seg.inference.predictor import Predictor

sitk = pytest.importorskip("SimpleITK")
pytest.importorskip("nibabel")
Write = Callable[..., list[Path]]
AXES = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}


class Given(Predictor):
    """Two models, of which one says HU / 1000 and one half of it, with a temperature each."""

    def __init__(self) -> None:
        models = [SimpleNamespace(temperature=t, to=lambda _: SimpleNamespace(eval=int)) for t in (2.0, 0.5)]
        super().__init__(models, None)  # type: ignore[arg-type]

    def passes(self, scan: Scan) -> Iterator[np.ndarray]:
        for hu in map(scan.hu, range(scan.slices)):
            yield np.stack([hu / 1000, hu / 2000]).astype(np.float32)


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_the_map_lies_where_the_scan_is(
    write_series: Write, tmp_path: Path, axes: tuple[int, ...], bits: int, calibrated: bool
) -> None:
    hu = np.random.default_rng(0).integers(1, 1000, (6, 9, 12))
    steps = np.eye(3)[list(axes)] * np.array([2.5, 1.0, 0.7])[:, None] * [1, -1, 1]
    write_series(tmp_path / "in", hu, np.array([3.0, -7, 11]), steps)
    (found,) = find_scans(tmp_path / "in").scans
    scan = found.open()
    options = {"probability": {"bits": bits, "calibrated": calibrated}}
    writer = writers_for(scan, ["probability"], options)[0]["probability"]
    assert writer.levels is not None
    kept = KeptLevels(tmp_path / "levels", writer.levels)
    predicted = predict_scan(scan, Given(), 100, False, False, [kept])
    writer.write(kept, tmp_path)

    image = sitk.ReadImage(str(tmp_path / "probability.nii.gz"))
    source = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "in")))
    given = sitk.GetArrayFromImage(source)
    expected = (given / 1000 + given / 2000) / 2
    if calibrated:
        expected = (expit(logit(given / 1000) / 2) + expit(logit(given / 2000) / 0.5)) / 2
    assert np.abs(sitk.GetArrayFromImage(image) - expected).max() <= 0.51 / (2**bits - 1)
    for what in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert np.allclose(getattr(image, what)(), getattr(source, what)(), atol=1e-4)
    truth = (given / 1000 + given / 2000) / 2 * 255 > 100  # a temperature moves no mask
    assert sum(int(plane.sum()) for plane in predicted.mask) == pytest.approx(int(truth.sum()), abs=2)


def test_other_bits_are_refused(write_series: Write, tmp_path: Path) -> None:
    write_series(tmp_path / "in", np.zeros((3, 6, 5), int), np.zeros(3), np.diag([3.0, 1, 1])[:, ::-1])
    (found,) = find_scans(tmp_path / "in").scans
    _, refused = writers_for(found.open(), ["probability"], {"probability": {"bits": 12}})
    assert refused == {"probability": "format.probability.bits=12: expected 8 or 16."}
