"""From a CHAOS tree on disk to batches: index, DICOM, store, splits, transforms, data set, phantom."""
