"""CT from files to samples: scans, store, split, preprocessing, augmentation. Never a network, a score or a run."""
