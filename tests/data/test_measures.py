from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.alignment import Alignment, Misfit
from chaos_seg.data.audit import facts
from chaos_seg.data.measures import VERSION, measured
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import StoredScan, open_volumes
from chaos_seg.files import write_json
from tests.data.trunk import MM, SIZE, scan


@pytest.fixture
def volume(phantom_root: Path, tmp_path: Path) -> StoredScan:
    """Outside of the scanner's circle it has -1200 HU."""
    return open_volumes(tmp_path, [find_patients(phantom_root)["2"]])[0]


def test_padding_is_not_cold(volume: StoredScan) -> None:
    hu = np.stack([volume.hu(rank) for rank in range(7)])
    assert (hu == -1200).any()
    assert measured(volume).cold_share == ((hu < -150) & (hu > -1200)).mean()


def test_what_was_measured_is_read_back_whole(volume: StoredScan) -> None:
    alignment = Alignment([1.5, 2.0], [Misfit(3, 5, "shifted", -2, 1.3)], [4], [99.5, 20.0], {2: 0.25, 6: 0.5})
    kept = replace(measured(volume), cold_share=0.125, alignment=alignment)
    write_json(volume.folder / "audit.json", asdict(kept))
    assert measured(volume) == kept


@pytest.mark.parametrize("changed", [{"version": VERSION - 1, "cold_share": 0.125}, {"unknown": 1}])
def test_an_older_or_a_damaged_note_is_measured_again(volume: StoredScan, changed: dict[str, float]) -> None:
    first = measured(volume)
    write_json(volume.folder / "audit.json", {**asdict(first), **changed})
    assert measured(volume) == first == measured(volume)


@pytest.mark.parametrize(("std", "blurred"), [(8.0, False), (25.0, False), (25.0, True)])
def test_noise_is_that_from_pixel_to_pixel_whatever_lies_in_the_liver(
    volume: StoredScan, std: float, blurred: bool
) -> None:
    rng = np.random.default_rng(0)
    vessels = np.where(np.indices(volume.shape[1:])[1] % 40 < 3, 60, 0)  # edges, and steps between slices
    noise = rng.normal(0, std, volume.shape)
    if blurred:  # neighbours share noise
        noise = (noise + np.roll(noise, 1, axis=2)) / 2**0.5
    planes = np.rint(100 + vessels + 20 * np.arange(7)[:, None, None] + noise).astype(np.int16)
    mask = np.ones(volume.shape[1:], np.uint8)
    found = measured(replace(volume, read=planes.__getitem__, read_mask=lambda rank: mask))
    assert found.noise_hu == pytest.approx(std, rel=0.15)


def test_the_aorta_is_measured_at_the_height_of_the_liver_where_the_back_lies_below(volume: StoredScan) -> None:
    """A trunk whose slices without liver have other blood; mirrored it has none that could be told, MR neither."""
    planes = [*scan(300), *scan(150), *scan(300)]
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[180:260, 100:160] = 1
    liver = [int(mask.sum()) if 5 <= rank < 10 else 0 for rank in range(len(planes))]
    shape = (len(planes), SIZE, SIZE)
    z_mm = [-3.0 * rank for rank in range(len(planes))]
    meta = replace(volume.meta, shape=shape, spacing_mm=(3.0, MM, MM), liver_pixels=liver, z_mm=z_mm)

    def of(order: slice, modality: str = "CT") -> float | None:
        trunk = replace(
            volume,
            shape=shape,
            meta=meta,
            modality=modality,
            read=lambda rank: np.ascontiguousarray(planes[rank][order]),
            read_mask=lambda rank: np.ascontiguousarray((mask if liver[rank] else np.zeros_like(mask))[order]),
        )
        (volume.folder / "audit.json").unlink(missing_ok=True)
        found = measured(trunk)
        assert facts(trunk, found)["contrast_phase"] == (None if found.aorta_hu is None else "venous")
        return found.aorta_hu

    assert of(slice(None)) == pytest.approx(150, abs=6)
    assert of(slice(None, None, -1)) is None and of(slice(None), "MR") is None
