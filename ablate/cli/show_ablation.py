"""What the commands on an ablation, or a confirmation, show; heavy imports inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ablate.cli.show import draw_usual, print_result, show_figure

if TYPE_CHECKING:
    from ablate.ablation.confirm import ConfirmInfo
    from ablate.ablation.info import AblationInfo
    from ablate.lifecycle.open_study import OpenStudy
    from ablate.study.settings import Study


def show_check(study: Study, file: Path) -> None:
    """What a file that is right would run."""
    from ablate.ablation.design import is_from_study
    from ablate.errors import StudyNotFoundError
    from ablate.lifecycle.ablation_reference import design_of, find_reference

    settings = study.ablation
    assert settings is not None
    head = f"{file}: ok: study {study.name}, ablation {settings.design}"
    base = file.absolute().parent
    try:
        reference = find_reference(study, base)
    except StudyNotFoundError as error:
        if not is_from_study(settings):
            raise
        click.echo(f"{head}, {settings.seed_count} seeds; its cells are not known yet: {error}")
        return
    design = design_of(study, base, str(file), reference)
    if reference.text:
        click.echo(f"  reference: {reference.text}")
    runs = len(design.cells) * settings.seed_count
    click.echo(
        f"{head}, {len(design.cells)} cells x {settings.seed_count} seeds = {runs} runs, "
        f"{len(design.claims)} primary contrast{'s' * (len(design.claims) != 1)}"
    )
    for line in design.aliases:
        click.echo(f"  {line}")


def show_effects(study: OpenStudy, *, as_json: bool) -> None:
    """Arms and effects of an ablation, and where its table and figure are; of a confirmation its
    points."""
    from ablate.ablation.confirm import confirm_info, is_confirmation
    from ablate.lifecycle.open_study import read_bits

    if is_confirmation(study.record):
        info = confirm_info(study.record, *read_bits(study.place))
        show_confirmation(info, study, as_json=as_json)
        return
    if as_json:
        from ablate.report.terminal.ablation import ablation_rows

        print_result(ablation_rows(study.ablation))
        return
    _print_ablation(study.ablation)
    if study.place.folder.is_dir():
        show_figure(lambda: _write_page(study.ablation, study.place.folder), "table")
        show_figure(lambda: draw_usual(study))


def show_confirmation(info: ConfirmInfo, study: OpenStudy, *, as_json: bool) -> None:
    """The front on the test images, what of it was luck, and where the figure is.

    Args:
        study: the confirmation.
    """
    from ablate.report.terminal.confirm import confirmation_rows, points_table

    if as_json:
        print_result(confirmation_rows(info))
        return
    _print_ablation(info.test)
    print_result(points_table(info))
    if study.place.folder.is_dir():
        show_figure(lambda: draw_usual(study))


def _print_ablation(info: AblationInfo) -> None:
    from ablate.report.effects import effects_table
    from ablate.report.terminal.ablation import arms_table, ranks_text, transfer_table, tuning_lines

    print_result(arms_table(info))
    print_result(effects_table(info))
    for transfer in info.transfers:
        print_result(transfer_table(transfer))
    for line in (*ranks_text(info), *tuning_lines(info)):
        click.echo(line)
    for failure in info.failures:
        click.echo(f"failed: {failure}")


def _write_page(info: AblationInfo, folder: Path) -> Path:
    """The table as a page in the run's folder."""
    from ablate.report.paper.table import arms_paper_table
    from ablate.report.paper.write import table_text, write_table

    return write_table(table_text(arms_paper_table(info), "html"), folder / "table.html")
