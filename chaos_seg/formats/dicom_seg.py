"""A mask as DICOM Segmentation, which a clinical viewer lays over the series it refers to."""

import io
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import generate_uid

from chaos_seg.data.scans import Scan
from chaos_seg.errors import UserError
from chaos_seg.files import write_bytes

_MAY_BE_EMPTY = (  # type 2 of the Patient and General Study modules
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)


def write_dicom_seg(mask: Sequence[np.ndarray] | np.ndarray, scan: Scan, path: Path) -> None:
    """`mask`, slices of bool (rows, columns), as a binary segment, Liver (SCT 10200004); it has a frame for each slice
    with liver, and references that slice of the scan.

    Raises:
        UserError: no DICOM scan, an empty mask, which DICOM-SEG can't hold, or a source without what SEG needs.
    """
    if not scan.is_dicom:
        raise UserError(f"{scan.name}: expected DICOM slices to refer to, found NIfTI; leave dicom_seg out of formats.")
    import highdicom as hd
    from pydicom.sr.codedict import codes

    ranks = [rank for rank in range(len(mask)) if mask[rank].any()]
    sources = [pydicom.dcmread(scan.files[rank], stop_before_pixels=True) for rank in ranks]
    for source in sources:  # de-identified scans lack what every SEG must copy, be it empty
        for keyword in _MAY_BE_EMPTY:
            if keyword not in source:
                setattr(source, keyword, "")
        if "FrameOfReferenceUID" not in source:
            source.FrameOfReferenceUID = generate_uid(entropy_srcs=[str(source.SeriesInstanceUID)])
        # What a slice is made of is not how far it is to the next; viewers take this for the thickness of a voxel.
        source.SliceThickness = scan.step_mm
    algorithm = hd.AlgorithmIdentificationSequence(
        name="chaos_seg",
        version=version("chaos_seg"),
        family=codes.DCM.ArtificialIntelligence,
    )
    liver = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Liver",
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=hd.UID(),
        tracking_id="Liver",
    )
    try:
        seg = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=np.stack([mask[rank] for rank in ranks]).astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[liver],
            series_instance_uid=hd.UID(),
            series_number=100,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="chaos_seg",
            manufacturer_model_name="2D U-Net",
            software_versions=version("chaos_seg"),
            device_serial_number="0",
            content_label="LIVER",
            content_description="Liver, automatic; not a medical device",
            series_description="Liver segmentation (chaos_seg)",
            omit_empty_frames=True,
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(
            f"{scan.name}: expected a series that DICOM-SEG can refer to, but {error!s:.200}; leave dicom_seg out of "
            "formats."
        ) from None
    content = io.BytesIO()
    seg.save_as(content)
    write_bytes(path, content.getvalue())  # pydicom loses the reason of a failed write
