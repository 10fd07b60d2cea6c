"""A predictor beside labelled scans: scores, masks and figures of a run. Never how a score or a mask is made."""
