"""Commands that make files for a paper, a browser or a tracker: figures, the report, a table, an
archive."""

from __future__ import annotations

import shlex
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ablate.cli.options import (
    FROM_0,
    NAMES,
    WHOLE_NUMBERS,
    in_options,
    json_option,
    notes_option,
    option,
    output_option,
    refuse_given,
    said_when_slow,
    say,
    set_option,
    studies_argument,
    study_argument,
)
from ablate.cli.show import print_result
from ablate.report.figures import FIGURES


@click.command()
@studies_argument
@option(
    "--figure NAME,... name",
    f"Figures to draw, separated by commas: {', '.join(FIGURES)}; or all: every figure that "
    "applies.  Default: pareto; for one objective, history; for an ablation, effects.",
    NAMES,
)
@output_option(
    "FILE",
    "Output file: .html, or .png, .svg, .pdf (needs the extra `images`); for several figures "
    "a folder, which is created.  Default: runs/NAME/FIGURE.html.",
    or_folder=True,
)
@option(
    "--format ending",
    "Format of several figures in a folder.  [default: html]",
    ["html", "png", "svg", "pdf"],
)
@option("--theme", "", ["light", "dark"], default="light")
@option(
    "--size WxH",
    "Width and height of an image, in inches, mm or pixels: 3.25x2.4in, 83x60mm, 640x480px.  "
    "Default: 3.25 in wide for a column, 6.75 for two.",
    default="",
)
@option("--font-size PT", "Points of the smallest text of an image.", float, default=7.0)
@option("--no-title", "Leave out the two lines over a figure.")
@option(
    "--no-caption",
    "Leave out the caption: under the figure of an .html, in a .txt beside an image.",
)
@option("--data", "Also write the data of each figure as .csv.")
@option("--trials N,...", "Only these trials.", WHOLE_NUMBERS)
@option("--params KEY,...", "Only these parameters.", NAMES)
@option("--objective METRIC", "Show this objective.", default="")
def plot(
    studies: tuple[str, ...],
    *,
    name: tuple[str, ...] | None,
    output: Path | None,
    ending: str | None,
    theme: str,
    size: str,
    font_size: float,
    no_title: bool,
    no_caption: bool,
    data: bool,
    trials: tuple[int, ...] | None,
    params: tuple[str, ...] | None,
    **options: Any,
) -> None:
    """Draw figures of one study, or of several studies in one figure.

    If one of several figures cannot be drawn, the others still are: one line says why, and the
    exit code is 2.  With `all`, figures that do not apply are listed, which is no error.
    """
    from ablate.errors import ParameterError
    from ablate.lifecycle.open_study import open_study
    from ablate.report.draw import draw_to_files, print_sheet
    from ablate.report.figures.figure import FigureOptions

    sheet = print_sheet(size, font_size, titled=not no_title)
    written, remarks, missing = draw_to_files(
        [open_study(study) for study in studies],
        name,
        output,
        ending=ending,
        theme=theme,
        with_data=data,
        options=FigureOptions(trials or (), params or (), **options),
        sheet=sheet,
        captioned=not no_caption,
    )
    for file in written:
        click.echo(file)
    for line in (*remarks, *missing):
        say(in_options(line))
    if missing:
        raise click.exceptions.Exit(ParameterError.exit_code)


@click.command()
@study_argument
@output_option("FILE.html", "Output file.  Default: runs/NAME/report.html.")
@option("--watch", "Update it every 10 seconds while the study runs; an open page reloads.")
@option("--no-images", "Leave out images, which need the study's data and weights.")
@option(
    "--trust",
    "Import, for the images, the functions that the study names, although you have not run it "
    "here.",
)
def report(study: str, output: Path | None, *, watch: bool, no_images: bool, trust: bool) -> None:
    """Write the report of a study, one HTML file that works offline.

    It contains the answer, figures, tables, provenance and a glossary.  Its images need the study's
    data and weights; functions that the study names are imported for them only if you have run it
    here, or with --trust.
    """
    from ablate.lifecycle.open_study import open_place
    from ablate.lifecycle.place import locate
    from ablate.report.page.page import check_page_file, publish, watch_report

    place = locate(study)
    is_new = output is None and not place.folder.is_dir()  # it is made with the file
    output = output or place.folder / "report.html"
    how: dict[str, Any] = {"with_images": not no_images, "trust": trust}
    if not is_new:
        check_page_file(output)
    if watch:
        click.echo(output)
        try:
            watch_report(place, output, written=click.echo, **how)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
        return
    with said_when_slow(f"reading {study}") as begin:
        refused = publish(open_place(place), output, begin=begin, **how)
    click.echo(output)
    if refused:
        say(
            f"images are left out: {', '.join(refused)} is code of a study that you have not run "
            "from its folder, so it was not imported. Read it, then add --trust."
        )


@click.command()
@studies_argument
@option(
    "--format style",
    "md: Markdown; latex: needs the package booktabs; csv: fractions at full precision.  "
    "Default: by the ending of FILE; without one a table on a terminal, Markdown in a pipe.",
    ["md", "latex", "csv", "html"],
)
@option("--effects", "Ablations only: contrasts and tests instead of arms.")
@output_option(
    "FILE",
    "Output file: .md, .tex, .csv or .html; notes of a .tex are in a .notes.txt beside it.  "
    "Default: standard output.",
)
@notes_option
@json_option
def table(
    studies: tuple[str, ...],
    *,
    style: str | None,
    effects: bool,
    output: Path | None,
    notes: bool,
    as_json: bool,
) -> None:
    """Print a table for a paper.

    Of an ablation: its arms or its effects; of a search: its front.  Several ablations, or
    confirmations, of the same arms from different baselines are read as one: their seeds are
    averaged, and intervals are for new baselines and new images.  Of an ablation whose planned
    looks are at test images, those of the last look.  --json: all of an ablation.
    """
    from ablate.errors import ParameterError
    from ablate.lifecycle.open_study import open_study, read_ablations
    from ablate.report.formats import ENDINGS, WRITERS, TerminalTable, notes_text, result_rows
    from ablate.report.tables import study_table
    from ablate.report.write import write_text

    opened = [open_study(study).decided for study in studies]
    if as_json:
        print_result(result_rows(read_ablations(opened)), output)
        return
    if output is not None:
        of_name = ENDINGS.get(output.suffix.lower())
        if of_name is None and style is None:
            raise ParameterError(
                f"{output}: a table's file must end with {', '.join(ENDINGS)}, got "
                f"{output.suffix or 'no ending'}. Rename it, or give --format."
            )
        style = style or of_name
    result = study_table(*opened, effects=effects)
    if style is None and sys.stdout.isatty():
        print_result(TerminalTable(result, notes))
        if result.notes and not notes:
            click.echo(f"{len(result.notes)} notes: --notes")
        return
    text = WRITERS[style or "md"](result)
    if output is None:
        beside = textwrap.indent(notes_text(result), "% ") if style == "latex" else ""
        click.echo(text + beside, nl=False)
        return
    write_text(text, output)
    click.echo(output)
    if style == "latex":
        notes_file = output.with_suffix(".notes.txt")
        write_text(notes_text(result), notes_file)
        click.echo(notes_file)


@click.command()
@study_argument
@option(
    "--tracker NAME trackers",
    "Only this tracker, or one that the study file lacks: tensorboard, mlflow, wandb; with "
    "settings in YAML as in run.trackers: '{mlflow: {uri: ...}}'.  May be repeated.",
    multiple=True,
)
@json_option
def track(study: str, trackers: tuple[str, ...], *, as_json: bool) -> None:
    """Bring the study's trackers up to date: every ended trial, once.

    Also for a finished study, and one that had no trackers.  Pages are drawn and handed over too.
    """
    from ablate.errors import InfrastructureError, StudyFileError
    from ablate.lifecycle.place import locate, shown_folder
    from ablate.report.tracked import track as bring_up_to_date
    from ablate.study.yaml_source import parse_yaml

    documents = [parse_yaml(text, "--tracker") for text in trackers]
    if problems := [problem for document in documents for problem in document.problems]:
        raise StudyFileError(problems)
    done = bring_up_to_date(study, [document.data for document in documents])
    if as_json:
        print_result([asdict(line) for line in done])
    else:
        again = f"`ablate track {shown_folder(locate(study).folder)}`"
        click.echo("\n".join(line.text(again) for line in done))
    if any(line.failed for line in done):
        raise click.exceptions.Exit(InfrastructureError.exit_code)


@click.command()
@study_argument
@output_option("FILE.tar", "Output file, replaced if it exists.", required=True)
@json_option
def archive(study: str, output: Path, *, as_json: bool) -> None:
    """Write a study as one file to publish, which others can verify.

    Study file, rows, tables, provenance; also of its confirmation, and of the searches
    that tuned its arms.  A plain tar of JSON, CSV, YAML and Markdown; the same study gives the same
    bytes.  Neither weights nor data are in it.
    """
    from ablate.report.archive import archive as write_archive

    with said_when_slow(f"archiving {study}"):
        made = write_archive(study, output)
    if as_json:
        print_result([{**asdict(made), "file": str(made.file)}])
        return
    click.echo(f"{output}: {' and '.join(made.studies)}, sha256 {made.sha256}")
    for note in made.notes:
        say(note)
    click.echo(f"check it: ablate verify {shlex.quote(str(output))}")


@click.command()
@click.argument("archive", type=click.Path(path_type=Path), metavar="FILE.tar")
@option(
    "--rerun N",
    "Also train N complete rows, drawn at random, again, and compare.",
    FROM_0,
    default=0,
)
@option("--seed N", "For the draw.  Default: another each time.", int)
@option("--trust", "With --rerun: import the functions that the archive names.")
@set_option(" that says where data and weights lie here, e.g. dataset.path=FOLDER")
@json_option
def verify(
    archive: Path, *, rerun: int, overrides: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Check an archive: digests, every table, and rows that are trained again.

    Also says what of a registered study has changed since, of its run folder that alone.
    Recomputes every table from the rows and compares it, numbers to nine digits; nothing is
    unpacked.  With --rerun, a row must give the same scores bit by bit in the same environment
    (device, precision, threads, torch), else accuracies within three standard errors; paths in the
    study are relative to the current folder.  Functions that the archive names are imported with
    --rerun and --trust alone; without --trust they are listed.  Exit codes: 0 if all holds, 1 if
    something differs.
    """
    from ablate.cli.study import parse_values
    from ablate.files.shown import without_controls
    from ablate.report.verify import verify as check_archive

    if not rerun:
        rule = "is for rows that are trained again, got no --rerun. Add it."
        refuse_given(["overrides", "trust", "seed"], rule)
    with said_when_slow() as begin:
        values = parse_values(overrides, "--set")
        verified = check_archive(archive, rerun=rerun, values=values, begin=begin, **options)
    if as_json:
        checks = [{**asdict(check), "holds": check.holds} for check in verified.checks]
        data = {**asdict(verified), "file": str(archive), "holds": verified.holds, "checks": checks}
        print_result([data])
    else:
        if verified.warning:
            click.echo(f"warning: {without_controls(verified.warning)}")
        for check in verified.checks:
            click.echo(f"{'ok' if check.holds else 'differs':8}{check.text}")
        failed = sum(not check.holds for check in verified.checks)
        drawn = f", rows drawn with --seed {verified.seed}" if verified.seed is not None else ""
        unfinished = "" if verified.finished else "; the study was not finished when archived"
        rounded = sum(check.rounded for check in verified.checks)
        result = f"{failed} of {len(verified.checks)} checks differ" if failed else "all holds"
        result += f", {rounded} numbers but for rounding" if rounded and not failed else ""
        digest = f"; sha256 {verified.sha256}" if verified.sha256 else ""
        click.echo(f"{archive}: {result}{drawn}{unfinished}{digest}")
    if not verified.holds:
        raise click.exceptions.Exit(1)


COMMANDS = (plot, report, table, archive, verify, track)
