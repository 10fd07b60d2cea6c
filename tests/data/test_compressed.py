"""Pixel data that claims to be of any size, and decoders that crash."""

import io
import os
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from chaos_seg.data import compressed as compressed_module
from chaos_seg.data.dicom import HU_RANGE, read_slice
from tests.data.bad.files import compressed, dataset, dicom_files, encoded, jpeg_ls, lossless_jpeg, rle_bomb, saved
from tests.data.bad.limits import check_slice, forget_peak, peak_mib

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom remarks on what is written here


def large_jpeg() -> bytes:
    return compressed(encoded(np.zeros((12000, 12000), np.uint8), "JPEG"), JPEGBaseline8Bit, bits=8)


@lru_cache
def one_tile(**sides: int) -> bytes:
    """JPEG 2000 of 16 x 16 pixels with fields of its SIZ marker changed."""
    places = dict(zip(("right", "bottom", "left", "top", "width", "height"), range(8, 32, 4), strict=True))
    frame = bytearray(encoded(np.zeros((16, 16), np.uint16), "JPEG2000"))
    for name, side in sides.items():
        struct.pack_into(">L", frame, places[name], side)
    return compressed(bytes(frame), JPEG2000Lossless)


def second_frame(pixels: np.ndarray) -> bytes:
    """A sound slice of JPEG 2000 and behind it a frame that no header counts."""
    ds = pydicom.dcmread(io.BytesIO(dicom_files()[4]))
    frame = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
    ds.PixelData, offsets, lengths = pydicom.encaps.encapsulate_extended([frame, encoded(pixels, "JPEG2000")])
    ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = offsets[8:] + offsets[:8], lengths[8:] + lengths[:8]
    return saved(ds, JPEG2000Lossless)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (large_jpeg, "12000 x 12000, not 16 x 16"),
        (lambda: compressed(encoded(np.zeros((5000, 5000), np.uint16), "JPEG2000"), JPEG2000Lossless), "5000 x 5000"),
        (lambda: one_tile(right=60000, bottom=60000, width=60000, height=60000), "60000 x 60000, not 16 x 16"),
        (lambda: one_tile(width=0), "no readable header"),
        (lambda: one_tile(right=65535, bottom=1, width=1, height=1), "65535 tiles"),
        (lambda: second_frame(np.zeros((5000, 5000), np.uint16)), ""),
        (lambda: compressed(rle_bomb(4_000_000), RLELossless), "more than Rows x Columns"),
        (lambda: compressed(lossless_jpeg(16).replace(b"\0\x10\0\x10", b"\xff" * 4), JPEGLosslessSV1), "a.dcm"),
        (lambda: compressed(jpeg_ls().replace(b"\0\x10\0\x10", b"\xff" * 4), JPEGLSLossless), "a.dcm"),
    ],
)
def test_codestream_of_another_size_is_not_decoded(tmp_path: Path, make: Callable[[], bytes], said: str) -> None:
    data = make()
    forget_peak()
    before = peak_mib()
    (tmp_path / "a.dcm").write_bytes(data)
    assert said in (check_slice(tmp_path / "a.dcm") or "")
    assert peak_mib() - before < 50


def test_decoder_that_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Crash(pydicom.Dataset):
        pixel_array = property(lambda self: os.abort())

    with pytest.raises(ValueError, match="crash the decoder"):
        compressed_module._decoded_apart(Crash())


def test_decoding_apart_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.dcm").write_bytes(dicom_files()[4])
    plain = read_slice(tmp_path / "a.dcm")[1]
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    assert np.array_equal(compressed_module._decoded_apart(ds), ds.pixel_array)
    assert np.array_equal(plain, np.clip(dataset().pixel_array - 1024.0, *HU_RANGE))
    ds.PixelData = encapsulate([b"\xff\x4f\xff\x51"])
    with pytest.raises(ValueError, match="Unable to decode"):
        compressed_module._decoded_apart(ds)
