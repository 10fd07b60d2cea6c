"""Masks and scores to numbers: numpy and scipy. Never a file or a figure."""
