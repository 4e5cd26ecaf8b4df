"""`ablate table` and `ablate confirm`: the table of a paper, and a confirmed front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ablate.cli.options import json_option, listed, output_option, run_options, study_argument


@click.command()
@study_argument
@click.option(
    "--format",
    "style",
    type=click.Choice(["md", "latex", "csv", "html"]),
    default="md",
    show_default=True,
    help="md: Markdown; latex: needs the package booktabs; csv: fractions at full precision.",
)
@click.option(
    "--effects", is_flag=True, help="Ablations only: contrasts and tests instead of arms."
)
@output_option("FILE", "Output file.  Default: standard output.")
def table(study: str, *, style: str, effects: bool, output: Path | None) -> None:
    """Print a table for a paper.

    Of an ablation: its arms or its effects; of a search: its front.
    """
    from ablate.lifecycle.open_study import open_study
    from ablate.report.paper.write import paper_table, table_text, write_table

    text = table_text(paper_table(open_study(study), effects=effects), style)
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        click.echo(write_table(text, output))


@click.command()
@study_argument
@click.option(
    "--seeds",
    type=int,
    default=8,
    show_default=True,
    metavar="K",
    help="Number of new seeds, the same for every arm.  More than before adds runs.",
)
@click.option(
    "--trials", callback=listed(int), metavar="N,...", help="Only these trials of the front."
)
@click.option(
    "--suite", metavar="NAME", help="Suite to score on the test images.  Default: the search's."
)
@click.option(
    "--severities",
    callback=listed(int),
    metavar="N,...",
    help="Severities to score.  Default: the search's.",
)
@run_options
@json_option
def confirm(
    study: str,
    *,
    seeds: int,
    trials: tuple[int, ...] | None,
    suite: str | None,
    severities: tuple[int, ...] | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Retrain the front of a search and score it on the test images.

    Uses new seeds.  Compares the front with the baseline, a plain finetune and combined data
    augmentation.  Prints how much of each point's score was selection luck, and which points are
    still on the front.  The study's database records when and why the test images were used.
    """
    from ablate import api
    from ablate.cli.show import run_with_display, show_confirmation
    from ablate.lifecycle.open_study import open_place
    from ablate.lifecycle.place import locate

    confirmation = locate(study).confirmation
    info = run_with_display(
        lambda display: api.confirm(
            study,
            seeds=seeds,
            trials=trials,
            suite=suite,
            severities=severities,
            progress=display,
            **options,
        ),
        study,
        confirmation.folder,
        as_json=as_json,
        options=options,
    )
    show_confirmation(info, open_place(confirmation), as_json=as_json)


COMMANDS = (table, confirm)
