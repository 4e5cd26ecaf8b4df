"""Commands on a study that was begun: look at it, add to it, take something out of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ablate.cli.options import json_option, study_argument
from ablate.cli.show import bytes_on_disk, print_result
from ablate.errors import ParameterError, Problem, StudyFileError

if TYPE_CHECKING:
    from ablate.lifecycle.open_study import OpenStudy


@click.command()
@study_argument
@json_option
def status(study: str, as_json: bool) -> None:
    """Counts by state, best points, hypervolume, rate, time left, cost, disk, driver."""
    import time

    from ablate.analysis.summary import status_info
    from ablate.lifecycle.open_study import open_study
    from ablate.report.terminal.status import status_rows, status_table

    opened = open_study(study)
    disk = bytes_on_disk(opened.record, opened.place.folder)
    info = status_info(opened.record, time.time(), disk)
    print_result(status_rows(info) if as_json else status_table(info))


@click.command()
@study_argument
@click.option(
    "--state",
    metavar="STATE",
    help="Only complete (done), fail (failed), pruned, running, waiting.",
)
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only rows for which it holds: COLUMN=VALUE, or with !=, <, <=, >, >=.  An accuracy is a "
    "fraction: 0.9 or 90%.  May be repeated.",
)
@click.option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN for the largest first.")
@click.option("--columns", metavar="COLUMN,...", help="Show these columns alone.")
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
    """The rows of a study, with parameters, scores and what each has cost.

    A column is named as in the table or in --json: trial, robust, fma.weight, worked.
    """
    from ablate.analysis.select import select_trials
    from ablate.lifecycle.open_study import open_study
    from ablate.report.terminal.trials import trials_rows, trials_table

    record = select_trials(open_study(study).record, state=state, where=where, sort=sort)
    shown = [name.strip() for name in columns.split(",")] if columns is not None else []
    print_result(trials_rows(record, shown) if as_json else trials_table(record, shown))


@click.command()
@study_argument
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
@json_option
def enqueue(study: str, values: tuple[str, ...], as_json: bool) -> None:
    """Have a study try these parameters next; what is left out is drawn.

    KEY is a key of the space, or its end as tables show it (st.weight).  VALUE is YAML, as for
    --set: augment.mix='{noise: 1, blur: 3}'.  The row counts towards the study's trials.
    """
    from ablate import api
    from ablate.report.numbers import param_text

    given = parse_values(values)
    number = api.enqueue(study, given)
    comes = api.foresee(study, number, given)
    if as_json:
        print_result([{"number": number, "values": given, **comes._asdict()}])
        return
    said = "; ".join(f"{key} {param_text(value)}" for key, value in given.items())
    click.echo(f"trial {number} waits: {said}")
    if comes.drawn:
        click.echo(f"left to the sampler: {', '.join(comes.drawn)}")
    if comes.copy_of is not None:
        click.echo(
            f"trial {comes.copy_of} is the same point and is complete: trial {number} takes its "
            "scores, nothing is run"
        )


@click.command()
@study_argument
@click.option("--trial", required=True, metavar="N|plain", help="Which; plain: the plain finetune.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.safetensors",
    help="Where the weights go.",
)
@json_option
def export(study: str, trial: str, output: Path, as_json: bool) -> None:
    """Take the finetuned weights of a complete trial out of a study."""
    from ablate.lifecycle.export import export_weights_of
    from ablate.lifecycle.open_study import open_study

    number, opened = parse_trial(trial), open_study(study)
    written = export_weights_of(opened.record, opened.place.folder, number, output)
    print_result([{"number": number, "file": str(written)}]) if as_json else click.echo(written)


@click.command()
@study_argument
@click.option("--trial", type=int, metavar="N", help="Of this one alone, with all it has printed.")
@click.option("--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@json_option
def logs(study: str, trial: int | None, follow: bool, as_json: bool) -> None:
    """What happened in a study, a line an event; of a trial also why it failed, and its output."""

    show_logs(study, trial, follow=follow, as_json=as_json)


@click.command()
@study_argument
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="0: any that is free.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Who may look: 127.0.0.1 is this machine alone, 0.0.0.0 everybody.",
)
@json_option
def dashboard(study: str, port: int, host: str, as_json: bool) -> None:
    """Show a study's storage in optuna-dashboard, to be looked at only, until Ctrl-C."""
    from ablate.cli.dashboard import open_dashboard

    with open_dashboard(study, host, port) as server:
        if as_json:
            print_result([{"url": server.url}])
        else:
            click.echo(f"{server.url}  (Ctrl-C ends it)")
        server.serve()


COMMANDS = (status, trials, enqueue, export, logs, dashboard)


# -- What the commands that add to a study, or look into it, do with words from the command line


_FOLLOW_SECONDS = 1.0


def parse_values(written: Sequence[str]) -> dict[str, Any]:
    """Parameters from `key=value`, the value in YAML.

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
            problems.append(Problem("enqueue", 0, 0, rule))
            continue
        if key in values:
            rule = f"must be given once, got it again: {text!r}. Leave one of them out."
            problems.append(Problem(f"enqueue {key}", 0, 0, rule))
            continue
        document = parse_yaml(value, f"enqueue {key}")
        problems += [Problem(f"enqueue {key}", 0, 0, one.message) for one in document.problems]
        values[key] = document.data
    if problems:
        raise StudyFileError(problems)
    return values


def parse_trial(text: str) -> int | None:
    """A trial's number; None for "plain".

    Raises:
        ParameterError: if it is neither.
    """
    if text == "plain":
        return None
    if text.isdecimal():
        return int(text)
    raise ParameterError(f"--trial: must be a trial's number or plain, got {text}.")


def show_logs(study: str, trial: int | None, *, follow: bool, as_json: bool) -> None:
    """Print the events of a study; of one trial also its traceback and captured output.

    Args:
        follow: go on printing what comes, until Ctrl-C.
        as_json: a JSON line an event with `follow`, else one list.

    Raises:
        ParameterError: if there is no such trial.
    """
    from ablate.lifecycle.open_study import open_study
    from ablate.report.terminal.lines import event_text

    opened = open_study(study)
    record = opened.record
    row = next((row for row in record.rows if row.number == trial), None)
    if trial is not None and row is None:
        rows = f"{len(record.rows)} trials from 0 on" if record.rows else "none yet"
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
        click.echo(f"{record.name}: no event is kept in its run folder here", err=True)
    if follow:
        with suppress(KeyboardInterrupt):
            _follow(opened, trial, len(events), as_json=as_json)


def _follow(study: OpenStudy, trial: int | None, seen: int, *, as_json: bool) -> None:
    from ablate.report.terminal.lines import event_text

    while True:
        time.sleep(_FOLLOW_SECONDS)
        events = study.events(trial)
        for event in events[seen:]:
            click.echo(json.dumps(event) if as_json else event_text(event))
        seen = len(events)
