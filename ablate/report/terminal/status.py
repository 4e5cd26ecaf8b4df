"""Where a study stands: a table for a terminal, and the same as plain data for `--json`."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from ablate.analysis.bounds import MOST_OBJECTIVES
from ablate.analysis.summary import StatusInfo
from ablate.files.shown import bytes_text
from ablate.report.cells import metric_unit
from ablate.report.numbers import (
    MISSING,
    duration_text,
    json_value,
    metric_label,
    metric_text,
    moment_text,
    numbers_text,
    reference_text,
    step_text,
)

_SHOWN_FAILURES = 4


def status_table(info: StatusInfo) -> Table:
    """Where the study stands, a line a fact."""
    table = Table(title=escape(f"{info.study}: {info.terminal} of {info.trials} trials ended"))
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    table.show_header = False
    counts = ", ".join(f"{count} {state.lower()}" for state, count in info.counts.items() if count)
    table.add_row("trials", counts or "none begun")
    if info.preparing is not None:
        stopped = "" if info.driver else "; its driver has ended"
        table.add_row("preparing", escape(step_text(info.preparing) + stopped))
    if info.cells is not None:
        ended, seeds = info.pairs
        table.add_row("ablation", f"{info.cells} cells, {ended} of {seeds} seeds ended in all")
    for best in info.best if info.cells is None else ():
        label = metric_label(best.metric)
        table.add_row(
            escape(f"best {label if label == best.metric else label.lower()}"),
            f"{metric_text(best.metric, best.value)}{metric_unit(best.metric)} "
            f"(trial {best.number})",
        )
    if info.cells is None:
        table.add_row("hypervolume", _hypervolume_text(info))
    table.add_row("rate", _rate_text(info))
    table.add_row("cost", _cost_text(info))
    limits = _limits_text(info)
    if limits:
        table.add_row("budget", limits)
    lost = info.account.lost_seconds
    table.add_row("time lost", f"{duration_text(lost)} of work that went into no result")
    table.add_row("peak memory", _memory_text(info))
    table.add_row("on disk", _disk_text(info))
    for group in info.failures[:_SHOWN_FAILURES]:
        table.add_row(
            f"failed: {len(group.numbers)}",
            escape(f"{group.kind}: {group.reason} ({numbers_text(group.numbers)})"),
        )
    rest = info.failures[_SHOWN_FAILURES:]
    if rest:
        failed = sum(len(group.numbers) for group in rest)
        table.add_row(f"failed: {failed}", f"for {len(rest)} other reasons")
    for opened in info.test_opened:
        when = moment_text(opened.time)
        table.add_row("test opened", escape(f"{when}: {opened.what}; scores in {opened.study}"))
    for mark in info.marks:
        table.add_row("note", escape(mark))
    table.add_row("driver", escape(_driver_text(info)))
    table.add_row("code", escape(_code_text(info)))
    table.add_row("storage", escape(info.storage))
    table.add_row("fingerprint", escape(info.fingerprint) or MISSING)
    return table


def status_rows(info: StatusInfo) -> list[dict[str, Any]]:
    """One dict, for JSON."""
    reference, account, spending = info.reference_point, info.account, info.spending
    status = {
        "study": info.study,
        "driver": info.driver,
        "preparing": None if info.preparing is None else info.preparing.to_json(),
        "storage": info.storage,
        "fingerprint": info.fingerprint,
        "trials": info.trials,
        "counts": dict(info.counts),
        "best": [
            {"metric": best.metric, "value": best.value, "number": best.number}
            for best in info.best
        ],
        "hypervolume": info.hypervolume,
        "reference_point": None if reference is None else list(reference),
        "cells": info.cells,
        "seeds_ended": info.pairs[0],
        "seeds": info.pairs[1],
        "test_opened": [vars(opened) for opened in info.test_opened],
        "rows_per_minute": info.rows_per_minute,
        "seconds_left": info.seconds_left,
        "gpu_hours": account.gpu_hours,
        "worked_seconds": account.worked_seconds,
        "lost_seconds": account.lost_seconds,
        "driving_seconds": account.driving_seconds,
        "drives": account.drives,
        "hosts": list(account.hosts),
        "peak_memory_bytes": account.peak_memory_bytes or None,
        "peak_gpu_bytes": account.peak_gpu_bytes or None,
        "checkpoint_bytes": info.checkpoint_bytes,
        "weight_bytes": info.weight_bytes,
        "budget": {"gpu_hours": spending.gpu_hours_limit, "seconds": spending.seconds_limit},
        "failures": [
            {"kind": group.kind, "reason": group.reason, "numbers": list(group.numbers)}
            for group in info.failures
        ],
        "commit": info.commit,
        "dirty": info.dirty,
        "marks": list(info.marks),
    }
    return [json_value(status)]


def _rate_text(info: StatusInfo) -> str:
    if info.rows_per_minute is None:
        return MISSING
    rate = f"{info.rows_per_minute:.3g} trials a minute"
    return f"{rate}, {duration_text(info.seconds_left)} left" if info.seconds_left else rate


def _cost_text(info: StatusInfo) -> str:
    account = info.account
    if not account.drives and not account.worked_seconds:
        return f"{MISSING} (no trial was begun)"
    drives = "1 drive" if account.drives == 1 else f"{account.drives} drives"
    return (
        f"{account.gpu_hours:.2f} GPU hours; {duration_text(account.driving_seconds)} in {drives}"
    )


def _limits_text(info: StatusInfo) -> str:
    spending, parts = info.spending, []
    if spending.gpu_hours_limit is not None:
        parts.append(f"{spending.gpu_hours:.2f} of {spending.gpu_hours_limit:g} GPU hours")
    if spending.seconds_limit is not None:
        limit = duration_text(spending.seconds_limit)
        parts.append(f"{duration_text(spending.seconds)} of {limit}")
    return ", ".join(f"{part} spent" for part in parts)


def _memory_text(info: StatusInfo) -> str:
    account = info.account
    parts = [bytes_text(account.peak_memory_bytes)] if account.peak_memory_bytes else []
    if account.peak_gpu_bytes:
        parts.append(f"{bytes_text(account.peak_gpu_bytes)} on a GPU")
    return ", ".join(parts) or MISSING


def _disk_text(info: StatusInfo) -> str:
    if info.checkpoint_bytes is None or info.weight_bytes is None:
        return MISSING
    return (
        f"{bytes_text(info.checkpoint_bytes)} of training states, "
        f"{bytes_text(info.weight_bytes)} of weights"
    )


def _driver_text(info: StatusInfo) -> str:
    if info.driver is not None:
        return info.driver
    return "none" if info.terminal >= info.trials else "none: ablate resume goes on"


def _code_text(info: StatusInfo) -> str:
    if info.commit is None:
        return "in no git repository"
    return f"commit {info.commit[:12]}" + (", with changed files" if info.dirty else "")


def _hypervolume_text(info: StatusInfo) -> str:
    if info.hypervolume is None or info.reference_point is None:
        why = "no reference point"
        if info.reference_point is not None:
            few = len(info.objectives) <= MOST_OBJECTIVES
            why = "too large" if few else f"of at most {MOST_OBJECTIVES} objectives"
        return f"{MISSING} ({why})"
    metrics = [objective.metric for objective in info.objectives]
    return (
        f"{info.hypervolume:.4g}, reference point {reference_text(metrics, info.reference_point)}"
    )
