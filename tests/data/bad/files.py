"""Files of real formats to start from, bombs among them."""

import io
import struct
import zlib
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from chaos_seg.data.sources.phantom import Phantom, write_phantom


@lru_cache
def phantom_slice() -> bytes:
    with TemporaryDirectory() as folder:
        root = write_phantom(Path(folder), Phantom(patients=1, slices=3, size=16, seed=3))
        return sorted(root.rglob("*.dcm"))[1].read_bytes()


def dataset() -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(phantom_slice()))


def saved(ds: pydicom.Dataset, syntax: str, like: str | None = None) -> bytes:
    """The bytes of `ds`, which says that it is of `syntax` and is written `like` another one where that is given."""
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    how = UID(like or syntax)
    file = io.BytesIO()
    little = how.is_little_endian
    pydicom.dcmwrite(file, ds, implicit_vr=how.is_implicit_VR, little_endian=little, force_encoding=True)
    return file.getvalue()


def compressed(frame: bytes, syntax: str, bits: int = 16) -> bytes:
    """The phantom's slice with `frame` for its pixels."""
    ds = dataset()
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length, ds["PixelData"].VR = True, "OB"
    return saved(ds, syntax, ExplicitVRLittleEndian)


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"no_jp2": True} if kind == "JPEG2000" else {}))
    return file.getvalue()


def lossless_jpeg(size: int, precision: int = 16, marker: int = 0xC3) -> bytes:
    """A frame of zeros by JPEG process 14: a Huffman table of one code, "no difference", a bit for each pixel."""
    table = b"\x00" + bytes([1] + [0] * 15) + b"\x00"
    parts = [
        b"\xff\xd8",
        struct.pack(">BBHBHHB3B", 0xFF, marker, 11, precision, size, size, 1, 1, 0x11, 0),
        struct.pack(">BBH", 0xFF, 0xC4, 2 + len(table)) + table,
        struct.pack(">BBHB2B3B", 0xFF, 0xDA, 8, 1, 1, 0, 1, 0, 0),
        bytes(size * size // 8),
        b"\xff\xd9",
    ]
    return b"".join(parts)


def jpeg_ls() -> bytes:
    """A frame of 16 x 16 zeros, which are 29 runs and as many bits."""
    head = struct.pack(">HHHBHHB3B", 0xFFD8, 0xFFF7, 11, 16, 16, 16, 1, 1, 0x11, 0)
    return head + struct.pack(">HHB2B3B", 0xFFDA, 8, 1, 1, 0, 0, 0, 0) + b"\xff\x7f\xff\x7e\xff\xd9"


def rle_bomb(size: int) -> bytes:
    """Two segments that are `size` bytes each and 64 times that when they are decoded."""
    return struct.pack("<16L", 2, 64, 64 + size, *[0] * 13) + b"\x81\x07" * size


@lru_cache
def dicom_files() -> tuple[bytes, ...]:
    plain = phantom_slice()
    swapped = dataset()
    swapped.PixelData = swapped.pixel_array.astype(">u2").tobytes()
    runs = dataset()
    runs.compress(RLELossless)
    stored = dataset().pixel_array
    return (
        plain,
        saved(dataset(), ImplicitVRLittleEndian),
        saved(swapped, ExplicitVRBigEndian),
        saved(runs, RLELossless),
        compressed(encoded(stored, "JPEG2000"), JPEG2000Lossless),
        compressed(encoded((stored >> 4).astype(np.uint8), "JPEG"), JPEGBaseline8Bit, bits=8),
        compressed(lossless_jpeg(16), JPEGLosslessSV1),
        compressed(jpeg_ls(), JPEGLSLossless),
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, position = [], 8
    while position < len(png):
        (length,) = struct.unpack_from(">L", png, position)
        found.append((png[position + 4 : position + 8], png[position + 8 : position + 8 + length]))
        position += length + 12
    return found


def png(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in parts)


def ihdr(width: int, height: int, depth: int = 1, colour: int = 0, interlace: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">LL5B", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, colour, 0, 0, interlace)


def interlaced(mask: np.ndarray) -> bytes:
    """An 8-bit PNG in the seven passes of Adam7."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [row for x, y, dx, dy in passes for row in mask[y::dy, x::dx] if row.size]
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return png([ihdr(mask.shape[1], mask.shape[0], 8, interlace=1), (b"IDAT", data), (b"IEND", b"")])


@lru_cache
def mask_files() -> tuple[bytes, ...]:
    binary = np.zeros((16, 12), np.uint8)
    binary[4:9, 3:10] = 1
    grey = Image.fromarray(binary * 255)
    wide = Image.fromarray(binary.astype(np.uint16) * 65535)
    images = [grey.convert("1"), grey, wide, *(grey.convert(mode) for mode in ("P", "RGB", "LA", "RGBA"))]
    files = []
    for image in images:
        file = io.BytesIO()
        image.save(file, "PNG")
        files.append(file.getvalue())
    return (*files, interlaced(binary * 255))


@lru_cache
def bombs() -> tuple[bytes, bytes]:
    """Streams of zlib that become 64 MB and 2 GB: of a raw stream's full flush each block stands for itself."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeeze.compress(bytes(16 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\x9c" + block * 4, b"\x78\x9c" + block * 128


@lru_cache
def bomb_chunks() -> list[tuple[bytes, bytes]]:
    before = {b"zTXt": b"k\0\0", b"iCCP": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"IDAT": b""}
    return [(kind, head + bomb) for kind, head in before.items() for bomb in bombs()]
