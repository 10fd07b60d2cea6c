"""Masks and scores to numbers: numpy, scipy and OpenCV. Never a file or a figure."""
