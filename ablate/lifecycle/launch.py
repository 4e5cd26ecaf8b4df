"""Starts, resumes and extends studies: checks, preparation, and the run until all rows have ended.

Nothing is written to a study before its lease is held, so a second driver is refused first.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ablate
from ablate.ablation.cell import Design
from ablate.ablation.design import (
    going_design,
    planned_rows,
    repeated_design,
    repeating_study,
    replicate_studies,
    replicate_study,
    tested_as,
)
from ablate.ablation.interpolated import with_alphas
from ablate.ablation.searches import check_reference
from ablate.errors import (
    FingerprintError,
    InfrastructureError,
    ParameterError,
    Problem,
    StudyExistsError,
    StudyFileError,
    UsageError,
)
from ablate.finetune.baseline_record import sha256_of
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import (
    TERMINAL,
    Head,
    Registration,
    StudyRecord,
    learned_text,
    registered_parts,
)
from ablate.lifecycle.ablation_reference import design_of, find_reference, known_trials, tune_design
from ablate.lifecycle.changes import (
    changed_study,
    check_same_baseline,
    check_same_environment,
    check_same_study,
    edited_head,
    for_workers,
    note_unread_changes,
    of_parent,
    store_changes,
    store_edit,
)
from ablate.lifecycle.drive import (
    RunOptions,
    drive_to_end,
    leased,
    prepare,
    running_on,
    track_rows,
)
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.mixtures import lost_weights
from ablate.lifecycle.open_study import (
    is_replicated,
    open_ledger,
    open_part,
    open_place,
    refuse_if_rescued,
    refuse_other_study,
)
from ablate.lifecycle.place import Place, check_weights, shown_folder
from ablate.robustness.suites import added_types, find_suite
from ablate.search.drive import Stops
from ablate.space.fit import nothing_searched
from ablate.space.parse import parse_space
from ablate.space.start import start_points
from ablate.study.baseline_checks import expected_rule
from ablate.study.checks import study_notes
from ablate.study.fingerprint import digest_of, study_fingerprint
from ablate.study.metrics import unreachable
from ablate.study.provenance import provenance
from ablate.study.seeds import needs_plain
from ablate.study.settings import ConfirmSettings, StopSettings, Study, path_from
from ablate.trial.task import Prepared


def launch_study(place: Place, run: RunOptions, *, resume: bool) -> StudyRecord:
    """Run the study of a file to its end; a finished study is returned unchanged.

    Args:
        place: of the study file.
        resume: resume the study if it exists and is unfinished.

    Raises: as `ablate.launch`.
    """
    is_there = Ledger.exists(place.url, place.name)
    if not is_there:
        refuse_if_rescued(place)
    refuse_other_study(place)
    place.make_folder()
    if not is_there:
        try:
            return _begin(place, run)
        except StudyExistsError:
            if not resume:
                raise  # another driver has started it meanwhile
    with closing(Ledger.open(place.url, place.name)) as ledger:
        if begin_again(ledger, run):
            return _begin(place, run)
        check_same_study(ledger, place, run)
        if not run.edit_space and _is_finished(ledger, place):
            return _finished(ledger, place, run)
        if not resume:
            raise StudyExistsError(
                f"study {place.name}: launch starts a new study, got one that already exists and "
                f"is unfinished in {place.shown}. Use `ablate resume {shown_folder(place.folder)}`,"
                " or launch it with `resume=True`."
            )
        return go_on(ledger, place, run)


def resume_study(
    place: Place, run: RunOptions, trials: int | None, add: int | None, seeds: int | None
) -> StudyRecord:
    """Finish an interrupted study, or extend it.

    Args:
        trials: new total number of rows; add: additional rows; seeds: of an ablation.

    Raises: as `ablate.resume`.
    """
    with closing(open_ledger(place)) as ledger:
        check_same_study(ledger, place, run)
        total = None
        if ledger.head.design is None and seeds is None:
            total = _new_total(ledger, place, trials, add)
            asks_more = total not in (None, ledger.trials)
        else:
            asks_more = _asks_seeds(ledger, place, seeds, asks_rows=(trials, add) != (None, None))
        if not (asks_more or run.edit_space) and _is_finished(ledger, place):
            return _finished(ledger, place, run)
        refuse_other_study(place)
        place.make_folder()
        return go_on(ledger, place, run, total, seeds=seeds)


def _new_total(ledger: Ledger, place: Place, trials: int | None, add: int | None) -> int | None:
    """The number of rows that a search is to have; None: as it is."""
    there = sum(ledger.counts().values()) - ledger.head.outside
    if trials is not None and add is not None:
        raise UsageError("`trials` and `add`: give one, got both. `trials` is the new total.")
    if trials is not None and trials < there:
        raise UsageError(
            f"`trials`: must be at least the {there} trials that exist, got {trials}. Trials are "
            "never removed."
        )
    if add is not None and add < 1:
        raise UsageError(f"`add`: must be at least 1, got {add}.")
    total = ledger.trials + add if add is not None else trials
    if total is not None and total > there and _is_spent(ledger, place):
        raise UsageError(
            f"study {place.name}: a spent budget must be raised before trials are added, got "
            f"{ledger.spent}. Raise it in the study file, then run `ablate resume FILE`."
        )
    return total


def _asks_seeds(ledger: Ledger, place: Place, seeds: int | None, *, asks_rows: bool) -> bool:
    """Whether more seeds are asked for than an ablation has."""
    settings, name = ledger.head.study.ablation, ledger.head.study.name
    if settings is None:
        raise UsageError("`seeds`: needs an ablation, got a search. Use `trials` or `add`.")
    if asks_rows:
        raise UsageError(
            f"study {name}: the runs of an ablation follow from its design, got `trials` or `add`. "
            f"Add seeds instead: `seeds={settings.seed_count + 1}`."
        )
    if seeds is not None and seeds < settings.seed_count:
        raise UsageError(
            f"`seeds`: must be at least the {settings.seed_count} that exist, got {seeds}. Runs "
            "are never removed."
        )
    asks_more = seeds is not None and seeds > settings.seed_count
    if asks_more and _belongs_to_looks(ledger, place):
        raise UsageError(
            f"study {name}: its seeds are those of {ledger.head.parent}, whose looks are planned, "
            f"got {seeds} seeds. Add them there, once a look has ended it."
        )
    return asks_more


def _belongs_to_looks(ledger: Ledger, place: Place) -> bool:
    """Whether an ablation is a replicate of a study with planned looks."""
    parent = ledger.head.parent
    if parent is None or not Ledger.exists(place.url, parent):
        return False
    with closing(Ledger.open(place.url, parent)) as above:
        settings = above.head.study.ablation
    return settings is not None and settings.stop is not None


def _finished(ledger: Ledger, place: Place, run: RunOptions) -> StudyRecord:
    """A finished study, whose trackers are brought up to date: its driver may have died before."""
    settings = (place.study or ledger.head.study).run.trackers
    command = f"`ablate track {shown_folder(place.folder)}`"
    if settings:
        for done in track_rows(ledger, place, settings):
            run.progress.note(done.text(command))
    record = open_place(place).record
    if record.spent is not None and _is_spent(ledger, place):
        fix = "raise it in the study file, then `ablate resume FILE`"
        run.progress.note(f"{record.spent}: no further trial is started; {fix}")
    note_unread_changes(ledger, place, run)
    if record.study.answer.mixtures and (lost := lost_weights(record, place.folder)):
        run.progress.note(lost)
    return record


def _is_finished(ledger: Ledger, place: Place) -> bool:
    if place.study is not None and place.study.ablation and ledger.head.study.ablation:
        asked, begun = place.study.ablation, ledger.head.study.ablation
        if asked.seed_count > begun.seed_count:
            return False
        if (asked.replicates or 0) > (begun.replicates or 0):
            return False
    if is_replicated(ledger.head):
        return open_place(place).record.is_over
    counts, outside = ledger.counts(), ledger.head.outside
    there = sum(counts.values())
    terminal = sum(counts[state] for state in TERMINAL)
    if _is_spent(ledger, place):
        there -= counts["WAITING"]
    elif there - outside < ledger.trials:
        return False
    head = ledger.head
    has_plain = "plain" in ledger.references or not needs_plain(head.study, head.parent)
    return terminal == there and has_plain and not _waits_for_mixtures(ledger, place)


def _waits_for_mixtures(ledger: Ledger, place: Place) -> bool:
    """Whether mixtures are to be made, and their ingredients are here; or are not wanted any
    more."""
    if not (place.study or ledger.head.study).answer.mixtures:
        return ledger.head.study.answer.mixtures
    record = ledger.read()
    return record.lacks_mixtures and not lost_weights(record, place.folder)


def _is_spent(ledger: Ledger, place: Place) -> bool:
    """Whether a budget has ended the search, and the user's file, if there is one, has it too."""
    begun = ledger.head.study.search.budget
    return ledger.spent is not None and (place.study is None or place.study.search.budget == begun)


# -- A new study ---------------------------------------------------------------------------------


def _begin(place: Place, run: RunOptions) -> StudyRecord:
    """Start the study that a file or Python gives, and run it to its end."""
    assert place.study is not None
    study, base = for_workers(place.study), place.base
    design, studies = None, [study]
    if study.ablation is None:
        space = parse_space(study, names_for(study.model.name, base))
        if (rule := nothing_searched(study, space)) is not None:
            raise StudyFileError([Problem(str(place.file or ""), 0, 0, f"space: {rule}")])
    else:
        design = design_of(study, base, str(place.file or ""), find_reference(study, base))
        studies = replicate_studies(study)
        studies += [
            studies[0].with_values(dict(cell.values))
            for cell in design.cells
            if any(key.startswith(("model.", "baseline.")) for key in cell.values)
        ]
    for one in studies:
        check_weights(one, place.file, base)
    _check_baselines(place, studies)
    return begin_study(place, study, base, place.text, run, design=design)


def _check_baselines(place: Place, studies: Sequence[Study]) -> None:
    """Refuse replicates of which two start from one file's weights."""
    seen: dict[str, str] = {}
    for study in studies:
        checkpoint = study.baseline.checkpoint
        if checkpoint is not None and (file := path_from(place.base, checkpoint)).is_file():
            twin = seen.setdefault(sha256_of(file), checkpoint)
            if twin != checkpoint:
                rule = f"must be another baseline for each replicate, got {checkpoint}, which is"
                rule = f"baseline.checkpoint: {rule} {twin}. Name others, or lower replicates."
                raise StudyFileError([Problem(str(place.file or ""), 0, 0, rule)])


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
    data: str = "",
) -> StudyRecord:
    """Start a study and run it to its end.

    Args:
        study: without its storage.
        base: absolute folder for its relative paths.
        text: text of the study file, as stored.
        design: of an ablation; None: a search.
        test: suite and severities for the test images, in a confirmation.
        parent: of the study that this one belongs to, from whose baseline it begins.
        data: as of `go_on`.

    Raises:
        StudyExistsError: if another driver has begun it meanwhile.
        FingerprintError: if the reference of an ablation is a trial with other data or training.
    """
    planned = [] if design is None else planned_rows(study, design)
    stored, registration = None if design is None else design.to_json(), None
    if run.register and parent is None:
        made, parts = provenance(base), registered_parts(study, stored)
        parts["code"] = made["sources"]
        registration = Registration(time.time(), parts, ablate.__version__, made["git"])
        run.progress.note(f"registered before its first run: sha256 {registration.digest}")
    space = parse_space(study, names_for(study.model.name, base))
    head = Head(
        identity=secrets.token_hex(4),
        study=study,
        text=text,
        space=space.to_json(),
        base=str(base),
        reference_point=study.search.reference_point,
        design=stored,
        test=test,
        registration=registration,
        start=start_points(study, space) if parent is None else None,
        learned=() if parent or design else known_trials(study, base, space),
        **({} if parent is None else of_parent(parent, study)),
    )
    for note in (*study_notes(study), *map(learned_text, head.learned)):
        run.progress.note(note)
    trials = study.search.trials if design is None else len(planned)
    # Rows of arms are planned after the arms are tuned; those of replicates are theirs.
    if _needs_tuning(study) or is_replicated(head):
        planned = []
    ledger = Ledger.create(place.url, head, trials, planned)
    with closing(ledger):
        try:
            return go_on(ledger, place, run, data=data)
        except BaseException:
            with suppress(InfrastructureError):  # else a later launch does it
                ledger.discard()  # unless data and baseline are ready
            raise


def _complete_head(
    ledger: Ledger,
    prepared: Prepared,
    baseline_threads: int | None,
    run: RunOptions,
    data: str,
) -> None:
    """Store what a new study depends on, now that data and baseline are ready."""
    head = ledger.head
    study = head.study
    check_same_baseline(head, prepared, accept=run.accept_environment)
    added = added_types(find_suite(study.robustness.suite))
    sections = study_fingerprint(
        study, ledger.space, prepared.data_digest, added, prepared.of_files
    )
    if data not in ("", sections["data"]):
        raise FingerprintError(
            f"study {study.name}: a replicate must have the data of {head.parent}, got others. "
            "Restore them, or launch under another name."
        )
    inputs = {**sections, "weights of the baseline": prepared.baseline_sha256}
    inputs |= {f"code of {name}": digest for name, digest in prepared.code.items()}
    for one in head.learned:
        if other := [key for key, value in one["inputs"].items() if inputs.get(key) != value]:
            raise FingerprintError(
                f"study {study.name}: the studies in search.learn_from must have its data and "
                f"baseline, got other {', '.join(other)}. Restore them, or name others."
            )
    if head.design is not None:
        sections["design"] = digest_of(head.design)
    if study.ablation is not None:
        reference = find_reference(study, Path(head.base))
        if reference.sections is not None:
            check_reference(study, sections, reference.study, reference.sections)
    if prepared.unstated and not head.parent:
        raise ParameterError(prepared.unstated)
    check_prepared(study, prepared)
    environment = {**prepared.environment, "baseline_threads": baseline_threads}
    if prepared.code:
        environment["code"] = dict(prepared.code)
    if prepared.left_out:
        environment["left_out"] = dict(prepared.left_out)
    ledger.set_head(
        replace(
            head,
            fingerprint=sections,
            baseline_sha256=prepared.baseline_sha256,
            environment=environment,
            preprocessing=prepared.preprocessing,
            reference_point=_reference_point(study, prepared),
        )
    )


def check_prepared(study: Study, prepared: Prepared) -> None:
    """Refuse a baseline that is not as expected, and a constraint on it that no trial can keep, now
    that it is scored.

    Raises:
        ParameterError: naming its key.
    """
    scores = prepared.baseline_scores
    if scores is None:
        return
    fed = scores.clean_accuracy, scores.n_images, prepared.preprocessing
    if rule := expected_rule(study.baseline.expected_accuracy, *fed):
        raise ParameterError(f"baseline.expected_accuracy: {rule}")
    baseline = scores.metrics()
    for number, constraint in enumerate(study.constraints):
        where = f"constraints[{number}]"
        value = f"{100 * baseline[constraint.metric]:.2f} %"
        bounds = constraint.bounds(baseline)
        for side, bound in zip(constraint.sides, bounds, strict=True):
            if constraint.reads_baseline and (rule := unreachable(bound)) is not None:
                raise ParameterError(
                    f"{where}.{side.name}: {rule}, got {side.written} with a baseline of "
                    f"{value}. No trial would keep it: change it."
                )
        if len(bounds) == 2 and bounds[0].limit > bounds[1].limit:
            raise ParameterError(
                f"{where}: min must be at most max, got {constraint.min} and {constraint.max} with "
                f"a baseline of {value}. No trial would keep both: change one."
            )


def _reference_point(study: Study, prepared: Prepared) -> tuple[float, ...] | None:
    """The file's, else the baseline's values, minus 10 points of clean accuracy, plain or balanced;
    none for one objective."""
    if len(study.objectives) == 1:
        return None
    if study.search.reference_point is not None or prepared.baseline_scores is None:
        return study.search.reference_point
    baseline = prepared.baseline_scores.metrics()
    given_up = {"val_clean_accuracy": 0.10, "val_balanced_accuracy": 0.10}
    metrics = [objective.metric for objective in study.objectives]
    return tuple(baseline[metric] - given_up.get(metric, 0.0) for metric in metrics)


# -- A study that is there, prepared or not ------------------------------------------------------


def begin_again(ledger: Ledger, run: RunOptions) -> bool:
    """Remove a study whose driver died before data and baseline were ready.

    Returns:
        Whether it was removed; then it can be started again, with a changed file.  It is kept if a
        row was enqueued.

    Raises:
        LeaseError: if a driver is preparing it now.
    """
    if ledger.head.is_prepared:
        return False
    with leased(ledger, run):
        pass
    return ledger.discard()


def go_on(
    ledger: Ledger,
    place: Place,
    run: RunOptions,
    total: int | None = None,
    *,
    seeds: int | None = None,
    data: str = "",
) -> StudyRecord:
    """Run an existing study to its end.

    Args:
        total: new number of rows; None: unchanged.
        seeds: per cell of an ablation; None: as in the file, or unchanged.
        data: digest of the data that it must have when it starts; empty: any.

    Raises:
        LeaseError: if another driver holds it; then nothing is changed.
        FingerprintError: if a change of data, environment or method would affect scores.
    """
    ledger.check_writable("to be resumed")
    head, is_prepared = ledger.head, ledger.head.is_prepared
    if is_replicated(head) and is_prepared:
        return _run_replicates(ledger, place, run, seeds)
    design = None if head.design is None else Design.from_json(head.design)
    if design is not None and is_prepared and _needs_tuning(head.study) and not design.tuning:
        design = _tuned(design, head, place, run)
    with leased(ledger, run) as lease:
        study, base, notes = changed_study(ledger, place, seeds)
        edited = edited_head(ledger, place, run)
        study = study if edited is None else edited.study
        threads = head.environment.get("baseline_threads")
        first = replicate_studies(study)[0]
        with running_on(place, head, first, base, run, baseline_threads=threads) as running:
            prepared = prepare(ledger, running, run)
            if is_prepared:
                check_same_environment(ledger, prepared, accept=run.accept_environment)
            if edited is not None:
                store_edit(ledger, edited, prepared, run)
            store_changes(ledger, study, base, notes, run)
            if not is_prepared:
                _complete_head(ledger, prepared, running.job.baseline_threads, run, data)
            if design is None and total is not None:
                ledger.set_trials(total)
            if is_replicated(head):
                pass  # which are run with their own executors
            elif design is None or design.tuning or not _needs_tuning(study):
                if design is not None:
                    ledger.plan(planned_rows(study, design), design.to_json())
                return drive_to_end(ledger, lease, running, prepared, run)
    return go_on(ledger, place, run, seeds=seeds)  # its arms are tuned, or its replicates are run


def _needs_tuning(study: Study) -> bool:
    return study.ablation is not None and study.ablation.tune is not None


def _tuned(design: Design, head: Head, place: Place, run: RunOptions) -> Design:
    """The design with the values that the search of each arm has picked."""

    def run_search(where: Place, study: Study) -> StudyRecord:
        begun = open_part(where, head.study.name)
        where.make_folder()
        if begun is None:
            return begin_study(where, study, Path(head.base), head.text, run, parent=head)
        with closing(begun):
            record = begun.read()
            return record if record.is_over else go_on(begun, where, run)

    names = names_for(head.study.model.name, Path(head.base))
    return tune_design(design, head.study, place, run_search, run.progress, names=names)


# -- The replicates of an ablation, one after the other --------------------------------------------


def _run_replicates(
    ledger: Ledger, place: Place, run: RunOptions, seeds: int | None
) -> StudyRecord:
    """Run each replicate of an ablation to its end, or return it as it is if it has ended.

    A replicate is an ablation of its own, which belongs to this study: it is tuned, stopped,
    resumed and extended as any other.  This study's lease is held for all of it.
    """
    with leased(ledger, run) as lease, Stops().heard():
        before = open_place(place).record
        study, base, notes = changed_study(ledger, place, seeds)
        stop, more = study.ablation_section.stop, study.ablation_section.seed_count
        if stop and not before.is_over and more > before.study.ablation_section.seed_count:
            raise UsageError(
                f"study {place.name}: seeds are added when a look has ended the study, got {more} "
                "seeds before. Finish it first: ablate resume."
            )
        store_changes(ledger, study, base, notes, run, has_ended=before.is_over)
        for number in range(study.ablation_section.replicates or 0):
            lease.check_file()
            if not _run_replicate(ledger.head, place, number, run):
                break
            to_come = () if stop is None else stop.looks[len(ledger.head.planned_looks) :]
            if stop is not None and number + 1 in to_come[:1]:
                _look(ledger, place, stop, run)
    return open_place(place).record


def _look(ledger: Ledger, place: Place, stop: StopSettings, run: RunOptions) -> None:
    """Take the look that is due, at the replicates that are there, and record it."""
    if stop.confirm is None:
        look = open_place(place).look(len(ledger.head.planned_looks))
        looks = (*ledger.head.planned_looks, look.to_json())
        run.progress.note(look.text)
    else:
        looks = _confirmed(ledger, place, stop.confirm, run).planned_looks
    ledger.set_head(replace(ledger.head, planned_looks=looks))


def _confirmed(
    ledger: Ledger, place: Place, confirm: ConfirmSettings, run: RunOptions
) -> StudyRecord:
    """Confirm the replicates that are there. Their confirmation takes the looks."""
    head, part = ledger.head, place.confirmation
    count = len(open_place(place).replicates)
    ledger.open_test(f"look at {count} replicates, {confirm.seeds} seeds", part.name)
    begun = open_part(part, place.name)
    if begun is not None:
        with closing(begun):
            if not begin_again(begun, run):
                return go_on(begun, part, run)
    part.make_folder()
    test = tested_as(head.study, confirm.suite, confirm.severities)
    assert head.design is not None
    design = repeated_design(head.study, Design.from_json(head.design), test)
    study = repeating_study(head.study, part.name, confirm.seeds)
    base = Path(head.base)
    return begin_study(part, study, base, head.text, run, design=design, test=test, parent=head)


def _run_replicate(head: Head, place: Place, number: int, run: RunOptions) -> bool:
    """Run one replicate to its end, if there is to be one.

    Returns:
        Whether there is; not after the last look, nor of a confirmation whose replicate has not
        ended.
    """
    part, origin = place.replicate(number), head
    seeds, data = head.study.ablation_section.seed_count, head.fingerprint["data"]
    if place.study is not None:  # what the file says now of how it is run
        study = replicate_study(for_workers(place.study), number, part.name)
        part = replace(part, file=place.file, study=study)
    begun = open_part(part, place.name)
    if begun is not None:
        with closing(begun):
            record = begun.read()
            if not record.is_over or record.study.ablation_section.seed_count < seeds:
                run.progress.note(f"replicate {number} goes on: {part.name}")
                go_on(begun, part, run, seeds=seeds, data=data)
        return True
    if head.going == ():
        return False
    study, design, test = replicate_study(head.study, number, part.name), head.design, head.test
    if test is not None:  # of a confirmation: that of the replicate that it repeats
        repeated = open_part(replace(place, name=f"{head.parent}~r{number}"), str(head.parent))
        if repeated is None:
            return False
        with closing(repeated):
            record = repeated.read()
            if not record.is_over:
                return False
            origin, test = repeated.head, with_alphas(test, record)
        study, design = repeating_study(origin.study, part.name, seeds), origin.design
    run.progress.note(f"replicate {number} begins: {part.name}")
    part.make_folder()
    assert design is not None
    planned = Design.from_json(design)
    if test is not None:
        planned = repeated_design(origin.study, planned, test)
        origin = replace(origin, study=origin.study.model_copy(update={"name": head.study.name}))
    elif head.going is not None:
        planned = going_design(planned, head.going)
    begin_study(
        part,
        study,
        Path(head.base),
        head.text,
        run,
        design=planned,
        test=test,
        parent=origin,
        data=data,
    )
    return True
