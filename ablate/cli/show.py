"""What the commands that run a study, or print a result, show; heavy imports inside."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ablate.cli.options import in_options, say
from ablate.errors import AblateError, UsageError

if TYPE_CHECKING:
    from ablate.ledger.record import StudyRecord
    from ablate.lifecycle.open_study import OpenStudy
    from ablate.report.terminal.live import Display


def run_and_show(
    run: Callable[[Display], OpenStudy],
    study: str,
    folder: Path,
    *,
    confirms: bool = False,
    notes: bool,
    as_json: bool,
    options: Mapping[str, Any],
) -> None:
    """Run with a display, then what the study ends with, and the exit code.

    A stop says how to go on, and ends with its exit code.

    Args:
        study: as it was named; folder: of what runs; confirms: whether that confirms it.
        options: of the command line, which say where it runs; notes: as of `show_end`.
    """
    from ablate.lifecycle.open_study import open_study
    from ablate.report.terminal.live import make_display
    from ablate.report.terminal.streams import TextConsole
    from ablate.report.tracked import hand_over
    from ablate.search.drive import Terminated

    # With --json, standard output is for the JSON alone.
    display = make_display(TextConsole(stderr=as_json), folder.name)
    try:
        opened = run(display)
    except (KeyboardInterrupt, Terminated) as stop:
        display.close()
        say(f"stopped; {_how_to_go_on(study, folder, options)}")
        signal = stop.signal if isinstance(stop, Terminated) else 2
        raise click.exceptions.Exit(128 + signal) from None
    finally:
        display.close()
    of = open_study(study) if confirms else opened
    show_end(opened.decided, notes=notes, as_json=as_json, of=of)
    if not confirms:  # which has handed it over
        for line in filter(None, hand_over(opened)):
            say(line)
    if not is_good(opened.record, folder):
        raise click.exceptions.Exit(1)


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
    say(f"{outcome}; see `ablate trials {shown_folder(folder)}{option}`")
    return False


def _show_usual_figure(study: OpenStudy, *, as_json: bool) -> None:
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
        say(f"the figure could not be drawn: {why}")
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


def show_end(study: OpenStudy, *, notes: bool, as_json: bool, of: OpenStudy) -> None:
    """What misleads, one sentence, a table, and where to look next.

    Args:
        notes: whether the notes of the table are printed; else how many there are.
        of: the study itself, or that which it confirms.
    """
    from rich.text import Text

    from ablate.ablation.confirm import ConfirmInfo
    from ablate.files.shown import count_text, without_controls
    from ablate.report.answer import study_answer
    from ablate.report.formats import TerminalTable, result_rows
    from ablate.report.tables import end_table, read_result

    info = read_result(study)
    facts = info.test if isinstance(info, ConfirmInfo) else info
    if as_json:
        rows = result_rows(info)
        print_result(rows)
        for mark in [] if rows else facts.marks:  # which rows have
            say(mark)
        if study.record.design is None:
            _show_usual_figure(study, as_json=True)
        return
    for warning in facts.warnings:
        click.echo(f"warning: {without_controls(warning)}")
    table = end_table(info)
    found = study_answer(of.source)
    answer = [sentence for sentence in found.sentences if not sentence.startswith("Warning: ")]
    print_result(Text("\n".join([*answer[:1], ""])), width=_END_WIDTH)
    print_result(TerminalTable(table, notes), width=_END_WIDTH)
    if table.notes and not notes:
        click.echo(f"{count_text(len(table.notes), 'note')}: --notes")
    reference = of.reference
    if study.place.folder.is_dir():
        _show_usual_figure(study, as_json=False)
        if found.trial is not None:
            saved = f"--trial {found.trial} -o {of.record.name}.safetensors"
            click.echo(f"save it: ablate export {reference} {saved}")
    click.echo(f"full report: ablate report {reference}")
