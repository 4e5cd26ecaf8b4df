"""What the commands that run a study, or print a result, show; heavy imports inside."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ablate.cli.options import in_options
from ablate.errors import AblateError, UsageError

if TYPE_CHECKING:
    from ablate.ledger.record import StudyRecord
    from ablate.lifecycle.open_study import OpenStudy
    from ablate.lifecycle.place import Place
    from ablate.report.terminal.live import Display


Result = TypeVar("Result")


def run_and_show(
    run: Callable[[Display], StudyRecord],
    study: str,
    place: Place,
    *,
    notes: bool,
    as_json: bool,
    options: Mapping[str, Any],
) -> None:
    """Run with a display, then what the study ends with, and the exit code.

    Args:
        options: of the command line, which say where it runs; notes: as of `show_end`.
    """
    from ablate.lifecycle.open_study import OpenStudy
    from ablate.report.tracked import hand_over

    folder = place.folder
    record = run_with_display(run, study, folder, as_json=as_json, options=options)
    show_end(OpenStudy(place, record), notes=notes, as_json=as_json)
    for line in filter(None, hand_over(OpenStudy(place, record))):
        click.echo(f"ablate: {line}", err=True)
    if not is_good(record, folder):
        raise click.exceptions.Exit(1)


def run_with_display(
    run: Callable[[Display], Result],
    study: str,
    folder: Path,
    *,
    as_json: bool,
    options: Mapping[str, Any],
) -> Result:
    """Run with a display; a stop says how to go on, and ends with its exit code."""
    from ablate.report.terminal.live import make_display
    from ablate.report.terminal.streams import TextConsole
    from ablate.search.drive import Terminated

    # With --json, standard output is for the JSON alone.
    display = make_display(TextConsole(stderr=as_json), folder.name)
    try:
        return run(display)
    except (KeyboardInterrupt, Terminated) as stop:
        display.close()
        click.echo(f"ablate: stopped; {_how_to_go_on(study, folder, options)}", err=True)
        signal = stop.signal if isinstance(stop, Terminated) else 2
        raise click.exceptions.Exit(128 + signal) from None
    finally:
        display.close()


def _how_to_go_on(study: str, folder: Path, options: Mapping[str, Any]) -> str:
    from ablate.ledger.ledger import Ledger
    from ablate.lifecycle.place import locate, shown_folder

    named = shown_folder(folder)
    try:
        place = locate(str(folder) if folder.is_dir() else study)
        if not Ledger.exists(place.url, place.name):
            return "no trial has started; run the same command again (the cache is kept)"
    except UsageError:  # a password is in the study file alone
        named = shlex.quote(study)
    except AblateError:  # the stop keeps its own exit code, whatever the storage says now
        pass
    executor = "" if options["executor"] == "ray" else f" --executor {options['executor']}"
    address = options["ray_address"]
    where = f" --ray-address {shlex.quote(address)}" if address is not None else ""
    return f"resume with: ablate resume {named}{executor}{where}"


def is_good(record: StudyRecord, folder: Path) -> bool:
    """Whether a study has ended well; else one line says why not."""
    from ablate.lifecycle.place import shown_folder

    count, failed, stopped = len(record.rows), record.count("FAIL"), record.count("PRUNED")
    if record.complete and failed <= record.study.run.max_failed_fraction * count:
        return True
    outcome, option = f"{failed} of {count} trials failed", " --state fail"
    if not record.complete and stopped:
        outcome = f"no trial is complete, {stopped} of {count} were stopped"
        outcome, option = outcome + (f" and {failed} failed" if failed else ""), ""
    click.echo(f"ablate: {outcome}; see `ablate trials {shown_folder(folder)}{option}`", err=True)
    return False


def show_usual_figure(study: OpenStudy, *, as_json: bool = False) -> None:
    """Draw the figure that `ablate plot STUDY` draws, and say where it is.

    The result is there already: whatever goes wrong in drawing is one line, and no failure of the
    command.
    """
    from ablate.errors import error_text
    from ablate.report.draw import draw_usual

    try:
        written = draw_usual(study)
    except Exception as error:
        why = in_options(str(error)) if isinstance(error, AblateError) else error_text(error)
        click.echo(f"ablate: the figure could not be drawn: {why}", err=True)
    else:
        if not as_json:
            click.echo(f"figure: {written}")


def print_result(what: Any, output: Path | None = None, *, width: int = 200) -> None:
    """A table or text for a person, or plain data as JSON, which may go to a file.

    Args:
        width: at the most; of a pipe, which has none of its own.
    """
    if isinstance(what, list):
        text = json.dumps(what, indent=2)
        if output is None:
            click.echo(text)
        else:
            from ablate.report.write import write_text

            write_text(f"{text}\n", output)
        return
    from ablate.report.formats import TerminalTable
    from ablate.report.tables import Table
    from ablate.report.terminal.streams import TextConsole

    console = TextConsole()
    narrow = min(width, console.width) if console.is_terminal else width
    what = TerminalTable(what) if isinstance(what, Table) else what
    TextConsole(width=narrow).print(what)


_END_WIDTH = 100


def show_end(study: OpenStudy, *, notes: bool, as_json: bool, of: OpenStudy | None = None) -> None:
    """What misleads, one sentence, a table, and where to look next.

    Args:
        notes: whether the notes of the table are printed; else how many there are.
        of: the study that a confirmation confirms.
    """
    from rich.text import Text

    from ablate.ablation.confirm import ConfirmInfo
    from ablate.files.shown import count_text, without_controls
    from ablate.report.answer import sentences
    from ablate.report.formats import TerminalTable, result_rows
    from ablate.report.tables import end_table, read_result

    info = read_result(study)
    facts = info.test if isinstance(info, ConfirmInfo) else info
    if as_json:
        rows = result_rows(info)
        print_result(rows)
        for mark in facts.marks if not rows else ():  # which rows have
            click.echo(f"ablate: {mark}", err=True)
        if study.record.design is None:
            show_usual_figure(study, as_json=True)
        return
    for warning in facts.warnings:
        click.echo(f"warning: {without_controls(warning)}")
    table = end_table(info)
    answer = [
        sentence
        for sentence in sentences((of or study).source)
        if not sentence.startswith("Warning: ")
    ]
    print_result(Text("\n".join([*answer[:1], ""])), width=_END_WIDTH)
    print_result(TerminalTable(table, notes), width=_END_WIDTH)
    if table.notes and not notes:
        click.echo(f"{count_text(len(table.notes), 'note')}: --notes")
    if study.place.folder.is_dir():
        show_usual_figure(study)
    click.echo(f"full report: ablate report {(of or study).reference}")
