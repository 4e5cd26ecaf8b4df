"""What the figures of single networks share: their names, their facts, and who has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ablate.ablation.answer import best_number
from ablate.ablation.study_source import StudySource
from ablate.analysis.objectives import front_words
from ablate.analysis.profile import ProfileInfo, profile_info
from ablate.errors import NothingToDrawError, ParameterError
from ablate.report.figures.parts.canvas import NO_TRIAL, basis_facts
from ablate.report.figures.parts.front_marks import REFERENCES, reference_marker
from ablate.report.numbers import count_text, plain_text
from ablate.report.style import INK, terms_style


def networks(sources: Sequence[StudySource], figure: str, trials: Sequence[int]) -> ProfileInfo:
    """Accuracies by type: of selected trials of a search, or the means of an ablation's arms.

    Raises:
        NothingToDrawError: if the study has a custom training loop.
        ParameterError: if trials of an ablation are requested, or one that is not complete.
    """
    (source,) = sources
    record = source.record
    if record.study.trainable is not None:
        raise NothingToDrawError(
            record.name,
            figure,
            "needs accuracies by type of corruption, got a custom training loop",
            "Draw pareto." if source.is_search else "Draw effects.",
        )
    if source.ablation is None:
        return profile_info(record, trials, best_number(record, source.front))
    if trials:
        raise ParameterError(
            f"--trials: {figure} of an ablation shows its arms, got {len(trials)}. Leave it out."
        )
    from ablate.ablation.arm_profiles import arms_profile

    return arms_profile(record, source.ablation)


def network_facts(info: ProfileInfo, shown: int) -> list[str]:
    """The basis of the numbers, and what the shown networks are of all."""
    facts = basis_facts(info)
    if info.seeds:
        facts.append(f"mean over {count_text(info.seeds, 'seed')}")
    elif shown < info.on_front:
        of = "trials on the front" if len(info.objectives) > 1 else "best trials"
        facts.append(f"{shown} of the {info.on_front} {of}")
    return facts


def no_network(info: ProfileInfo) -> str:
    """Why no trial is shown."""
    return f"no trial is {front_words(info.objectives)}" if info.complete else NO_TRIAL


def network_name(name: str) -> str:
    """ "Trial 17" for "trial 17", "Plain finetune" for "plain"; an arm's own name."""
    if name in REFERENCES:
        return REFERENCES[name][0]
    return name.capitalize() if name.startswith("trial ") else plain_text(name)


def terms_label(loss_terms: str) -> str:
    """Loss terms in their usual order, as plotly may print them; empty of the baseline."""
    return plain_text(terms_style(loss_terms).label) if loss_terms else ""


def network_marker(name: str, loss_terms: str) -> dict[str, Any]:
    """Colour and mark of a network: as in the front, of every figure."""
    if name in REFERENCES:
        return reference_marker(name)
    style = terms_style(loss_terms)
    return {"color": style.color, "symbol": style.symbol, "line": {"color": INK, "width": 1}}


def network_color(name: str, loss_terms: str) -> str:
    """Of a network's line."""
    return INK if name in REFERENCES else terms_style(loss_terms).color
