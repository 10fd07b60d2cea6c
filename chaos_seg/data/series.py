"""Which DICOM slices make one CT volume: copies and scouts left out, patients, stacks and acquisitions told apart."""

import functools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pydicom
from pydicom.pixels import get_decoder

from chaos_seg.data.copies import without_copies
from chaos_seg.data.dicom import read_slice
from chaos_seg.data.scan import Scan
from chaos_seg.data.slices import PHASES, SAME, SAME_MM, LeftOut, Slice
from chaos_seg.errors import UserError

MIN_STEP_MM = 0.2  # no scanner's slices are closer: these are several stacks
SCOUTS = 2  # slices across the others that are taken for scouts

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Series:
    """Slices that make one volume, in no order yet; `refusal` says why they make none."""

    slices: Sequence[Slice]
    part: str = ""  # of a series that holds several: "stack1_acq2"
    notes: tuple[str, ...] = ()
    refusal: str | None = None

    @property
    def patient(self) -> str:
        first = self.slices[0]
        return first.patient or first.study or str(first.path.parent)

    @property
    def description(self) -> str:
        """Number, description, slices and thickness, to choose by."""
        first = self.slices[0]
        title = f"series {first.number or 'without a number'}, {first.description!r}"
        thickness = f"{first.thickness_mm:g} mm thick" if first.thickness_mm else "thickness unknown"
        return f"{title}, {len(self.slices)} slices, {thickness}"


def series_of(slices: Iterable[Slice]) -> tuple[list[Series], list[LeftOut]]:
    """The volumes that slices make, each of one patient, study, series and frame of reference, and of one folder where
    there is no SeriesInstanceUID; copies and scouts are left out.

    What makes no one volume is split by orientation, spacing and size, then by acquisition or time point, or refused.
    """
    groups = _by(slices, _owner)
    uids = [group[0].series for group in groups]
    volumes: list[Series] = []
    left_out: list[LeftOut] = []
    for group in groups:
        notes = []
        if group[0].series and uids.count(group[0].series) > 1:
            notes.append("another patient or study has its SeriesInstanceUID too, and is a scan of its own")
        kept, copies = without_copies(group)
        frames = _by(kept, lambda item: item.frame)
        if len(frames) == len(kept) > 2:
            notes.append("each slice has a FrameOfReferenceUID of its own: taken for one")
            frames = [kept]
        stacks, scouts = _without_scouts([stack for frame in frames for stack in _stacks(frame)])
        left_out += [*copies, *scouts]
        if len(stacks) > 1:
            notes.append(
                f"one of {len(stacks)} stacks of its series, told apart by frame of reference, orientation, "
                "spacing or size"
            )
        for number, stack in enumerate(stacks, 1):
            volumes += _phases(stack, f"stack{number}" if len(stacks) > 1 else "", notes)
    return volumes, left_out


def _owner(item: Slice) -> Hashable:
    if item.series:
        return item.patient, item.study, item.series
    return item.patient, item.study, item.path.parent, item.number, item.description, item.name


def series_uids(slices: Iterable[Slice]) -> set[tuple[str, ...]]:
    """What tells the patients and series of slices apart."""
    return {(item.patient, item.study, item.series) for item in slices}


def _by(slices: Iterable[Slice], key: Callable[[Slice], T]) -> list[list[Slice]]:
    groups: dict[T, list[Slice]] = {}
    for item in slices:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _stacks(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices apart that have another orientation, spacing or size."""
    stacks: list[list[Slice]] = []
    for item in slices:
        for first, *_ in stacks:
            if item.same_geometry(first):
                # One side of the slices is up for all, also where theirs differ by rounding.
                next(stack for stack in stacks if stack[0] is first).append(replace(item, normal=first.normal))
                break
        else:
            stacks.append([item])
    return stacks


def _without_scouts(stacks: Sequence[list[Slice]]) -> tuple[list[list[Slice]], list[LeftOut]]:
    """One or two slices that lie across a longer stack are scouts, whatever they call themselves."""
    longest = max(stacks, key=len)
    across = [
        len(stack) <= SCOUTS < len(longest) and np.abs(stack[0].normal @ longest[0].normal) < np.cos(np.radians(45))
        for stack in stacks
    ]
    scouts = [item for stack, is_scout in zip(stacks, across, strict=True) if is_scout for item in stack]
    reason = "a scout: it lies across the other slices of its series"
    kept = [stack for stack, is_scout in zip(stacks, across, strict=True) if not is_scout]
    return kept, [LeftOut(item.path, reason) for item in scouts]


def _phases(stack: Sequence[Slice], part: str, notes: Sequence[str]) -> list[Series]:
    """A stack as one volume, as several where acquisitions or time points share its stretch of the body, or refused."""
    steps = np.diff(np.sort([item.z_mm for item in stack]))
    close = bool(len(steps)) and steps.min() < MIN_STEP_MM
    numbers = [item.times[PHASES.index("InstanceNumber")] for item in stack]
    for number, name in enumerate((*PHASES, "folder")):
        if name == "InstanceNumber":
            groups = _runs(stack)
        elif name == "folder":
            groups = _by(stack, lambda item: str(item.path.parent))
        else:
            groups = _by(stack, lambda item: item.times[number])  # noqa: B023
        # A number says it; the others also differ by chance, so they must make whole volumes.
        whole = min(map(len, groups)) > 2 and _overlap(groups) > 0.5 and (close or _even(groups))
        if _are_volumes(groups) and (number < 2 or whole):
            how_told_apart = f"one of {len(groups)} in its series, told apart by {name}"
            parts = [f"{part}_acq{k}".lstrip("_") for k in range(1, len(groups) + 1)]
            return [Series(g, p, (*notes, how_told_apart)) for g, p in zip(groups, parts, strict=True)]
    repeats = min(Counter(numbers).values())
    if not close and len(set(numbers)) > 1 and repeats > 1:
        refusal = (
            f"expected an InstanceNumber for each slice, found each {repeats} times or more, as when several "
            "acquisitions are mixed, and nothing that tells them apart; name a folder that holds one of them"
        )
        return [Series(stack, part, tuple(notes), refusal)]
    if not close:
        return [Series(stack, part, tuple(notes))]
    ordered = sorted(stack, key=lambda item: item.z_mm)
    first, second = ordered[int(steps.argmin())], ordered[int(steps.argmin()) + 1]
    refusal = (
        f"expected slices at least {MIN_STEP_MM} mm apart, found {first.path.name} and {second.path.name} "
        f"{steps.min():.2f} mm apart at {first.z_mm:.2f} mm, and nothing that tells several acquisitions apart; name a "
        "folder that holds one of them"
    )
    return [Series(stack, part, tuple(notes), refusal)]


def _runs(stack: Sequence[Slice]) -> list[list[Slice]]:
    """Cut where InstanceNumber, counting on, turns back along z."""
    number = PHASES.index("InstanceNumber")
    if not all(item.times[number].isdecimal() for item in stack):
        return [list(stack)]
    ordered = sorted(stack, key=lambda item: int(item.times[number]))
    steps = np.diff([item.z_mm for item in ordered])
    usual = np.sign(np.median(np.sign(steps))) if len(steps) else 0.0
    runs = [[ordered[0]]]
    for item, step in zip(ordered[1:], steps, strict=True):
        if step * usual > 0:
            runs[-1].append(item)
        else:
            runs.append([item])
    return runs


def _are_volumes(groups: Sequence[Sequence[Slice]]) -> bool:
    """Whether these are several volumes, none with two slices at one place, of which two overlap along z. Blocks one
    after the other are one volume.
    """
    places = [np.sort([item.z_mm for item in group]) for group in groups]
    nearest = min((np.diff(z).min() for z in places if len(z) > 1), default=np.inf)
    return len(groups) > 1 and nearest >= MIN_STEP_MM and _overlap(groups) >= 0


def _overlap(groups: Sequence[Sequence[Slice]]) -> float:
    """The largest share of a volume's stretch along z that another one has too; below 0 when they are apart."""
    ends = [(z.min() - SAME_MM, z.max() + SAME_MM) for z in (np.array([i.z_mm for i in group]) for group in groups)]
    return max(
        (
            (min(a[1], b[1]) - max(a[0], b[0])) / min(a[1] - a[0], b[1] - b[0])
            for k, a in enumerate(ends)
            for b in ends[k + 1 :]
        ),
        default=-1.0,
    )


def _even(groups: Sequence[Sequence[Slice]]) -> bool:
    """Whether the slices of all groups are one distance apart, but for a few that are missing."""
    steps = np.concatenate([np.diff(np.sort([item.z_mm for item in group])) for group in groups])
    multiples = steps / np.median(steps)
    whole = np.abs(multiples - np.rint(multiples)) <= 0.02
    return bool(whole.all() and (multiples > 1.5).mean() <= 0.25)


def scan_of(name: str, slices: Sequence[Slice], by_name: bool = False, notes: Sequence[str] = ()) -> Scan:
    """The slices of one volume as a scan, in the order given (`by_name`) or from the head down.

    Raises:
        UserError: slices of another geometry, two at one place, or compressed data that nothing installed decodes.
    """
    for other in slices[1:]:
        if not other.same_geometry(slices[0]):
            raise UserError(
                f"{other.path}: expected the orientation, PixelSpacing and size of {slices[0].path.name}, found "
                "others; it is of another series: remove it."
            )
    (slices,) = _stacks(slices)
    ordered = list(slices) if by_name else sorted(slices, key=lambda item: -item.z_mm)
    for one, other in pairwise(sorted(ordered, key=lambda item: item.z_mm)):
        if other.z_mm - one.z_mm < SAME_MM:
            raise UserError(
                f"{other.path}: expected one slice at {one.z_mm:.2f} mm, found {one.path.name} there too; remove "
                "one of the two."
            )
    _expect_decoders(ordered)
    first = ordered[0]
    scan = Scan(
        name=name,
        files=tuple(item.path for item in ordered),
        shape=(len(ordered), *first.size),
        origin_mm=np.array([item.position_mm for item in ordered]),
        row_mm=first.orientation[3:] * first.spacing_mm[0],
        column_mm=first.orientation[:3] * first.spacing_mm[1],
        read=functools.partial(_hu, tuple(ordered)),
        synthetic=first.synthetic,
        thickness_mm=first.thickness_mm or 1.0,
        instances=tuple(item.instance for item in ordered),
        modality=first.modality,
    )
    warnings = list(notes)
    if len(set(scan.instances)) < len(ordered):
        shared = len(ordered) - len(set(scan.instances)) + 1
        warnings.append(f"{shared} slices share one SOPInstanceUID, or have none; all are kept")
    if not scan.in_order and len(ordered) > 1:
        warnings.append("file names are not in the order of the slices: masks are numbered by file name")
    if len(ordered) == 1:
        warnings.append(f"a single slice: its volume is that of {scan.thickness_mm:g} mm")
    return replace(scan, warnings=(*warnings, *scan.irregularities()))


def _expect_decoders(slices: Sequence[Slice]) -> None:
    """Raise before the first slice is decoded, not at the one that can't be."""
    for item in slices:
        syntax = pydicom.uid.UID(item.syntax)
        if syntax in pydicom.uid.AllTransferSyntaxes and syntax.is_encapsulated:
            try:
                available = get_decoder(syntax).is_available
            except NotImplementedError:  # pydicom, of a syntax for which it has no decoder at all
                available = False
            if not available:
                raise UserError(
                    f"{item.path}: expected pixels that can be decoded, found {syntax.name}; install the codecs of "
                    "compressed DICOM with pip install -e '.[codecs]'."
                )


def _hu(slices: Sequence[Slice], rank: int) -> np.ndarray:
    """Raises UserError for a slice whose whole file says another place or size than what stands before its pixels."""
    item = slices[rank]
    header, hu = read_slice(item.path, item.modality)
    there = (*header.position_mm, *header.orientation, *header.pixel_spacing_mm)
    if hu.shape != item.size or not np.allclose(
        there, [*item.position_mm, *item.orientation, *item.spacing_mm], 0, SAME
    ):
        raise UserError(
            f"{item.path}: expected one place and size, found {hu.shape[0]} x {hu.shape[1]} pixels at "
            f"{header.position_mm} beside {item.size[0]} x {item.size[1]} at {tuple(item.position_mm.tolist())}; copy "
            "it again."
        )
    return hu
