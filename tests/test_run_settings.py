import pytest

from chaos_seg.run_settings import free_to_resume, is_incidental, renamed


@pytest.mark.parametrize(
    ("scheduler", "half", "free"),
    [("constant", 0, True), ("constant", 3, True), ("constant", 0.5, False), ("cosine", 0, False)],
)
def test_more_epochs_are_free_where_no_epoch_depends_on_their_number(scheduler: str, half: float, free: bool) -> None:
    given = {"scheduler": {"name": scheduler}, "half_size_epochs": half}
    assert ("epochs" in free_to_resume(given)) == free and "data.audit" in free_to_resume(given)


def test_a_setting_is_incidental_by_its_whole_name() -> None:
    assert is_incidental("num_workers") and is_incidental("logger.tensorboard.x")
    assert not any(is_incidental(key) for key in ("epochs", "num_workers_of_warmup", "data.roots", "data.audit"))


def test_a_run_made_before_a_model_could_be_begun_with_began_with_none() -> None:
    later = {
        "init": None,
        "freeze_encoder": False,
        "ema_decay": 0.0,
        "best_by": "validation",
        "half_size_epochs": 0,
        "compile": False,
    }
    assert renamed({"network": {"name": "unet"}}) == {**later, "network": {"name": "unet"}}
    changed = {
        "init": "a.ckpt",
        "freeze_encoder": True,
        "ema_decay": 0.9,
        "best_by": "last",
        "half_size_epochs": 2,
        "compile": True,
    }
    assert renamed(changed) == changed
