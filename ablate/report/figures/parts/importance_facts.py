"""What stands over the importance figure."""

from __future__ import annotations

from ablate.analysis.bounds import MOST_OBJECTIVES
from ablate.analysis.importance import LEAST_TRIALS, RESAMPLES, ImportanceInfo
from ablate.report.figures.parts.heading import basis_facts, objectives_facts
from ablate.report.style import terms_style

_NAMED_SETS = 3


def importance_facts(info: ImportanceInfo, others: int) -> list[str]:
    """What the shares stand on.

    Args:
        others: parameters that are not drawn.
    """
    count = len(info.objectives)
    said = [*basis_facts(info), *objectives_facts(min(count, MOST_OBJECTIVES), count)]
    if info.left_out:
        sets = [f"{terms_style(terms).label} ({trials})" for terms, trials in info.left_out]
        more = f" and {len(sets) - _NAMED_SETS} more" if len(sets) > _NAMED_SETS else ""
        said.append(f"sets of fewer trials not shown: {', '.join(sets[:_NAMED_SETS])}{more}")
    if not info.panels:
        return said
    said.append("shares of a panel and method sum to 100%")
    said.append(
        f"whiskers: sd over {RESAMPLES['ped_anova']} (fANOVA: {RESAMPLES['fanova']}) "
        "bootstraps of the trials"
    )
    low, *_, high = sorted(f"{panel.best_share:.0%}" for panel in [*info.panels, info.panels[-1]])
    share = low if low == high else f"{low} to {high}"
    said.append(f"PED-ANOVA: what parts the best {share} of the trials from all")
    if any(panel.fanova_trials < panel.trials for panel in info.panels):
        said.append(f"fANOVA: of {info.panels[0].fanova_trials} trials a set, drawn at random")
    if others:
        said.append(f"{others} parameters of less importance not shown")
    return said


def nothing_to_show(info: ImportanceInfo) -> str:
    """Why there is no bar; empty where there is one."""
    if any(panel.parameters for panel in info.panels):
        return ""
    if info.panels:
        return "no parameter differs between the trials"
    if not info.complete:
        return "no complete trial yet"
    return f"fewer than {LEAST_TRIALS} complete trials of every set of terms"
