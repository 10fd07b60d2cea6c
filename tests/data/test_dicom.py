from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import RLELossless

from chaos_seg.data.dicom import HU_RANGE, read_mask, read_slice, slice_normal
from chaos_seg.errors import UserError


@pytest.fixture
def dataset(phantom_root: Path) -> pydicom.Dataset:
    """A slice of 2 x 3 pixels, unsigned, intercept -1024."""
    path = next((phantom_root / "Train_Sets" / "CT" / "1" / "DICOM_anon").iterdir())
    ds = pydicom.dcmread(path)
    ds.Rows, ds.Columns = 2, 3
    ds.PixelData = np.array([[0, 24, 1024], [1165, 4095, 50968]], "<u2").tobytes()
    ds.RescaleIntercept = -1024
    return ds


def save(ds: pydicom.Dataset, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


def test_hu_is_slope_times_stored_plus_the_files_own_intercept(dataset: pydicom.Dataset, tmp_path: Path) -> None:
    header, hu = read_slice(save(dataset, tmp_path / "a.dcm"))
    assert hu.dtype == np.int16
    assert hu.tolist() == [[-1024, -1000, 0], [141, 3071, HU_RANGE[1]]]  # 49,944 HU is clipped, not wrapped
    assert header.intercept == -1024 and (header.rows, header.columns) == (2, 3)
    dataset.RescaleIntercept, dataset.RescaleSlope = -1200, 2
    assert read_slice(save(dataset, tmp_path / "b.dcm"))[1].tolist() == [[-1200, -1152, 848], [1130, 3071, 3071]]


def test_hu_are_rounded_and_the_header_has_what_lay_beyond_them(dataset: pydicom.Dataset, tmp_path: Path) -> None:
    header, _ = read_slice(save(dataset, tmp_path / "a.dcm"))
    assert (header.hu_min, header.hu_max, header.slope, header.intercept) == (-1024, 49_944, 1, -1024)
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024.25, 0.25
    header, hu = read_slice(save(dataset, tmp_path / "b.dcm"))
    assert hu.tolist() == [[-1024, -1018, -768], [-733, 0, 3071]]
    assert (header.hu_min, header.hu_max, header.slope, header.intercept) == (-1024, 11_718, 0.25, -1024.25)


@pytest.mark.parametrize("intercept", [-1000, 1000])
def test_signed_pixels_are_clipped_in_hu(dataset: pydicom.Dataset, tmp_path: Path, intercept: int) -> None:
    dataset.PixelRepresentation, dataset.RescaleIntercept = 1, intercept
    stored = np.array([[-32768, -3000, -1048], [0, 4000, 32767]], "<i2")
    dataset.PixelData = stored.tobytes()
    expected = np.clip(stored.astype(int) + intercept, *HU_RANGE)
    assert read_slice(save(dataset, tmp_path / "a.dcm"))[1].tolist() == expected.tolist()


def test_a_table_of_values_stands_above_the_rescale(dataset: pydicom.Dataset, tmp_path: Path) -> None:
    """Modality LUT (DICOM PS3.3 C.11.1)."""
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [3, 0, 16], "HU"
    table.add_new("LUTData", "US", [5, 60, 700])
    dataset.ModalityLUTSequence = [table]
    dataset.PixelData = np.array([[0, 1, 2], [2, 1, 0]], "<u2").tobytes()
    assert read_slice(save(dataset, tmp_path / "a.dcm"))[1].tolist() == [[5, 60, 700], [700, 60, 5]]


def test_signed_pixels_with_padding(dataset: pydicom.Dataset, tmp_path: Path) -> None:
    dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
    dataset.PixelData = np.array([[-2048, -1000, 0], [60, -1, 1400]], "<i2").tobytes()
    assert read_slice(save(dataset, tmp_path / "a.dcm"))[1].tolist() == [[-2048, -1000, 0], [60, -1, 1400]]


def test_an_empty_instance_uid_is_taken_from_the_meta_information(dataset: pydicom.Dataset, tmp_path: Path) -> None:
    whole = read_slice(save(dataset, tmp_path / "a.dcm"))[0].uid
    dataset.SOPInstanceUID = ""
    dataset.save_as(tmp_path / "b.dcm")
    assert read_slice(tmp_path / "b.dcm")[0].uid == whole != ""
    dataset.file_meta.MediaStorageSOPInstanceUID = ""
    dataset.save_as(tmp_path / "c.dcm")
    assert read_slice(tmp_path / "c.dcm")[0].uid == ""


def test_compressed_transfer_syntax(dataset: pydicom.Dataset, tmp_path: Path) -> None:
    plain = read_slice(save(dataset, tmp_path / "a.dcm"))[1]
    dataset.compress(RLELossless)
    assert np.array_equal(read_slice(save(dataset, tmp_path / "b.dcm"))[1], plain)


def test_what_is_no_ct_slice_is_named(dataset: pydicom.Dataset, tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(UserError) as error:
            read_slice(path)
        assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
        return str(error.value)

    (tmp_path / "text.dcm").write_text("not DICOM")
    assert "expected a DICOM file" in said(tmp_path / "text.dcm")
    (tmp_path / "empty.dcm").touch()
    assert "expected a DICOM file" in said(tmp_path / "empty.dcm")
    whole = save(dataset, tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "short.dcm").write_bytes(whole[:-4])
    assert "can't be read" in said(tmp_path / "short.dcm")
    columns, dataset.Columns = dataset.Columns, 2
    assert "bytes of pixels, where Rows x Columns, 2 x 2, take 8" in said(save(dataset, tmp_path / "sheared.dcm"))
    dataset.Columns = columns
    dataset.Modality = "MR"
    assert "expected Modality CT, found MR" in said(save(dataset, tmp_path / "mr.dcm"))
    dataset.Modality = "CT"
    dataset.NumberOfFrames, dataset.Rows = 2, 1
    assert "expected one grey slice" in said(save(dataset, tmp_path / "frames.dcm"))
    dataset.Rows = 2
    del dataset.NumberOfFrames, dataset.ImagePositionPatient
    assert "ImagePositionPatient" in said(save(dataset, tmp_path / "nowhere.dcm"))
    dataset.ImagePositionPatient = [0, 0, 0]
    del dataset.RescaleIntercept  # without it, air would be at 24 HU
    assert "RescaleIntercept" in said(save(dataset, tmp_path / "raw.dcm"))
    dataset.RescaleIntercept = -1024
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.57"  # JPEG Lossless, which needs a codec
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8"])
    dataset["PixelData"].is_undefined_length = True
    assert "pip install -e '.[codecs]'" in said(save(dataset, tmp_path / "jpeg.dcm"))


BINARY = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)


def palette(path: Path) -> None:
    image = Image.fromarray(BINARY, "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path)


def inverted_palette(path: Path) -> None:
    image = Image.fromarray(1 - BINARY, "P")  # index 0 is white: the colours count, not the indices
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(path)


@pytest.mark.parametrize(
    "save_as",
    [
        lambda path: Image.fromarray(BINARY > 0).save(path),  # 1 bit, as in CHAOS
        lambda path: Image.fromarray(BINARY).save(path),
        lambda path: Image.fromarray(BINARY * 63).save(path),
        lambda path: Image.fromarray(BINARY * 255).save(path),
        lambda path: Image.fromarray(BINARY.astype(np.uint16) * 65535).save(path),
        lambda path: Image.fromarray(np.repeat(BINARY[..., None] * 255, 3, 2)).save(path),
        lambda path: Image.fromarray(np.dstack([BINARY * 0, BINARY * 0, BINARY * 255])).save(path),  # blue
        lambda path: Image.fromarray(np.dstack([BINARY * 255] * 3 + [BINARY * 0 + 255])).save(path),
        lambda path: Image.fromarray(np.dstack([BINARY * 255, BINARY * 0 + 255]), "LA").save(path),
        lambda path: Image.fromarray(BINARY * np.array([200], np.uint8)[0]).convert("RGB").save(path),
        palette,
        inverted_palette,
    ],
)
def test_masks_of_every_kind_are_the_same(save_as: object, tmp_path: Path) -> None:
    save_as(tmp_path / "mask.png")  # type: ignore[operator]
    _, mask = read_mask(tmp_path / "mask.png")
    assert mask.dtype == np.uint8 and mask.tolist() == BINARY.tolist()


def test_mask_faults_are_named(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 128, 255]], np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(
        UserError, match=r"grey.png: expected a mask of 0 and one other value, found 3 values from 0 to"
    ):
        read_mask(tmp_path / "grey.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "grey.png").read_bytes()[:40])
    with pytest.raises(UserError, match=r"cut.png: expected a PNG mask"):
        read_mask(tmp_path / "cut.png")


def test_slice_normal_is_row_cross_column() -> None:
    assert slice_normal((1, 0, 0, 0, 1, 0)).tolist() == [0, 0, 1]
    assert slice_normal((1, 0, 0, 0, 0, -1)).tolist() == [0, 1, 0]  # coronal
