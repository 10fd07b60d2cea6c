"""All commands: python -m chaos_seg, or chaos_seg once it is installed."""

import runpy
import sys

COMMANDS = {
    "prepare": "download or unpack the challenge's data, audit and decode it",
    "audit": "what is in a data set, and what is wrong with it",
    "train": "train one model and score it, or sweep over settings",
    "study": "losses x folds x seeds as one study that can be stopped and started again",
    "evaluate": "score a finished run again",
    "compare": "set finished runs side by side",
    "report": "the report of a study: one page, its tables as CSV and LaTeX",
    "predict": "masks of CT scans as PNG, NIfTI and DICOM-SEG, with alarms",
    "submit": "the masks of the challenge's test patients, packed as it wants them",
    "export": "a trained model as ONNX",
    "share": "a trained model as a folder to hand on: weights, ONNX, MONAI bundle, card, proof",
}


def main() -> None:
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print("python -m chaos_seg COMMAND ...     what a command takes: python -m chaos_seg COMMAND --help\n")
        print("\n".join(f"  {command:<10}{words}" for command, words in COMMANDS.items()))
        return
    if name not in COMMANDS:
        sys.exit(f"chaos_seg {name}: expected one of {', '.join(COMMANDS)}.")
    sys.argv[1:] = rest
    runpy.run_module(f"chaos_seg.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
