"""The effects of an ablation as the table of a paper: contrasts, intervals, tests, verdicts."""

from __future__ import annotations

from ablate.ablation.info import AblationInfo
from ablate.report.arms import difference_cell, shown_name
from ablate.report.effects import effects_notes, kept_text, p_text, shown_effects, verdict_text
from ablate.report.numbers import MISSING
from ablate.report.paper.cell import Cell
from ablate.report.paper.table import Heading, PaperTable, paper_title

_TEXTS = {
    "p": "p",
    "p_adjusted": "Adjusted p",
    "verdict": "Verdict",
    "kept": "Kept",
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
                Cell(p_text(effect.p)),
                Cell(p_text(effect.p_adjusted) if effect.primary else MISSING),
                Cell(verdict_text(info, effect)),
                Cell(kept_text(info, effect) or MISSING),
            )
        )
    return PaperTable(
        name=f"{info.study}-effects",
        title=paper_title(info.question, info.subject),
        headings=(
            Heading("Contrast", "contrast", is_text=True),
            Heading("On", "metric", is_text=True),
            Heading("Difference", "difference"),
            *(Heading(text, key, is_text=True) for key, text in _TEXTS.items()),
        ),
        rows=tuple(rows),
        notes=tuple(effects_notes(info, [*primary, *others])),
    )
