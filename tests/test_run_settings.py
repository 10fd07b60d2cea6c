from chaos_seg.run_settings import is_incidental


def test_a_setting_is_incidental_by_its_whole_name() -> None:
    assert is_incidental("num_workers") and is_incidental("logger.tensorboard.x")
    assert not any(is_incidental(key) for key in ("epochs", "num_workers_of_warmup", "data.roots", "data.audit"))
