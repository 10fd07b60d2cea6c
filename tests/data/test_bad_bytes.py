"""Damaged and hostile files: the readers answer with sound output or a UserError, at once and in little memory.

CHAOS_FUZZ_EXAMPLES inputs altogether; the short run is the same each time.
"""

import gc
import gzip
import io
import os
import shutil
import signal
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from chaos_seg.data import compressed as compressed_module
from chaos_seg.data.dicom import HU_RANGE, MAX_ELEMENTS, read_mask, read_slice
from chaos_seg.data.scans import find_scans
from chaos_seg.data.sources.chaos import find_patients, pair_slices
from chaos_seg.data.sources.phantom import Phantom, write_phantom
from chaos_seg.data.store import decode, open_volumes
from chaos_seg.errors import UserError
from chaos_seg.inference.formats import writers_for

EXAMPLES = int(os.environ.get("CHAOS_FUZZ_EXAMPLES", "1000"))
MAX_SECONDS, MAX_MIB = 1.0, 500

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom remarks on what is written here


def fuzz(share: float) -> settings:
    return settings(
        max_examples=max(1, round(EXAMPLES * share)),
        derandomize="CHAOS_FUZZ_EXAMPLES" not in os.environ,
        database=None,
        deadline=None,  # at_once measures the reader without the making of its input
        suppress_health_check=list(HealthCheck),
    )


# --- limits


def peak_mib() -> float:
    """Peak resident memory of this process since forget_peak; only Linux tells."""
    if not Path("/proc/self/status").exists():
        return 0.0
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


@pytest.fixture(autouse=True)
def little_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test whose readers made the process grow by more than MAX_MIB at any moment."""
    dicom_files(), mask_files(), bomb_chunks()  # made once, and not what is measured
    forget_peak()
    before = peak_mib()
    SLOWEST[:] = [0.0]
    yield
    grown = peak_mib() - before
    print(f"\n{request.node.name}: slowest input {SLOWEST[0] * 1000:.0f} ms, grew by {grown:.0f} MiB")
    assert grown < MAX_MIB


SLOWEST = [0.0]


@contextmanager
def at_once() -> Iterator[None]:
    """Fails a block that takes longer than MAX_SECONDS, and ends one that waits for ever."""

    def late(*_: object) -> None:
        pytest.fail(f"took more than {MAX_SECONDS} s")  # not an Exception, which the readers would catch

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    gc.disable()  # the garbage of hypothesis is not the reader's
    start = time.perf_counter()
    try:
        yield
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        SLOWEST[0] = max(SLOWEST[0], time.perf_counter() - start)


def check_slice(path: Path) -> str | None:
    """The sentence that refuses the file, or None when it was read to something sound."""
    try:
        with at_once():
            header, hu = read_slice(path)
    except UserError as error:
        return one_line(error, path)
    assert hu.dtype == np.int16 and hu.shape == (header.rows, header.columns) and hu.size > 0
    assert HU_RANGE[0] <= hu.min() and hu.max() <= HU_RANGE[1]
    assert header.hu_min <= header.hu_max
    return None


def check_mask(path: Path) -> str | None:
    try:
        with at_once():
            encoding, mask = read_mask(path)
    except UserError as error:
        return one_line(error, path)
    assert mask.dtype == np.uint8 and mask.ndim == 2 and set(np.unique(mask)) <= {0, 1}
    sizes = [struct.unpack_from(">LL", head) for head in path.read_bytes().split(b"IHDR")[1:] if len(head) >= 8]
    assert mask.shape[::-1] in sizes
    assert bool(encoding) == bool(mask.any())
    return None


def one_line(error: UserError, path: Path | None = None) -> str:
    text = str(error)
    assert text.isprintable() and (path is None or text.startswith(f"{path}: ")) and len(text) < 1000
    return text


# --- real-format files to start from


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


# --- what is done to them

WILD_BYTES = [b"\0", b"\xff", b"\x7f", b"\x80", b"\n", b"\\", b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\0\0\1\0"]
PLACE = st.integers(0, 1 << 20)  # in a file, by the remainder
STRETCH = st.integers(1, 200)
EDITS = st.one_of(
    st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
    st.tuples(st.just("write"), PLACE, st.one_of(st.sampled_from(WILD_BYTES), st.binary(min_size=1, max_size=16))),
    st.tuples(st.just("insert"), PLACE, st.one_of(st.sampled_from(WILD_BYTES), st.binary(min_size=1, max_size=64))),
    st.tuples(st.just("cut"), PLACE, st.just(0)),
    st.tuples(st.just("delete"), PLACE, STRETCH),
    st.tuples(st.just("repeat"), PLACE, STRETCH),
)


def edited(data: bytes, edits: list[tuple[str, int, object]]) -> bytes:
    for kind, place, what in edits:
        at = place % max(len(data), 1)
        head, tail = data[:at], data[at:]
        if kind == "flip" and tail:
            data = head + bytes([tail[0] ^ (1 << what)]) + tail[1:]
        elif kind == "write":
            data = head + what + tail[len(what) :]
        elif kind == "insert":
            data = head + what + tail
        elif kind == "cut":
            data = head
        elif kind == "delete":
            data = head + tail[what:]
        elif kind == "repeat":
            data = head + tail[:what] * 2 + tail[what:]
    return data


@st.composite
def damaged(draw: st.DrawFn, files: Callable[[], tuple[bytes, ...]]) -> bytes:
    """One of `files`, or the head of one on the tail of another, with a few edits."""
    data = draw(st.sampled_from(files()))
    if draw(st.integers(0, 5)) == 0:
        other = draw(st.sampled_from(files()))
        data = data[: draw(PLACE) % len(data)] + other[draw(PLACE) % len(other) :]
    return edited(data, draw(st.lists(EDITS, min_size=1, max_size=4)))


ATTRIBUTES = [
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("NumberOfFrames", "PlanarConfiguration", "PhotometricInterpretation", "Modality", "PixelSpacing"),
    *("ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "SliceThickness"),
    *("SliceLocation", "SpecificCharacterSet", "SeriesInstanceUID", "StudyInstanceUID", "PatientName", "PatientID"),
    *("SyntheticData", "ModalityLUTSequence", "RequestAttributesSequence", "ImageComments", "FloatPixelData"),
    *("PixelData", "ExtendedOffsetTable", "BurnedInAnnotation", "PatientBirthDate", "AcquisitionDateTime"),
]
WILD_VALUES = st.one_of(
    st.sampled_from([0, 1, 2, 3, 8, 12, 16, 17, 32, 64, 4095, 32768, 65535]).map(
        lambda number: struct.pack("<H", number)
    ),
    st.sampled_from([b"", b"\\", b"NaN ", b"inf ", b"-inf", b"1e308 ", b"-1", b"0 ", b"65535 ", b"1e-320", b"CT\\MR"]),
    st.sampled_from(
        [b"1\\2", b"1\\2\\3 ", b"1\\0\\0\\0\\1\\0", b"nan\\nan ", b"1\\" * 3000, b"9" * 5000, b"ISO 2022 IR 87"]
    ),
    st.sampled_from(
        [b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0" * 8, b"a\nb ", b"\x1b$B ", b"\xfe\xff\x00\xe0\xff\xff\xff\xff"]
    ),
    st.binary(max_size=40),
)
VRS = st.sampled_from([vr.value for vr in pydicom.valuerep.STANDARD_VR])
SYNTAXES = [
    *(DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEG2000Lossless),
    *(JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.100"),
    *("1.2.840.10008.1.2.8.1", "1.2.3", "", "CT\nMR", "1.2.840.10008.1.2\\1.2.840.10008.1.2.1"),
]


@st.composite
def wild_attributes(draw: st.DrawFn) -> bytes:
    """A slice of whatever encoding with some values that no scanner writes."""
    data = draw(st.sampled_from(dicom_files()))
    ds = pydicom.dcmread(io.BytesIO(data))
    syntax = str(ds.file_meta.TransferSyntaxUID)
    for keyword in draw(st.lists(st.sampled_from(ATTRIBUTES), min_size=1, max_size=4, unique=True)):
        if draw(st.integers(0, 9)) == 0:
            ds.pop(keyword, None)
            continue
        tag, value = Tag(keyword), draw(WILD_VALUES)
        vr = draw(VRS) if draw(st.booleans()) else pydicom.datadict.dictionary_VR(tag).split(" ")[0]
        little = UID(syntax).is_little_endian
        ds[tag] = RawDataElement(tag, vr, len(value), value, 0, UID(syntax).is_implicit_VR, little, True)
    told = draw(st.sampled_from(SYNTAXES)) if draw(st.integers(0, 4)) == 0 else syntax
    try:
        return saved(ds, told, syntax)
    except Exception:  # what can't be written can't be read
        return data


FRAMES = {JPEG2000Lossless: 4, JPEGBaseline8Bit: 5, JPEGLosslessSV1: 6, JPEGLSLossless: 7, RLELossless: 3}


@st.composite
def wild_frames(draw: st.DrawFn) -> bytes:
    """A compressed slice whose codestream alone is damaged, most often in its head."""
    which = draw(st.sampled_from(list(FRAMES.values())))
    ds = pydicom.dcmread(io.BytesIO(dicom_files()[which]))
    frame = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
    head = draw(st.sampled_from([20, 60, 120, len(frame)]))
    near = [(kind, place % head, what) for kind, place, what in draw(st.lists(EDITS, min_size=1, max_size=3))]
    frame = edited(frame, near)
    ds.PixelData = encapsulate([frame or b"\0\0"])
    return saved(ds, str(ds.file_meta.TransferSyntaxUID))


@st.composite
def wild_chunks(draw: st.DrawFn) -> list[tuple[bytes, bytes]]:
    """Chunks of a PNG, whose checksums will hold, that say what no writer says.

    Not joined, since hypothesis keeps what is drawn, and bombs are larger than what they are thrown at.
    """
    parts = chunks(draw(st.sampled_from(mask_files())))
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["head", "bomb", "data", "drop", "repeat", "insert", "edit"]))
        at = draw(st.integers(0, max(len(parts) - 1, 0)))
        if kind == "head":
            side = st.sampled_from([0, 1, 2, 12, 16, 2048, 2049, 65535, 2**31 - 1, 2**31, 2**32 - 1])
            bits, colours = st.sampled_from([1, 2, 4, 8, 16, 3]), st.sampled_from([0, 2, 3, 4, 6, 5])
            parts[:1] = [ihdr(draw(side), draw(side), draw(bits), draw(colours), draw(st.integers(0, 2)))]
        elif kind == "bomb":
            parts.insert(at, draw(st.sampled_from(bomb_chunks())))
        elif kind == "data":
            parts = [part for part in parts if part[0] != b"IDAT"]
            streams = [*bombs(), b"", zlib.compress(b""), zlib.compress(b"\7" * 999)]
            parts.insert(at, (b"IDAT", draw(st.sampled_from(streams))))
        elif kind == "drop" and parts:
            del parts[at]
        elif kind == "repeat" and parts:
            parts.insert(at, parts[at])
        elif kind == "insert":
            names = st.sampled_from(
                [b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"tEXt", b"eXIf", b"gAMA", b"pHYs", b"\n\n\n\n"]
            )
            parts.insert(at, (draw(names), draw(st.binary(max_size=40))))
        elif parts:
            parts[at] = (parts[at][0], edited(parts[at][1], [draw(EDITS)]))
    return parts


# --- the properties


def test_what_the_mutations_start_from_is_sound(place: Path) -> None:
    codec = {JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless}
    for data in dicom_files():
        (place / "slice.dcm").write_bytes(data)
        syntax = pydicom.dcmread(io.BytesIO(data)).file_meta.TransferSyntaxUID
        assert check_slice(place / "slice.dcm") is None or (syntax in codec and not get_decoder(syntax).is_available)
    for data in mask_files():
        (place / "mask.png").write_bytes(data)
        assert check_mask(place / "mask.png") is None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")


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


NAMES = st.one_of(
    st.sampled_from(
        ["1", "2", "3", "01", "²", "٣", "1\n2", "\x1b[31m3", "a\u202eb", "liver_GT_001", "i0001,0000b", "-"]
    ),
    st.sampled_from(["9" * 200, "9" * 200 + "_1", "x" * 200, "1 1", ".hidden", "a\\nb", "\x7f", " ", "CON", "\udcff1"]),
    st.integers(0, 4).map(lambda number: f"liver_GT_{number:03d}"),
    st.binary(min_size=1, max_size=40).map(os.fsdecode),
    st.text(min_size=1, max_size=20),
)
KINDS = st.sampled_from(["sound"] * 12 + ["empty", "folder", "fifo", "nowhere", "outside", "circle", "other", "inside"])
FILES = st.lists(st.tuples(NAMES, st.sampled_from([".dcm", ".DCM", ".png", "", ".dcm\n"]), KINDS), max_size=4)
PATIENTS = st.lists(st.tuples(NAMES, KINDS, KINDS, FILES, FILES), min_size=1, max_size=3)


def put(path: Path, kind: str, content: bytes, outside: Path) -> None:
    """Something of that kind at `path`, unless the system refuses the name."""
    try:
        if kind in ("sound", "other"):
            with path.open("xb") as file:  # not into a pipe that is there
                file.write(content if kind == "sound" else b"other")
        elif kind == "empty":
            path.touch()
        elif kind == "folder":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            targets = {"nowhere": "nothing", "outside": outside, "circle": path.name, "inside": path.parent}
            path.symlink_to(targets[kind])
    except (OSError, ValueError):
        pass


@fuzz(0.1)
@given(patients=PATIENTS, sounds=st.integers(0, 3))
def test_any_tree_is_indexed_or_refused(place: Path, patients: list, sounds: int) -> None:
    root, outside = place / "tree", place / "outside"
    shutil.rmtree(root, ignore_errors=True)
    shutil.rmtree(place / "store", ignore_errors=True)
    outside.mkdir(exist_ok=True)
    dicom, mask = dicom_files()[0], mask_files()[1]
    for number, (name, patient_kind, masks_kind, dicoms, masks) in enumerate(patients):
        ct = root / ("Train_Sets" if number % 2 == 0 else "Test_Sets") / "CT"
        ct.mkdir(parents=True, exist_ok=True)
        folder = ct / name.replace("/", "_")
        put(folder, "folder" if patient_kind == "sound" else patient_kind, b"", outside)
        put(folder / "DICOM_anon", "folder", b"", outside)
        put(folder / "Ground", "folder" if masks_kind == "sound" else masks_kind, b"", outside)
        for at in range(sounds):
            put(folder / "DICOM_anon" / f"i{at}.dcm", "sound", dicom, outside)
            put(folder / "Ground" / f"liver_GT_{at}.png", "sound", mask, outside)
        for kind, content, entries in (("DICOM_anon", dicom, dicoms), ("Ground", mask, masks)):
            for stem, suffix, what in entries:
                put(folder / kind / (stem.replace("/", "_") + suffix), what, content, outside / "x.dcm")
    try:
        with at_once():
            found = find_patients(root)
    except UserError as error:
        for line in str(error).splitlines():
            assert line.isprintable()
        return
    assert all(name.isprintable() and name == folder.patient for name, folder in found.items())
    for folder in found.values():
        with at_once():
            slices, faults = pair_slices(folder)
        assert bool(slices) != bool(faults)
        assert all(one_line(fault) for fault in faults)
        with at_once():
            volumes, by_patient = decode(place / "store", [folder])
        assert bool(volumes) != bool(by_patient)
        assert all(one_line(fault) for listed in by_patient.values() for fault in listed)


# --- what the issue names, one by one


def refused(path: Path, data: bytes) -> str:
    """The sentence for `data` in a file of that name."""
    path.write_bytes(data)
    said = (check_mask if path.suffix == ".png" else check_slice)(path)
    assert said is not None
    return said


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
def test_codestream_of_another_size_is_not_decoded(place: Path, make: Callable[[], bytes], said: str) -> None:
    data = make()
    forget_peak()
    before = peak_mib()
    (place / "a.dcm").write_bytes(data)
    assert said in (check_slice(place / "a.dcm") or "")
    assert peak_mib() - before < 50


def test_decoder_that_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Crash(pydicom.Dataset):
        pixel_array = property(lambda self: os.abort())

    with pytest.raises(ValueError, match="crash the decoder"):
        compressed_module._decoded_apart(Crash())


def test_decoding_apart_gives_the_same(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "a.dcm").write_bytes(dicom_files()[4])
    plain = read_slice(place / "a.dcm")[1]
    ds = pydicom.dcmread(place / "a.dcm")
    assert np.array_equal(compressed_module._decoded_apart(ds), ds.pixel_array)
    assert np.array_equal(plain, np.clip(dataset().pixel_array - 1024.0, *HU_RANGE))
    ds.PixelData = encapsulate([b"\xff\x4f\xff\x51"])
    with pytest.raises(ValueError, match="Unable to decode"):
        compressed_module._decoded_apart(ds)


def faults_of(tree: Path, store: Path) -> list[str]:
    """What the index, or else the store, says of a tree."""
    with at_once():
        try:
            open_volumes(store, find_patients(tree).values())
        except UserError as error:
            lines = str(error).splitlines()
            assert all(line.isprintable() for line in lines)
            return lines[1:] if len(lines) > 1 else lines
    return []


def one_patient(tree: Path) -> tuple[Path, Path, Path]:
    """The folder of the only patient that is left in `tree`, a slice of it and a mask."""
    for other in "234":
        shutil.rmtree(tree / "Train_Sets" / "CT" / other)
    folder = tree / "Train_Sets" / "CT" / "1"
    return folder, sorted(folder.glob("DICOM_anon/*"))[2], sorted(folder.glob("Ground/*"))[2]


def moved(path: Path, place: Path) -> None:
    """Leave a link to `place`, where `path` is now."""
    shutil.move(path, place)
    path.symlink_to(place)


@pytest.mark.parametrize("which", [0, 1, 2, "Ground", "DICOM_anon", "Train_Sets"])
def test_links_that_leave_the_tree(tree: Path, tmp_path: Path, which: int | str) -> None:
    patient = one_patient(tree)
    place = (
        tree / "Train_Sets" if which == "Train_Sets" else patient[which] if which in (0, 1, 2) else patient[0] / which
    )
    moved(place, tmp_path / "elsewhere")
    (said,) = faults_of(tree, tmp_path / "store")
    assert str(tmp_path / "elsewhere") in said and "copy that into the tree" in said


def test_links_inside_the_tree_and_to_it_are_sound(tree: Path, tmp_path: Path) -> None:
    folder, dicom, mask = one_patient(tree)
    for place in (dicom, mask, folder / "Ground"):
        moved(place, tree / f"real_{place.name}")
    (tmp_path / "link").symlink_to(tree)
    assert faults_of(tmp_path / "link", tmp_path / "store") == []


def test_names_with_newlines(tree: Path, tmp_path: Path) -> None:
    folder, dicom, mask = one_patient(tree)
    dicom.rename(dicom.with_name("a\nb.dcm"))
    mask.rename(mask.with_name("\udcff\x1b[2J.png"))
    first, second = faults_of(tree, tmp_path / "store")
    assert r"expected names of printable characters, found 'a\nb.dcm'; rename it" in first
    assert r"'\udcff\x1b[2J.png'" in second
    folder.rename(folder.with_name("1\n2"))
    (said,) = faults_of(tree, tmp_path / "store")
    assert r"found '1\n2'" in said


def test_values_with_newlines(place: Path) -> None:
    ds = dataset()
    ds[Tag("Modality")] = RawDataElement(Tag("Modality"), "CS", 60_000, b"M\nR " * 15_000, 0, False, True, True)
    assert r"expected Modality CT, found M\nR M\nR" in refused(place / "a.dcm", saved(ds, ExplicitVRLittleEndian))


def test_odd_names_that_do_no_harm(tree: Path, tmp_path: Path) -> None:
    folder, dicom, _ = one_patient(tree)
    (folder / "Ground" / "Thumbs\udcff.db").touch()
    dicom.rename(dicom.with_name("IMG-0001-00003².dcm"))  # a digit, but not a number
    assert faults_of(tree, tmp_path / "store") == []


@pytest.mark.parametrize("kind", ["fifo", "device", "huge"])
def test_what_is_no_file_is_not_opened(tree: Path, tmp_path: Path, kind: str) -> None:
    _, dicom, mask = one_patient(tree)
    for path, read in ((mask, read_mask), (dicom, read_slice)):
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.touch()
            os.truncate(path, 1 << 40)
        with at_once(), pytest.raises(UserError, match=r"expected (a file, found a folder, pipe|one slice of at most)"):
            read(path)
    faults = faults_of(tree, tmp_path / "store")
    assert faults and all(str(dicom) in fault or str(mask) in fault for fault in faults)


# --- scans of any folder, NIfTI, and what DICOM-SEG takes over of a header


@lru_cache
def foreign_slices() -> tuple[bytes, ...]:
    """Real slices that come with pydicom, with other encodings and character sets, and phantom's."""
    names = ["CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "ExplVR_LitEndNoMeta.dcm", "no_meta.dcm", "DICOMDIR"]
    real = [
        path.read_bytes() for path in (Path(get_testdata_file(name)) for name in names) if path.stat().st_size < 1e6
    ]
    named = []
    for path in get_charset_files("chr*.dcm"):
        ds, theirs = dataset(), pydicom.dcmread(path)
        ds.SpecificCharacterSet, ds.PatientName = theirs.get("SpecificCharacterSet"), str(theirs.get("PatientName", ""))
        named.append(saved(ds, ExplicitVRLittleEndian))
    return (*real, *named, *dicom_files())


@lru_cache
def nifti_files() -> tuple[bytes, ...]:
    nib = pytest.importorskip("nibabel")
    files = []
    volume = np.random.default_rng(0).integers(-1000, 1000, (9, 8, 4))
    for kind, data_type in product((nib.Nifti1Image, nib.Nifti2Image), (np.int16, np.float32, ">i2", np.float64)):
        image = kind(volume.astype(data_type), np.diag([-0.8, 0.9, 3, 1]))
        image.set_qform(image.affine, 1)
        files.append(image.to_bytes())
    return (*files, *(gzip.compress(content, mtime=0) for content in files))


def looked_at(place: Path) -> str | None:
    """All scans found in `place`, opened, read and written in every format; the sentences of those that are refused."""
    reasons = []
    before = {path for path in place.rglob("*") if path.is_file()}
    try:
        with at_once():
            search = find_scans(place)
    except UserError as error:
        return str(error)
    told = {path for scan in search.scans for path in scan.files} | {item.path for item in search.left_out}
    assert {path.resolve() for path in before} == told
    for found in search.scans:
        try:
            with at_once():
                scan = found.open()
                planes = [scan.hu(rank) > 0 for rank in range(scan.shape[0])]
                assert scan.volume_ml(np.array([plane.sum() for plane in planes])) >= 0
            with at_once():
                writers, refused = writers_for(scan, None)
            reasons += refused.values()
            for number, writer in enumerate(writers.values()):
                with TemporaryDirectory() as out, at_once():
                    writer.write(planes, Path(out))
                    assert any(Path(out).iterdir()), number
        except UserError as error:
            reasons.append(str(error))
    assert all(reason.isprintable() or "\n" in reason for reason in reasons)
    return " ".join(reasons)


@fuzz(0.1)
@given(data=st.one_of(damaged(foreign_slices), wild_attributes()), beside=st.integers(0, 2), suffix=st.booleans())
def test_any_bytes_beside_sound_slices_are_scans_or_refused(data: bytes, beside: int, suffix: bool) -> None:
    with TemporaryDirectory() as folder:
        for number in range(beside):
            ds = dataset()
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
            ds.ImagePositionPatient = [0, 0, 100 + 3 * number]
            Path(folder, f"{number}.dcm").write_bytes(saved(ds, ExplicitVRLittleEndian))
        Path(folder, "wild.dcm" if suffix else "wild").write_bytes(data)
        looked_at(Path(folder).resolve())


@fuzz(0.1)
@given(data=damaged(nifti_files), suffix=st.sampled_from([".nii", ".nii.gz", ".NII.GZ"]))
def test_any_bytes_are_a_nifti_scan_or_refused(data: bytes, suffix: str) -> None:
    with TemporaryDirectory() as folder:
        Path(folder, f"a{suffix}").write_bytes(data)
        looked_at(Path(folder).resolve())


def test_what_those_mutations_start_from_is_read() -> None:
    for files, suffix, readable in ((foreign_slices(), "", 20), (nifti_files(), ".nii.gz", 8)):
        sound = 0
        for content in files:
            with TemporaryDirectory() as folder:
                Path(folder, f"a{suffix}").write_bytes(content)
                sound += looked_at(Path(folder).resolve()) == ""
        assert sound >= readable
