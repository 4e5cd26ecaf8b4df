"""`ablate confirm`: retrains the front of a search, or the cells of an ablation, with new seeds,
and scores them on the test images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.ablation.answer import ReadBits, best_networks
from ablate.ablation.cell import Design
from ablate.ablation.design import (
    COMBINED_DA,
    front_design,
    repeated_design,
    repeating_study,
    tested_as,
    without_curves,
)
from ablate.ablation.interpolated import with_alphas
from ablate.analysis.caveats import nearest_text
from ablate.analysis.pareto import ParetoPoint, pareto_info
from ablate.errors import ParameterError, UsageError, did_you_mean
from ablate.files.shown import count_text, few
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.drive import RunOptions, leased
from ablate.lifecycle.launch import begin_again, begin_study, go_on
from ablate.lifecycle.open_study import open_part, open_place
from ablate.lifecycle.place import Place, shown_folder
from ablate.robustness.arguments import read_severities
from ablate.study.checks import check_seeds
from ablate.study.document import show
from ablate.study.mixture import Mixture
from ablate.study.settings import AblationSettings, AnswerSettings, SearchSettings, Study

MOST_CONFIRMED = 5
"""Trials of one objective that are confirmed, where none are named: each is trained K times."""
MOST_SEEDS = 1000
"""Of a confirmation: far more than any interval needs, so that a slip starts no training."""


def confirm_study(
    ledger: Ledger,
    place: Place,
    run: RunOptions,
    *,
    seeds: int,
    trials: Sequence[int] | None,
    suite: str | Sequence[str] | None,
    severities: Sequence[int] | None,
) -> StudyRecord:
    """Train a front or an ablation again and score it on the test images, or continue doing so.

    Args:
        ledger: ledger of the search or ablation; place: its place.
        seeds: number of new seeds; those of the search or ablation are not among them.
        trials: of a search, numbers of trials of the front of trials, or for one objective of any
            complete trials; None: the front with its mixtures, or for one objective the best and
            those that the images do not tell from it, at most `MOST_CONFIRMED`.
        suite, severities: for scoring the test images, a suite's name or a list of corruptions;
            None: those of the study.

    Raises:
        UsageError: if the study is not one with the robustness finetuning, was confirmed with
            other trials or another suite before, or the suite does not give the metric of a
            primary contrast.
        ParameterError: if a trial is not on the front, or not complete; if a severity is none, a
            list names nothing, or there are more than `MOST_SEEDS` seeds.
        FingerprintError: if it is of another method: its parameters would train other networks.
        LeaseError: if the study, or its confirmation, is running.
    """
    if run.register:
        raise UsageError("`register`: is for `ablate.launch`, got a confirmation. Leave it out.")
    if seeds > MOST_SEEDS:
        raise ParameterError(f"`seeds`: must be at most {MOST_SEEDS:,}, got {seeds}. Lower it.")
    if trials is not None and not list(trials):
        raise ParameterError("`trials`: must name at least one, got none. Leave it out.")
    ledger.check_writable("to be confirmed")
    record = ledger.read()
    _check_confirmable(record)
    part = place.confirmation
    levels = None if severities is None else read_severities(severities)
    test = tested_as(record.study, suite, levels)
    if record.design is None:
        points = _points(record, trials, ledger.outcomes)
        study, design, what = _of_front(record, part.name, points, seeds)
    else:
        begun_with = Design.from_json(record.design)
        _check_tuned(record, begun_with, trials)
        study, count = record.study, record.study.ablation_section.replicates
        if count is not None:
            opened = open_place(place)
            _check_replicates(opened.record)
            count = len(opened.replicates)  # fewer where a look has ended it
            ablation = study.ablation_section.model_copy(update={"replicates": count})
            study = study.model_copy(update={"ablation": ablation})
        design = repeated_design(study, begun_with, test)
        study = repeating_study(study, part.name, seeds)
        what = f"{len(design.cells)} cells of the ablation ({design.kind})"
        what += f" in {count} replicates" if count is not None else ""
    check_seeds(study)
    what += f", {seeds} seeds, {show(test['suite'])} at severities {show(test['severities'])}"
    with ExitStack() as stack:
        begun = open_part(part, place.name)
        if begun is not None:
            stack.enter_context(closing(begun))
            if begin_again(begun, run):
                begun = None
            else:
                _check_same(begun, design, test, place)
        with leased(ledger, run):
            ledger.open_test(f"confirm {what}", part.name)
        part.make_folder()
        if begun is not None:
            return go_on(begun, part, run, seeds=seeds)
    if cost := _cost(design, seeds):
        run.progress.note(cost)
    head = ledger.head
    test, base = with_alphas(test, record), Path(head.base)
    return begin_study(part, study, base, head.text, run, design=design, test=test, parent=head)


def _check_confirmable(record: StudyRecord) -> None:
    if record.parent is not None:
        got = "a confirmation" if record.test is not None else "the search of one arm"
        if record.test is None and record.design is not None:
            got = "one replicate"
        raise UsageError(
            f"study {record.name}: confirm needs a search or an ablation, got {got}. Name "
            f"{record.parent}."
        )
    if record.study.trainable is not None:
        fix = "Use an ablation of design arms instead."
        if record.design is not None:
            fix = "Add seeds instead: ablate resume --seeds."
        raise UsageError(
            f"study {record.name}: confirm scores networks on the test images of a data set, got "
            f"trainable {record.study.trainable}, which loads its own data. {fix}"
        )


def _check_replicates(record: StudyRecord) -> None:
    """Refuse an ablation whose replicates have not all ended: what they found is confirmed."""
    stop = record.study.ablation_section.stop
    if stop is not None and stop.confirm is not None:
        raise UsageError(
            f"study {record.name}: its looks confirm it (ablation.stop.confirm), got confirm. Go "
            "on with the study instead: ablate resume."
        )
    if not record.is_over:
        asked = record.study.ablation_section.replicates
        raise UsageError(
            f"study {record.name}: all {asked} replicates must have ended before they are "
            f"confirmed, got {record.replicates_ended}. Finish them first: ablate resume."
        )


def _check_tuned(record: StudyRecord, design: Design, trials: Sequence[int] | None) -> None:
    """Refuse trials of an ablation, and arms whose values are not known yet."""
    if trials is not None:
        raise UsageError(f"`trials`: needs a search, got the ablation {record.name}. Leave it out.")
    settings = record.study.ablation_section
    if settings.tune is not None and not design.tuning and settings.replicates is None:
        raise UsageError(
            f"study {record.name}: the arms must be tuned before they are confirmed, got an "
            "ablation whose tuning has not ended. Finish it first: ablate resume."
        )


def _points(
    record: StudyRecord, trials: Sequence[int] | None, read_bits: ReadBits
) -> list[ParetoPoint]:
    # Trials that are named are of the front of trials alone.
    info = pareto_info(record if trials is None else replace(record, mixtures=None))
    is_front = len(info.objectives) > 1
    choice = info.front if is_front else info.ranked
    if not choice and info.bounds and info.points:
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
    numbers = [point.number for point in choice]
    if unknown := [number for number in trials or () if number not in numbers]:
        rule = "complete and keep the constraints" if info.bounds else "complete"
        near = did_you_mean(str(unknown[0]), list(map(str, numbers)))
        raise ParameterError(
            f"`trials`: must be {'on the front' if is_front else rule}, got {unknown[0]}. {near}"
        )
    if trials is not None:
        return [point for point in choice if point.number in trials]
    originals = [point for point in choice if point.copy_of is None]
    if is_front:
        return originals
    tied = {originals[0].point, *best_networks(record, info, read_bits)}
    return [point for point in originals if point.point in tied][:MOST_CONFIRMED]


def _of_front(
    record: StudyRecord, name: str, points: Sequence[ParetoPoint], seeds: int
) -> tuple[Study, Design, str]:
    """The confirmation of these points, its design, and what it confirms, in words."""
    search = record.study
    mixed = {one for point in points if point.is_mixture for one in point.point.trials}
    ingredients = {row.number: row.params for row in record.rows if row.number in mixed}
    adapted = search.robustness.adapt_batch_norm is not None
    design = front_design(points, ingredients, adapted=adapted)
    names = [point.name if point.is_mixture else str(point.number) for point in points]
    is_front = len(search.objectives) > 1
    what = (
        f"{count_text(len(points), 'point' if mixed else 'trial')} "
        f"{'of the front' if is_front else f'for {search.objectives[0].metric}'} "
        f"({', '.join(names)})"
    )
    own = (cell for cell in design.cells if cell.name not in ("plain", COMBINED_DA))
    arms = {cell.name: dict(cell.values) for cell in own}
    ablation = AblationSettings(design="arms", arms=arms, seeds=seeds)
    # Each point has its alpha, so that nothing is chosen again; constraints are judged on the test
    # images.  Seeds that were searched are not new.
    searched = (row.params.get("finetune.seed", 0) for row in record.rows)
    seed = max([search.finetune.seed, *searched])
    finetune = search.finetune.model_copy(update={"seed": seed})
    search = search.model_copy(update={"finetune": finetune})
    update = {
        "name": name,
        "ablation": ablation,
        "search": SearchSettings(),
        "answer": AnswerSettings(),
        "space": {},
    }
    return search.model_copy(update=update | without_curves(search)), design, what


def _cost(design: Design, seeds: int) -> str:
    """What is trained to confirm a front with mixtures; empty without any."""
    made = [cell.name for cell in design.cells if cell.mixture]
    trained = [cell.name for cell in design.cells if not cell.mixture]
    cost = f"{seeds * len(trained)} trainings for {count_text(len(design.selected), 'point')}: "
    cost += f"{few(trained, 8)}, each with {seeds} seeds; made of these: {few(made, 8)}"
    return cost if made else ""


def _check_same(begun: Ledger, design: Design, test: dict[str, Any], place: Place) -> None:
    assert begun.head.design is not None
    begun_with, name = Design.from_json(begun.head.design), begun.head.study.name
    before, now = list(begun_with.selected), list(design.selected)
    folder = shown_folder(place.confirmation.folder)
    if before != now:
        numbers = ", ".join(Mixture.of_name(one).numbers for one in before)
        fix = f"Add `trials=[{numbers}]`, or finish"
        if any(cell.mixture for cell in begun_with.cells):  # which have no number
            fix = "Finish"
        raise UsageError(
            f"study {name}: must confirm the same trials as before ({', '.join(before)}), got "
            f"{', '.join(now)}. {fix} it: ablate resume {folder}"
        )
    asked = {key: value for key, value in (begun.head.test or {}).items() if key in test}
    if asked != test:  # alphas stay those that it began with
        raise UsageError(
            f"study {name}: must score the test images as before ({show(asked)}), got "
            f"{show(test)}. Give the same options, or finish it: ablate resume {folder}"
        )
