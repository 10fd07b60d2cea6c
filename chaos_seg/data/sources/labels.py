"""Which labels of a label map count as the organ, and what else a dataset.json of nnU-Net or the MSD says."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chaos_seg.errors import UserError
from chaos_seg.files import read_json

MAX_LABEL = 65535


def names_in(path: Path) -> dict[str, list[int]]:
    """Values of each label that a dataset.json names, of nnU-Net or the MSD, without the background; {} without it."""
    if not path.is_file():
        return {}
    try:
        named: Mapping[str, Any] = read_json(path)["labels"]
        pairs = [(value, int(key)) if key.isdecimal() else (key, value) for key, value in named.items()]
        values = {str(name): [int(v) for v in (value if isinstance(value, list) else [value])] for name, value in pairs}
    except (ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise UserError(
            f"{path}: expected labels by name, as nnU-Net or the MSD have them, but {type(error).__name__}: {error}; "
            "mend or remove it."
        ) from None
    return {name: found for name, value in values.items() if (found := [v for v in value if v])}


def modality_in(path: Path) -> str:
    """What a dataset.json calls its first channel: CT, as without it, or anything else, which is taken for MR."""
    if not path.is_file():
        return "CT"
    content = read_json(path)
    channels = content.get("channel_names") or content.get("modality") or {}
    return "CT" if str(channels.get("0", "CT")).upper() == "CT" else "MR"


def chosen(labels: Sequence[int | str] | None, names: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """The values of the organ, sorted; () for the only one that there is.

    Raises:
        UserError: a label that `names` do not have, or several of them and no choice.
    """
    known = sorted({value for values in names.values() for value in values})
    told = ", ".join(f"{listed(values)} {name}" for name, values in names.items())
    if labels is None:
        if len(known) > 1:
            raise UserError(
                f"data.source.labels: expected a choice among the labels of dataset.json ({told}), found none; give "
                f"those of the organ, data.source.labels=[{known[0]}]."
            )
        return tuple(known)
    values: set[int] = set()
    for label in labels:
        of_one = names.get(str(label), [int(label) if str(label).isdecimal() else 0])
        if not all(0 < value <= MAX_LABEL and (not known or value in known) for value in of_one):
            expected = f"among those of dataset.json ({told})" if told else f"from 1 to {MAX_LABEL}"
            raise UserError(f"data.source.labels: expected labels {expected}, found {label}; correct it.")
        values.update(of_one)
    if not values:
        raise UserError("data.source.labels=[]: expected at least one label; give one, or null for the only one.")
    return tuple(sorted(values))


def encoding(values: Sequence[int], there: Sequence[int]) -> str:
    """How a mask that is `values` of a label map, which has those `there`, is encoded."""
    return f"label {listed(values)} of {listed(there)}"


def expect_everywhere(values: Sequence[int], encodings: set[str]) -> None:
    """Raises UserError for a label that is in no mask, by encoding() of all."""
    there = sorted({int(value) for text in encodings for value in text.partition(" of ")[2].split()})
    if absent := [value for value in values if value not in there]:
        raise UserError(
            f"data.source.labels: expected labels of the organ, found {listed(absent)} in none of the masks, which "
            f"have {listed(there) or 'nothing but 0'}; correct it."
        )


def listed(values: Sequence[int]) -> str:
    """`1 2 3`."""
    return " ".join(map(str, values))
