"""Damaged and hostile files: the readers answer with sound output or a UserError, at once and in little memory.

CHAOS_FUZZ_EXAMPLES inputs altogether; the short run is the same each time.
"""

import io
import struct
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.pixels import get_decoder
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from chaos_seg.data.dicom import MAX_ELEMENTS
from tests.data.bad.files import bomb_chunks, bombs, chunks, dataset, dicom_files, ihdr, mask_files, png, saved
from tests.data.bad.limits import check_mask, check_slice, fuzz, refused
from tests.data.bad.mutations import damaged, wild_attributes, wild_chunks, wild_frames

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom remarks on what is written here


def test_what_the_mutations_start_from_is_sound(place: Path) -> None:
    codec = {JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless}
    for data in dicom_files():
        (place / "slice.dcm").write_bytes(data)
        syntax = pydicom.dcmread(io.BytesIO(data)).file_meta.TransferSyntaxUID
        assert check_slice(place / "slice.dcm") is None or (syntax in codec and not get_decoder(syntax).is_available)
    for data in mask_files():
        (place / "mask.png").write_bytes(data)
        assert check_mask(place / "mask.png") is None


@fuzz(0.5)
@given(data=st.one_of(damaged(dicom_files), wild_attributes(), wild_frames()))
def test_any_bytes_are_a_sound_slice_or_a_user_error(place: Path, data: bytes) -> None:
    path = place / "slice.dcm"
    path.write_bytes(data)
    check_slice(path)


@fuzz(0.4)
@given(data=st.one_of(damaged(mask_files), wild_chunks()))
def test_any_bytes_are_a_sound_mask_or_a_user_error(place: Path, data: bytes | list[tuple[bytes, bytes]]) -> None:
    path = place / "mask.png"
    path.write_bytes(data if isinstance(data, bytes) else png(data))
    check_mask(path)


def test_truncated_files(place: Path) -> None:
    for data in dicom_files()[:4]:
        for length in range(0, len(data) - 24, 13):  # of compressed pixels the last bytes may only say that they end
            refused(place / "cut.dcm", data[:length])
    for data in mask_files():
        for length in range(data.index(b"IEND") - 16):
            refused(place / "cut.png", data[:length])


def test_absurd_sizes(place: Path) -> None:
    ds = dataset()
    ds.Rows = ds.Columns = 65535
    assert "found 65535 x 65535" in refused(place / "a.dcm", saved(ds, ExplicitVRLittleEndian))
    ds.Rows, ds.Columns = 65535, 1
    assert "can't be read" in refused(place / "a.dcm", saved(ds, ExplicitVRLittleEndian))
    ds = dataset()
    ds[Tag("Columns")] = RawDataElement(Tag("Columns"), "LO", 50_000, b"1" * 50_000, 0, False, True, True)
    assert "can't be read" in refused(place / "a.dcm", saved(ds, ExplicitVRLittleEndian))  # 16 times that text
    ds = dataset()
    ds.NumberOfFrames = 2**31 - 1
    assert "expected one grey slice" in refused(place / "a.dcm", saved(ds, ExplicitVRLittleEndian))
    del ds.NumberOfFrames
    ds.PixelData *= 11
    assert "found 11 frames" in refused(place / "a.dcm", saved(ds, ExplicitVRLittleEndian))
    for side in (65535, 2**31 - 1):
        rest = chunks(mask_files()[1])[1:]
        assert "PNG mask" in (said := refused(place / "a.png", png([ihdr(side, side, 8), *rest]))) or "65535" in said
    many = b"".join(struct.pack("<HHI", 0x1000 + 2 * (k >> 16), k & 0xFFFF, 0) for k in range(50 * MAX_ELEMENTS))
    plain = dicom_files()[1]
    at = plain.index(struct.pack("<HH", 0x7FE0, 0x0010))
    assert "no 'Pixel Data'" in refused(place / "a.dcm", plain[:at] + many + plain[at:])
    with (place / "a.dcm").open("wb") as file:
        file.truncate(1 << 40)
    assert "at most 16 MiB" in str(check_slice(place / "a.dcm"))


def test_deflated_bomb(place: Path) -> None:
    data = saved(dataset(), DeflatedExplicitVRLittleEndian)
    body = 132 + data[132:].index(b"1.2.840.10008.1.2.1.99")
    assert "not deflated" in refused(place / "a.dcm", data[: body + 22] + bombs()[1][2:])
    assert "not deflated" in refused(place / "a.dcm", data)


def test_png_bombs(place: Path) -> None:
    head, *rest = chunks(mask_files()[1])
    for bomb in bomb_chunks():
        others = [part for part in rest if part[0] != bomb[0]]
        (place / "a.png").write_bytes(png([head, bomb, *others]))
        check_mask(place / "a.png")  # what is beside the picture may be passed over


def test_values_with_newlines(place: Path) -> None:
    ds = dataset()
    ds[Tag("Modality")] = RawDataElement(Tag("Modality"), "CS", 60_000, b"M\nR " * 15_000, 0, False, True, True)
    assert r"expected Modality CT, found M\nR M\nR" in refused(place / "a.dcm", saved(ds, ExplicitVRLittleEndian))
