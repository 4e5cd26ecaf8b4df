"""What has changed since a study was started: its file, its inputs, the environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.ablation.design import more_seeds, train_seeds
from ablate.errors import FingerprintError, Problem, StudyFileError, UsageError
from ablate.files.shown import shown_if
from ablate.ledger.ledger import LOOKED, Ledger
from ablate.ledger.record import Head, edits_text
from ablate.ledger.row import Moved, moved_known
from ablate.lifecycle.drive import RunOptions
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.mixtures import keeper_of
from ablate.lifecycle.place import Place, shown_folder
from ablate.robustness.suites import added_types, find_suite
from ablate.space.fit import nothing_searched
from ablate.space.parse import parse_space
from ablate.space.space import Space
from ablate.study.checks import check_seeds
from ablate.study.document import show
from ablate.study.fingerprint import OF_FILES, changed_keys, noted_keys, study_fingerprint
from ablate.study.keys import OPEN, searched
from ablate.study.settings import Study
from ablate.trial.task import Prepared

# -- The study file ------------------------------------------------------------------------------

_READ_ONCE = ("search.enqueue", "search.start", "search.learn_from", "search.reference_point")
"""Keys that are read when a study starts, and not again."""
_OWN_FILES = (
    "baseline.checkpoint",
    "baseline.backbone",
    "dataset.path",
    "dataset.validation.path",
)
"""Keys in no fingerprint, because files may be moved; a study that goes on compares the content."""


def for_workers(study: Study) -> Study:
    """The study without its storage, which only the driver may know."""
    return study.model_copy(update={"storage": None})


def check_same_study(ledger: Ledger, place: Place, run: RunOptions) -> None:
    """Refuse a study of another method, changes of a study file that affect scores, but those of
    the space with `edit_space`, and to register what has begun; report other numbers of trials."""
    ledger.check_writable("to be resumed")
    is_search = ledger.head.design is None and ledger.head.parent is None
    if run.edit_space and not (is_search and place.study is not None):
        raise UsageError(
            f"study {place.name}: `edit_space=True` takes the space of a search's study file, got "
            f"{'no file' if is_search else 'no search'}. Name the study file, or leave it out."
        )
    if run.register:
        raise UsageError(
            f"study {place.name}: a study is registered before its first run, got one that has "
            "begun. Leave out `register=True`, or give the file another `name:`."
        )
    if place.study is None:
        return
    edits = _space_changes(ledger, place.study) if is_search else []
    keys = changed_keys(*_before_and_now(ledger, place.study))
    changed = [key for key in keys if not run.edit_space or key not in edits]
    keep = "; or add `edit_space=True`, and its trials that lie in the new space count"
    if changed:
        raise FingerprintError(
            f"study {place.name}: a study that has started must not change, got "
            f"{'; '.join(changed)}. Change it back, give the file another `name:`, or resume the "
            f"study as it was started: ablate resume {shown_folder(place.folder)}"
            f"{shown_if(changed == edits, keep)}"
        )
    _check_replicates(ledger.head.study, place.study)
    if place.study.ablation is None and place.study.search.trials != ledger.trials:
        run.progress.note(
            f"the file says {place.study.search.trials} trials, the study has {ledger.trials}; "
            "to change the total: ablate resume --trials N"
        )


def _check_replicates(begun: Study, now: Study) -> None:
    """Refuse fewer replicates than a study was started with, or none, or some where it had none."""
    before, after = (
        None if one.ablation is None else one.ablation.replicates for one in (begun, now)
    )
    if (before is None) != (after is None) or (after or 0) < (before or 0):
        raise FingerprintError(
            f"study {begun.name}: ablation.replicates may only be raised, got {show(after)} after "
            f"{show(before)}. Change it back, or give the file another `name:`."
        )


def _before_and_now(ledger: Ledger, now: Study) -> tuple[dict[str, object], dict[str, object]]:
    begun = ledger.head.study.model_dump(mode="json")
    return begun, for_workers(now).model_dump(mode="json")


def _space_changes(ledger: Ledger, now: Study) -> list[str]:
    """Changes of the space, and of the fixed values of keys that it searches or has searched."""
    keys = searched(ledger.head.study.space) | searched(now.space)
    keys |= {key.rpartition(".")[0] for key in keys} & {*OPEN}
    return [
        change
        for change in changed_keys(*_before_and_now(ledger, now))
        for key in [change.partition(":")[0]]
        if key.startswith("space.") or (key in keys and now.trainable is None)
    ]


def edited_head(ledger: Ledger, place: Place, run: RunOptions) -> Head | None:
    """What a study is with the space of its file, if that is asked for and another one."""
    if not run.edit_space or place.study is None:
        return None
    study = for_workers(place.study)
    if not _space_changes(ledger, study):
        run.progress.note("the space of the file is that of the study: nothing to edit")
        return None
    space = parse_space(study, names_for(study.model.name, place.base))
    if (rule := nothing_searched(study, space)) is not None:
        raise StudyFileError([Problem(str(place.file or ""), 0, 0, f"space: {rule}")])
    return replace(
        ledger.head, study=study, text=place.text, base=str(place.base), space=space.to_json()
    )


def store_edit(ledger: Ledger, edited: Head, prepared: Prepared, run: RunOptions) -> None:
    """Put another space in force, and say which trials count in it."""
    head, (study, space) = ledger.head, (edited.study, Space.from_json(edited.space))
    sections, before = dict(head.fingerprint), _sections(head.study, ledger.space, prepared)
    now = _sections(study, space, prepared).items()
    if head.is_prepared:  # what an older study has not stays so
        sections |= {name: value for name, value in now if value != before.get(name)}
    moved = Moved(head.study, study, space, {*ledger.space.keys, *space.keys})
    learned = tuple({**one, "rows": moved_known(moved, one["rows"])} for one in head.learned)
    changes = changed_keys(*_before_and_now(ledger, study))
    edited = replace(edited, fingerprint=sections, learned=learned)
    if prepared.code and head.is_prepared:  # of functions that the new space names, too
        code = {**prepared.code, **head.environment.get("code", {})}
        edited = replace(edited, environment={**head.environment, "code": code})
    record = ledger.read()
    ledger.edit_space(edited, moved, changes, keeper_of(record).resume(record.rows))
    run.progress.note(edits_text(ledger.head.edits[-1:]))


def changed_study(ledger: Ledger, place: Place, seeds: int | None) -> tuple[Study, Path, list[str]]:
    """A study as its file is now, in the file's folder, with the seeds that are asked for; nothing
    is stored before the study can go on with that.

    Returns:
        The study, the folder, and what differs, none of which affects scores.

    Raises:
        FingerprintError: if seeds of the file are others than those that were run.
        UsageError: if there are no so many seeds.
    """
    study, base, notes = ledger.head.study, Path(ledger.head.base), list[str]()
    if place.study is not None:
        if place.study.ablation is not None and study.ablation is not None:
            begun, now = train_seeds(study), train_seeds(place.study)
            if now[: len(begun)] != begun:
                raise FingerprintError(
                    f"study {place.name}: seeds may only be added to ablation.seeds, got "
                    f"{show(list(now))} after {show(list(begun))}. Put the old ones first, or give "
                    "the file another `name:`."
                )
        notes, base = noted_keys(*_before_and_now(ledger, place.study)), place.base
        study = for_workers(place.study) if notes else study
    if seeds is not None and seeds > (there := study.ablation_section.seed_count):
        settings = study.ablation_section
        count = seeds if isinstance(settings.seeds, int) else more_seeds(study, seeds)
        ablation = settings.model_copy(update={"seeds": count})
        study = study.model_copy(update={"ablation": ablation})
        check_seeds(study)
        notes.append(f"ablation.seeds: {there} -> {seeds}")
    return study, base, notes


def store_changes(
    ledger: Ledger,
    study: Study,
    base: Path,
    notes: Sequence[str],
    run: RunOptions,
    *,
    has_ended: bool | None = None,
) -> None:
    """Record the changes of a study that goes on, and say what they are.

    Seeds, or replicates, that are added when all runs of the others have ended are recorded as a
    look: whoever adds them may have seen the results, and stops when they please.  Reading is no
    look.

    Args:
        has_ended: whether all runs so far have; None: of the study's own rows.
    """
    if has_ended is None:
        counts = ledger.counts()
        has_ended = counts["COMPLETE"] > 0 and not counts["WAITING"] + counts["RUNNING"]
    sizes = (
        {"replicates": one.ablation.replicates or 0, "seeds": one.ablation.seed_count}
        for one in (ledger.head.study, study)
        if one.ablation is not None
    )
    before, now = next(sizes, {}), next(sizes, {})
    for what, count in before.items():
        if has_ended and now[what] > count:
            more = f"{what} {count} -> {now[what]}"
            ledger.log({LOOKED: [f"{more}, when all results of {count} were there"]})
            run.progress.note(
                f"{what} are added when the results of {count} are there: the tables count it as "
                "a look, which intervals and p values do not allow for"
            )
    if notes or str(base) != ledger.head.base:
        ledger.set_head(replace(ledger.head, study=study, base=str(base)))
    if notes:
        ledger.log({"changed": list(notes)})
        run.progress.note(f"changed since the study started: {'; '.join(notes)}")
    # The reference point is stored with the baseline's scores.
    for key in _READ_ONCE if ledger.head.is_prepared else _READ_ONCE[:3]:
        if any(note.startswith(key) for note in notes):
            run.progress.note(f"{key} is read only when a study starts: this change has no effect")


def note_unread_changes(ledger: Ledger, place: Place, run: RunOptions) -> None:
    """Say what of the file of a finished study differs, and would count if it went on."""
    if place.study is None:
        return
    keys = ("search.", *_OWN_FILES)
    noted = noted_keys(*_before_and_now(ledger, place.study))
    unread = [note for note in noted if note.startswith(keys) and "search.trials:" not in note]
    if unread:
        text = f"the study is finished, and this of its file was not read: {'; '.join(unread)}"
        fix = "to run a study of that, give the file another `name:`"
        if ledger.head.design is None:
            file = "FILE" if place.file is None else shown_folder(place.file)
            fix = f"to add trials with it: `ablate resume {file} --add N`; {fix}"
        run.progress.note(f"{text}; {fix}")


# -- Inputs and environment ----------------------------------------------------------------------


def check_same_environment(ledger: Ledger, prepared: Prepared, *, accept: bool) -> None:
    """Refuse other inputs, and without `accept` another environment; an accepted one is recorded.

    Raises:
        FingerprintError: naming what is another one.
    """
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
            "environment, or add `accept_environment=True`."
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
    sections = _sections(head.study, Space.from_json(head.space), prepared)
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
    was = begun.get("code", {})
    changes += [
        f"the code of {name} has changed"
        for name, digest in prepared.code.items()
        if was.get(name, digest) != digest
    ]
    if other_weights:
        changes.append("the retrained baseline has different weights")
    return different, changes


def _sections(study: Study, space: Space, prepared: Prepared) -> dict[str, str]:
    """The fingerprint of a study with its inputs, by section."""
    added = added_types(find_suite(study.robustness.suite))
    return study_fingerprint(study, space, prepared.data_digest, added, prepared.of_files)


def of_parent(parent: Head, study: Study) -> dict[str, Any]:
    """What a study takes from the one that it belongs to, for its `Head`.

    Its baseline is trained by as many threads, and has the same weights unless its settings differ
    (a seed each, or another network).
    """
    threads = parent.environment.get("baseline_threads", parent.study.run.cpus_per_trial)
    begun, now = ((one.dataset, one.model, one.baseline) for one in (parent.study, study))
    return {
        "parent": parent.study.name,
        "environment": {"baseline_threads": threads},
        "baseline_sha256": parent.baseline_sha256 if begun == now else "",
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
        "the cache of that study, or add `accept_environment=True`."
    )
