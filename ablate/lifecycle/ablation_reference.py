"""The reference of an ablation, its design, the searches that tune its arms, and those from which
the sampler of another search learns."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablate.ablation.cell import Design, Tuning
from ablate.ablation.design import is_from_study, make_design
from ablate.ablation.searches import (
    arm_study,
    best_of,
    check_same_sections,
    pick_trial,
    tuned_cells,
)
from ablate.errors import Problem, StudyFileError, StudyNotFoundError, UsageError
from ablate.ledger.record import StudyRecord, row_violation
from ablate.ledger.row import Moved, moved_known
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.open_study import (
    OpenStudy,
    each_replicate,
    open_ledger,
    open_place,
    open_study,
    read_ablations,
)
from ablate.lifecycle.place import Place, place_of_file
from ablate.search.progress import Progress
from ablate.space.space import Space
from ablate.study.callables import own_types
from ablate.study.document import dotted
from ablate.study.fingerprint import OF_FILES, changed_keys
from ablate.study.keys import searchable
from ablate.study.names import KnownNames
from ablate.study.settings import Study


@dataclass(frozen=True)
class FoundReference:
    """The reference of an ablation and its source.

    Attributes:
        values: by dotted key; they override those of the study.
        text: description; empty if the file contains the values.
        study: name of the search, or empty; sections: its fingerprint.
    """

    values: Mapping[str, Any]
    text: str = ""
    study: str = ""
    sections: Mapping[str, str] | None = None


def find_reference(study: Study, base: Path) -> FoundReference:
    """Find the reference of an ablation: values of the file, or a trial of a search.

    Args:
        base: folder of the study file, for relative paths.

    Raises:
        StudyNotFoundError: if there is no such search.
        StudyFileError: if its study file is invalid.
        FingerprintError: if sections of its study file differ from this study's, or it is of
            another method.
        ParameterError: if it has no such trial.
    """
    settings = study.ablation_section
    if not is_from_study(settings):
        return FoundReference(settings.reference)
    pick = str(settings.reference.get("pick", "knee"))
    where = "ablation.reference.study"
    opened = _open_named(str(settings.reference["study"]), base, where)
    record = opened.record
    with closing(open_ledger(opened.place)) as ledger:
        ledger.check_writable("to be the reference of an ablation")
    check_same_sections(study, record)
    point = pick_trial(record, pick)
    text = f"trial {point.number} of study {record.name} ({pick})"
    return FoundReference(dict(point.params), text, record.name, record.sections)


def _open_named(name: str, base: Path, key: str) -> OpenStudy:
    """The study that is named under a key of a study file: relative to the file's folder, else to
    the current folder."""
    name = os.path.expanduser(name)  # noqa: PTH111 (it may be a URL)
    beside = base / name
    try:
        if beside.suffix in (".yaml", ".yml") and beside.is_file():
            return open_place(place_of_file(beside))
        return open_study(str(beside) if beside.is_dir() or beside.suffix == ".tar" else name)
    except StudyFileError:
        raise
    except UsageError as error:
        raise StudyNotFoundError(f"{key}: {error}") from error


def design_of(study: Study, base: Path, where: str, reference: FoundReference) -> Design:
    """The design of an ablation.

    Args:
        where: the study file, for messages.

    Raises:
        StudyFileError: with all problems.
    """
    names = names_for(study.model.name, base)
    design, problems = make_design(study, names, reference.values)
    if problems:
        raise StudyFileError(
            Problem(where, 0, 0, f"{dotted(path)}: {rule}") for path, rule in problems
        )
    if reference.text:
        design = replace(design, notes=(*design.notes, f"reference: {reference.text}"))
    return design


def plan_of(study: Study, design: Design, base: Path) -> tuple[str, ...]:
    """The power of the primary contrasts, from the pilots that the file names: a line each; and
    designs by hours where it is known or stated how replicates vary.

    Args:
        base: folder of the study file, which a relative path to a pilot starts from.

    Raises:
        StudyNotFoundError: if there is no such pilot.
        UsageError: if it is no ablation, or has no contrast that could be used, or if several do
            not match.
    """
    from ablate.ablation.power import nested_of, plan_lines, power_lines, prices_of

    settings = study.ablation
    if settings is None or settings.plan is None:
        return ()
    where, plan = "ablation.plan.pilot", settings.plan
    pilots = _pilots(study, plan.pilots, base, where)
    parts = each_replicate(pilots)
    pilot, known, pooled = parts[0], [one.ablation.effects for one in parts], None
    if len(parts) > 1:
        pooled = read_ablations(pilots)
    elif settings.replicates and plan.ratio is None:
        raise UsageError(
            f"{where}: one pilot says nothing of replicates, got {pilot.record.name}. Name "
            "several, each from another baseline, or write plan.ratio."
        )

    def images_scored(metric: str) -> int | None:
        return _images_scored(study, pilot.record.study, pilot.ablation.n_images, metric)

    effects, count, paired = known[0], settings.seed_count, "seed"
    if settings.replicates and pooled is not None:
        effects, count, paired = pooled.effects, settings.replicates, "replicate"
    lines = power_lines(
        design.claims, effects, count, plan.difference, images_scored, paired=paired
    )
    if not lines:
        raise UsageError(
            f"{where}: must have a contrast on the metric of a primary contrast, with 2 seeds or "
            f"more, got none in {pilot.record.name}. Declare primary contrasts, or name another "
            "pilot."
        )
    nested, designs = [], tuple[str, ...]()
    if pooled is not None:
        seeds = sum(one.seeds for one in pooled.replications) / len(pooled.replications)
        nested = nested_of(design.claims, pooled.effects, parts=known, seeds=seeds)
    elif plan.ratio is not None:
        nested = nested_of(design.claims, effects, ratio=plan.ratio)
        designs = (
            f"replicates are assumed to vary {plan.ratio:g} times as much as seeds (plan.ratio)",
        )
        if settings.replicates:
            lines = ()  # of seeds of one baseline
    elif plan.hours is not None:
        designs = (
            "one pilot says nothing of replicates: name several, each from another baseline, or "
            "write plan.ratio",
        )
    if nested:
        prices = prices_of([one.record for one in parts], study, design)
        images = images_scored(nested[0][0].metric) or effects[0].n_images
        designs += plan_lines(nested, prices, images, plan.difference, plan.hours)
    return (*(f"power: {line}" for line in lines), *(f"plan: {line}" for line in designs))


def _pilots(study: Study, names: Sequence[str], base: Path, where: str) -> list[OpenStudy]:
    pilots = [_open_named(name, base, where) for name in names]
    fix = "Name an ablation on the same data."
    for one in pilots:
        named, of = one.record.name, one.record.study.dataset.name
        if one.record.design is None:
            raise UsageError(f"{where}: must be an ablation, got the search {named}. {fix}")
        if of != study.dataset.name:
            rule = f"must be of the data set of this study, {study.dataset.name}, got {of}"
            raise UsageError(f"{where}: {rule} in {named}. {fix}")
        shares = study.robustness.cells, one.record.study.robustness.cells
        stop = study.ablation_section.stop  # test images are scored in full
        if shares[0] != shares[1] and not (stop and stop.confirm):
            raise UsageError(
                f"{where}: must score the share of cells of this study, robustness.cells "
                f"{shares[0]:g}, got {shares[1]:g} in {named}. Name another pilot."
            )
    return pilots


def _images_scored(study: Study, pilot: Study, of_pilot: int | None, metric: str) -> int | None:
    """How many images a study is to be scored on, from those of a pilot on the same data; None
    where they are not known."""
    splits = study.dataset.validation, pilot.dataset.validation
    if of_pilot is None or splits[0].path != splits[1].path:
        return None
    n = of_pilot
    if splits[0].path is None:
        n = max(2, round(n * splits[0].fraction / splits[1].fraction))
    if metric == "val_clean_accuracy" or study.robustness.images is None:
        return n
    return min(n, study.robustness.images)


# -- Searches whose trials the sampler of another one knows --------------------------------


_NOT_LEARNING = ("random", "nsga2", "qmc")
"""Samplers that read no trials, or only those of their own generations."""
_MEASURES = ("trainable", "dataset", "robustness", "answer")
"""Sections of which scores are of one measure, beside data and baseline."""


def known_trials(study: Study, base: Path, space: Space) -> tuple[dict[str, Any], ...]:
    """`Head.learned` of a search: trials of the studies in `search.learn_from`, as they are now.

    Raises:
        StudyNotFoundError: if there is no such study.
        UsageError: if it measures something else, or has no trial in this space.
    """
    found, judged, seen = list[dict[str, Any]](), study.judged_metrics, set[str]()
    keys = {*searchable(), "finetune.interpolation", *space.keys} - {"baseline.checkpoint"}
    named = dict.fromkeys(name for _, _, name in own_types(study.model_dump(mode="json")))
    for name in study.search.learn_from:
        opened = _open_named(name, base, "search.learn_from")
        record, identity = opened.record, opened.head.identity
        if identity in seen:
            rule = "search.learn_from: must name a search once"
            raise UsageError(f"{rule}, got {record.name} again, as {name}. Remove it.")
        seen.add(identity)
        dumps = [one.model_dump(mode="json") for one in (record.study, study)]
        sections = {*_MEASURES, *(["finetune"] if study.trainable else ())}
        changed = changed_keys(*dumps)
        got = [one for one in changed if re.split(r"[.:]", one)[0] in sections]
        if record.design is not None:
            got = ["an ablation"]
        elif study.search.sampler in _NOT_LEARNING:
            got = [f"search.sampler {study.search.sampler} here (auto, gp, tpe and your own learn)"]
        complete = [row for row in record.rows if row.scores and row.copy_of is None]
        metrics = [row.scores.metrics() for row in complete if row.scores]
        known = [
            {"params": row.params, "metrics": {metric: scores[metric] for metric in judged}}
            for row, scores in zip(complete, metrics, strict=True)
            if all(math.isfinite(scores.get(metric, math.nan)) for metric in judged)
        ]
        rows = moved_known(Moved(record.study, study, space, keys), known)
        got = got or [f"no {name}" for name in judged if not any(name in one for one in metrics)]
        if not (got or rows):
            fixed = keys.difference(space.keys)
            got = [one for one in changed if one.split(":")[0] in fixed] or ["none there"]
        if got:
            raise UsageError(
                f"search.learn_from: {record.name} must be a search with the measures of this "
                f"study, and trials in its space, got {'; '.join(got)}. Name "
                "another one, or leave it out."
            )
        of = f"{len(complete)} complete trials of {record.name}"
        inputs = {key: one for key, one in record.sections.items() if key in ("data", *OF_FILES)}
        inputs["weights of the baseline"] = record.baseline_sha256
        code = record.environment.get("code", {})
        inputs |= {f"code of {own}": code[own] for own in named if own in code}
        found.append({"of": of, "inputs": inputs, "rows": rows})
    return tuple(found)


# -- Every arm of an ablation tuned by a search of its own, before its seeds are run -------


def tune_design(
    design: Design,
    study: Study,
    place: Place,
    run_search: Callable[[Place, Study], StudyRecord],
    progress: Progress,
    *,
    names: KnownNames,
) -> Design:
    """Tune each cell by its own search, and return the design with the selected values.

    The searches are studies in the same storage, below the run's folder, so that each can be
    inspected and resumed.

    Args:
        place: of the ablation.
        run_search: starts or resumes a search, and runs it to its end.
        names: that exist, by dotted key.

    Raises:
        ParameterError: if a search does not have the trial to select.
    """
    pick = study.tune_section.pick
    cells, tuning = {cell.name: cell for cell in design.cells}, {}
    tuned = tuned_cells(study, design.cells)
    for number, cell in enumerate(tuned):
        slug = re.sub(r"[^A-Za-z0-9+._-]+", "-", cell.name).strip("-.") or "arm"
        label = f"{number:02d}-{slug}"[:40]
        part = place.part(label, f"tune/{label}")
        progress.note(f"tuning {cell.name} ({number + 1} of {len(tuned)}): {part.name}")
        record = run_search(part, arm_study(study, cell, part.name, names))
        point = pick_trial(record, pick, key="ablation.tune")
        cells[cell.name] = replace(cell, values={**cell.values, **point.params})
        metrics = [objective.metric for objective in record.study.objectives]
        best = best_of(pick.rpartition(" ")[2], metrics)
        at = len(metrics) - 1 if best is None else metrics.index(best)
        scores = tuple(
            None if row.values is None or row_violation(row, record.bounds) > 0 else row.values[at]
            for row in record.rows
        )
        tuning[cell.name] = Tuning(record.name, point.number, metrics[at], scores)
    return replace(design, cells=tuple(cells.values()), tuning=tuning)
