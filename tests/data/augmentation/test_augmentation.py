import numpy as np
import pytest

from chaos_seg.data.augmentation import Augmentation
from chaos_seg.errors import UserError


def step(name: str, **options: object) -> Augmentation:
    return Augmentation({name: {"share": 1.0, **options}})


SLICE = np.random.default_rng(3).uniform(-1, 1, (64, 64)).astype(np.float32)
MASK = np.zeros((64, 64), np.uint8)
MASK[20:40, 24:50] = 1


def test_a_step_is_taken_as_often_as_it_says_and_steps_draw_apart() -> None:
    some = Augmentation({"noise": {"std": 0.2, "share": 0.3}})
    taken = [not np.array_equal(some(SLICE, MASK, (0, k, 5))[0], SLICE) for k in range(400)]
    assert 0.22 < np.mean(taken) < 0.38
    both = Augmentation({"noise": {"std": 0.2, "share": 0.5}, "gamma": {"power": [0.5, 2], "share": 0.5}})
    first, second = both.steps
    seen = []
    for k in range(200):
        seeds = np.random.SeedSequence((0, k, 5)).generate_state(2).tolist()
        seen.append((first(SLICE, MASK, seeds[0])[0] is not SLICE, second(SLICE, MASK, seeds[1])[0] is not SLICE))
    assert abs(np.corrcoef(np.array(seen).T)[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("contrast_hu", {"factor": [0.7, 1.5], "shift_hu": [-40, 80]}),
        ("affine", {"degrees": 15, "scale": 0.25, "shift": 0.1}),
        ("gamma", {"power": [0.7, 1.5]}),
        ("blur", {"pixels": 1.0}),
        ("low_resolution", {"least": 0.5}),
    ],
)
def test_each_of_five_channels_is_changed_as_if_it_were_alone(name: str, options: dict[str, object]) -> None:
    images = np.stack([np.roll(SLICE, 5 * k, axis=0) for k in range(5)], axis=-1)
    augmentation, entropy = step(name, **options), (0, 1, 2)
    call = augmentation.of_hu if name == "contrast_hu" else augmentation
    alone = [call(images[..., k : k + 1], MASK, entropy)[0] for k in range(5)]
    together, _ = call(images, MASK, entropy)
    assert together == pytest.approx(np.concatenate(alone, axis=-1), abs=0.05) and not np.array_equal(together, images)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"contrast_hu": {"factor": [2, 1], "shift_hu": [0, 1]}},
            r"augmentation.factor=\[2, 1\]: expected two numbers",
        ),
        ({"noise": {"share": 1.5}}, "augmentation.share=1.5: expected a share"),
        ({"gamma": {}}, "augmentation gamma: missing a required argument: 'power'"),
    ],
)
def test_odd_options_are_refused(settings: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Augmentation(settings)
