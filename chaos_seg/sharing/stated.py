"""What people say of a model that they hand on."""

from dataclasses import dataclass


@dataclass
class Stated:
    """What a run can't know of its model, for its card; conf/share.yaml says what each is."""

    developed_by: str | None
    funded_by: str | None
    shared_by: str | None
    contact: str | None
    license: str | None
    repository: str | None
    paper: str | None
    citation: str | None
    data: str | None
    data_license: str | None
    uses: str | None
