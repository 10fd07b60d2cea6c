"""A mask as DICOM Segmentation, which a clinical viewer lays over the series it refers to."""

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.files import write_bytes
from chaos_seg.inference.formats import Writer
from chaos_seg.inference.formats.series import LIVER_COLOUR, Series, decimal, expect_colour, expect_text
from chaos_seg.registry import FORMATS


@dataclass(frozen=True)
class Labels:
    """What a viewer shows of the segment."""

    colour: tuple[int, ...] = LIVER_COLOUR
    segment_label: str = "Liver"
    series_description: str = "Liver segmentation (chaos_seg)"
    content_description: str = "Liver, automatic; not a medical device"

    def __post_init__(self) -> None:
        texts = {key: value for key, value in asdict(self).items() if key != "colour"}
        expect_colour("dicom_seg", self.colour)
        expect_text("dicom_seg", **texts)


DEFAULT = Labels()


@FORMATS.register("dicom_seg", needs=("highdicom", "clinical"))
def dicom_seg(
    scan: Scan,
    colour: Sequence[int] = Labels.colour,
    segment_label: str = Labels.segment_label,
    series_description: str = Labels.series_description,
    content_description: str = Labels.content_description,
) -> Writer:
    """liver.dcm."""
    labels = Labels(tuple(colour), segment_label, series_description, content_description)
    segmentation = Segmentation(scan, labels)
    return Writer(lambda mask, folder: segmentation.write(mask, folder / "liver.dcm"), segmentation.series.mended)


class Segmentation:
    """How the mask of one scan becomes a DICOM-SEG: the headers it needs, read and mended once.

    Raises:
        UserError: no DICOM, or a series that DICOM-SEG can't refer to.
    """

    def __init__(self, scan: Scan, labels: Labels = DEFAULT):
        if not scan.is_dicom:
            raise UserError("DICOM-SEG refers to DICOM slices, and the scan is NIfTI")
        self.scan, self.labels = scan, labels
        try:
            self.series = Series(scan)
            # Tried on one slice, before the network has worked for minutes.
            self._encode([np.ones(scan.shape[1:], bool)], [0])
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"DICOM-SEG can't refer to the series ({reason:.200})") from None

    def write(self, mask: Sequence[np.ndarray], path: Path) -> None:
        """`mask`, slices of bool (rows, columns), as a binary segment, Liver (SCT 10200004); it has a frame for each
        slice with liver, all slices when there is none, and references those slices of the scan.
        """
        ranks = [rank for rank in range(len(mask)) if mask[rank].any()] or list(range(len(mask)))
        content = io.BytesIO()
        self._encode([mask[rank] for rank in ranks], ranks).save_as(content)
        write_bytes(path, content.getvalue())  # pydicom loses the reason of a failed write

    def _encode(self, planes: Sequence[np.ndarray], ranks: Sequence[int]) -> Any:
        import highdicom as hd
        from pydicom.sr.codedict import codes

        sources = []
        for rank in ranks:
            source = pydicom.Dataset()
            source.update(self.series.common)
            source.file_meta = pydicom.dataset.FileMetaDataset()
            source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            source.SOPInstanceUID, source.InstanceNumber = self.series.instances[rank], rank + 1
            source.ImagePositionPatient = [decimal(mm) for mm in self.scan.origin_mm[rank]]
            sources.append(source)
        pixels = np.stack(planes).astype(np.uint8)
        entropy = [*self.series.instances, hashlib.sha256(pixels.tobytes()).hexdigest()]
        entropy += [] if self.labels == DEFAULT else [repr(self.labels)]
        liver = hd.seg.SegmentDescription(
            segment_number=1,
            segment_label=self.labels.segment_label,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                name="chaos_seg", version=version("chaos_seg"), family=codes.DCM.ArtificialIntelligence
            ),
            tracking_uid=generate_uid(entropy_srcs=["tracking", *entropy]),
            tracking_id=self.labels.segment_label,
            display_color=hd.color.CIELabColor.from_rgb(*self.labels.colour),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names of one component, which de-identified scans have
            segmentation = hd.seg.Segmentation(
                source_images=sources,
                pixel_array=pixels,
                segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[liver],
                series_instance_uid=generate_uid(entropy_srcs=["series", *entropy]),
                series_number=100,
                sop_instance_uid=generate_uid(entropy_srcs=["segmentation", *entropy]),
                instance_number=1,
                manufacturer="chaos_seg",
                manufacturer_model_name="liver segmentation",
                software_versions=version("chaos_seg"),
                device_serial_number="0",
                content_label="LIVER",
                content_description=self.labels.content_description,
                series_description=self.labels.series_description,
                omit_empty_frames=bool(pixels.any()),
            )
        segmentation.SeriesDate, segmentation.SeriesTime = segmentation.ContentDate, segmentation.ContentTime
        return segmentation
