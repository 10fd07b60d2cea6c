import numpy as np
import pydicom

from tests.data.audit.faults import Fault, Files, Named, cases, edit, read, write


def pixels_doubled(dicoms: Files, masks: Files) -> None:
    edit([dicoms[11]], PixelData=pydicom.dcmread(dicoms[10]).PixelData)


def pixels_swapped(dicoms: Files, masks: Files) -> None:
    """Two slices exchanged with masks and all, but for their positions."""
    a, b = (pydicom.dcmread(dicoms[k]).PixelData for k in (10, 14))
    edit([dicoms[10]], PixelData=b)
    edit([dicoms[14]], PixelData=a)
    write([masks[10], masks[14]], read([masks[14], masks[10]]))


def padding_bright(dicoms: Files, masks: Files) -> None:
    """-2000 in unsigned pixels, beyond the circle that the scanner measures."""
    y, x = np.mgrid[-63.5:64, -63.5:64]
    for path in dicoms:
        dataset = pydicom.dcmread(path)
        stored = dataset.pixel_array.copy()
        stored[y**2 + x**2 > 64**2] = 63536
        dataset.PixelData = stored.tobytes()
        dataset.save_as(path)


def rescale_varies(dicoms: Files, masks: Files) -> None:
    edit(dicoms[:2], RescaleIntercept=-1010)


def slice_blank(dicoms: Files, masks: Files) -> None:
    edit([dicoms[0]], PixelData=bytes(128 * 128 * 2))


def mr_by_values(dicoms: Files, masks: Files) -> None:
    edit(dicoms, RescaleIntercept=0)


@cases(
    (pixels_doubled, {"slice_doubled"}, "slices 11 to 12 of 24 have the same pixels"),
    (pixels_swapped, {"slice_swapped"}, "in another order"),
    (padding_bright, {"bright_padding"}, "88 % of the pictures' outermost pixels"),
    (rescale_varies, {"rescale_varies"}, "the rarer at slices 1 to 2 of 24"),
    (slice_blank, {"blank_slice"}, "slice 1 of 24: all pixels are the same"),
    (mr_by_values, {"not_hounsfield", "implausible_liver_hu"}, "MR taken for CT"),
)
def test_every_fault_is_named(named: Named, fault: Fault, codes: set[str], said: str) -> None:
    named(fault, codes, said)
