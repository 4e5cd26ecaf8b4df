"""`ablate confirm`: retrains the front of a search with new seeds, and scores it on the test
images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablate.ablation.answer import ReadBits, best_answer
from ablate.ablation.cell import Design
from ablate.ablation.design import front_design
from ablate.analysis.caveats import nearest_text, stopped_beyond
from ablate.analysis.pareto import ParetoPoint, Point, pareto_info
from ablate.errors import ParameterError, UsageError, did_you_mean
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.begin import begin_study, go_on
from ablate.lifecycle.drive import RunOptions, leased
from ablate.lifecycle.place import Place, shown_folder
from ablate.robustness.suites import find_suite
from ablate.study.document import show
from ablate.study.settings import AblationSettings, AnswerSettings, SearchSettings, Study

MOST_CONFIRMED = 5
"""Trials of one objective that are confirmed, where none are named: each is trained K times."""


def confirm_front(
    ledger: Ledger,
    place: Place,
    run: RunOptions,
    *,
    seeds: int,
    trials: Sequence[int] | None,
    suite: str | None,
    severities: Sequence[int] | None,
    soup: bool = False,
) -> StudyRecord:
    """Retrain the front of a search and score it on the test images, or continue doing so.

    Args:
        ledger: ledger of the search; place: its place.
        seeds: number of new seeds; the search's seed is not among them.
        trials: numbers of trials of the front, or for one objective of any complete trials; None:
            the front, or for one objective the best and those that the images do not tell from it,
            at most `MOST_CONFIRMED`.
        suite, severities: for scoring the test images; None: those of the search.
        soup: also score the mean of the trials' networks at each seed.

    Raises:
        UsageError: if the study is not a search with the robustness finetuning, was confirmed with
            other trials, another suite or without a soup before, or the trials have no soup.
        ParameterError: if a trial is not on the front, or not complete.
        FingerprintError: if it is of another method: its parameters would train other networks.
        LeaseError: if the search is running.
    """
    ledger.check_method("to be confirmed")
    record = ledger.read()
    points = _points(record, trials, ledger.outcomes)
    where = place.confirmation
    robustness = record.study.robustness
    named = robustness.suite if suite is None else suite
    find_suite(named)
    test = {
        "suite": list(named) if isinstance(named, tuple) else named,
        "severities": list(robustness.severities if severities is None else severities),
    }
    adapted = record.study.robustness.adapt_batch_norm is not None
    design = front_design(points, soup=soup, adapted=adapted)
    study = _confirming_study(record.study, where.name, points, seeds)
    if soup:  # the members' weights are read until the last seed has ended
        run_settings = study.run.model_copy(update={"keep_checkpoints": "all"})
        study = study.model_copy(update={"run": run_settings})
    one = len(record.study.objectives) == 1
    of_which = "of the front" if not one else f"for {record.study.objectives[0].metric}"
    what = (
        f"confirm {len(points)} trial{'s' * (len(points) > 1)} {of_which} ({_numbers(points)})"
        f"{' and their soup' if soup else ''}, {seeds} seeds, "
        f"{show(test['suite'])} at severities {show(test['severities'])}"
    )
    with leased(ledger, run):
        ledger.open_test(what, where.name)
    where.make_folder()
    base = Path(ledger.head.base)
    if not Ledger.exists(where.url, where.name):
        parent = record.name
        text = ledger.head.text
        return begin_study(where, study, base, text, run, design=design, test=test, parent=parent)
    begun = Ledger.open(where.url, where.name)
    _check_same(begun, design, test, place)
    return go_on(begun, where, run, None, seeds=seeds)


def _points(
    record: StudyRecord, trials: Sequence[int] | None, read_bits: ReadBits
) -> list[ParetoPoint]:
    if record.design is not None or record.parent is not None:
        raise UsageError(
            f"study {record.name}: confirm needs a search, got an ablation. Name a search."
        )
    if record.study.trainable is not None:
        raise UsageError(
            f"study {record.name}: confirm scores networks on the test images of a data set, got "
            f"trainable {record.study.trainable}, which loads its own data. Use an ablation of "
            "design arms instead."
        )
    info = pareto_info(record)
    is_front = len(info.objectives) > 1
    choice = {point.number: point for point in (info.front if is_front else info.ranked)}
    if not choice and info.bounds and (info.points or stopped_beyond(record)):
        raise UsageError(
            f"study {record.name}: must have a trial that keeps all constraints, got none of "
            f"{len(info.points)} complete ones: nearest is {nearest_text(record)}. Run more: "
            "ablate resume --add N, or search again with other constraints."
        )
    if not choice:
        raise UsageError(
            f"study {record.name}: must have a complete trial with a number for each objective, "
            "got none. Finish it first: ablate resume."
        )
    for number in trials or ():
        if number not in choice:
            where = "complete" + " and keep the constraints" * bool(info.bounds)
            where = "on the front" if is_front else where
            near = did_you_mean(str(number), [str(one) for one in choice])
            raise ParameterError(f"--trials: must be {where}, got {number}. {near}")
    if trials is not None:
        return [point for number, point in choice.items() if number in trials]
    originals = [point for point in choice.values() if point.copy_of is None]
    if is_front:
        return originals
    answer = best_answer(record, info, read_bits)
    tied = {originals[0].number, *(one.number for one, _ in (answer.ties if answer else ()))}
    return [point for point in originals if point.number in tied][:MOST_CONFIRMED]


def _confirming_study(search: Study, name: str, points: Sequence[ParetoPoint], seeds: int) -> Study:
    arms: dict[str, dict[str, Any]] = {one.name: one.retrained for one in points}
    ablation = AblationSettings(design="arms", arms=arms, seeds=seeds)
    # Each point has its alpha, so that nothing is chosen again; constraints are judged on the test
    # images.
    update = {
        "name": name,
        "ablation": ablation,
        "search": SearchSettings(),
        "answer": AnswerSettings(),
        "finetune": search.finetune.model_copy(update={"interpolation": None}),
        "space": {},
    }
    return search.model_copy(update=update)


def _check_same(begun: Ledger, design: Design, test: dict[str, Any], place: Place) -> None:
    assert begun.head.design is not None
    begun_with, name = Design.from_json(begun.head.design), begun.head.study.name
    before, now = list(begun_with.selected), list(design.selected)
    folder = shown_folder(place.confirmation.folder)
    if before != now:
        numbers = ",".join(str(Point.of_name(one).trial) for one in before)
        raise UsageError(
            f"study {name}: must confirm the same trials as before ({', '.join(before)}), got "
            f"{', '.join(now)}. Add --trials {numbers}, or finish it: ablate resume {folder}"
        )
    if design.soups and not begun_with.soups:
        raise UsageError(
            f"study {name}: must have --soup from its start, which keeps the weights of all runs, "
            f"got it now. Leave it out, or delete {folder} to confirm anew."
        )
    if begun.head.test != test:
        raise UsageError(
            f"study {name}: must score the test images as before ({show(begun.head.test)}), got "
            f"{show(test)}. Give the same options, or finish it: ablate resume {folder}"
        )


def _numbers(points: Sequence[ParetoPoint]) -> str:
    return ", ".join(str(point.number) for point in points)
