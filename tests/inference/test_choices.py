from types import SimpleNamespace
from typing import Any

import pytest
import torch

from chaos_seg.errors import UserError
from chaos_seg.inference.choices import chosen_device, chosen_largest, common_threshold


def test_a_device_that_is_not_there_is_one_sentence() -> None:
    assert chosen_device("cpu") == torch.device("cpu")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(UserError, match=rf"^device={name}: .*; choose auto or cpu\.$") as error:
            chosen_device(name)
        assert "\n" not in str(error.value)


def test_models_of_several_thresholds_need_a_choice() -> None:
    models: Any = [SimpleNamespace(threshold=threshold) for threshold in (100.0, 127.5, 100.0)]
    assert common_threshold(models[:1]) == 100
    with pytest.raises(UserError, match=r"thresholds \[100.0, 127.5\]; choose one with threshold="):
        common_threshold(models)


def test_the_largest_part_alone_is_kept_as_asked_or_where_the_validation_of_all_models_speaks_for_it() -> None:
    gained, not_gained = SimpleNamespace(largest_component=True), SimpleNamespace(largest_component=False)
    assert chosen_largest([gained, gained], None) and not chosen_largest([gained, not_gained], None)  # type: ignore[list-item]
    assert chosen_largest([not_gained], True) and not chosen_largest([gained], False)  # type: ignore[list-item]
