"""Scores from counts and masks: numpy and scipy, no files; torch only where MONAI wants it (surface.py)."""
