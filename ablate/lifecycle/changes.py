"""What has changed since a study was started: its file, its inputs, the environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ablate.ablation.design import more_seeds, train_seeds
from ablate.errors import FingerprintError, UsageError
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Head
from ablate.lifecycle.drive import RunOptions
from ablate.lifecycle.place import Place, shown_folder
from ablate.robustness.suites import added_types, find_suite
from ablate.space.space import Space
from ablate.study.document import show
from ablate.study.fingerprint import OF_FILES, changed_keys, noted_keys, study_fingerprint
from ablate.study.keys import value_at
from ablate.study.metrics import reserved_name
from ablate.study.seeds import check_room_for_seeds
from ablate.study.settings import Study
from ablate.trial.task import Prepared


def check_same_study(ledger: Ledger, place: Place, run: RunOptions) -> None:
    """Refuse a study of another method, and a study file with changes that affect scores; report
    other changes."""
    ledger.check_writable("to be resumed")
    if place.study is None:
        return
    before, after = _dumps(ledger, place.study)
    if changed := changed_keys(before, after):
        raise FingerprintError(
            f"study {place.name}: a study that has started must not change, got "
            f"{'; '.join(changed)}. Change it back, give the file another `name:`, or resume the "
            f"study as it was started: ablate resume {shown_folder(place.folder)}"
        )
    if place.study.ablation is None and place.study.search.trials != ledger.trials:
        run.progress.note(
            f"the file says {place.study.search.trials} trials, the study has {ledger.trials}; "
            "to change the total: ablate resume --trials N"
        )


_READ_ONCE = ("search.enqueue", "search.reference_point")
"""Keys that are read when a study starts, and not again."""


class Changed(NamedTuple):
    """A study as its file is now, in the file's folder, with the seeds that are asked for.

    Attributes:
        noted: what differs in the file; more_seeds: empty without more.
    """

    study: Study
    base: str
    noted: list[str]
    more_seeds: list[str]


def changed_study(ledger: Ledger, place: Place, seeds: int | None) -> Changed:
    """Changes that do not affect scores; nothing is stored before the study can go on with them."""
    study, base = ledger.head.study, ledger.head.base
    noted, more = list[str](), list[str]()
    if place.study is not None:
        _check_seeds(ledger, place.study)
        noted, base = noted_keys(*_dumps(ledger, place.study)), str(place.base)
        study = for_workers(place.study) if noted else study
    there = 0 if seeds is None else study.ablation_section.seed_count
    if seeds is not None and seeds > there:
        settings = study.ablation_section
        count = seeds if isinstance(settings.seeds, int) else more_seeds(study, seeds)
        ablation = settings.model_copy(update={"seeds": count})
        study = study.model_copy(update={"ablation": ablation})
        check_room_for_seeds(study)
        more = [f"ablation.seeds: {there} -> {seeds}"]
    return Changed(study, base, noted, more)


def store_changes(ledger: Ledger, changed: Changed, run: RunOptions) -> None:
    """Record the changes of a study that goes on, and say what they are."""
    _record_look(ledger, changed, run)
    notes = [*changed.noted, *changed.more_seeds]
    if notes or changed.base != ledger.head.base:
        ledger.change_study(changed.study, changed.base, notes)
    if changed.noted:
        run.progress.note(f"changed since the study started: {'; '.join(changed.noted)}")
    _note_read_once(ledger, changed.noted, run)


def _record_look(ledger: Ledger, changed: Changed, run: RunOptions) -> None:
    """Record seeds that are added when all runs of the others have ended: whoever adds them may
    have seen the results, and stops when they please. Reading is no look."""
    before, now = (
        0 if study.ablation is None else study.ablation.seed_count
        for study in (ledger.head.study, changed.study)
    )
    counts = ledger.counts()
    if now <= before or not counts["COMPLETE"] or counts["WAITING"] or counts["RUNNING"]:
        return
    ledger.look(f"seeds {before} -> {now}, when all results of {before} were there")
    run.progress.note(
        f"seeds are added when the results of {before} are there: the tables count it as a look, "
        "which intervals and p values do not allow for"
    )


def _note_read_once(ledger: Ledger, noted: Sequence[str], run: RunOptions) -> None:
    # The reference point is stored with the baseline's scores.
    for key in _READ_ONCE if ledger.head.is_prepared else _READ_ONCE[:1]:
        if any(one.startswith(key) for one in noted):
            run.progress.note(f"{key} is read only when a study starts: this change has no effect")


_OWN_FILES = ("baseline.checkpoint", "dataset.path", "dataset.validation.path")
"""Keys in no fingerprint, because files may be moved; a study that goes on compares the content."""


def note_files_not_read(ledger: Ledger, place: Place, run: RunOptions) -> None:
    """Say which of the user's own files a finished study was run with, where its study file names
    others now."""
    if place.study is None:
        return
    before, now = _dumps(ledger, place.study)
    for key in _OWN_FILES:
        used, named = value_at(before, key), value_at(now, key)
        if used != named:
            run.progress.note(
                f"the study is finished: it was run with {key} {show(used)}; the file now says "
                f"{show(named)}, which was not read. To run a study of that, give the file another "
                "`name:`"
            )


def note_changes_for_added_trials(ledger: Ledger, place: Place, run: RunOptions) -> None:
    """Say which keys of the file of a finished search differ, and count once trials are added."""
    if place.study is None or ledger.head.design is not None:
        return
    noted = noted_keys(*_dumps(ledger, place.study))
    _note_read_once(ledger, noted, run)
    others = (*_READ_ONCE, "search.trials")
    waiting = [one for one in noted if one.startswith("search.") and not one.startswith(others)]
    if waiting:
        file = "FILE" if place.file is None else shown_folder(place.file)
        run.progress.note(
            f"the study is finished; changed for trials that are added (`ablate resume {file} "
            f"--add N`): {'; '.join(waiting)}"
        )


def _check_seeds(ledger: Ledger, study: Study) -> None:
    """Check the seeds: new ones may be added after the existing ones."""
    if study.ablation is None or ledger.head.study.ablation is None:
        return
    begun, now = train_seeds(ledger.head.study), train_seeds(study)
    if now[: len(begun)] != begun:
        raise FingerprintError(
            f"study {study.name}: seeds may only be added to ablation.seeds, got "
            f"{show(list(now))} after {show(list(begun))}. Put the old ones first, or give the "
            "file another `name:`."
        )


def _dumps(ledger: Ledger, now: Study) -> tuple[dict[str, object], dict[str, object]]:
    begun = ledger.head.study.model_dump(mode="json")
    return begun, for_workers(now).model_dump(mode="json")


def check_same_environment(ledger: Ledger, prepared: Prepared, *, accept: bool) -> None:
    name = ledger.head.study.name
    different, changes = changes_since(ledger.head, prepared)
    if different:
        raise FingerprintError(
            f"study {name}: its inputs must be unchanged since it started, got other "
            f"{', '.join(different)}. Restore them, or launch under another name."
        )
    if changes and not accept:
        raise FingerprintError(
            f"study {name}: the environment must be unchanged since it started, got "
            f"{'; '.join(changes)}. New scores may differ from earlier ones: restore the "
            "environment, or add --accept-environment."
        )
    if changes:
        ledger.log({"accepted_environment": changes})


def changes_since(head: Head, prepared: Prepared) -> tuple[list[str], list[str]]:
    """What of a study's inputs, and what of its environment, is not as when it was started.

    Args:
        prepared: data and baseline as they are now.
    """
    suite = find_suite(head.study.robustness.suite)
    added = added_types(suite)
    space = Space.from_json(head.space)
    sections = study_fingerprint(head.study, space, prepared.data_digest, added, prepared.of_files)
    different = [
        OF_FILES.get(name, name)
        for name, value in sections.items()
        if value != head.fingerprint.get(name, value if name in OF_FILES else None)
    ]
    if "robustness" in different and added:
        gained = f"robustness (the suite {suite.name} has {', '.join(added)} now)"
        different[different.index("robustness")] = gained
    other_weights = prepared.baseline_sha256 != head.baseline_sha256
    if other_weights and head.study.baseline.checkpoint is not None:
        different.append("weights in baseline.checkpoint")
    begun, now = head.environment, prepared.environment
    changes = [
        f"{key}: {begun.get(key)} -> {now.get(key)}"
        for key in ("device", "precision", "compile", "threads", "torch")
        if begun.get(key) != now.get(key)
    ]
    if begun.get("code") != now.get("code"):
        changes.append(f"the code of {head.study.trainable} has changed")
    if other_weights:
        changes.append("the retrained baseline has different weights")
    return different, changes


def check_reported(ledger: Ledger, *, accept: bool) -> None:
    """Refuse to go on with a loop, of an earlier version, whose scores have names that are refused
    now: each further trial would fail.

    Args:
        accept: the loop has been changed.

    Raises:
        UsageError: naming the first of them.
    """
    study = ledger.head.study
    if study.trainable is None or accept:
        return
    for row in ledger.read().complete[:1]:
        for name in row.scores.metrics() if row.scores is not None else ():
            problem = reserved_name(name)
            if problem is None:
                continue
            fix = "Then run `ablate resume` with --accept-environment."
            if name in study.judged_metrics:  # the study itself names it
                fix = "A study that has started keeps its objectives: launch it as a new one."
            raise UsageError(f"study {study.name}: a score of its loop {problem} {fix}")


def of_parent(parent: Head, study: Study) -> dict[str, Any]:
    """What a study takes from the one that it belongs to, for its `Head`.

    Its baseline is trained by as many threads, and has the same weights unless its settings differ
    (a seed each, or another network).
    """
    threads = parent.environment.get("baseline_threads", parent.study.run.cpus_per_trial)
    begun, now = ((one.dataset, one.model, one.baseline) for one in (parent.study, study))
    is_same = begun == now
    return {
        "parent": parent.study.name,
        "environment": {"baseline_threads": threads},
        "baseline_sha256": parent.baseline_sha256 if is_same else "",
        "accepted_baseline": parent.accepted_baseline,
    }


def check_same_baseline(head: Head, prepared: Prepared, *, accept: bool) -> None:
    """Refuse a study whose baseline is not that of the study that it belongs to.

    Raises:
        FingerprintError: without `accept`.
    """
    if head.baseline_sha256 in ("", prepared.baseline_sha256) or accept:
        return
    raise FingerprintError(
        f"study {head.study.name}: must begin from the baseline of {head.parent}, got one with "
        "other weights: it was trained again, elsewhere or with another version of torch. Restore "
        "the cache of that study, or add --accept-environment."
    )


def for_workers(study: Study) -> Study:
    """The study without its storage, which only the driver may know."""
    return study.model_copy(update={"storage": None})
