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
from rich.table import Table
from rich.text import Text

from ablate.files.shown import show_name
from ablate.report.numbers import MISSING, duration_text
from ablate.robustness.evaluation.evaluation import Evaluation
from ablate.robustness.evaluation.summary import SummaryLine, benchmark_types, summarise
from ablate.robustness.measures import Interval

_TRAINED_ON = {"seen_type": "type", "seen_family": "family", "unseen": "no"}
_IDENTITY = 12
_HEADLINE = (
    "clean_accuracy",
    "mean_corruption_accuracy_unnormalised",
    "mean_accuracy_over_families_unnormalised",
    "mean_corruption_error_unnormalised",
    "mean_corruption_error",
    "mean_corruption_error_relative_to",
)
"""Of the summary, what stands first."""


def evaluation_report(evaluation: Evaluation) -> Group:
    """The printed report: the numbers to compare with their caveats, then their basis."""
    lines = summarise(evaluation)
    return Group(
        Text(evaluation.model.name, style="bold"),
        summary_table([line for line in lines if line.name in _HEADLINE]),
        *(Text.assemble(("mark: ", "yellow"), mark) for mark in evaluation.marks),
        Text(),
        heading(evaluation),
        accuracy_table(evaluation),
        Text("accuracies in %; brackets: 95 % intervals over the images", style="dim"),
        Text(),
        summary_table([line for line in lines if line.name not in _HEADLINE]),
    )


def heading(evaluation: Evaluation) -> Text:
    """Weights, data, suite, machine and notes: a line each."""
    model, data, suite = evaluation.model, evaluation.data, evaluation.suite
    lines = []
    weights = model.checkpoint if model.checkpoint not in (None, model.name) else None
    if weights is not None and Path(weights).is_absolute():
        weights = Path(weights).name
    algorithm, colon, digest = model.identity.partition(":")
    identity = f"{algorithm}{colon}{digest[:_IDENTITY]}" if algorithm == "sha256" else ""
    told = [part for part in (weights, identity) if part]
    lines.append(_line("weights", [*told, f"{model.parameters:,} parameters"]))
    trained = model.training
    if trained:
        number = "plain finetune" if trained["trial"] is None else f"trial {trained['trial']}"
        number += f" at alpha {trained['alpha']:g}" if "alpha" in trained else ""
        terms = f"loss {trained['loss_terms']}"
        lines.append(_line("finetuned", [f"study {trained['study']}", number, terms]))
    sides = " x ".join(map(str, data.image_shape[1:]))
    of_split = f"{data.name} {data.split}".strip()
    lines.append(
        _line("data", [of_split, f"{data.n:,} images of {sides}", f"{len(data.classes)} classes"])
    )
    most = np.bincount(evaluation.labels).argmax()
    share = float((evaluation.labels == most).mean())
    always = show_name(data.classes[most])
    lines.append(_line("a network that always answers " + always, [f"{_percent(share)} %"]))
    seed = [] if evaluation.seed is None else [f"seed {evaluation.seed}"]
    where = evaluation.environment
    machine = [f"{where['precision']} on {where['device']}"] if where else []
    took = duration_text(evaluation.seconds)
    lines.append(_line("suite", [suite.name, *seed, *machine, took]))
    lines += [Text.assemble(("note: ", "dim"), note) for note in evaluation.notes]
    return Text("\n").join(lines)


def accuracy_table(evaluation: Evaluation) -> Table:
    """One row per corruption, by family; then one per family; then the benchmark, and all of
    them."""
    suite = evaluation.suite
    table = Table()
    table.add_column("accuracy, %", no_wrap=True)
    for severity in suite.severities:
        table.add_column(str(severity), justify="right", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    exposure = evaluation.exposure
    if exposure is not None:
        table.add_column("trained on", no_wrap=True)

    def add(name: str | Text, kinds: Sequence[str], told: str = "") -> None:
        cells = [_short(evaluation.accuracy(kinds, one)) for one in suite.severities]
        mean = Text(_short(evaluation.accuracy(kinds)), style="bold")
        table.add_row(name, *cells, mean, *([] if exposure is None else [told]))

    if evaluation.clean is not None:
        blank = [""] * len(suite.severities)
        clean = Text(_short(evaluation.clean.accuracy), style="bold")
        table.add_row("clean", *blank, clean, *([] if exposure is None else [""]))
        table.add_section()
    for kinds in suite.families.values():
        for kind in kinds:
            add(Text(kind), [kind], _TRAINED_ON[exposure[kind]] if exposure else "")
        table.add_section()
    for family, kinds in suite.families.items():
        add(Text(f"{family} ({len(kinds)})", style="italic"), kinds)
    of_benchmark = benchmark_types(evaluation)
    if len(of_benchmark) < len(suite.types):
        add(Text(f"benchmark ({len(of_benchmark)})", style="italic"), of_benchmark)
    add(Text(f"all ({len(suite.types)})", style="italic"), suite.types)
    return table


def summary_table(lines: Sequence[SummaryLine]) -> Table:
    """One line per number, and under its name what it is a mean of."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for line in lines:
        name = Group(Text(line.name), Padding(Text(line.over, style="dim"), (0, 0, 0, 2)))
        value = _percent(line.value)
        table.add_row(name, value if value == MISSING else f"{value} %", _interval(line.interval))
    return table


def _line(name: str, parts: Sequence[str]) -> Text:
    return Text.assemble((f"{name}: ", "dim"), ", ".join(parts))


def _percent(value: float) -> str:
    return MISSING if math.isnan(value) else f"{100 * value:.1f}"


def _short(value: float) -> str:
    """In a table of 80 columns there is no room for 100.0."""
    return _percent(value).replace("100.0", "100")


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"({_percent(interval.low)} to {_percent(interval.high)})"
