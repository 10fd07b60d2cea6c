"""Masks and scores to numbers: numpy and scipy, torch where MONAI wants it (surface.py). Never a file or a figure."""
