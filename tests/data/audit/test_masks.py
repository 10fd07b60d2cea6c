import numpy as np

from tests.data.audit.faults import Fault, Files, N, Named, cases, edit, masks_reversed, mirror_slices, read, write


def masks_reversed_into_the_lung(dicoms: Files, masks: Files) -> None:
    """A scan that ends with the liver, so that the reversed masks are dark under all but a few."""
    for path in dicoms[15:] + masks[15:]:
        path.unlink()
    write(masks[:15], read(masks[:15])[::-1])


def masks_shifted(dicoms: Files, masks: Files) -> None:
    values = read(masks)
    write(masks, [np.zeros_like(values[0])] * 2 + values[:-2])


def mask_dropped(dicoms: Files, masks: Files) -> None:
    values = read(masks)
    write(masks, values[:9] + values[10:] + [np.zeros_like(values[0])])


def mask_doubled(dicoms: Files, masks: Files) -> None:
    values = read(masks)
    write(masks, values[:10] + values[9:-1])


def mask_blank(dicoms: Files, masks: Files) -> None:
    write([masks[12]], [np.zeros((128, 128), bool)])


def last_mask_blank(dicoms: Files, masks: Files) -> None:
    write(masks[14:], [np.zeros((128, 128), bool)] * (N - 14))


def masks_all_blank(dicoms: Files, masks: Files) -> None:
    write(masks, [np.zeros((128, 128), bool)] * N)


def masks_mirrored(dicoms: Files, masks: Files) -> None:
    write(masks, [value[::-1] for value in read(masks)])


def masks_mirrored_left_right(dicoms: Files, masks: Files) -> None:
    write(masks, [value[:, ::-1] for value in read(masks)])


def masks_transposed(dicoms: Files, masks: Files) -> None:
    write(masks, [np.ascontiguousarray(value.T) for value in read(masks)])


def body_mirrored(dicoms: Files, masks: Files) -> None:
    mirror_slices(dicoms, 1)
    write(masks, [value[:, ::-1] for value in read(masks)])


def body_upside_down(dicoms: Files, masks: Files) -> None:
    mirror_slices(dicoms, 0)
    write(masks, [value[::-1] for value in read(masks)])


def liver_tiny(dicoms: Files, masks: Files) -> None:
    edit(dicoms, PixelSpacing=[1.0, 1.0])


def liver_huge(dicoms: Files, masks: Files) -> None:
    edit(dicoms, PixelSpacing=[6.0, 6.0])


def rescale_wrong(dicoms: Files, masks: Files) -> None:
    edit(dicoms, RescaleIntercept=-1400)


def volume_cut(dicoms: Files, masks: Files) -> None:
    for path in dicoms[12:] + masks[12:]:
        path.unlink()


@cases(
    (masks_reversed, {"masks_reversed"}, "fit the slices in reverse order"),
    (masks_reversed_into_the_lung, {"masks_reversed", "liver_cut_off"}, "fit the slices in reverse order"),
    (masks_shifted, {"masks_shifted"}, "fit 2 slices earlier"),
    (mask_dropped, {"masks_shifted"}, "masks 10 to"),
    (mask_doubled, {"masks_shifted", "mask_doubled"}, "fit 1 slice earlier"),
    (mask_blank, {"mask_missing"}, "slice 13 of 24 has an empty mask between"),
    (last_mask_blank, {"mask_missing"}, "slice 15 of 24 has an empty mask, but"),
    (masks_all_blank, {"no_liver"}, "all 24 masks are empty"),
    (masks_mirrored, {"mask_mirrored"}, "rows mirrored"),
    (masks_mirrored_left_right, {"mask_mirrored"}, "columns mirrored"),
    (masks_transposed, {"mask_mirrored"}, "fit when they are transposed ("),
    (body_mirrored, {"liver_on_the_left"}, "to the other side"),
    (body_upside_down, {"upside_down"}, "rows are mirrored"),
    (liver_tiny, {"implausible_liver_volume"}, "expected a liver of 300 to 4500 ml"),
    (liver_huge, {"implausible_liver_volume"}, "expected a liver of 300 to 4500 ml"),
    (rescale_wrong, {"implausible_liver_hu"}, "a wrong rescale"),
    (volume_cut, {"liver_cut_off"}, "pixels on the last slice"),
)
def test_every_fault_is_named(named: Named, fault: Fault, codes: set[str], said: str) -> None:
    named(fault, codes, said)
