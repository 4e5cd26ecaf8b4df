"""Arguments and options that several commands share, and the progress bar."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from ablate.errors import LONGEST_NAME, UsageError

SLOW_SECONDS = 1.0
"""What takes longer says what it does."""


def complete_study(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """For a shell: files, run folders also by the start of a study's name, shipped studies."""
    from ablate.lifecycle.shipped import shipped_studies

    runs = [note.parent for note in sorted(Path().glob("runs/*/run.json"))]
    names = {run.name: str(run) for run in runs} | {name: name for name in shipped_studies()}
    names |= {folder: folder for folder in map(str, runs)}
    items = {item for name, item in names.items() if name.startswith(incomplete)}
    # First the files: bash forgets what stands before them.
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, sorted(items))]


study_argument = click.argument("study", metavar="STUDY", shell_complete=complete_study)
studies_argument = click.argument(
    "studies", nargs=-1, required=True, metavar="STUDY...", shell_complete=complete_study
)
study_file_argument = click.argument(
    "file",
    type=click.Path(path_type=Path),
    metavar="STUDY.yaml",
    shell_complete=complete_study,
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def set_option(example: str = "") -> Callable[..., Any]:
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help=f"Override a key{example}.  May be repeated.",
    )


class OutputFile(click.Path):
    """Type of an option that names a file to write.

    Args:
        or_folder: whether it may be a folder: anything but an empty text.
        dir_okay: whether it may be a folder that exists.
    """

    def __init__(self, *, or_folder: bool = False, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay)
        self._or_folder = or_folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path.

        Raises:
            UsageError: if it has no file name, as '', '.' and '/', or too long a one.
        """
        option = param.opts[-1] if param is not None else "output"
        has_name = bool(value) if self._or_folder else Path(value).name not in ("", "..")
        if not has_name:
            raise UsageError(f"{option}: must name a file, got {str(value)!r}. Give its name.")
        size = len(os.fsencode(Path(value).name))
        if size > LONGEST_NAME:
            rule = f"must be a name of at most {LONGEST_NAME} bytes, got {size}. Shorten it."
            raise UsageError(f"{option}: {rule}")
        return super().convert(value, param, ctx)


def output_option(
    metavar: str,
    text: str,
    *,
    required: bool = False,
    or_folder: bool = False,
    dir_okay: bool = True,
) -> Callable[..., Any]:
    """`-o`, `--output`; `text` is its help, the others as `OutputFile`."""
    kind = OutputFile(or_folder=or_folder, dir_okay=dir_okay)
    return click.option("-o", "--output", type=kind, metavar=metavar, required=required, help=text)


_RUN_OPTIONS = (
    click.option(
        "--executor",
        type=click.Choice(["ray", "inline"]),
        default="ray",
        show_default=True,
        help="ray: trials in parallel on Ray Tune; inline: one after another in this process.",
    ),
    click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="A running cluster, auto or HOST:PORT.  Default: start Ray on this machine.",
    ),
    click.option(
        "--takeover", is_flag=True, help="Run it even if another driver appears to be alive."
    ),
    click.option(
        "--accept-environment",
        is_flag=True,
        help="Continue although device, precision, run.compile, threads, torch, the code of a "
        "training loop or a retrained baseline have changed.",
    ),
    click.option(
        "--accept-baseline",
        is_flag=True,
        help="Go on although plain finetuning raises the baseline's clean accuracy by more than 3 "
        "points and 3 standard errors; every result says so.",
    ),
    click.option(
        "--notes", is_flag=True, help="Print the notes of the table: what its numbers are of."
    ),
    json_option,
)
notes_option = _RUN_OPTIONS[-2]


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How a study is run and what is printed: of every command that runs one."""
    for option in reversed(_RUN_OPTIONS):
        function = option(function)
    return function


def listed(
    read: type[str] | type[int] | type[float] = str, *, or_none: bool = False
) -> Callable[..., Any]:
    """Callback of an option whose value is several ones between commas.

    Args:
        read: what each of them is.
        or_none: whether there may be none of them, or the command itself refuses that.
    """
    wanted = {int: "whole numbers", float: "numbers", str: "names"}[read]

    def split(_context: click.Context, option: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            values = tuple(read(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            message = f"must be {wanted} separated by commas, got {value!r}."
            raise click.BadParameter(message) from None
        if not values and not or_none:
            rule = f"must be {wanted} separated by commas, got none. Leave it out, or name one."
            raise UsageError(f"{option.opts[-1]}: {rule}")
        return values

    return split


mean_option = click.option(
    "--mean", callback=listed(float), metavar="A,B,C", help="Per channel, in [0, 1]."
)
std_option = click.option(
    "--std", callback=listed(float), metavar="A,B,C", help="Per channel, in [0, 1]."
)
image_size_option = click.option(
    "--image-size", type=click.IntRange(min=8), metavar="N", help="Crop images to N x N, 8 to 1024."
)
resize_option = click.option(
    "--resize",
    type=click.IntRange(min=8),
    metavar="N",
    help="Resize the shorter side to N pixels before the crop.",
)
skip_option = click.option(
    "--skip-unreadable", is_flag=True, help="Skip files that cannot be read."
)


def refuse_given(names: Collection[str], rule: str) -> None:
    """Refuse the options of these names that are on the command line.

    Args:
        rule: the end of the message, such as "needs --data, got none. Add it."
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        is_given = context.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT
        if parameter.name in names and is_given:
            raise UsageError(f"{parameter.opts[-1]}: {rule}")


_PARAMETER = re.compile(r"`(\w+)(?:=([^`]*))?`")


def in_options(text: str) -> str:
    """A message of the Python interface in words of the command line.

    Outside of `cli/` a message names a parameter as `image_size`, or as `image_size=8` with a
    value.  Here these are --image-size and --image-size 8: of the command that runs, else of
    another one.
    """
    root = click.get_current_context().find_root()
    assert isinstance(root.command, click.Group)
    commands = list(root.command.commands.values())
    commands.sort(key=lambda command: command.name != root.invoked_subcommand)
    parameters = {p.name: p for command in reversed(commands) for p in command.params}

    def spelled(match: re.Match[str]) -> str:
        name, value = match.groups()
        parameter = parameters.get(name)
        if not isinstance(parameter, click.Option):
            return match[0] if parameter is None else parameter.human_readable_name
        option = parameter.opts[-1]
        if value is None or parameter.is_flag:
            return option
        plain = value[1:-1] if value[:1] in ("[", "(") else value
        plain = plain.replace("', '", ",").replace(", ", ",")
        return f"{option} {plain if ' ' in plain else plain.strip(chr(39))}"

    return _PARAMETER.sub(spelled, text)


@contextmanager
def said_when_slow() -> Iterator[Callable[[str], None]]:
    """Says on standard error what is done, where that takes longer than a second.

    Yields:
        To be called with what is done from now on.
    """
    from threading import Timer

    timers: list[Timer] = []

    def begin(what: str) -> None:
        if timers:
            timers.pop().cancel()
        timer = Timer(SLOW_SECONDS, partial(click.echo, f"ablate: {what}", err=True))
        timer.daemon = True
        timer.start()
        timers.append(timer)

    try:
        yield begin
    finally:
        for timer in timers:
            timer.cancel()


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal, nothing elsewhere.

    Yields:
        To be called with what is done now, how much is done, and how much there is.
    """
    from rich.progress import Progress

    from ablate.report.terminal.streams import TextConsole

    console = TextConsole(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield show
