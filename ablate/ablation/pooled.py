"""Several ablations, or the replicates of one, read as one: the same arms, each time from a
baseline of its own.

A claim about a method is meant for new baselines, of which the seeds of one say nothing.  So the
seeds of each ablation are averaged first, and the model of pairs and images is over ablations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NoReturn

from ablate.ablation.cell import Design
from ablate.ablation.info import (
    AblationInfo,
    declared_claims,
    info_of_results,
    minimized_metrics,
)
from ablate.ablation.interpolated import stated_loss
from ablate.ablation.looks import Look, measure, take_look
from ablate.ablation.results import Outcomes, PooledResults, References, Results, SplitName
from ablate.errors import UsageError
from ablate.files.shown import shown_if
from ablate.ledger.record import StudyRecord, accepted_text
from ablate.study.document import show
from ablate.study.fingerprint import changed_keys
from ablate.study.scores import AT_CLEAN_LOSS, Scores

Source = tuple[StudyRecord, Outcomes, References]

_MAY_DIFFER = ("baseline", "space", "ablation", "constraints", "answer", "finetune.seed")
"""Keys that replications may have of their own; what of `ablation` may not is in the design."""


def pooled_info(
    sources: Sequence[Source], whole: StudyRecord | None = None, split: SplitName | None = None
) -> AblationInfo:
    """Results of ablations of the same arms and images, each from another baseline.

    Args:
        sources: rows of each, and which images its networks classified correctly; all
            confirmations, or none.
        whole: the study that they are replicates of, with their rows; None: several studies.
        split: None: the test images of confirmations, else the validation images.

    Returns:
        As of one ablation whose pairs are the ablations (`PooledResults`).

    Raises:
        UsageError: if one is a search, or does not match the first.
    """
    records = [record for record, *_ in sources]
    results, designs, split = _pooled(sources, split, are_one=whole is not None)
    if whole is None:
        whole = replace(
            records[0],
            name=", ".join(record.name for record in records),
            fingerprint=", ".join(record.fingerprint[:12] for record in records),
            rows=tuple(chain.from_iterable(record.rows for record in records)),
            trials=sum(record.trials for record in records),
            looks=sum(record.looks for record in records),
            accepted_baseline=accepted_text(records),
        )
    design = replace(
        designs[0],
        notes=tuple(dict.fromkeys(chain.from_iterable(design.notes for design in designs))),
        tuning={cell: one for design in designs for cell, one in design.tuning.items()},
    )
    return info_of_results(whole, design, results, split)


def look_at(sources: Sequence[Source], whole: StudyRecord, number: int) -> Look:
    """A planned look (`ablation.stop`), at the test images of a confirmation, else at the
    validation images.  Seeds that were added after it do not count.

    Args:
        sources: of the replicates that were there, those of which a run is complete.
        number: from 0.

    Raises:
        UsageError: if the replicates do not match.
    """
    settings, taken = whole.study.ablation_section, whole.planned_looks
    stop, seeds = settings.stop, settings.seed_count
    assert stop is not None
    if number < len(taken):
        seeds = taken[number]["seeds"]
    planned = [
        (replace(one, rows=tuple(row for row in one.rows if (row.pair or 0) < seeds)), bits, others)
        for one, bits, others in sources
    ]
    results, designs, split = _pooled(planned, None, are_one=True)
    claims = declared_claims(whole, designs[0], results, split)
    measured = measure(results, designs[0], claims, minimized_metrics(whole.study, split))
    before = Look.from_json(taken[number - 1]) if number else None
    return take_look(stop, stop.looks[number], measured, before, seeds=seeds)


def _pooled(
    sources: Sequence[Source], split: SplitName | None, *, are_one: bool
) -> tuple[PooledResults, list[Design], SplitName]:
    """The results of ablations, the design of each, and the split.

    Args:
        are_one: whether they are replicates of one study, of which later ones may have fewer cells.
    """
    records = [record for record, *_ in sources]
    designs = []
    for place, record in enumerate(records):
        if record.design is None:
            _refuse(record, "be an ablation", "a search")
        if record.study.trainable is not None:
            _refuse(record, "finetune a baseline", f"trainable {record.study.trainable}")
        if record.study.ablation_section.baseline_seeds == "each":
            _refuse(record, "have one baseline", "baseline_seeds: each, whose pairs are baselines")
        for other in records[:place]:
            if record.baseline_sha256 and record.baseline_sha256 == other.baseline_sha256:
                _refuse(record, "start from another baseline", f"that of {other.name}")
        designs.append(Design.from_json(record.design))
        _check_same(records[0], record, designs[0], designs[-1], are_one=are_one)
    if split is None:
        split = "val" if records[0].test is None else "test"
    parts = [Results(*source, split) for source in sources]
    for record, part in zip(records, parts, strict=True):
        if (images := _images(part)) != (wanted := _images(parts[0])):
            rule = f"be scored on the {wanted} images of {records[0].name}"
            _refuse(record, rule, f"{images} images")
    planned = [record.study.ablation_section.seed_count for record in records]
    return PooledResults(parts, [record.name for record in records], planned), designs, split


def _check_same(first: StudyRecord, other: StudyRecord, *designs: Design, are_one: bool) -> None:
    wanted, got = map(_compared, (first, other), designs)
    for what, value in wanted.items():
        if value == got[what] or (are_one and isinstance(value, list)):
            continue
        rule = f"have the {what} of {first.name}"
        if not isinstance(value, list):
            _refuse(other, f"{rule} ({show(value)})", show(got[what]))
        missing = [f"no {one}" for one in value if one not in got[what]]
        more = [f"also {one}" for one in got[what] if one not in value]
        _refuse(other, rule, [*missing, *more, "another order"][0])
    # What a cell sets is the cell's, such as a value that its tuning has picked.
    own = {key for design in designs for cell in design.cells for key in cell.values}
    for line in changed_keys(*(one.study.model_dump(mode="json") for one in (first, other))):
        parts = line.partition(":")[0].split(".")
        above = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        if not above & {*own, *_MAY_DIFFER}:
            _refuse(other, f"differ from {first.name} in its baseline and arms alone", line)


def _compared(record: StudyRecord, design: Design) -> dict[str, Any]:
    """What must be the same, by its name."""
    margin = record.study.ablation_section.noninferior
    is_at_loss = any(claim.metric.endswith(AT_CLEAN_LOSS) for claim in design.claims)
    return {
        "split": "validation" if record.test is None else "test",
        "suite and severities": record.test and (record.test["suite"], record.test["severities"]),
        "stated clean loss": stated_loss(record) if is_at_loss else None,
        "data": record.sections.get("data"),
        "design": design.kind,
        "arms": [arm.name for arm in design.arms],
        "cells": [cell.name for cell in design.cells],
        "primary contrasts": [claim.text for claim in design.claims],
        "contrasts": [contrast.name for contrast in design.contrasts],
        "margin": None if margin is None else margin.model_dump(),
    }


def _images(results: Results) -> str:
    first = results.first
    if not isinstance(first, Scores):
        return "0"
    corrupted = first.n_corrupted or first.n_images
    of_copies = shown_if(corrupted != first.n_images, f" ({corrupted:,} corrupted)")
    return f"{first.n_images:,}{of_copies}"


def _refuse(record: StudyRecord, rule: str, got: str) -> NoReturn:
    raise UsageError(
        f"study {record.name}: to be read as one with others it must {rule}, got {got}. Leave it "
        "out."
    )
