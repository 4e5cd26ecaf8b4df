"""Completion of the command line by a shell: `ablate completion bash`, and what it proposes.

Each press of TAB starts a Python, so nothing here imports more than plain data: no study is parsed
and no storage opened beyond a read-only look into SQLite.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from ablate.lifecycle.shipped import question_of, shipped_studies

_HOW = {
    "bash": "ablate completion bash > ~/.ablate-completion, and in ~/.bashrc: "
    ". ~/.ablate-completion",
    "zsh": "ablate completion zsh > ~/.ablate-completion, and in ~/.zshrc: . ~/.ablate-completion",
    "fish": "ablate completion fish > ~/.config/fish/completions/ablate.fish",
}


@add_completion_class
class _Bash(BashComplete):
    """Bash, which splits KEY=VALUE into three words and replaces the last of them."""

    _is_split = False

    def get_completion_args(self) -> tuple[list[str], str]:
        words = split_arg_string(os.environ["COMP_WORDS"])[1:]
        index = int(os.environ["COMP_CWORD"])
        joined: list[str] = []
        for word in [*words, ""][:index]:
            if joined and (word == "=" or (self._is_split and joined[-1].endswith("="))):
                joined[-1] += word
                self._is_split = True
            else:
                joined.append(word)
        return joined[:-1], joined[-1] if joined else ""

    def format_completion(self, item: CompletionItem) -> str:
        value = item.value.rpartition("=")[2] if self._is_split else item.value
        return f"{item.type},{value}"


@click.command()
@click.argument("shell", type=click.Choice(list(_HOW)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete commands, studies, trials and names.

    Its last line says where to put it.
    """
    found = get_completion_class(shell)
    assert found is not None
    script = found(context.find_root().command, {}, "ablate", "_ABLATE_COMPLETE").source()
    click.echo(f"{script.strip()}\n\n# To use it: {_HOW[shell]}")


def complete_study_file(
    context: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Files; shipped studies with their questions."""
    # First: bash forgets what stands before it.
    files = CompletionItem(incomplete, type="file")
    return [files, *complete_shipped(context, param, incomplete)]


def complete_shipped(
    _context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Shipped studies with their questions."""
    return [
        CompletionItem(name, help=question_of(file))
        for name, file in shipped_studies().items()
        if name.startswith(incomplete)
    ]


def complete_study(
    _context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Run folders in `runs/`, also by the start of a study's name; files."""
    found = [CompletionItem(incomplete, type="file")]
    for note in sorted(Path().glob("runs/*/run.json")):
        folder = note.parent
        if str(folder).startswith(incomplete) or folder.name.startswith(incomplete):
            found.append(CompletionItem(str(folder)))
    return found


def complete_trial(
    context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Numbers of the trials of the study that stands before, with their states."""
    before, comma, last = incomplete.rpartition(",")
    given = context.params.get("study") or context.params.get("studies") or context.args
    study = given if isinstance(given, str) else next(iter(given or ()), "")
    return [
        CompletionItem(f"{before}{comma}{number}", help=state)
        for number, state in _trials(Path(study))
        if str(number).startswith(last)
    ]


def _trials(folder: Path) -> list[tuple[int, str]]:
    """Number and state of each trial in a run folder; none if its storage is no SQLite file."""
    try:
        note = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        storage = note["storage"] or f"sqlite:///{(folder / 'study.db').absolute()}"
        if not str(storage).startswith("sqlite:///"):
            return []
        uri = f"{Path(storage.removeprefix('sqlite:///')).as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=0.1)) as database:
            return database.execute(
                "SELECT number, lower(state) FROM trials JOIN studies USING (study_id) "
                "WHERE study_name = ? ORDER BY number",
                (note["name"],),
            ).fetchall()
    except (OSError, ValueError, LookupError, TypeError, sqlite3.Error):
        return []  # a shell shows no error of a completion


def complete_model(
    _context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Networks of ablate, and the prefixes of others."""
    from ablate.model import MODELS, SOURCES

    names = [*MODELS, *(f"{source}:" for source in SOURCES)]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_override(
    context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """For `loss.fma.layers=`, the named layers of the study's network, in a list."""
    key, equals, value = incomplete.partition("=")
    if key != "loss.fma.layers" or not equals:
        return []
    named = context.params.get("file") or context.params.get("study") or "".join(context.args[:1])
    before, comma, last = value.lstrip("[").rpartition(",")
    return [
        CompletionItem(f"{key}=[{before}{comma}{layer}")
        for layer in _layers(Path(named))
        if layer.startswith(last) and layer not in before.split(",")
    ]


def _layers(study: Path) -> tuple[str, ...]:
    from ablate.model import taps_of

    file = shipped_studies().get(str(study), study)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ()
    model = re.search(r"^model:\s*\{?\s*name:\s*([^\s,}]+)", text, re.MULTILINE)
    return (taps_of(model[1]) or ()) if model else ()


def complete_figure(
    _context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of figures, after those that stand before a comma."""
    from ablate.report.figures import FIGURES

    before, comma, last = incomplete.rpartition(",")
    names = [name for name in (*FIGURES, "all") if name.startswith(last)]
    return [CompletionItem(f"{before}{comma}{name}") for name in names]
