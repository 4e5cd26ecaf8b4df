"""Commands on a started study: resume, confirm, status, trials, enqueue, export, logs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ablate.cli.options import (
    NAMES,
    WHOLE_NUMBERS,
    json_option,
    option,
    output_option,
    run_options,
    say,
    study_argument,
)
from ablate.cli.show import print_result, run_and_show
from ablate.errors import ParameterError, Problem, StudyFileError

if TYPE_CHECKING:
    from ablate.lifecycle.open_study import OpenStudy
    from ablate.report.terminal.live import Display

_FOLLOW_SECONDS = 1.0


@click.command()
@study_argument
@option("--trials N", "New total number of trials.", int)
@option("--add K", "Number of additional trials.", int)
@option("--seeds K", "Ablations only: new number of seeds per cell.", int)
@option("--edit-space", "Take the space of the study file; trials that lie in it count.")
@run_options
def resume(
    study: str,
    *,
    trials: int | None,
    add: int | None,
    seeds: int | None,
    notes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Finish an interrupted study, or add trials to it.  Interrupted trials run first."""
    from ablate.lifecycle.drive import RunOptions
    from ablate.lifecycle.launch import resume_study
    from ablate.lifecycle.open_study import OpenStudy
    from ablate.lifecycle.place import locate

    place = locate(study)

    def run(display: Display) -> OpenStudy:
        how = RunOptions(progress=display, **options)
        return OpenStudy(place, resume_study(place, how, trials, add, seeds))

    run_and_show(run, study, place.folder, notes=notes, as_json=as_json, options=options)


def _suite(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
    return value.split(",") if value and "," in value else value


@click.command()
@study_argument
@option(
    "--seeds K",
    "Number of new seeds, the same for every arm.  More than before adds runs.",
    int,
    default=8,
)
@option(
    "--trials N,...",
    "Of a search only these trials: of the front, or for one objective any.",
    WHOLE_NUMBERS,
)
@option(
    "--suite NAME",
    "Suite, or corruptions A,B,..., to score on the test images.  Default: the study's.",
    callback=_suite,
)
@option("--severities N,...", "Severities to score.  Default: the study's.", WHOLE_NUMBERS)
@run_options
def confirm(study: str, *, notes: bool, as_json: bool, **options: Any) -> None:
    """Retrain a search's front, or an ablation, and score it on the test images.

    An ablation is run again as it is, with new seeds and the values that its tuning picked; its
    primary contrasts are those of the test images.  Of a search, the front; for one objective its
    best trial and those that cannot be told from it on the validation images, at most five.  The
    trials of a mixture on the front are trained again, and averaged as they were.
    Compares them with the baseline, a plain finetune and combined data augmentation.  Prints the
    scores on the test images.
    The study's database records when and why the test images were used.
    """
    from ablate import api
    from ablate.lifecycle.open_study import open_place
    from ablate.lifecycle.place import locate

    place = locate(study).confirmation

    def run(display: Display) -> OpenStudy:
        api.confirm(study, progress=display, **options)
        return open_place(place)

    run_and_show(
        run,
        study,
        place.folder,
        confirms=True,
        notes=notes,
        as_json=as_json,
        options=options,
    )


@click.command()
@study_argument
@json_option
def status(study: str, as_json: bool) -> None:
    """Show the state of a study.

    Prints trial counts, best values, hypervolume, rate, time left, cost, disk use and driver.
    """
    from ablate.analysis.summary import status_info
    from ablate.lifecycle.export import checkpoint_bytes
    from ablate.lifecycle.open_study import each_replicate, open_study
    from ablate.report.terminal.status import status_rows, status_table

    opened = open_study(study)
    sizes = [
        checkpoint_bytes(one.place.folder, one.record.drives[-1].checkpoints)
        for one in each_replicate([opened])
        if one.record.drives
    ]
    known = [size for size in sizes if size is not None]
    disk = (sum(one for one, _ in known), sum(one for _, one in known)) if known else None
    info = status_info(opened.record, time.time(), disk, opened.tuning)
    print_result(status_rows(info) if as_json else status_table(info))


@click.command()
@study_argument
@option(
    "--state STATE",
    "Only trials in this state: complete (done), fail (failed), pruned, running, waiting, outside.",
)
@option(
    "--where CONDITION",
    "Only trials that match: COLUMN=VALUE, or with !=, <, <=, >, >=.  An accuracy is a "
    "fraction: 0.9 or 90%.  May be repeated.",
    multiple=True,
)
@option("--sort COLUMN", "Sort by a column; -COLUMN: largest first.")
@option("--columns COLUMN,...", "Show only these columns.", NAMES)
@json_option
def trials(study: str, *, columns: Sequence[str] | None, as_json: bool, **options: Any) -> None:
    """List the trials of a study with parameters, scores and cost.

    Columns are named as in the table or in --json: trial, robust, fma.weight, worked.
    """
    from ablate.analysis.select import select_trials
    from ablate.lifecycle.open_study import open_study
    from ablate.report.terminal.trials import trials_rows, trials_table

    whole = open_study(study).record
    table = trials_rows if as_json else partial(trials_table, whole_study=whole)
    print_result(table(select_trials(whole, **options), columns or []))


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
        named = f"{where} {key}"
        if not sign or not key:
            named = where
            rules = [f"must be key=value, got {text!r}. Write {key or 'KEY'}=VALUE."]
        elif key in values:
            rules = [f"must be given once, got it again: {text!r}. Leave one of them out."]
        else:
            document = parse_yaml(value, named)
            rules = [problem.message for problem in document.problems]
            values[key] = document.data
        problems += [Problem(named, 0, 0, rule) for rule in rules]
    if problems:
        raise StudyFileError(problems)
    return values


@click.command()
@study_argument
@option(
    "--trial N|WORD",
    "Trial number, or several as 0-2,4 (their average); plain: the plain finetune; knee, or best "
    "METRIC, of the front.",
    required=True,
)
@option(
    "--alpha A",
    "Weight of the finetuned network against the baseline.  Default: the alpha of the trial's "
    "scores, which is 1 without finetune.interpolation; of several trials 1.",
    click.FloatRange(0, 2, min_open=True),
)
@option(
    "--format kind",
    "safetensors: the weights; torch_export (.pt2) and onnx: the network with its "
    "normalisation, for images in [0, 1].  Default: by the ending of the file.",
    ["safetensors", "torch_export", "onnx"],
)
@option("--int8", "Of ONNX: in 8 bits, calibrated with validation images and checked on others.")
@output_option("FILE", "Output file: .safetensors, .pt2 or .onnx.", required=True)
@json_option
def export(study: str, trial: str, *, output: Path, as_json: bool, **options: Any) -> None:
    """Export the finetuned network of a complete trial, or the average of several.

    With --alpha, the network between the baseline and that one.
    """
    from ablate.lifecycle.export import asked_trial, export_network
    from ablate.lifecycle.open_study import open_study
    from ablate.study.mixture import Mixture

    opened = open_study(study)
    asked = asked_trial(opened.record, trial, where="--trial")
    point, int8 = export_network(opened, asked, output, **options)
    written = str(output.absolute())
    export: dict[str, Any] = {"number": asked, "alpha": point.alpha if point else 1.0}
    if isinstance(asked, Mixture):
        export |= {"number": None, "trials": list(asked.trials)}
    export["file"] = written
    if int8:
        say(int8)
    print_result([export]) if as_json else click.echo(written)


@click.command()
@study_argument
@option("--trial N", "Only this trial, with its output.", int)
@option("--follow", "Keep printing new events until Ctrl-C.")
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
    opened, trial = opened.owner(trial)
    events = opened.events(trial)
    if as_json and not follow:
        click.echo(json.dumps(events, indent=2))
        return
    show = json.dumps if as_json else event_text
    for event in events:
        click.echo(show(event))
    if row is not None and not as_json:
        if row.failure is not None and row.failure.traceback:
            click.echo(f"\n{row.failure.traceback.rstrip()}")
        for file, output in opened.output(trial or 0):
            click.echo(f"\n{file}:\n{output.rstrip()}")
    if not events and not follow and not as_json:
        click.echo(f"{record.name}: its run folder on this machine has no event log", err=True)
    with suppress(KeyboardInterrupt):
        while follow:
            time.sleep(_FOLLOW_SECONDS)
            seen, events = len(events), opened.events(trial)
            for event in events[seen:]:
                click.echo(show(event))


COMMANDS = (resume, confirm, status, trials, enqueue, export, logs)
