"""Arguments and options that several commands share; messages in their words; progress."""

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

Decorator = Callable[..., Any]


def option(spec: str, text: str, kind: Any = None, **settings: Any) -> Decorator:
    """An option of a command.

    Args:
        spec: "--trial N", its name and what stands for its value in the help; "--notes", a flag;
            "--json as_json", a flag, and "--set KEY=VALUE overrides", with the parameter's name.
        text: its help.
        kind: of the value: `Path`, a list of choices, or a type of click; None: text, or a flag.
        settings: of `click.option`; a default is shown, unless it is 0 or empty.
    """
    names, *others = spec.split()
    metavar = others.pop(0) if others and not others[0].islower() else None
    if isinstance(kind, list):
        kind = click.Choice(kind)
    elif kind is Path:
        kind = click.Path(path_type=Path)
    elif kind is None and metavar is None:
        settings["is_flag"] = True
    if settings.get("default"):
        settings["show_default"] = True
    declared = [*names.split("/"), *others]
    return click.option(*declared, type=kind, metavar=metavar, help=text, **settings)


def grouped(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, in this order."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return declare


# -- Types of values -------------------------------------------------------------------------


class OutputFile(click.Path):
    """A file to write.

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
        named = param.opts[-1] if param is not None else "output"
        has_name = bool(value) if self._or_folder else Path(value).name not in ("", "..")
        if not has_name:
            raise UsageError(f"{named}: must name a file, got {str(value)!r}. Give its name.")
        size = len(os.fsencode(Path(value).name))
        if size > LONGEST_NAME:
            rule = f"must be a name of at most {LONGEST_NAME} bytes, got {size}. Shorten it."
            raise UsageError(f"{named}: {rule}")
        return super().convert(value, param, ctx)


class Listed(click.types.StringParamType):
    """Several values between commas, as a tuple.

    Args:
        name: what they are, in messages.
        read: makes one of its text.
        or_none: whether there may be none of them, or the command itself refuses that.
    """

    def __init__(self, name: str, read: Callable[[str], Any], *, or_none: bool = False) -> None:
        self.name, self._read, self._or_none = name, read, or_none

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The values.

        Raises:
            BadParameter: if one is not of the kind.
            UsageError: if there is none.
        """
        rule = f"must be {self.name} separated by commas, got"
        try:
            values = tuple(self._read(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            self.fail(f"{rule} {value!r}.", param, ctx)
        if not values and not self._or_none:
            named = param.opts[-1] if param is not None else self.name
            raise UsageError(f"{named}: {rule} none. Leave it out, or name one.")
        return values


NAMES, NAMES_OR_NONE = Listed("names", str), Listed("names", str, or_none=True)
WHOLE_NUMBERS, NUMBERS = Listed("whole numbers", int), Listed("numbers", float)
PIXELS, FROM_0, FROM_1 = click.IntRange(min=8), click.IntRange(min=0), click.IntRange(min=1)


# -- What several commands take --------------------------------------------------------------


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


def _study(name: str, metavar: str, **settings: Any) -> Decorator:
    return click.argument(name, metavar=metavar, shell_complete=complete_study, **settings)


study_argument = _study("study", "STUDY")
studies_argument = _study("studies", "STUDY...", nargs=-1, required=True)
study_file_argument = _study("file", "STUDY.yaml", type=click.Path(path_type=Path))
json_option = option("--json as_json", "Print JSON instead of a table.")
notes_option = option("--notes", "Print the notes of the table: what its numbers are of.")
skip_option = option("--skip-unreadable", "Skip files that cannot be read.")
normalization_options = grouped(
    option("--mean A,B,C", "Per channel, in [0, 1].", NUMBERS),
    option("--std A,B,C", "Per channel, in [0, 1].", NUMBERS),
)
size_options = grouped(
    option("--image-size N", "Crop images to N x N, 8 to 1024.", PIXELS),
    option("--resize N", "Resize the shorter side to N pixels before the crop.", PIXELS),
)
run_options = grouped(
    option(
        "--executor",
        "ray: trials in parallel on Ray Tune; inline: one after another in this process.",
        ["ray", "inline"],
        default="ray",
    ),
    option(
        "--ray-address ADDRESS",
        "A running cluster, auto or HOST:PORT.  Default: start Ray on this machine.",
    ),
    option("--takeover", "Run it even if another driver appears to be alive."),
    option(
        "--accept-environment",
        "Continue although device, precision, run.compile, threads, torch, the code of a "
        "training loop or a retrained baseline have changed.",
    ),
    option(
        "--accept-baseline",
        "Go on although plain finetuning raises the baseline's clean accuracy by more than 3 "
        "points and 3 standard errors; every result says so.",
    ),
    notes_option,
    json_option,
)
"""How a study is run and what is printed: of every command that runs one."""


def set_option(example: str = "") -> Decorator:
    text = f"Override a key{example}.  May be repeated."
    return option("--set KEY=VALUE overrides", text, multiple=True)


def output_option(metavar: str, text: str, *, required: bool = False, **of_file: bool) -> Decorator:
    """`-o`, `--output`; `text` is its help, the others as `OutputFile`."""
    return option(f"-o/--output {metavar}", text, OutputFile(**of_file), required=required)


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


# -- What is printed -------------------------------------------------------------------------

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
        flag = parameter.opts[-1]
        if value is None or parameter.is_flag:
            return flag
        plain = value[1:-1] if value[:1] in ("[", "(") else value
        plain = plain.replace("', '", ",").replace(", ", ",")
        return f"{flag} {plain if ' ' in plain else plain.strip(chr(39))}"

    return _PARAMETER.sub(spelled, text)


def say(line: str) -> None:
    """A line on standard error."""
    click.echo(f"ablate: {line}", err=True)


@contextmanager
def said_when_slow(what: str | None = None) -> Iterator[Callable[[str], None]]:
    """Says on standard error what is done, where that takes longer than a second.

    Yields:
        To be called with what is done from now on; at first `what` is.
    """
    from threading import Timer

    timers: list[Timer] = []

    def begin(what: str) -> None:
        if timers:
            timers.pop().cancel()
        timers.append(Timer(SLOW_SECONDS, partial(say, what)))
        timers[0].daemon = True
        timers[0].start()

    try:
        if what is not None:
            begin(what)
        yield begin
    finally:
        if timers:
            timers.pop().cancel()


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
