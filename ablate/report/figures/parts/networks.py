"""What the figures of single networks share: their names, their facts, and who has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import Basis
from ablate.errors import NothingToDrawError
from ablate.ledger.record import StudyRecord
from ablate.report.figures.figure import the_search
from ablate.report.figures.parts.canvas import basis_facts
from ablate.report.figures.parts.front_marks import REFERENCES
from ablate.report.numbers import plain_text
from ablate.report.style import INK, terms_style


def the_scored_search(sources: Sequence[StudySource], figure: str) -> StudyRecord:
    """The rows of the only study, which must be a search whose trials are scored by type.

    Raises:
        NothingToDrawError: if it is an ablation, or has a custom training loop.
    """
    record = the_search(sources, figure).record
    if record.study.trainable is not None:
        raise NothingToDrawError(
            record.name,
            figure,
            "needs accuracies by type of corruption, got a custom training loop",
            "Draw pareto.",
        )
    return record


def network_facts(info: Basis, shown: int, on_front: int) -> list[str]:
    """The basis of the numbers, and of how many trials on the front the shown ones are."""
    facts = basis_facts(info)
    if shown < on_front:
        facts.append(f"{shown} of the {on_front} trials on the front")
    return facts


def network_name(name: str) -> str:
    """ "Trial 17" for "trial 17", "Plain finetune" for "plain"."""
    return REFERENCES[name][0] if name in REFERENCES else name.capitalize()


def terms_label(loss_terms: str) -> str:
    """Loss terms in their usual order, as plotly may print them; empty of the baseline."""
    return plain_text(terms_style(loss_terms).label) if loss_terms else ""


def network_marker(name: str, loss_terms: str) -> dict[str, Any]:
    """Colour and mark of a network: as in the front, of every figure."""
    if name in REFERENCES:
        _, symbol, width = REFERENCES[name]
        return {"color": INK, "symbol": symbol, "line": {"color": INK, "width": width}}
    style = terms_style(loss_terms)
    return {"color": style.color, "symbol": style.symbol, "line": {"color": INK, "width": 1}}
