"""Several studies in one figure: their labels, looks, title, and what their numbers stand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ablate.analysis.basis import Basis
from ablate.report.numbers import count_texts, seed_texts
from ablate.report.style import SERIES, SYMBOLS, TermsStyle

_LABEL_CHARACTERS = 32
_NAMED = 3


def study_labels(names: Sequence[str]) -> list[str]:
    """Names that fit a legend and differ, as plain text: cut in the middle, equal ones numbered."""
    labels = [_shortened(name) for name in names]
    return [
        f"{label} [{labels[:place].count(label) + 1}]" if labels.count(label) > 1 else label
        for place, label in enumerate(labels)
    ]


def study_styles(labels: Sequence[str]) -> list[TermsStyle]:
    """A colour and a mark for each study, by its place."""
    return [
        TermsStyle(label, SERIES[place % len(SERIES)], SYMBOLS[place % len(SYMBOLS)])
        for place, label in enumerate(labels)
    ]


def several_title(what: str, labels: Sequence[str]) -> str:
    """ "Pareto fronts of a, b and c"; more than three studies are counted."""
    if len(labels) > _NAMED:
        return f"{what} of {len(labels)} studies"
    return f"{what} of {' and '.join(filter(None, [', '.join(labels[:-1]), labels[-1]]))}"


def several_facts(infos: Sequence[Basis]) -> list[str]:
    """What the numbers of several searches stand on: what they agree in is said once."""
    complete = sum(info.complete for info in infos)
    basis = dict.fromkeys(
        ", ".join(
            part
            for part in (
                info.split,
                *count_texts(info.n_images, info.n_corrupted),
                *seed_texts(info.seed),
            )
            if part
        )
        for info in infos
    )
    return [
        f"{complete} of {sum(info.trials for info in infos)} trials complete",
        *dict.fromkeys(info.subject for info in infos),
        *basis,
    ]


def several_marks(infos: Sequence[Basis]) -> list[str]:
    """What has to be said beside the numbers of any of them, each once."""
    return list(dict.fromkeys(mark for info in infos for mark in info.marks))


def several_meta(infos: Sequence[Basis], figure: str) -> dict[str, Any]:
    """`layout.meta` of a figure of several studies.

    Args:
        figure: its title, as "Pareto front".
    """
    return {
        "title": f"{', '.join(info.study for info in infos)}: {figure}",
        "study": [info.study for info in infos],
        "fingerprint": [info.fingerprint for info in infos],
        "split": list(dict.fromkeys(info.split for info in infos)),
        "seed": [info.seed for info in infos],
        "trials": [info.trials for info in infos],
        "complete": [info.complete for info in infos],
    }


def _shortened(name: str) -> str:
    if len(name) <= _LABEL_CHARACTERS:
        return name
    half = (_LABEL_CHARACTERS - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
