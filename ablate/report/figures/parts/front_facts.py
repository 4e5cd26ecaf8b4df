"""What the numbers of a front stand on, of one study or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ablate.analysis.fronts import ConfirmedMean, FrontsInfo
from ablate.analysis.pareto import ParetoInfo
from ablate.report.figures.parts.heading import basis_facts, objectives_facts
from ablate.report.figures.parts.studies import several_facts, several_marks
from ablate.report.figures.parts.window import Window
from ablate.report.numbers import reference_text
from ablate.robustness.measures import LEVEL


def front_facts(info: FrontsInfo, windows: Sequence[Window]) -> list[str]:
    """Counts, data and seeds; hypervolume with its reference; what is faint, outside, confirmed."""
    studies = info.studies
    marks = several_marks(studies)
    if len(studies) == 1:
        (study,) = studies
        said = basis_facts(study)[: -len(marks) or None]
        if study.hypervolume is not None and study.reference_point is not None:
            metrics = [objective.metric for objective in study.objectives]
            point = reference_text(metrics, study.reference_point)
            said.append(f"hypervolume {study.hypervolume:.4g}, reference point {point}")
    else:
        said = several_facts(studies) + reference_facts(studies)
    said += [*marks, *objectives_facts(len(windows), len(info.objectives))]
    values = np.concatenate([study.values for study in studies])
    on_front = np.concatenate([study.is_on_front for study in studies])
    finite = np.isfinite(values).all(axis=1)
    dominated = values[finite & ~on_front]
    if len(dominated):
        said.append("faint: dominated")
    low, high = (np.array([getattr(window, end) for window in windows]) for end in ("low", "high"))
    shown = dominated[:, : len(windows)]
    outside = int((~((shown >= low) & (shown <= high)).all(axis=1)).sum())
    if outside:
        said.append(f"{outside} dominated {'trial' if outside == 1 else 'trials'} outside the axes")
    if not finite.all():
        said.append(f"{int((~finite).sum())} with a value that is no number")
    return said + confirmed_facts([mean for means in info.confirmed for mean in means])


def confirmed_facts(means: Sequence[ConfirmedMean]) -> list[str]:
    """What the crosses of confirmed trials are; nothing without one."""
    if not means:
        return []
    seeds = sorted({mean.seeds for mean in means})
    over = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    over += " fresh seed" + "s" * (seeds != [1])
    if seeds == [1]:
        return [f"crosses: {over}, joined to the value selected by"]
    return [
        f"crosses: mean of {over}, {100 * LEVEL:.0f} % t interval, joined to the selected value"
    ]


def shared_references(studies: Sequence[ParetoInfo]) -> Mapping[str, tuple[float, ...]]:
    """Baseline and plain finetune, as far as all studies that have scored them agree: of these one
    mark holds for all."""
    shared = {}
    for name in dict.fromkeys(name for study in studies for name in study.references):
        values = [study.references[name] for study in studies if name in study.references]
        if np.allclose(values, values[0], rtol=0, atol=1e-9, equal_nan=True):
            shared[name] = values[0]
    return shared


def reference_facts(studies: Sequence[ParetoInfo]) -> list[str]:
    """That baselines are not drawn, where studies have different ones."""
    scored = {name for study in studies for name in study.references}
    differ = scored > shared_references(studies).keys()
    return ["baselines differ: not drawn"] if differ else []
