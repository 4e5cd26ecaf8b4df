"""Commands on a study that was begun: look at it, add to it, take something out of it."""

from __future__ import annotations

from pathlib import Path

import click

from ablate.cli.options import json_option, study_argument
from ablate.cli.show import bytes_on_disk, print_result


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
    from ablate.cli.logs import parse_values
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
    from ablate.cli.logs import parse_trial
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
    from ablate.cli.logs import show_logs

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
