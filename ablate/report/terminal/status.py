"""The state of a study: a table for a terminal, and the same as plain data for `--json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from ablate.analysis.caveats import baseline_warning, result_marks
from ablate.analysis.summary import StatusInfo, continuation
from ablate.files.shown import bytes_text, few
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
    record = info.record
    ended = sum(info.counts[state] for state in TERMINAL)
    warning = baseline_warning(record)
    title = f"{record.name}: {ended} of {record.trials} trials ended"
    title += f"; {record.spent}" if record.spent is not None else ""
    title = f"warning: {warning}\n{title}" if warning else title
    columns = Column(no_wrap=True), Column(overflow="fold")
    table = Table(*columns, title=escape(title), show_header=False)
    how, (commit, dirty) = continuation(record), _commit(record)
    facts = [
        ("trials", _trials_text(info)),
        *_results(info),
        *run_time_rows(info.account, record.study.search.budget),
        ("size", _size_text(info)),
        *_failures(info),
        *(
            ("test images used", f"{moment_text(one.time)}: {one.what}; scores in {one.study}")
            for one in record.test_opened
        ),
        *(("note", mark) for mark in result_marks(record) if mark != warning),
        ("driver", record.driver or f"none{'; ' * bool(how)}{how}"),
        ("code", f"commit {commit[:12]}{', with uncommitted changes' * dirty}" if commit else ""),
        ("storage", record.storage),
    ]
    for name, text in facts:
        if text:
            table.add_row(escape(name), escape(text))
    return table


def _trials_text(info: StatusInfo) -> str:
    parts = [f"{count} {state.lower()}" for state, count in info.counts.items() if count]
    if info.rows_per_minute is not None:
        parts.append(f"{info.rows_per_minute:.3g} a minute")
    if info.record.driver is not None and info.seconds_left:
        parts.append(f"{duration_text(info.seconds_left)} left")
    return ", ".join(parts) or "none started"


def _results(info: StatusInfo) -> Iterator[tuple[str, str]]:
    record = info.record
    if record.preparing is not None:
        stopped = "" if record.driver else "; its driver has ended"
        yield "preparing", step_text(record.preparing) + stopped
    baseline = record.references.get("baseline")
    if baseline is not None:
        fed = fed_text(baseline.clean_accuracy, baseline.n_images, record.preprocessing)
        yield "baseline", f"right on {fed}"
    if record.design is not None:
        done, seeds = info.pairs
        cells = len(record.design["cells"])
        yield "ablation", f"{cells} cells, {done} of {seeds} seeds ended in every cell"
        return
    for best in info.best:
        value = f"{metric_text(best.metric, best.value)}{metric_unit(best.metric)}"
        yield f"best {metric_words(best.metric)}", f"{value} (trial {best.number})"
    objectives = record.study.objectives
    if len(objectives) > 1:
        text = hypervolume_text(info.hypervolume, objectives, record.reference_point)
        yield "hypervolume", text


def _size_text(info: StatusInfo) -> str:
    states, weights = info.disk or (0, 0)
    parts = {
        "of memory at most": info.account.peak_memory_bytes,
        "on a GPU at most": info.account.peak_gpu_bytes,
        "of training states on disk": states,
        "of weights on disk": weights,
    }
    return ", ".join(f"{bytes_text(size)} {what}" for what, size in parts.items() if size)


def _failures(info: StatusInfo) -> Iterator[tuple[str, str]]:
    for group in info.failures[:_MOST_FAILURES]:
        trials = few(group.numbers, 12)
        yield f"failed: {len(group.numbers)}", f"{group.kind}: {group.reason} ({trials})"
    rest = info.failures[_MOST_FAILURES:]
    if rest:
        failed = sum(len(group.numbers) for group in rest)
        yield f"failed: {failed}", f"for {len(rest)} other reasons"


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
        "best": [vars(best) for best in info.best],
        "hypervolume": info.hypervolume,
        "reference_point": record.reference_point,
        "cells": None if record.design is None else len(record.design["cells"]),
        "seeds_ended": info.pairs[0],
        "seeds": info.pairs[1],
        "test_opened": [vars(opened) for opened in record.test_opened],
        "rows_per_minute": info.rows_per_minute,
        "seconds_left": info.seconds_left,
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
        "marks": result_marks(record),
    }
    return [json_value(status)]
