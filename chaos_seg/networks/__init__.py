"""Networks by name: torch modules from images to logits. Never a loss, a threshold, HU or a file."""
