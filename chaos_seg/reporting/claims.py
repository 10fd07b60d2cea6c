"""What a study may claim: pair by pair, over seeds as well as patients, and of the numbers that others printed."""

from collections.abc import Sequence

import numpy as np

from chaos_seg.errors import UserError
from chaos_seg.evaluation.conformal import LEVELS, dice_interval
from chaos_seg.evaluation.metrics import heading
from chaos_seg.evaluation.pairing import Paired
from chaos_seg.evaluation.repeats import probability_better, spread
from chaos_seg.evaluation.selection import risk_coverage
from chaos_seg.evaluation.statistics import EQUAL_DICE, POWER, compare_pairs, sentence, too_few
from chaos_seg.reporting import reference
from chaos_seg.reporting.comparison import UNBALANCED, arm_column
from chaos_seg.reporting.runs import Run, arm_words, by_arm, paired, unbalanced
from chaos_seg.reporting.tables import Column, Table


def pairs_table(
    runs: Sequence[Run], side: str, metric: str, margin: float = EQUAL_DICE
) -> tuple[Table | None, list[str]]:
    """Every pair of arms over the patients of one side, and what each pair shows in plain sentences.

    Differences within +-`margin` are equal for practice. No table where there is nothing to compare; a sentence then
    says why.
    """
    name = heading(metric)
    if len(by_arm(runs)) < 2:
        return None, [f"One {arm_words(by_arm(runs))[0]} alone: nothing to compare it with."]
    try:
        scores = paired(runs, side, metric)
    except UserError as error:
        return None, [*([UNBALANCED] if unbalanced(runs) else []), f"No paired comparison: {error}"]
    pairs, (_, many) = compare_pairs(scores), arm_words(by_arm(runs))
    rows = []
    for pair in pairs:
        d = pair.difference
        interval = (d.low, d.high, 100 * d.level) if d.n > 1 else (None, None, None)
        tests = (f"{pair.higher} of {d.n}", pair.p, pair.holm_p)
        found = (d.n, d.value, *interval, *tests, pair.detectable, pair.verdict(margin))
        rows.append([f"{pair.first} - {pair.second}", *found])
    columns = [
        *(Column("Pair"), Column("n"), Column("difference", 4), Column("from", 4), Column("to", 4)),
        *(Column("level %", 1), Column("first higher"), Column("p", 4), Column("p Holm", 4)),
        *(Column("could show", 3), Column("verdict")),
    ]
    note = (
        f"Equal: the interval lies within ±{margin:g}. Could show: the least true difference that so many patients, "
        f"whose differences spread like these, show in {100 * POWER:.0f} % of studies."
    )
    table = Table(f"pairs_{side}_{metric}", f"{name} of the {side} patients, pairs of {many}", columns, rows, note)
    few = too_few(len(scores.patients), len(pairs))
    told = [few] if few else [sentence(pair, name, margin=margin) for pair in pairs]
    return table, [f"{one[0].upper()}{one[1:]}" for one in told] + [
        f"Patient {patient} is left out: no score is defined under {', '.join(arms)}."
        for patient, arms in scores.left_out.items()
    ]


def seeds_tables(scores: Paired, side: str, metric: str) -> list[Table]:
    """How often a run of one arm beats one of another, and whether scores spread by patients or by seeds; nothing
    where seeds scored different patients.
    """
    if any(np.isnan(one).any() for one in scores.by_seed.values()):
        return []
    arms, name = list(scores.by_seed), heading(metric)
    pairs = [(a, b) for k, a in enumerate(arms) for b in arms[k + 1 :]]
    rows: list[list[object]] = []
    for a, b in pairs:
        found = probability_better(scores.by_seed[a], scores.by_seed[b])
        rows.append([f"{a} over {b}", len(scores.by_seed[a]), found.n, found.value, found.low, found.high])
    columns = [Column("Pair"), Column("seeds"), Column("n"), Column("chance", 2), Column("from", 2), Column("to", 2)]
    seeds = len(next(iter(scores.by_seed.values())))
    note = (
        "Chance that a run of the first scores a patient higher than one of the second; 95 % bootstrap interval over "
        + (
            "patients and seeds, too narrow with fewer than five seeds."
            if seeds > 1
            else "patients alone: with one seed it speaks of these networks, not of how they were trained."
        )
    )
    chances = Table(f"chances_{side}_{metric}", f"{name} of the {side} patients, run against run", columns, rows, note)
    split = [[arm, *one.shape, *vars(spread(one)).values()] for arm, one in scores.by_seed.items()]
    named = [
        arm_column(arms),
        Column("seeds"),
        Column("n"),
        *(Column(f"SD {of}", 4) for of in ("patients", "seeds", "rest")),
    ]
    note = (
        "Patients: of a patient's mean over seeds; seeds: of a seed's mean over patients; rest: what a seed does to "
        "one patient alone. By analysis of variance; one seed leaves what seeds do unknown, and in the patients'."
    )
    spreads = Table(
        f"spread_{side}_{metric}", f"{name}, standard deviations by what they come from", named, split, note
    )
    return [*([chances] if pairs else []), spreads]


def guesses_table(runs: Sequence[Run], side: str) -> Table | None:
    """What the Dice guessed without true masks is worth on the patients of one side; None where none was guessed."""
    rows: list[list[object]] = []
    for arm, members in by_arm(runs).items():
        pairs: dict[str, list[tuple[float, float]]] = {}
        for row in (row for run in members for row in run.guesses if row["side"] == side):
            pairs.setdefault(row["patient"], []).append((float(row["guess"]), float(row["dice"])))
        means = np.array([np.mean(of_patient, axis=0) for of_patient in pairs.values()]).reshape(-1, 2)
        guess, dice = means[np.isfinite(means).all(axis=1)].T
        if not len(dice):
            continue
        ranked, oracle = (risk_coverage(1 - by, 1 - dice) for by in (guess, dice))
        others = [dice_interval(g, np.delete(guess, k), np.delete(dice, k), LEVELS[-1]) for k, g in enumerate(guess)]
        held = sum(low <= true <= high for (low, high), true in zip(others, dice, strict=True))
        width = float(np.mean([high - low for low, high in others]))
        areas = (ranked.aurc, oracle.aurc, float(1 - dice.mean()))
        rows.append([arm, len(dice), float(np.abs(guess - dice).mean()), *areas, f"{held} of {len(dice)}", width])
    if not rows:
        return None
    columns = [arm_column(by_arm(runs)), Column("n"), Column("error", 3), Column("AURC", 4), Column("oracle", 4)]
    columns += [Column("chance", 4), Column("interval holds"), Column("width", 3)]
    note = (
        "Error: mean distance of guess and Dice. AURC: area under the risk, 1 - Dice, of what is kept when scans with "
        "the lowest guess are taken out first (Zenk et al. 2024). Interval: split-conformal at "
        f"{100 * LEVELS[-1]:.0f} %, each patient by the others; promised for scans of these scanners and phases alone."
    )
    return Table(f"guesses_{side}", f"Dice guessed without the true masks, {side} patients", columns, rows, note)


def placed_table() -> Table:
    """The intervals that the reference study's averages could have had, and what would set them apart."""
    averages = reference.LOSS_AVERAGES
    rows = [[loss, mean, *reference.placed(mean)] for loss, mean in averages.items()]
    columns = [Column("Loss"), Column("printed", 3), Column("could be from", 3), Column("to", 3)]
    first, second = sorted(averages, key=averages.__getitem__, reverse=True)[:2]
    gap = averages[first] - averages[second]
    note = (
        "Assumed, for the study gives no spread: under each loss its 20 patients spread as in its one table of them "
        f"and are independent. {first} over {second}, {gap:.3f}, is significant if the differences within a patient "
        f"have a standard deviation below {reference.widest_spread(gap):.3f} (paired t test). 15 of the 20 were "
        "trained on: of new patients the averages say less."
    )
    return Table(
        "placed", "The reference study's averages, with the 95 % intervals that they lack", columns, rows, note
    )
