"""The networks of a study that a figure shows by type or severity: trials, references, runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ablate.ablation.answer import best_point
from ablate.ablation.info import AblationInfo
from ablate.ablation.study_source import StudySource
from ablate.errors import NothingToDrawError, ParameterError
from ablate.files.shown import few
from ablate.ledger.record import NOT_FINETUNED
from ablate.robustness.bits import ImageBits, unpack_bits
from ablate.study.scores import Scores

_MOST_TRIALS = 3


class Network(NamedTuple):
    """A network of a search: a reference or a mixture by its name, or a trial by its number and
    loss terms; its bits, where they were kept."""

    name: str
    number: int | None
    terms: str
    scores: Scores
    bits: ImageBits | None


def shown_networks(
    source: StudySource, figure: str, trials: Sequence[int]
) -> tuple[list[Network], int]:
    """The scored references and some trials of a search, and how many of its front are left out.

    Args:
        trials: numbers, in display order; empty: the mixture that the study's answer recommends,
            the trial that it would without mixtures (else the knee), and both ends of the front;
            for one objective the best.

    Raises:
        NothingToDrawError: if the study has a custom training loop.
        ParameterError: if a number is not that of a complete trial, or the study is an ablation.
    """
    record = source.record
    if record.study.trainable is not None:
        rule = "needs accuracies by type of corruption, got a custom training loop"
        fix = "Draw pareto." if source.is_search else "Draw effects."
        raise NothingToDrawError(record.name, figure, rule, fix)
    if source.ablation is not None:
        rule = f"{figure} of an ablation shows its arms, got {len(trials)}"
        raise ParameterError(f"`trials`: {rule}. Leave it out.")
    rows = {row.number: row for row in record.complete if isinstance(row.scores, Scores)}
    for number in trials:
        if number not in rows:
            rule = f"must be complete trials of {record.name}, got {number}"
            raise ParameterError(f"`trials`: {rule}. They are: {few(sorted(rows), 12) or 'none'}.")
    answered, source = best_point(record, source.front), source.of_trials
    info = source.front
    front = [point.number for point in info.leading if point.number in rows]
    best = best_point(source.record, info) or info.picked
    ends = front if len(info.objectives) == 1 else [*front[:1], *front[-1:]]
    usual = [one for one in (best and best.number, *ends) if one is not None and one in rows]
    numbers = list(dict.fromkeys(trials or usual))[: len(trials) or _MOST_TRIALS]
    bits, of_references = source.read_bits(sorted({rows[number].origin for number in numbers}))
    found = []

    def add(
        scores: object, kept: Mapping[str, str], name: str, number: int | None, terms: str
    ) -> None:
        if isinstance(scores, Scores):
            own = unpack_bits([kept["val"]], scores) if "val" in kept else None
            found.append(Network(name, number, terms, scores, own))

    for name in (*NOT_FINETUNED, "plain"):
        add(record.references.get(name), of_references.get(name, {}), name, None, "")
    if answered is not None and answered.is_mixture and not trials:
        add(answered.scores, of_references.get(answered.name, {}), answered.name, None, "")
    for number in numbers:
        row = rows[number]
        add(row.scores, bits.get(row.origin, {}), "", number, record.loss_terms(row))
    return found, 0 if trials else len({*front} - {*numbers})


def ablation_runs(source: StudySource, ablation: AblationInfo) -> Mapping[tuple[str, int], Scores]:
    """Scores of the runs that have ended well, by cell and pair."""
    is_test = ablation.split == "test"
    return {
        (str(row.cell), row.pair or 0): scores
        for row in source.record.complete
        if isinstance(scores := row.test_scores if is_test else row.scores, Scores)
    }
