"""A trained model as ONNX: python -m chaos_seg.export outputs/paper/<run>/checkpoints/best.ckpt

The file runs without this package: how to make its input and read its output stands in its metadata.
"""

import argparse

from chaos_seg.command_line import typed_path

parser = argparse.ArgumentParser(prog="python -m chaos_seg.export", description="A trained model as ONNX.")
parser.add_argument("checkpoint", type=typed_path, help="one of a run's checkpoints/*.ckpt")
parser.add_argument("--output", type=typed_path, help="file to write (default: beside the checkpoint, <name>.onnx)")
if __name__ == "__main__":
    parser.parse_args()  # answers --help before the imports that take seconds

from chaos_seg.errors import one_sentence
from chaos_seg.inference.onnx import export


def main() -> None:
    given = parser.parse_args()
    output = given.output or given.checkpoint.parent / f"{given.checkpoint.stem}.onnx"
    with one_sentence():
        export(given.checkpoint, output)
        print(f"Model: {output}")


if __name__ == "__main__":
    main()
