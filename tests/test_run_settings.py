from chaos_seg.run_settings import is_incidental, renamed


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
