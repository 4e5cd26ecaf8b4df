"""An evaluation for a terminal: its main result, what was evaluated, every corruption by
severity, the other means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Group
from rich.padding import Padding
from rich.table import Table as Lines
from rich.text import Text

from ablate.data.scan import UNEVEN
from ablate.files.shown import bytes_text, show_name
from ablate.model.weights.export_metadata import network_name
from ablate.report.formats import TerminalTable
from ablate.report.numbers import MISSING, duration_text, percent_text
from ablate.report.tables import Table, text_column
from ablate.robustness.evaluation import Evaluation, SummaryLine, benchmark_types, summarise

_TRAINED_ON = {"seen_type": "type", "seen_family": "family", "unseen": "no"}
_HEADLINE = (
    "clean_accuracy",
    "mean_corruption_accuracy_unnormalised",
    "mean_accuracy_over_families_unnormalised",
    "mean_corruption_error_unnormalised",
    "mean_corruption_error",
    "mean_corruption_error_relative_to",
)
"""Of the summary, what stands first."""
_ROBUST = ("mean_accuracy_over_families_unnormalised", "mean_corruption_accuracy_unnormalised")


def evaluation_report(evaluation: Evaluation) -> Group:
    """The printed report: the numbers to compare with their caveats, then their basis."""
    lines = summarise(evaluation)
    return Group(
        Text(evaluation.model.name, style="bold"),
        _summary([line for line in lines if line.name in _HEADLINE]),
        *(Text.assemble(("mark: ", "yellow"), mark) for mark in evaluation.marks),
        Text(),
        *(Text(line) for line in basis_lines(evaluation)),
        Text(),
        TerminalTable(evaluation_table(evaluation)),
        Text(),
        _summary([line for line in lines if line.name not in _HEADLINE]),
    )


def basis_lines(evaluation: Evaluation) -> list[str]:
    """Weights, data, suite, machine and notes: a line each."""
    model, data, suite = evaluation.model, evaluation.data, evaluation.suite
    weights = "" if model.checkpoint in (None, model.name) else str(model.checkpoint)
    if Path(weights).is_absolute():
        weights = Path(weights).name
    algorithm, colon, digest = model.identity.partition(":")
    identity = f"{algorithm}{colon}{digest[:12]}" if algorithm == "sha256" else ""
    size = f"{model.parameters:,} parameters" if model.parameters else ""
    told = [*filter(None, (weights, identity, size))]
    lines = [f"weights: {', '.join(told)}"]
    trained = model.training
    if trained:
        network = f"study {trained['study']}, {network_name(trained)}"
        lines.append(f"finetuned: {network}, loss {trained['loss_terms']}")
    most = np.bincount(evaluation.labels).argmax()
    share = percent_text(float((evaluation.labels == most).mean()))
    environment, took = evaluation.environment, duration_text(evaluation.seconds)
    seed = [] if evaluation.seed is None else [f"seed {evaluation.seed}"]
    machine = [f"{environment['precision']} on {environment['device']}"] if environment else []
    return [
        *lines,
        f"data: {f'{data.name} {data.split}'.strip()}, {data.n:,} images of "
        f"{' x '.join(map(str, data.image_shape[1:]))}, {len(data.classes)} classes",
        f"a network that always answers {show_name(data.classes[most])}: {share} %",
        f"suite: {', '.join([suite.name, *seed, *machine, took])}",
        *(f"note: {note}" for note in evaluation.notes),
    ]


def evaluation_table(evaluation: Evaluation) -> Table:
    """A row a corruption, by family; then one a family; then the benchmark, and all of them."""
    suite, exposure = evaluation.suite, evaluation.exposure
    rows: dict[str, Sequence[str]] = {
        kind: (kind,) for kinds in suite.families.values() for kind in kinds
    }
    rows |= {f"{family} ({len(kinds)})": kinds for family, kinds in suite.families.items()}
    of_benchmark = benchmark_types(evaluation)
    if len(of_benchmark) < len(suite.types):
        rows[f"benchmark ({len(of_benchmark)})"] = of_benchmark
    rows[f"all ({len(suite.types)})"] = suite.types
    clean = [] if evaluation.clean is None else [evaluation.clean.accuracy]
    means = [*clean, *(evaluation.accuracy(kinds) for kinds in rows.values())]
    parts = [text_column("corruption", "accuracy, %", [*["clean"] * len(clean), *rows])]
    for severity in suite.severities:
        found = [evaluation.accuracy(kinds, severity) for kinds in rows.values()]
        shown = [*[""] * len(clean), *map(_short, found)]
        parts.append(text_column(str(severity), str(severity), shown))
    parts.append(text_column("mean", "mean", [*map(_short, means)]))
    if exposure is not None:
        told = [_TRAINED_ON[exposure[kind]] if kind in exposure else "" for kind in rows]
        parts.append(text_column("exposure", "trained on", [*[""] * len(clean), *told]))
    notes = ("accuracies in %; brackets: 95 % intervals over the images",)
    return Table(suite.name, "", tuple(parts), notes)


def networks_table(evaluations: Sequence[Evaluation]) -> Table:
    """A row a network, all scored on the same images: size, latency if measured, accuracies."""
    rows, notes = [], ["brackets: 95 % intervals over the images"]
    for one in evaluations:
        model, summary = one.model, {line.name: line for line in summarise(one)}
        file = Path(model.checkpoint or model.name).name
        runtime = (
            "onnxruntime" if file.endswith(".onnx") else f"torch {one.environment['precision']}"
        )
        size = bytes_text(model.file_bytes) if model.file_bytes else MISSING
        row = {"Network": file, "Runs in": runtime, "Size": size}
        if model.latency_ms is not None:
            row["Median (ms)"], row["p95 (ms)"] = (f"{ms:.2f}" for ms in model.latency_ms)
        robust = next(name for name in _ROBUST if name in summary)
        shown = {"clean_accuracy": "Clean (%)", robust: "Robust (%)"}
        counts = np.bincount(one.labels)
        if counts.max() >= UNEVEN * counts[counts > 0].min():
            shown |= {"clean_balanced_accuracy": "Balanced (%)"}
            shown |= {"mean_corruption_balanced_accuracy": "Robust balanced (%)"}
        for name, heading in shown.items():
            if name in summary:
                value, ends = summary[name].value, summary[name].interval
                brackets = "" if ends is None else f" [{', '.join(map(percent_text, ends))}]"
                row[heading] = percent_text(value) + brackets
        rows.append(row)
    notes.append(f"robust: {robust}, {summary[robust].over}")
    notes += [note for note in one.notes if note.startswith("ms: ")]
    columns = [text_column(name, name, [row[name] for row in rows], folds=9) for name in rows[0]]
    title = f"{f'{one.data.name} {one.data.split}'.strip()}, {one.data.n:,} images"
    marks = dict.fromkeys(mark for each in evaluations for mark in each.marks)
    return Table("networks", title, tuple(columns), (*notes, *marks))


def _summary(lines: Sequence[SummaryLine]) -> Lines:
    """One line per number, and under its name what it is a mean of."""
    table = Lines(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for line in lines:
        name = Group(Text(line.name), Padding(Text(line.over, style="dim"), (0, 0, 0, 2)))
        value, at = _value(line), line.interval
        ends = "" if at is None else f"({percent_text(at.low)} to {percent_text(at.high)})"
        table.add_row(name, value, ends)
    return table


def _value(line: SummaryLine) -> str:
    if math.isnan(line.value):
        return MISSING
    if "calibration_error" in line.name:  # a number, as `val_ece` is
        return f"{line.value:.3f}"
    return f"{line.value:.3f} nats" if line.unit == "nats" else f"{percent_text(line.value)} %"


def _short(value: float) -> str:
    """In a table of 80 columns there is no room for 100.0."""
    return percent_text(value).replace("100.0", "100")
