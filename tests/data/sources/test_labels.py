import json
from pathlib import Path

import pytest

from chaos_seg.data.sources.labels import chosen, encoding, expect_everywhere, modality_in, names_in
from chaos_seg.errors import UserError


def test_names_of_nnunet_and_of_the_msd_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "dataset.json"
    for labels in ({"background": 0, "liver": 1, "tumour": 2}, {"0": "background", "1": "liver", "2": "tumour"}):
        file.write_text(json.dumps({"labels": labels, "channel_names": {"0": "CT"}}))
        names = {name: values for name, values in names_in(file).items() if values}
        assert names == {"liver": [1], "tumour": [2]} and modality_in(file) == "CT"
    file.write_text(json.dumps({"labels": {}, "modality": {"0": "T2"}}))
    assert modality_in(file) == "MR" and names_in(tmp_path / "none.json") == {}


def test_labels_are_chosen_by_number_or_name_and_never_guessed() -> None:
    names = {"liver": [1], "tumour": [2]}
    assert chosen(["liver", 2], names) == (1, 2) and chosen(None, {"liver": [1]}) == (1,) and chosen(None, {}) == ()
    with pytest.raises(UserError, match=r"expected a choice among the labels of dataset.json \(1 liver, 2 tumour\)"):
        chosen(None, names)
    with pytest.raises(UserError, match=r"expected labels among those of dataset.json .*, found 3"):
        chosen([3], names)


def test_a_label_that_no_mask_has_is_refused() -> None:
    expect_everywhere([1, 2], {encoding([1, 2], [1]), encoding([1, 2], [2, 5])})
    with pytest.raises(UserError, match="found 2 in none of the masks, which have 1 5; correct it"):
        expect_everywhere([1, 2], {encoding([1, 2], [1, 5])})
