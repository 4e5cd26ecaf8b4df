"""Commands on a started study: confirm, status, trials, enqueue, export, logs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from ablate.cli.options import (
    json_option,
    listed,
    output_option,
    run_options,
    study_argument,
)
from ablate.cli.show import print_result
from ablate.errors import ParameterError, Problem, StudyFileError

_FOLLOW_SECONDS = 1.0


@click.command()
@study_argument
@json_option
def status(study: str, as_json: bool) -> None:
    """Show the state of a study.

    Prints trial counts, best values, hypervolume, rate, time left, cost, disk use and driver.
    """
    from ablate.analysis.summary import status_info
    from ablate.lifecycle.export import checkpoint_bytes
    from ablate.lifecycle.open_study import open_study
    from ablate.report.terminal.status import status_rows, status_table

    opened = open_study(study)
    drives, folder = opened.record.drives, opened.place.folder
    disk = checkpoint_bytes(folder, drives[-1].checkpoints) if drives else None
    info = status_info(opened.record, time.time(), disk)
    print_result(status_rows(info) if as_json else status_table(info))


@click.command()
@study_argument
@click.option(
    "--state",
    metavar="STATE",
    help="Only trials in this state: complete (done), fail (failed), pruned, running, waiting.",
)
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only trials that match: COLUMN=VALUE, or with !=, <, <=, >, >=.  An accuracy is a "
    "fraction: 0.9 or 90%.  May be repeated.",
)
@click.option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN: largest first.")
@click.option("--columns", metavar="COLUMN,...", help="Show only these columns.")
@json_option
def trials(
    study: str,
    *,
    state: str | None,
    where: tuple[str, ...],
    sort: str | None,
    columns: str | None,
    as_json: bool,
) -> None:
    """List the trials of a study with parameters, scores and cost.

    Columns are named as in the table or in --json: trial, robust, fma.weight, worked.
    """
    from ablate.analysis.select import select_trials
    from ablate.lifecycle.open_study import open_study
    from ablate.report.terminal.trials import trials_rows, trials_table

    whole = open_study(study).record
    record = select_trials(whole, state=state, where=where, sort=sort)
    shown = [name.strip() for name in columns.split(",")] if columns is not None else []
    table = trials_rows if as_json else partial(trials_table, whole_study=whole)
    print_result(table(record, shown))


@click.command()
@study_argument
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
@json_option
def enqueue(study: str, values: tuple[str, ...], as_json: bool) -> None:
    """Queue a trial with these parameters.

    Parameters you leave out are sampled.  KEY is a key of the space, or its last parts as in the
    tables (st.weight).  VALUE is YAML, as for --set: augment.mix='{noise: 1, blur: 3}'.  The trial
    counts towards the study's total.
    """
    from contextlib import closing

    from ablate.lifecycle.open_study import open_ledger
    from ablate.lifecycle.place import locate
    from ablate.report.numbers import param_text

    given = parse_values(values)
    with closing(open_ledger(locate(study))) as ledger:
        number = ledger.enqueue(given)
        drawn, copy_of = ledger.preview(number, given)
    if as_json:
        print_result([{"number": number, "values": given, "drawn": drawn, "copy_of": copy_of}])
        return
    shown = "; ".join(f"{key} {param_text(value)}" for key, value in given.items())
    click.echo(f"queued trial {number}: {shown}")
    if drawn:
        click.echo(f"to be sampled: {', '.join(drawn)}")
    if copy_of is not None:
        click.echo(
            f"trial {copy_of} has the same parameters and is complete: trial {number} "
            "copies its scores and is not run"
        )


@click.command()
@study_argument
@click.option(
    "--trial",
    required=True,
    metavar="N|WORD",
    help="Trial number; plain: the plain finetune; knee, or best METRIC, of the front.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="A",
    help="Weight of the finetuned network against the baseline.  "
    "Default: the alpha of the trial's scores, which is 1 without finetune.interpolation.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["safetensors", "torch_export", "onnx"]),
    help="safetensors: the weights; torch_export (.pt2) and onnx: the network with its "
    "normalisation, for images in [0, 1].  Default: by the ending of the file.",
)
@output_option("FILE", "Output file: .safetensors, .pt2 or .onnx.", required=True)
@json_option
def export(
    study: str,
    trial: str,
    *,
    alpha: float | None,
    kind: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Export the finetuned network of a complete trial.

    With --alpha, the network between the baseline and the finetuned one.
    """
    from ablate.lifecycle.export import asked_trial, export_network
    from ablate.lifecycle.open_study import open_study

    opened = open_study(study)
    number = asked_trial(opened.record, trial, where="--trial")
    point = export_network(opened, number, output, alpha=alpha, kind=kind)
    written = str(output.absolute())
    export = {"number": number, "alpha": point.alpha if point else 1.0, "file": written}
    print_result([export]) if as_json else click.echo(written)


@click.command()
@study_argument
@click.option(
    "--trial",
    type=int,
    metavar="N",
    help="Only this trial, with its output.",
)
@click.option("--follow", is_flag=True, help="Keep printing new events until Ctrl-C.")
@json_option
def logs(study: str, trial: int | None, follow: bool, as_json: bool) -> None:
    """Print the event log of a study.  With --trial also its traceback and output."""
    from ablate.lifecycle.open_study import open_study
    from ablate.report.terminal.lines import event_text

    opened = open_study(study)
    record = opened.record
    row = next((row for row in record.rows if row.number == trial), None)
    if trial is not None and row is None:
        rows = f"{len(record.rows)} trials, from 0" if record.rows else "no trials yet"
        raise ParameterError(
            f"--trial: must be a trial of {record.name}, got {trial}. It has {rows}."
        )
    events = opened.events(trial)
    if as_json and not follow:
        click.echo(json.dumps(events, indent=2))
        return
    for event in events:
        click.echo(json.dumps(event) if as_json else event_text(event))
    if row is not None and not as_json:
        if row.failure is not None and row.failure.traceback:
            click.echo(f"\n{row.failure.traceback.rstrip()}")
        for file, output in opened.output(row.number):
            click.echo(f"\n{file}:\n{output.rstrip()}")
    if not events and not follow and not as_json:
        click.echo(f"{record.name}: its run folder on this machine has no event log", err=True)
    seen = len(events)
    with suppress(KeyboardInterrupt):
        while follow:
            time.sleep(_FOLLOW_SECONDS)
            events = opened.events(trial)
            for event in events[seen:]:
                click.echo(json.dumps(event) if as_json else event_text(event))
            seen = len(events)


@click.command()
@study_argument
@click.option(
    "--seeds",
    type=int,
    default=8,
    show_default=True,
    metavar="K",
    help="Number of new seeds, the same for every arm.  More than before adds runs.",
)
@click.option(
    "--trials",
    callback=listed(int),
    metavar="N,...",
    help="Of a search only these trials: of the front, or for one objective any.",
)
@click.option(
    "--suite",
    callback=lambda _context, _option, given: given.split(",") if given and "," in given else given,
    metavar="NAME",
    help="Suite, or corruptions A,B,..., to score on the test images.  Default: the study's.",
)
@click.option(
    "--severities",
    callback=listed(int),
    metavar="N,...",
    help="Severities to score.  Default: the study's.",
)
@run_options
def confirm(study: str, *, notes: bool, as_json: bool, **options: Any) -> None:
    """Retrain a search's front, or an ablation, and score it on the test images.

    An ablation is run again as it is, with new seeds and the values that its tuning picked; its
    primary contrasts are those of the test images.  Of a search, the front; for one objective its
    best trial and those that cannot be told from it on the validation images, at most five.
    Compares them with the baseline, a plain finetune and combined data augmentation.  Prints the
    scores on the test images.
    The study's database records when and why the test images were used.
    """
    from ablate import api
    from ablate.cli.show import is_good, run_with_display, show_end
    from ablate.lifecycle.open_study import open_place, open_study
    from ablate.lifecycle.place import locate

    confirmation = locate(study).confirmation
    run_with_display(
        lambda display: api.confirm(study, progress=display, **options),
        study,
        confirmation.folder,
        as_json=as_json,
        options=options,
    )
    opened = open_place(confirmation)
    show_end(opened, notes=notes, as_json=as_json, of=open_study(study))
    if not is_good(opened.record, confirmation.folder):
        raise click.exceptions.Exit(1)


COMMANDS = (confirm, status, trials, enqueue, export, logs)


# -- What the commands that add to a study, or look into it, do with words from the command line


def parse_values(written: Sequence[str], where: str = "enqueue") -> dict[str, Any]:
    """Parameters from `key=value`, the value in YAML.

    Args:
        where: the command or option, for messages.

    Raises:
        StudyFileError: if one is not so, is given twice or is no YAML; every problem at once.
    """
    from ablate.study.yaml_source import parse_yaml

    values: dict[str, Any] = {}
    problems = []
    for text in written:
        key, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not key:
            rule = f"must be key=value, got {text!r}. Write {key or 'KEY'}=VALUE."
            problems.append(Problem(where, 0, 0, rule))
            continue
        if key in values:
            rule = f"must be given once, got it again: {text!r}. Leave one of them out."
            problems.append(Problem(f"{where} {key}", 0, 0, rule))
            continue
        document = parse_yaml(value, f"{where} {key}")
        problems += [
            Problem(f"{where} {key}", 0, 0, problem.message) for problem in document.problems
        ]
        values[key] = document.data
    if problems:
        raise StudyFileError(problems)
    return values
