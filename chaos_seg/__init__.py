"""Liver segmentation in CT: the CHAOS reference study as configuration, and what goes past it.

    import chaos_seg
    model = chaos_seg.load("best.ckpt")
    mask = chaos_seg.segment(hu, model, spacing_mm=(5, 0.7, 0.7))  # int16 HU (slices, rows, columns) to bool

Functions, which need neither Hydra nor a folder layout; help(chaos_seg.fit) says what each takes:

    load(checkpoint) -> Model
    segment(hu, model, spacing_mm) -> mask
    score(predicted, true, spacing_mm) -> {metric: value}
    as_scan(hu, mask, spacing_mm, name) -> Scan
    fit(scans, validation, epochs, ...) -> Segmenter, a Model; its trainer.save_checkpoint(path) writes one for load()
    score_scans(model, scans) -> {name: {metric: value}}

Their names are not those of the commands, which are modules: python -m chaos_seg lists them.
"""

from typing import Any

__all__ = ["as_scan", "fit", "load", "score", "score_scans", "segment"]


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def __getattr__(name: str) -> Any:
    if name in __all__:
        from chaos_seg import api  # takes seconds, which --help of a command does not wait for

        return getattr(api, name)
    raise AttributeError(f"module 'chaos_seg' has no attribute '{name}'")
