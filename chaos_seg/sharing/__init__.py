"""A model to hand on: a folder with weights, ONNX, a MONAI bundle, a card and a proof. Never training, never scoring."""
