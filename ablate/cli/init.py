"""`ablate init`: a study to edit: one that comes with ablate, or the ablation of a search."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from ablate.cli.completion import complete_shipped, complete_study
from ablate.cli.options import json_option
from ablate.cli.show import print_result


@click.command()
@click.argument("name", required=False, shell_complete=complete_shipped)
@click.argument("folder", type=click.Path(path_type=Path), default=".", metavar="[FOLDER]")
@click.option(
    "--ablation-of",
    "search",
    metavar="STUDY",
    shell_complete=complete_study,
    help="Write the ablation of a trial of this search instead.",
)
@click.option(
    "--pick",
    default="knee",
    show_default=True,
    metavar="TRIAL",
    help="With --ablation-of: knee, 'best METRIC' or 'trial N'.",
)
@json_option
def init(name: str | None, folder: Path, search: str | None, pick: str, as_json: bool) -> None:
    """Write a study to edit.  Without NAME and options: list those that come with ablate.

    Writes NAME.yaml, and the search space that it names, into FOLDER (default: the current one).
    No file is overwritten.  `ablate launch NAME` runs a study that comes with it as it is.

    With --ablation-of: NAME is the name of the new study (default: STUDY's with _ablation).
    """
    if search is not None:
        from ablate.lifecycle.ablation_of import write_ablation_of

        _show_written([write_ablation_of(search, folder, name, pick)], as_json=as_json)
        return
    from ablate.lifecycle.shipped import question_of, shipped_studies, write_shipped

    if name is not None:
        _show_written(write_shipped(name, folder), as_json=as_json)
        return
    questions = {known: question_of(file) for known, file in shipped_studies().items()}
    if as_json:
        print_result([{"name": known, "question": text} for known, text in questions.items()])
        return
    width = max(map(len, questions), default=0)
    for known, text in questions.items():
        click.echo(f"{known:{width}}  {text}")
    click.echo("ablate init NAME writes one to edit; ablate launch NAME runs it")


def _show_written(files: Sequence[Path], *, as_json: bool) -> None:
    if as_json:
        print_result([{"file": str(file)} for file in files])
        return
    click.echo(f"wrote {' and '.join(map(str, files))}")
    click.echo(f"run it: ablate launch {shlex.quote(str(files[0]))}")


COMMANDS = (init,)
