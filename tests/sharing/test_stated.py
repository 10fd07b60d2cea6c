import dataclasses

import yaml

from chaos_seg.command_line import CONF_DIR
from chaos_seg.sharing.stated import Stated


def test_whatever_can_be_stated_has_its_line_in_the_settings() -> None:
    fields = {field.name for field in dataclasses.fields(Stated)}
    assert yaml.safe_load((CONF_DIR / "share.yaml").read_text())["stated"].keys() == fields
