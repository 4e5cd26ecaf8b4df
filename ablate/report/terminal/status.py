"""The state of a study: its facts for a terminal and the page, and as plain data for `--json`."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from ablate.analysis.caveats import baseline_warning, result_marks
from ablate.analysis.summary import StatusInfo, continuation
from ablate.files.shown import bytes_text, few, shown_if
from ablate.ledger.record import TERMINAL, StudyRecord
from ablate.report.numbers import (
    duration_text,
    hypervolume_text,
    metric_text,
    metric_unit,
    metric_words,
    moment_text,
    run_time_rows,
    step_text,
)
from ablate.study.json_data import json_value
from ablate.study.preparation import fed_text

_MOST_FAILURES = 4


def status_table(info: StatusInfo) -> Table:
    """The state of the study on one screen, a line per fact; what is unknown has none."""
    record, warning = info.record, baseline_warning(info.record)
    ended = sum(info.counts[state] for state in TERMINAL)
    title = shown_if(warning, f"warning: {warning}\n")
    title += f"{record.name}: {ended} of {record.trials} trials ended"
    title += shown_if(record.spent, f"; {record.spent}")
    columns = Column(no_wrap=True), Column(overflow="fold")
    table = Table(*columns, title=escape(title), show_header=False)
    for name, text in study_facts(info):
        table.add_row(escape(name), escape(text))
    for mark in result_marks(record):
        if mark != warning:
            table.add_row("note", escape(mark))
    return table


def study_facts(info: StatusInfo) -> list[tuple[str, str]]:
    """Where a study stands, what it took, and where it is kept: names and texts."""
    record, account = info.record, info.account
    facts = [("trials", _trials_text(info))]
    has_begun = record.driver is not None and record.preparing is None
    facts.append(("plain finetune", shown_if(has_begun and record.lacks_plain, "running, or next")))
    if record.preparing is not None:
        stopped = "" if record.driver else "; its driver has ended"
        facts.append(("preparing", step_text(record.preparing) + stopped))
    if (baseline := record.references.get("baseline")) is not None:
        fed = fed_text(baseline.clean_accuracy, baseline.n_images, record.preprocessing)
        facts.append(("baseline", f"right on {fed}"))
    if record.design is None:
        facts += [
            (
                f"best {metric_words(best.metric)}",
                f"{metric_text(best.metric, best.value)}{metric_unit(best.metric)} "
                f"({best.point.name})",
            )
            for best in info.best
        ]
        objectives = record.study.objectives
        if len(objectives) > 1:
            volume = hypervolume_text(info.hypervolume, objectives, record.reference_point)
            facts.append(("hypervolume", volume))
    else:
        (done, seeds), cells = info.pairs, len(record.design["cells"])
        asked = record.study.ablation_section.replicates
        if asked is None:
            ended = f"{cells} cells, {done} of {seeds} seeds ended in every cell"
            facts.append(("ablation", ended))
        else:
            each = record.study.ablation_section.seed_count
            ended = f"{record.replicates_ended} of {asked} have ended"
            facts.append(("replicates", f"{ended}, each of {cells} cells x {each} seeds"))
        facts.append(("tuning", info.tuning))
        if record.planned_looks:
            from ablate.ablation.looks import Look

            facts.append(("looks", Look.from_json(record.planned_looks[-1]).text))
    facts += run_time_rows(account, record.study.search.budget)
    states, weights = info.disk or (0, 0)
    sizes = {
        "of memory at most": account.peak_memory_bytes,
        "on a GPU at most": account.peak_gpu_bytes,
        "of training states on disk": states,
        "of weights on disk": weights,
    }
    size = ", ".join(f"{bytes_text(size)} {what}" for what, size in sizes.items() if size)
    facts.append(("size", size))
    for group in info.failures[:_MOST_FAILURES]:
        reason = f"{group.kind}: {group.reason} ({few(group.numbers, 12)})"
        facts.append((f"failed: {len(group.numbers)}", reason))
    if rest := info.failures[_MOST_FAILURES:]:
        failed = sum(len(group.numbers) for group in rest)
        facts.append((f"failed: {failed}", f"for {len(rest)} other reasons"))
    facts += [
        ("test images used", f"{moment_text(one.time)}: {one.what}; scores in {one.study}")
        for one in record.test_opened
    ]
    how, (commit, dirty) = continuation(record), _commit(record)
    code = f"commit {(commit or '')[:12]}{shown_if(dirty, ', with uncommitted changes')}"
    facts += [
        ("driver", record.driver or f"none{shown_if(how, f'; {how}')}"),
        ("code", shown_if(commit, code)),
        ("registered", "" if record.registration is None else record.registration.text),
        ("storage", record.storage),
    ]
    return [(name, text) for name, text in facts if text]


def _trials_text(info: StatusInfo) -> str:
    """How many are in each state, how many end a minute, and when all will have."""
    record = info.record
    called = {} if record.driver else {"RUNNING": "interrupted"}
    counts = {called.get(state, state.lower()): count for state, count in info.counts.items()}
    trials = [f"{count} {state}" for state, count in counts.items() if count]
    if info.rows_per_minute is not None:
        trials.append(f"{info.rows_per_minute:.3g} a minute")
    if record.driver is not None and info.seconds_left:
        trials.append(f"{duration_text(info.seconds_left)} left")
    return ", ".join(trials) or "none started"


def _commit(record: StudyRecord) -> tuple[str | None, bool]:
    """Of the code of the last drive, None outside a repository; whether files were changed."""
    git = (record.drives[-1].provenance.get("git") if record.drives else None) or {}
    return git.get("commit"), bool(git.get("dirty"))


def status_rows(info: StatusInfo) -> list[dict[str, Any]]:
    """One dict, for JSON."""
    record, account = info.record, info.account
    baseline, budget = record.references.get("baseline"), record.study.search.budget
    preparing, preprocessing = record.preparing, record.preprocessing
    states, weights = info.disk or (None, None)
    commit, dirty = _commit(record)
    status = {
        "study": record.name,
        "driver": record.driver,
        "continuation": continuation(record) or None,
        "preparing": preparing and preparing.to_json(),
        "storage": record.storage,
        "fingerprint": record.fingerprint,
        "baseline": baseline
        and {
            "accuracy": baseline.clean_accuracy,
            "images": baseline.n_images,
            "preprocessing": preprocessing and preprocessing.to_json(),
        },
        "trials": record.trials,
        "counts": dict(info.counts),
        "best": [
            {"metric": best.metric, "value": best.value, "network": best.point.name}
            for best in info.best
        ],
        "hypervolume": info.hypervolume,
        "reference_point": record.reference_point,
        "cells": None if record.design is None else len(record.design["cells"]),
        "seeds_ended": info.pairs[0],
        "seeds": info.pairs[1],
        "replicates": record.study.ablation and record.study.ablation.replicates,
        "replicates_ended": record.replicates_ended,
        "planned_looks": record.planned_looks,
        "edits": record.edits,
        "test_opened": [vars(opened) for opened in record.test_opened],
        "rows_per_minute": info.rows_per_minute,
        "seconds_left": info.seconds_left,
        "tuning": info.tuning,
        "gpu_hours": account.gpu_hours,
        "worked_seconds": account.worked_seconds,
        "lost_seconds": account.lost_seconds,
        "epochs": vars(account.epochs) | {"rungs": [vars(rung) for rung in account.epochs.rungs]},
        "driving_seconds": account.driving_seconds,
        "drives": len(account.drives),
        "run_times": [vars(drive) for drive in account.drives],
        "hosts": account.hosts,
        "peak_memory_bytes": account.peak_memory_bytes or None,
        "peak_gpu_bytes": account.peak_gpu_bytes or None,
        "checkpoint_bytes": states,
        "weight_bytes": weights,
        "budget": {"gpu_hours": budget.gpu_hours, "seconds": budget.seconds},
        "spent": record.spent,
        "failures": [vars(group) for group in info.failures],
        "commit": commit,
        "dirty": dirty,
        "registered": record.registration
        and {**record.registration.to_json(), "digest": record.registration.digest},
        "marks": result_marks(record),
    }
    return [json_value(status)]
