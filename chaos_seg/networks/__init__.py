"""Networks by name: modules from images (N, channels, H, W) to logits (N, 1, H, W). Never a loss, threshold or file."""
