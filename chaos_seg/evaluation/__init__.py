"""Scores from counts: pure numpy, no torch, no files."""
