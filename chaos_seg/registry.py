"""What a researcher exchanges by name: one slot a kind, filled by a function or class here or in another package.

    @LOSSES.register("mine")                    # in a module of the slot's home, or named by another package's
    class Mine(nn.Module): ...                  # entry point, group "chaos_seg.losses"

and conf/loss/mine.yaml has its name and options. A checkpoint keeps these plain values and never names code to import.
"""

import inspect
import pkgutil
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module, metadata
from importlib.metadata import EntryPoint
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from chaos_seg.errors import UserError

E = TypeVar("E", bound=Callable[..., Any])


@cache  # it reads a file of each installed package
def entry_points(group: str) -> Sequence[EntryPoint]:
    return list(metadata.entry_points(group=group))


class Slot:
    """The entries of one kind.

    Args:
        kind: what the settings call it, `loss`.
        group: entry point group by which other packages fill it.
        home: module, or package whose modules register ours; imported when it is first asked.
        given: how many leading parameters of an entry the program fills; the others are its options.
    """

    def __init__(self, kind: str, group: str, home: str, given: int = 0):
        self.kind, self.group, self.home, self.given = kind, group, home, given
        self._entries: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[E], E]:
        """Decorator: make a function or class known as `name`."""

        def add(entry: E) -> E:
            if self._entries.get(name, entry) is not entry:
                raise ValueError(f"{self.kind} {name!r} is registered already, as {self._entries[name]}")
            self._entries[name] = entry
            return entry

        return add

    def names(self) -> list[str]:
        """All there is, here and in installed packages, sorted."""
        return sorted({*self._ours(), *self._plugins()})

    def entries(self) -> dict[str, Callable[..., Any]]:
        """All there is: ours in the order in which they are defined, then those of installed packages."""
        return {**self._ours(), **{name: self[name] for name in sorted(self._plugins())}}

    def __getitem__(self, name: object) -> Callable[..., Any]:
        """Raises UserError, which lists what there is, for a name that nothing has."""
        ours, plugins = self._ours(), self._plugins()
        if name in ours:
            return ours[str(name)]
        if name in plugins:
            entry = plugins[str(name)]
            try:
                return entry.load()
            except Exception as error:
                raise UserError(
                    f"{self.kind} {name}: expected {entry.value} of another package (entry point group {self.group}), "
                    f"but {type(error).__name__}: {error}; install that package again."
                ) from error
        raise UserError(f"{self.kind}.name={name}: expected one of {', '.join(self.names())}.")

    def build(self, settings: Mapping[str, Any], *given: Any) -> Any:
        """What the entry `settings["name"]` makes of `given` and of the other settings, its options.

        Raises:
            UserError: no such entry, an option that it does not have, one of another type or one that it refuses.
        """
        options = self.complete(settings)
        return self[options.pop("name")](*given, **options)

    def complete(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """`settings` with every option, those left out at their defaults: equal when build() makes the same.

        Raises:
            UserError: as build(), but for what the entry itself refuses.
        """
        options = {key: value for key, value in settings.items() if key != "name"}
        entry = self[settings.get("name")]
        parameters = dict(list(inspect.signature(entry).parameters.items())[self.given :])
        try:
            inspect.Signature(list(parameters.values())).bind(**options)
        except TypeError as error:
            takes = ", ".join(parameters) or "none"
            raise UserError(f"{self.kind} {settings['name']}: {error}; its options are: {takes}.") from None
        defaults = {key: p.default for key, p in parameters.items() if p.default is not p.empty}
        types_of = _annotations(entry)
        typed = {key: self._typed(key, value, types_of.get(key)) for key, value in {**defaults, **options}.items()}
        return {"name": settings["name"], **typed}

    def _typed(self, key: str, value: Any, annotation: Any) -> Any:
        if annotation is None or _is(value, annotation):
            return float(value) if annotation is float else value
        expected = annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
        raise UserError(f"{self.kind}.{key}={value}: expected {expected}, found {type(value).__name__}.")

    def _ours(self) -> dict[str, Callable[..., Any]]:
        home = import_module(self.home)
        for module in pkgutil.iter_modules(getattr(home, "__path__", [])):
            import_module(f"{self.home}.{module.name}")
        return self._entries

    def _plugins(self) -> dict[str, EntryPoint]:
        plugins = {entry.name: entry for entry in entry_points(group=self.group)}
        if taken := sorted(plugins.keys() & self._entries.keys()):
            raise UserError(f"{self.kind} {taken[0]}: an installed package gives another one of this name; rename it.")
        return plugins


def _annotations(entry: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(entry.__init__ if isinstance(entry, type) else entry)  # type: ignore[misc]
    except (NameError, TypeError):  # of names that another package does not have when it runs
        return {}


def _is(value: Any, annotation: Any) -> bool:
    """Whether a plain value is of a plain type; True for annotations that are neither."""
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation in (bool, str, type(None)):
        return isinstance(value, annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_is(value, one) for one in get_args(annotation))
    if get_origin(annotation) in (list, Sequence, Iterable):
        return isinstance(value, list | tuple) and all(_is(one, get_args(annotation)[0]) for one in value)
    return True


LOSSES = Slot("loss", "chaos_seg.losses", "chaos_seg.training.losses")  # -> module: logits, targets -> scalar
NETWORKS = Slot("network", "chaos_seg.networks", "chaos_seg.networks", given=1)  # channels -> (N, C, H, W) -> logits
OPTIMIZERS = Slot("optimizer", "chaos_seg.optimizers", "chaos_seg.training.optimizers", given=1)  # parameters
SCHEDULERS = Slot("scheduler", "chaos_seg.schedulers", "chaos_seg.training.optimizers", given=2)  # optimizer, steps
PREPROCESSINGS = Slot("preprocessing", "chaos_seg.preprocessings", "chaos_seg.data.preprocessing")
AUGMENTATIONS = Slot("augmentation", "chaos_seg.augmentations", "chaos_seg.data.augmentation")
SOURCES = Slot("data.source", "chaos_seg.sources", "chaos_seg.data.sources", given=2)  # root, store
SPLITS = Slot("data.split", "chaos_seg.splits", "chaos_seg.data.splits", given=1)  # patients
METRICS = Slot("metric", "chaos_seg.metrics", "chaos_seg.evaluation.metrics", given=1)  # a Case -> a number
FORMATS = Slot("format", "chaos_seg.formats", "chaos_seg.inference.formats", given=1)  # a scan -> a Writer
LOGGERS = Slot("logger", "chaos_seg.loggers", "chaos_seg.training.loggers", given=1)  # run folder


def complete_all(slot: Slot, settings: Mapping[str, Mapping[str, Any] | None]) -> dict[str, dict[str, Any]]:
    """Every option of several entries of a slot, {name: options}."""
    complete = {name: slot.complete({"name": name, **(options or {})}) for name, options in settings.items()}
    return {name: {k: v for k, v in one.items() if k != "name"} for name, one in complete.items()}


def build_all(slot: Slot, settings: Mapping[str, Mapping[str, Any] | None], *given: Any) -> list[Any]:
    """What several entries of a slot make, {name: options}, in their order."""
    return [slot.build({"name": name, **(options or {})}, *given) for name, options in settings.items()]
