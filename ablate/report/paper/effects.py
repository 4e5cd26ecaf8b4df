"""The effects of an ablation as the table of a paper: contrasts, intervals, tests, verdicts."""

from __future__ import annotations

import math
from itertools import compress

from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import Estimate
from ablate.report.arms import (
    NOTHING,
    Cell,
    decimals,
    difference_cell,
    fingerprint_text,
    no_interval_notes,
    scale,
    shown_name,
    single_value,
)
from ablate.report.effects import (
    WORST,
    effects_notes,
    kept_text,
    p_text,
    shown_effects,
    verdict_text,
)
from ablate.report.numbers import MISSING, metric_words, share_text
from ablate.report.paper.table import Heading, PaperTable, paper_title

_TEXTS = {
    "n": "n",
    "p": "p",
    "p_adjusted": "Adjusted p",
    "verdict": "Verdict",
    "kept": "Kept",
    "by_baseline": "By baseline",
}


def effects_paper_table(info: AblationInfo) -> PaperTable:
    """A row an effect, the primary ones first."""
    primary, others = shown_effects(info)
    rows = []
    for effect in (*primary, *others):
        estimate = effect.estimate
        rows.append(
            (
                Cell(effect.contrast),
                Cell(shown_name(info, effect.metric)),
                difference_cell(info, effect.metric, estimate),
                Cell(str(estimate.n) if estimate.n < info.seeds else ""),
                _p_cell(effect.p),
                _p_cell(effect.p_adjusted),
                Cell(verdict_text(info, effect)),
                Cell(kept_text(info, effect) or MISSING),
                Cell(_by_baseline(info, effect), data=", ".join(map(repr, effect.by_baseline))),
            )
        )
        if effect.worst is not None:
            n = effect.worst.n
            rows.append(
                (
                    Cell(effect.contrast + WORST),
                    Cell(shown_name(info, effect.metric)),
                    difference_cell(info, effect.metric, effect.worst),
                    Cell(str(n) if n < info.seeds else ""),
                    *(_p_cell(None), _p_cell(None)),
                    Cell("worst case"),
                    Cell(MISSING),
                    Cell(""),
                )
            )
    headings = (
        Heading("Contrast", "contrast", is_text=True),
        Heading("On", "metric", is_text=True),
        Heading("Difference", "difference"),
        *(Heading(text, key, is_text=True) for key, text in _TEXTS.items()),
    )
    left_out = {
        "n": not any(row[3].text for row in rows),
        "by_baseline": not info.replications,
    }
    kept = [not left_out.get(heading.key) for heading in headings]
    return PaperTable(
        name=f"{info.study}-effects",
        title=paper_title(info),
        headings=tuple(compress(headings, kept)),
        rows=tuple(tuple(compress(row, kept)) for row in rows),
        notes=tuple(effects_notes(info, [*primary, *others])),
    )


def _p_cell(p: float | None) -> Cell:
    """As a person reads it, and with six digits for programs."""
    return Cell(p_text(p), data="" if p is None or math.isnan(p) else f"{p:.6g}")


def _by_baseline(info: AblationInfo, effect: Effect) -> str:
    """ "+1.2, +0.8, +1.1": the difference in each of the ablations that are read as one."""
    single = (difference_cell(info, effect.metric, single_value(one)) for one in effect.by_baseline)
    return ", ".join(cell.printed for cell in single)


# -- A confirmed front as the table of a paper: what selection had added, and what is left of it


def luck_paper_table(info: ConfirmInfo) -> PaperTable:
    """A row a point and metric: as selected, luck, validation less test, chance of the front."""
    rows = [
        _row(point, metric, is_first=place == 0)
        for point in info.points
        for place, metric in enumerate(point.metrics)
    ]
    objectives = " and ".join(metric_words(one) for one in info.objectives) or "no objective"
    where = "the best" if len(info.objectives) == 1 else "on the front"
    constraints = " and ".join(map(metric_words, info.constraints))
    keeping = f" and keeps the constraints on {constraints}" * bool(constraints)
    return PaperTable(
        name=f"{info.test.study}-luck",
        title=paper_title(info.test, f"Selection luck, and points that are still {where}"),
        headings=(
            Heading("Point", "point", is_text=True),
            Heading("On", "metric", is_text=True),
            Heading("Selected", "selected"),
            Heading("Luck", "luck"),
            Heading("Validation - test", "gap"),
            Heading("Baseline's", "baseline_gap"),
            Heading(where.capitalize(), "front_probability"),
        ),
        rows=tuple(rows),
        notes=(
            "selected: score in the search, one seed, in %",
            f"luck: selected minus the mean of {info.test.seeds} new seeds on the same validation "
            "images, in points, with its 95 % t interval over seeds, on these images",
            "validation - test: difference for the new seeds, with its 95 % interval over seeds "
            "and the images of both sets; baseline's: the same difference for the baseline, which "
            "was not selected",
            f"{where}: share of resampled seeds and images in which the mean {objectives} on "
            f"the test images is {where} of these points{keeping}",
            *no_interval_notes(
                one for point in info.points for one in (*point.luck.values(), *point.gaps.values())
            ),
            *info.test.marks,
            fingerprint_text(info.test),
        ),
    )


def _row(point: ConfirmedPoint, metric: str, *, is_first: bool) -> tuple[Cell, ...]:
    selected = point.selected.get(metric, math.nan)
    places = decimals(metric, [selected])

    def cell(estimate: Estimate, *, is_difference: bool = True) -> Cell:
        return Cell(
            estimate=estimate, scale=scale(metric), decimals=places, is_difference=is_difference
        )

    return (
        Cell(point.name),
        Cell(metric_words(metric)),
        cell(single_value(selected), is_difference=False),
        cell(point.luck.get(metric, NOTHING)),
        cell(point.gaps.get(metric, NOTHING)),
        cell(single_value(point.baseline_gaps.get(metric, math.nan))),
        Cell(share_text(point.front_probability) if is_first else ""),
    )
