"""`ablate corrupt`: corrupted copies as files, and contact sheets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ablate.cli.options import (
    data_option,
    frost_option,
    progress_bar,
    resize_option,
    seed_option,
    severities_option,
    skip_option,
    types_option,
)

_OF_COPIES = ("layout", "data", "workers", "image_format", "skip_unreadable")


@click.command()
@click.argument("source")
@click.argument("output", required=False, type=click.Path(path_type=Path))
@data_option
@click.option("--suite", metavar="NAME", help="all (default), cifar10c, imagenetc, ...")
@types_option
@severities_option("Severities to write.")
@seed_option
@click.option(
    "--format",
    "layout",
    type=click.Choice(["npy", "images"]),
    help="npy: TYPE.npy as in CIFAR-10-C (data sets only); images: TYPE/SEVERITY/CLASS/*.",
)
@click.option(
    "--image-format",
    type=click.Choice(["png", "jpeg"]),
    default="png",
    show_default=True,
    help="png is lossless; jpeg has quality 95.",
)
@frost_option("manifest")
@click.option(
    "--image-size",
    type=click.IntRange(min=8),
    metavar="N",
    help="Crop every image to N x N pixels.  Default: keep its size.",
)
@resize_option
@skip_option
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of threads.  Default: one per core.",
)
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a contact sheet of the image SOURCE (.png or .html) instead of OUTPUT.",
)
def corrupt(
    source: str,
    output: Path | None,
    *,
    sheet: Path | None,
    suite: str | None,
    types: tuple[str, ...] | None,
    severities: tuple[int, ...],
    seed: int,
    frost_images: Path | None,
    **options: Any,
) -> None:
    """Write corrupted copies of images.

    Writes every type at every severity, and a manifest.
    SOURCE is a folder (CLASS/*, test/CLASS/*, val/CLASS/*, or images without classes) or a data
    set (cifar10, cifar100, svhn, fashion_mnist, digits; its test images are used). OUTPUT is a
    new folder.  If all images have one size, the copies are identical to those that `ablate
    evaluate` scores with the same seed.  If --image-size enlarges smaller square files, they
    differ, because `evaluate` scores those at their own size.

    With --sheet, SOURCE is one image; all its copies are shown on one sheet.
    """
    from ablate.errors import UsageError
    from ablate.report.images.contact_sheet import write_contact_sheet
    from ablate.robustness.corrupt.command import corrupt_files, make_recipe

    if (output is None) == (sheet is None):
        got = "neither" if output is None else "both"
        raise UsageError(
            f"OUTPUT: must be given, or --sheet FILE for a contact sheet, got {got}. Give one."
        )
    if sheet is not None:
        _check_sheet_options()
    recipe = make_recipe(suite, types, severities, seed, frost_images)
    if sheet is not None:
        size, resize = options["image_size"], options["resize"]
        write_contact_sheet(Path(source), sheet, recipe, image_size=size, resize=resize)
        click.echo(sheet)
        return
    assert output is not None
    with progress_bar() as show:
        try:
            manifest = corrupt_files(
                source,
                output,
                recipe=recipe,
                progress=partial(show, "corrupting"),
                say=_say,
                **options,
            )
        except KeyboardInterrupt:
            _say(f"stopped; {output} is incomplete: delete it")
            raise click.exceptions.Exit(130) from None
    frost = manifest.get("frost")
    if isinstance(frost, str):
        _say(frost)
    click.echo(output)


def _check_sheet_options() -> None:
    """Refuse options that apply to copies and do not change a sheet."""
    from ablate.errors import UsageError

    context = click.get_current_context()
    given = [
        option.opts[-1]
        for option in context.command.params
        if option.name in _OF_COPIES
        and context.get_parameter_source(option.name) is not ParameterSource.DEFAULT
    ]
    if given:
        them = "it" if len(given) == 1 else "them"
        raise UsageError(
            f"{', '.join(given)}: cannot be combined with --sheet, got both. Leave {them} out."
        )


def _say(line: str) -> None:
    click.echo(f"ablate: {line}", err=True)


COMMANDS = (corrupt,)
