import base64
import io
import os
import re
from collections.abc import Callable

import numpy as np
from PIL import Image

from chaos_seg.data.scan import Scan
from chaos_seg.inference.alarms import SliceAlarm
from chaos_seg.inference.alarms_page import SHOWN, Pictures, ScanSection, alarms_page
from chaos_seg.reporting.overlays import PREDICTED_RGB


def scan_of(read: Callable[[int], np.ndarray]) -> Scan:
    origin = np.array([[0, 0, 3.0 * rank] for rank in range(20)])
    return Scan("a", (), (20, 64, 64), origin, np.array([0, 1.0, 0]), np.array([1.0, 0, 0]), read)


def section(name: str = "scan A", alarms: int = 14) -> ScanSection:
    """A body of 40 x 48 pixels in air with a mask in it, 20 slices of 64 x 64."""
    hu = np.full((64, 64), -1000, np.int16)
    hu[12:52, 8:56] = 40
    mask = np.zeros((20, 64, 64), bool)
    mask[:, 20:40, 12:30] = True
    listed = [SliceAlarm(rank, 0.9 - rank / 20, ("island: 12 % of the mask", "holes")) for rank in range(alarms)]
    pictures = Pictures(scan_of(lambda rank: hu), mask).of(listed)
    return ScanSection(name, 20, 36.0, ["a gap along z"] if alarms else [], listed, pictures)


def test_page_ranks_slices_with_reasons_and_pictures() -> None:
    page = alarms_page([section()], synthetic=False)
    titles = re.findall(r"<b>(\d+)\. Slice (\d+)</b>, score ([\d.]+): ([^<]*)</figcaption>", page)
    assert len(titles) == SHOWN == page.count("data:image/jpeg")
    assert titles[0] == ("1", "1", "0.90", "island: 12 % of the mask; holes")
    assert [int(rank) for rank, *_ in titles] == list(range(1, SHOWN + 1))
    assert f"The worst {SHOWN} of 14 suspicious slices, of 20." in page
    assert "a gap along z" in page and ">36<" in page
    assert "SYNTHETIC" not in page


def test_page_is_self_contained_escaped_and_repeats() -> None:
    page = alarms_page([section("<script>alert(1)</script>"), section("B", alarms=0)], synthetic=True)
    assert not re.search(r"(src|href)=\"(?!data:|#)", page) and "http" not in page and "url(" not in page
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "SYNTHETIC: made from a phantom" in page
    assert "nothing to say of the scan as a whole" in page and "No slice to point at, of 20." in page
    assert page == alarms_page([section("<script>alert(1)</script>"), section("B", alarms=0)], synthetic=True)
    assert "None." in alarms_page([], synthetic=False)


def test_a_name_in_bytes_that_are_no_utf_8_is_shown_as_these() -> None:
    page = alarms_page([section(os.fsdecode(b"M\xfcller"))], synthetic=False)
    assert b"M\\udcfcller" in page.encode()


def test_picture_is_cut_to_the_body_with_the_outline() -> None:
    content = base64.b64decode(section().pictures[0].removeprefix("data:image/jpeg;base64,"))
    picture = np.asarray(Image.open(io.BytesIO(content))).astype(int)
    assert picture.shape == (48 * 8, 56 * 8, 3)  # the body, a margin of 4, enlarged 8 times
    left, top = (12 - 4) * 8, (20 - 8) * 8
    outline = picture[top : top + 20 * 8, left]
    assert np.abs(outline - PREDICTED_RGB).max() < 60


def test_a_mask_outside_the_body_is_shown() -> None:
    hu = np.full((64, 64), -1000, np.int16)
    hu[12:52, 8:56] = 40
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 60:63, 2:6] = True
    (shown,) = Pictures(scan_of(lambda rank: hu), mask).of([SliceAlarm(0, 0.5, ("island",))])
    content = base64.b64decode(shown.split(",")[1])
    assert Image.open(io.BytesIO(content)).size == ((60 - 2) * 8, (63 - 8) * 8)


def test_what_was_read_before_is_not_read_for_its_picture() -> None:
    reads: list[int] = []

    def hu(rank: int) -> np.ndarray:
        reads.append(rank)
        return np.full((64, 64), 10 * rank, np.int16)

    mask = np.zeros((20, 64, 64), bool)
    mask[3, 20:40, 12:30] = True
    pictures = Pictures(scan_of(hu), mask)
    assert pictures.scan.hu(3).min() == 30
    shown = pictures.of([SliceAlarm(rank, 0.5, ("gap",)) for rank in (4, 3, *range(5, 18))])
    assert reads == [3, 4, *range(5, 15)] and len(shown) == SHOWN
    assert shown[1] == Pictures(scan_of(hu), mask).of([SliceAlarm(3, 0.5, ("gap",))])[0] != shown[0]
