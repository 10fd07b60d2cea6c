"""chaos_seg: liver segmentation in CT, from CHAOS DICOM slices to per-patient scores."""
