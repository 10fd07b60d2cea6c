"""What the reference study printed: its numbers, which patients they are of, and its settings."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t

from chaos_seg.evaluation.scores import PatientScore

# "Average dice score for all patients", by loss.
LOSS_AVERAGES = {"bce": 0.908, "dice": 0.928, "iou": 0.933}
# The averages of its tables of patients; it does not say of which loss. Its own digits give 0.963 and 0.8985 for the
# first two; the last, "total average", is the mean of the three.
AVERAGES = {"train": 0.965, "val": 0.899, "test": 0.944, "splits": 0.936}
PATIENTS = {
    "train": {
        "30": 0.963,
        "28": 0.959,
        "24": 0.950,
        "27": 0.964,
        "8": 0.952,
        "22": 0.980,
        "23": 0.965,
        "21": 0.945,
        "10": 0.977,
        "6": 0.960,
        "2": 0.969,
        "14": 0.951,
        "19": 0.965,
        "18": 0.972,
        "1": 0.973,
    },
    "val": {"16": 0.867, "25": 0.845, "5": 0.939, "26": 0.943},
    "test": {"29": 0.944},
}
# Slices of the labelled CHAOS CT patients: an id alone could be anyone's.
SLICES = {
    "1": 96,
    "2": 81,
    "5": 95,
    "6": 88,
    "8": 123,
    "10": 110,
    "14": 95,
    "16": 91,
    "18": 111,
    "19": 90,
    "21": 257,
    "22": 101,
    "23": 240,
    "24": 123,
    "25": 235,
    "26": 114,
    "27": 242,
    "28": 102,
    "29": 214,
    "30": 266,
}


def _spread() -> tuple[int, float]:
    """How many patients the study printed, and the standard deviation of their Dice."""
    printed = [dice for patients in PATIENTS.values() for dice in patients.values()]
    return len(printed), float(np.std(printed, ddof=1))


def placed(mean: float, confidence: float = 0.95) -> tuple[float, float]:
    """The interval that one of LOSS_AVERAGES could have had: Student's, if the Dice of its 20 patients spreads as in
    the study's one table of them.
    """
    n, spread = _spread()
    half = float(t.ppf((1 + confidence) / 2, n - 1)) * spread / n**0.5
    return mean - half, mean + half


def widest_spread(gap: float, confidence: float = 0.95) -> float:
    """The largest standard deviation of paired differences over its patients at which a gap of two of LOSS_AVERAGES is
    significant by the paired t test.
    """
    n, _ = _spread()
    return gap * n**0.5 / float(t.ppf((1 + confidence) / 2, n - 1))


def why_apart(scores: Iterable[PatientScore], synthetic: bool) -> str | None:
    """Why scores must not share a table with the study's numbers; None when patients and split are the study's."""
    if synthetic:
        return "they scored synthetic phantoms"
    scored = {(row.side, row.patient, row.slices) for row in scores}
    if scored == {(side, patient, SLICES[patient]) for side, printed in PATIENTS.items() for patient in printed}:
        return None
    patients = {(patient, slices) for _, patient, slices in scored}
    same = len(patients & SLICES.items())
    if same < len(SLICES) or len(patients) > same:
        others = (
            f" and {len(patients) - same} other{'s' if len(patients) - same > 1 else ''}"
            if same < len(patients)
            else ""
        )
        return f"they scored {same} of its {len(SLICES)} patients{others}"
    return f"they scored its {same} patients, but other ones in training, validation and test"


@dataclass(frozen=True)
class Setting:
    """A setting of the study.

    `stated` is what it says, None when it is silent. `keys` are ours in config.yaml, whose values `same` must be for
    it to be as stated, or our default where the study is silent; `here` tells them as a format, or without keys what
    the program does; `alike` stands there for the values `same`. `why` is the reason of an assumption or of a change
    that is always there; for one that a configuration made, what it does. `only` is a slot's key and the entry that
    has the setting at all: another network has a depth of its own, or none.
    """

    name: str
    stated: str | None
    why: str
    keys: tuple[str, ...] = ()
    same: tuple[Any, ...] = ()
    here: str = "{}"
    alike: str = ""
    only: tuple[str, str] | None = None


UNET, WINDOW = ("network.name", "unet"), ("preprocessing.name", "window")
SETTINGS = (
    Setting(
        "Patients", "20 labelled CT patients of CHAOS", "Scores of other patients can not be compared with the study's."
    ),
    Setting(
        "Split",
        "15 train, 4 validation, 1 test, by patient",
        "Another split trains and tests on other patients.",
        tuple(
            f"data.split.{key}"
            for key in ("name", "train", "val", "test", "val_patients", "test_patients", "folds", "seed")
        ),
        ("lists", *(list(PATIENTS[side]) for side in ("train", "val", "test")), None, None, None, None),
    ),
    Setting("Order of slices", "sorted() file names", "", here="natural order of file names, the same for CHAOS"),
    Setting("Hounsfield units", "apply_modality_lut", "", here="rescale slope and intercept of each file"),
    Setting(
        "Normalisation",
        "division by 1400",
        "Another window shows other tissues in more or fewer shades.",
        ("preprocessing.level_hu", "preprocessing.width_hu"),
        (0.0, 2800.0),
        "window at level {:g} HU, {:g} HU wide, to [-1, 1]",
        only=WINDOW,
    ),
    Setting(
        "Range",
        "[-1, +1]",
        "",
        here="clipped to [-1, 1]: metal and CHAOS's corner pixels reach 49,944 HU before it",
        only=WINDOW,
    ),
    Setting(
        "Rotation",
        "rotation_range=5, fill_mode='nearest'",
        "More rotation is more augmentation.",
        ("augmentation.rotation.degrees",),
        (5.0,),
        "uniform in +-{:g} degrees, border repeated",
    ),
    Setting(
        "Rotation of masks",
        None,
        "The study shows no call for masks; a mask that stays behind its image would teach wrong outlines.",
        here="with their image, nearest neighbour",
    ),
    Setting("Masks", "boolean", "", here="any nonzero value is liver"),
    Setting(
        "Image size",
        "512 x 512 x 1",
        "A smaller image costs less time and memory; outlines are found on coarser pixels, scores are at full size.",
        ("image_size",),
        (512,),
        "{0} x {0} x 1",
    ),
    Setting(
        "Network",
        "U-Net, base 8",
        "More filters see more, and cost more.",
        ("network.name", "network.base"),
        ("unet", 8),
        "{} of base {}",
        "base 8",
    ),
    Setting(
        "Depth", None, "The usual U-Net (Ronneberger et al., 2015).", ("network.depth",), here="{} levels", only=UNET
    ),
    Setting(
        "Upsampling",
        None,
        "It is deterministic on a GPU; bilinear is not.",
        here="transposed convolution, stride 2",
        only=UNET,
    ),
    Setting(
        "Initial weights",
        None,
        "Soft losses get going sooner than with torch's default.",
        here="He et al. (2015)",
        only=UNET,
    ),
    Setting("Batch normalisation", "batch_norm = True", "", here="after each convolution", only=UNET),
    Setting("Dropout", "dr = 0.2", "Less dropout regularises less.", ("network.dropout",), (0.2,), only=UNET),
    Setting(
        "Place of dropout",
        None,
        "There the U-Net's paper has it; of three places it does best on other scanners (docs/recipe.md).",
        ("network.dropout_at",),
        only=UNET,
    ),
    Setting("Loss", "binary cross-entropy, Dice, IoU", "A loss of another kind.", ("loss.name",), ()),
    Setting("Smoothing of Dice and IoU loss", None, "It keeps them defined where there is no liver.", ("loss.smooth",)),
    Setting(
        "Pooling of Dice and IoU loss",
        None,
        "A slice without liver has almost no gradient by itself.",
        here="over the pixels of the batch",
    ),
    Setting(
        "Optimiser",
        "Adam",
        "Another way down, and another rate that suits it.",
        ("optimizer.name",),
        ("adam",),
        alike="Adam, betas 0.9 and 0.999 as in Keras and torch",
    ),
    Setting(
        "Learning rate",
        "1e-5",
        "A larger rate learns in fewer epochs, and may end elsewhere.",
        ("learning_rate",),
        (1e-5,),
    ),
    Setting(
        "Batch size",
        "8",
        "Other steps, and losses pooled over other batches.",
        ("batch_size", "trainer.devices"),
        (8, 1),
    ),
    Setting("Epochs", "400", "Fewer epochs take less time and may end too early.", ("epochs",), (400,)),
    Setting("Order of training", None, "A new order each epoch is the usual way.", here="shuffled each epoch"),
    Setting("Seed", None, "The study does not name one.", ("seed",)),
    Setting(
        "Weights that are scored",
        None,
        "The study does not say which epoch; the Dice of validation patients chooses, test patients never do.",
        ("best_by",),
    ),
    Setting(
        "Threshold",
        "100 of 255",
        "Another threshold trades precision for recall.",
        ("threshold",),
        (100.0,),
    ),
    Setting(
        "Metrics in training",
        "binary accuracy, precision, recall, Dice",
        "",
        here="the same, at the threshold of the masks",
    ),
    Setting(
        "Metrics are means over",
        None,
        "Means over batches, as Keras gives, depend on the batch size.",
        here="patients, all slices of each pooled",
    ),
    Setting(
        "Dice of a patient",
        None,
        "Its function's name is all there is; the two differ where slices have little liver.",
        here="both: of the volume, and mean over slices",
    ),
    Setting(
        "Average of all patients",
        None,
        "Its total, 0.936, is the mean of its split means; what its averages by loss are is not said.",
        here="both: over patients, and of the split means",
    ),
    Setting(
        "Framework",
        "Keras",
        "The same steps; random numbers and initial weights differ.",
        here="PyTorch with Lightning",
    ),
)
