"""What is done to files."""

import io
import struct
import zlib
from collections.abc import Callable

import pydicom
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.data.bad.files import bomb_chunks, bombs, chunks, dicom_files, ihdr, mask_files, saved

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
