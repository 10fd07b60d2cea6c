"""Masks and scores to numbers: numpy and scipy, torch only where MONAI wants it (surface.py). Never a file or figure."""
