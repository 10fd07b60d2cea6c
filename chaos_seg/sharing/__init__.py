"""A model to hand on: weights, ONNX, a MONAI bundle, a card and a proof in a folder. Never training, never scoring."""
