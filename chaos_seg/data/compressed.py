"""Compressed pixel data, which may claim to be of any size and crash the decoder.

Decoders allocate by the size in the compressed data itself, whatever Rows and Columns are: 12,000 pixels a side, which
are a few kilobytes in the file, would take a gigabyte before pydicom compares the sizes.
"""

import faulthandler
import multiprocessing
import os
import struct
import sys
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import RLELossless

MAX_TILES = 4096  # of JPEG 2000; OpenJPEG takes 10 KiB for each, used or not
MAX_SECONDS = 60  # a slice takes a tenth of one

_UNREADABLE = "the compressed pixel data has no readable header"


def pixels(dataset: Dataset) -> np.ndarray:
    """The stored values (Rows, Columns) of a `dataset` of one grey frame, compressed or not.

    Raises:
        ValueError: data of another size or, compressed, of several components, or that crash the decoder. Beside what
            pydicom raises.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        stored = dataset.pixel_array
        if (found := len(dataset.get("PixelData") or b"")) >= stored.nbytes + stored[:1].nbytes:  # a row and more
            raise ValueError(
                f"{found} bytes of pixels, where Rows x Columns, {dataset.Rows} x {dataset.Columns}, take "
                f"{stored.nbytes}"
            )
        return stored
    if not (decoder := get_decoder(syntax)).is_available:
        return dataset.pixel_array
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if syntax == RLELossless:
        if _longest_segment(frame) > dataset.Rows * dataset.Columns * 5 // 4 + 1024:  # noise grows by 1 %
            raise ValueError("the compressed pixels are more than Rows x Columns")
    elif (size := _declared_size(frame)) != (dataset.Rows, dataset.Columns):
        raise ValueError(f"the compressed pixels are {size[0]} x {size[1]}, not {dataset.Rows} x {dataset.Columns}")
    # What is decoded is what was looked at, whatever more frames or other offsets there are.
    dataset.PixelData = encapsulate([frame], has_bot=False)
    dataset.pop("ExtendedOffsetTable", None)
    for plugin in decoder.available_plugins:
        if plugin != "gdcm":  # takes twice the time, since it is kept apart
            try:
                dataset.pixel_array_options(decoding_plugin=plugin)
                return dataset.pixel_array
            except Exception:
                if "gdcm" not in decoder.available_plugins:
                    raise
    dataset.pixel_array_options(decoding_plugin="gdcm")
    return _decoded_apart(dataset)


def _decoded_apart(dataset: Dataset) -> np.ndarray:
    """Decode in a process of its own, since GDCM aborts it on one damaged codestream in fifty."""
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_pixels, args=(dataset, sender))
    process.start()
    sender.close()
    try:
        answer = receiver.recv() if receiver.poll(MAX_SECONDS) else TimeoutError("the decoder does not come to an end")
    except EOFError:
        answer = ValueError("the compressed pixel data crash the decoder")
    finally:
        process.kill()
        process.join()
        process.close()
        receiver.close()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _send_pixels(dataset: Dataset, sender: Connection) -> None:
    faulthandler.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what the decoder says of a damaged file; the sentence comes later
    try:
        sender.send(dataset.pixel_array)
    except Exception as error:
        sender.send(ValueError(str(error)))


def _longest_segment(frame: bytes) -> int:
    """Bytes of the longest segment of a frame compressed by RLE (DICOM PS3.5 G.5); decoded it may be 64 times that."""
    if len(frame) < 64:
        raise ValueError(_UNREADABLE)
    count, *offsets = struct.unpack("<16L", frame[:64])
    ends = [*offsets[: min(count, 15)], len(frame)]
    return max(min(end, len(frame)) - start for start, end in zip([0, *ends], ends, strict=False))


def _declared_size(frame: bytes) -> tuple[int, int]:
    """Rows and columns of a JPEG, JPEG-LS or JPEG 2000 codestream of one component."""
    try:
        if frame[:4] == b"\xff\x4f\xff\x51":
            return _jpeg_2000_size(frame)
        if frame[:2] == b"\xff\xd8":
            return _jpeg_size(frame)
    except (struct.error, ZeroDivisionError):
        pass
    raise ValueError(_UNREADABLE)


def _jpeg_2000_size(frame: bytes) -> tuple[int, int]:
    """Of the SIZ marker, which comes first (ISO/IEC 15444-1 A.5.1)."""
    right, bottom, left, top, width, height, tile_left, tile_top, components = struct.unpack_from(">8LH", frame, 8)
    tiles = -((tile_left - right) // width) * -((tile_top - bottom) // height)
    if components != 1 or tiles > MAX_TILES:
        raise ValueError(f"the compressed pixels have {components} components in {tiles} tiles")
    return bottom - top, right - left


def _jpeg_size(frame: bytes) -> tuple[int, int]:
    """Of the SOF marker (ISO/IEC 10918-1 B.2.2; ISO/IEC 14495-1 C.2.2)."""
    position = 2
    while True:
        marker, length = struct.unpack_from(">HH", frame, position)
        if marker == 0xFFFF:  # a fill byte
            position += 1
        elif marker == 0xFFF7 or (0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)):
            rows, columns, components = struct.unpack_from(">HHB", frame, position + 5)
            if components != 1:
                raise ValueError(f"the compressed pixels have {components} components")
            return rows, columns
        elif marker < 0xFFC0 or marker == 0xFFDA or length < 2:
            raise ValueError(_UNREADABLE)
        else:
            position += 2 + length
