"""Starts and resumes studies: checks, preparation, and the run until all rows have ended.

Nothing is written to a study before its lease is held, so a second driver is refused first.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.ablation.cell import Design
from ablate.ablation.design import planned_rows
from ablate.ablation.searches import check_reference
from ablate.errors import InfrastructureError, ParameterError
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Head, StudyRecord
from ablate.lifecycle.ablation_reference import design_of, find_reference, tune_design
from ablate.lifecycle.changes import (
    changed_study,
    check_reported,
    check_same_baseline,
    check_same_environment,
    for_workers,
    of_parent,
    store_changes,
)
from ablate.lifecycle.drive import (
    RunOptions,
    checkpoint_root,
    drive_to_end,
    leased,
    prepare,
    running_on,
)
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.open_study import open_part
from ablate.lifecycle.place import Place, check_normalization, check_something_searched
from ablate.robustness.suites import added_types, find_suite
from ablate.space.parse import parse_space
from ablate.study.baseline_checks import expected_rule
from ablate.study.checks import study_notes
from ablate.study.fingerprint import digest_of, study_fingerprint
from ablate.study.metrics import unreachable
from ablate.study.settings import Study
from ablate.trial.task import Prepared


def begin(place: Place, run: RunOptions) -> StudyRecord:
    """Start the study that a file or Python gives, and run it to its end.

    Raises:
        StudyExistsError: if another driver has started it meanwhile."""
    assert place.study is not None
    study, base, text = for_workers(place.study), place.base, place.text
    check_normalization(study, place.file, base)
    if study.ablation is None:
        space = parse_space(study, names_for(study.model.name, base))
        check_something_searched(study, place.file, space)
        return begin_study(place, study, base, text, run)
    reference = find_reference(study, base)
    design = design_of(study, base, str(place.file or ""), reference)
    sections = ("model.", "baseline.")
    for cell in design.cells:
        if any(key.startswith(sections) for key in cell.values):
            check_normalization(study.with_values(dict(cell.values)), place.file, base)
    return begin_study(place, study, base, text, run, design=design)


def begin_study(
    place: Place,
    study: Study,
    base: Path,
    text: str,
    run: RunOptions,
    *,
    design: Design | None = None,
    test: Mapping[str, Any] | None = None,
    parent: Head | None = None,
) -> StudyRecord:
    """Start a study and run it to its end.

    Args:
        study: without its storage.
        base: absolute folder for its relative paths.
        text: text of the study file, as stored.
        design: of an ablation; None: a search.
        test: suite and severities for the test images, in a confirmation.
        parent: of the study that this one belongs to, from whose baseline it begins.

    Raises:
        StudyExistsError: if another driver has begun it meanwhile.
        FingerprintError: if the reference of an ablation is a trial with other data or training.
    """
    space = parse_space(study, names_for(study.model.name, base))
    planned = [] if design is None else planned_rows(study, design)
    head = Head(
        identity=secrets.token_hex(4),
        study=study,
        text=text,
        space=space.to_json(),
        base=str(base),
        reference_point=study.search.reference_point,
        design=None if design is None else design.to_json(),
        test=test,
        **({} if parent is None else of_parent(parent, study)),
    )
    for note in study_notes(study):
        run.progress.note(note)
    trials = study.search.trials if design is None else len(planned)
    # Rows of arms are planned after the arms are tuned.
    ledger = Ledger.create(place.url, head, trials, [] if _needs_tuning(study) else planned)
    try:
        return _prepare_and_run(ledger, place, run)
    except BaseException:
        with suppress(InfrastructureError):  # else a later launch does it
            _take_away(ledger, place)
        raise
    finally:
        ledger.close()


def _prepare_and_run(ledger: Ledger, place: Place, run: RunOptions) -> StudyRecord:
    """Prepare a new study, store what it depends on, and run it to its end."""
    head = ledger.head
    study, base = head.study, Path(head.base)
    with (
        leased(ledger, run) as lease,
        running_on(
            *(place, study, base, head.identity, run),
            test=head.test,
            baseline_threads=head.environment.get("baseline_threads"),
        ) as running,
    ):
        prepared = prepare(ledger, running, run)
        check_same_baseline(head, prepared, accept=run.accept_environment)
        added = added_types(find_suite(study.robustness.suite))
        sections = study_fingerprint(
            study, ledger.space, prepared.data_digest, added, prepared.of_files
        )
        if head.design is not None:
            sections["design"] = digest_of(head.design)
        if study.ablation is not None:
            reference = find_reference(study, base)
            if reference.sections is not None:
                check_reference(study, sections, reference.study, reference.sections)
        if prepared.unstated and not head.parent:
            raise ParameterError(prepared.unstated)
        check_prepared(study, prepared)
        environment = {
            **prepared.environment,
            "baseline_threads": running.job.baseline_threads,
            **({"left_out": dict(prepared.left_out)} if prepared.left_out else {}),
        }
        ledger.complete_head(
            replace(
                head,
                fingerprint=sections,
                baseline_sha256=prepared.baseline_sha256,
                environment=environment,
                preprocessing=prepared.preprocessing,
                reference_point=_reference_point(study, prepared),
            )
        )
        if not _needs_tuning(study):
            return drive_to_end(ledger, lease, running, prepared, run)
    return go_on(ledger, place, run, None)


def begin_again(ledger: Ledger, place: Place, run: RunOptions) -> bool:
    """Remove a study whose driver died before data and baseline were ready.

    Returns:
        Whether it was removed; then it can be started again, with a changed file.

    Raises:
        LeaseError: if a driver is preparing it now.
    """
    if ledger.head.is_prepared:
        return False
    with leased(ledger, run):
        pass
    return _take_away(ledger, place)


def _take_away(ledger: Ledger, place: Place) -> bool:
    """Remove a study that was never prepared, and the empty folder of its training states.

    Returns:
        Whether it was removed; it is kept if a row was enqueued.
    """
    if not ledger.discard():
        return False
    head = ledger.head
    states = checkpoint_root(head.study, Path(head.base), place.folder, head.identity)
    with suppress(OSError):  # a URI, or something is in it
        Path(states).rmdir()
        if head.study.run.checkpoints is None:
            Path(states).parent.rmdir()
    return True


def _needs_tuning(study: Study) -> bool:
    return study.ablation is not None and study.ablation.tune is not None


def go_on(
    ledger: Ledger,
    place: Place,
    run: RunOptions,
    total: int | None,
    *,
    seeds: int | None = None,
) -> StudyRecord:
    """Run an existing study to its end.

    Args:
        total: new number of rows; None: unchanged.
        seeds: per cell of an ablation; None: as in the file, or unchanged.

    Raises:
        LeaseError: if another driver holds it; then nothing is changed.
        FingerprintError: if a change of data, environment or method would affect scores.
    """
    ledger.check_writable("to be resumed")
    if not ledger.head.is_prepared:
        with leased(ledger, run):
            store_changes(ledger, changed_study(ledger, place, None), run)
            if total is not None:
                ledger.set_trials(total)
            if ledger.head.design and not _needs_tuning(ledger.head.study):
                begun = Design.from_json(ledger.head.design)
                ledger.plan(planned_rows(ledger.head.study, begun), begun.to_json())
        record = _prepare_and_run(ledger, place, run)
        if seeds is None:
            return record
        with closing(Ledger.open(place.url, place.name)) as again:  # the first run's lease is over
            return go_on(again, place, run, total, seeds=seeds)
    check_reported(ledger, accept=run.accept_environment)
    design = None
    if ledger.head.design is not None:
        design = _tuned_design(ledger, place, run)
    with leased(ledger, run) as lease:
        changed, head = changed_study(ledger, place, seeds), ledger.head
        study, base = changed.study, Path(changed.base)
        threads = head.environment.get("baseline_threads", study.run.cpus_per_trial)
        with running_on(
            place, study, base, head.identity, run, test=head.test, baseline_threads=threads
        ) as running:
            prepared = prepare(ledger, running, run)
            check_same_environment(ledger, prepared, accept=run.accept_environment)
            store_changes(ledger, changed, run)
            if design is not None:
                ledger.plan(planned_rows(study, design), design.to_json())
            elif total is not None:
                ledger.set_trials(total)
            return drive_to_end(ledger, lease, running, prepared, run)


def _tuned_design(ledger: Ledger, place: Place, run: RunOptions) -> Design:
    """The design of an existing ablation; arms that are not tuned yet are tuned first."""
    head = ledger.head
    assert head.design is not None
    design = Design.from_json(head.design)
    settings = head.study.ablation
    if settings is None or settings.tune is None or design.tuning:
        return design

    def run_search(where: Place, study: Study) -> StudyRecord:
        base = Path(head.base)
        begun = open_part(where, head.study.name)
        where.make_folder()
        if begun is None:
            return begin_study(where, study, base, head.text, run, parent=head)
        with closing(begun):
            record = begun.read()
            return record if record.is_over else go_on(begun, where, run, None)

    return tune_design(design, head.study, place, run_search, run.progress)


def check_prepared(study: Study, prepared: Prepared) -> None:
    """Refuse a baseline that is not as expected, and a constraint on it that no trial can keep, now
    that it is scored.

    Raises:
        ParameterError: naming its key.
    """
    if prepared.baseline_scores is None:
        return
    scores, expected = prepared.baseline_scores, study.baseline.expected_accuracy
    fed = scores.clean_accuracy, scores.n_images, prepared.preprocessing
    if rule := expected_rule(expected, *fed):
        raise ParameterError(f"baseline.expected_accuracy: {rule}")
    baseline = scores.metrics()
    for place, constraint in enumerate(study.constraints):
        value = f"{100 * baseline[constraint.metric]:.2f} %"
        bounds = {bound.is_least: bound for bound in constraint.bounds(baseline)}
        for is_least, bound in bounds.items():
            side = "min" if is_least else "max"
            if constraint.reads_baseline and (rule := unreachable(bound)) is not None:
                raise ParameterError(
                    f"constraints[{place}].{side}: {rule}, got {getattr(constraint, side)} with a "
                    f"baseline of {value}. No trial would keep it: change it."
                )
        if len(bounds) == 2 and bounds[True].limit > bounds[False].limit:
            raise ParameterError(
                f"constraints[{place}]: min must be at most max, got {constraint.min} and "
                f"{constraint.max} with a baseline of {value}. No trial would keep both: change "
                "one."
            )


def _reference_point(study: Study, prepared: Prepared) -> tuple[float, ...] | None:
    """The file's, else the baseline's values, minus 10 points of clean accuracy; none for one
    objective."""
    if len(study.objectives) == 1:
        return None
    if study.search.reference_point is not None or prepared.baseline_scores is None:
        return study.search.reference_point
    baseline = prepared.baseline_scores.metrics()
    given_up = {"val_clean_accuracy": 0.10}
    metrics = [objective.metric for objective in study.objectives]
    return tuple(baseline[metric] - given_up.get(metric, 0.0) for metric in metrics)
