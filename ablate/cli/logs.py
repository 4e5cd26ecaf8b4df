"""What the commands that add to a study, or look into it, do with words from the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from ablate.errors import ParameterError, Problem, StudyFileError

if TYPE_CHECKING:
    from ablate.lifecycle.open_study import OpenStudy

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
    from ablate.report.events import event_text

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
    from ablate.report.events import event_text

    while True:
        time.sleep(_FOLLOW_SECONDS)
        events = study.events(trial)
        for event in events[seen:]:
            click.echo(json.dumps(event) if as_json else event_text(event))
        seen = len(events)
