"""`ablate corrupt`: corrupted copies as files, and contact sheets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ablate.cli.options import listed, progress_bar

_OF_COPIES = ("layout", "data", "workers", "image_format", "skip_unreadable")


@click.command()
@click.argument("source")
@click.argument("output", required=False, type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="PATH", help="Where a data set's files are."
)
@click.option("--suite", metavar="NAME", help="all (the default), cifar10c, imagenetc, ...")
@click.option("--types", callback=listed(), metavar="A,B", help="These corruptions alone.")
@click.option(
    "--severities", callback=listed(int), default="1,2,3,4,5", show_default=True, metavar="1,2,..."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws."
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["npy", "images"]),
    help="npy: TYPE.npy as CIFAR-10-C (data sets); images: TYPE/SEVERITY/CLASS/* (folders).",
)
@click.option(
    "--image-format",
    type=click.Choice(["png", "jpeg"]),
    default="png",
    show_default=True,
    help="png is lossless; jpeg is of quality 95.",
)
@click.option(
    "--frost-images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Photographs of frost; without them a texture stands for them, and the manifest says so.",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=8),
    metavar="N",
    help="Cut every image to this side; without it each keeps its size.",
)
@click.option(
    "--resize", type=click.IntRange(min=8), metavar="N", help="Shorter side before the cut."
)
@click.option("--skip-unreadable", is_flag=True, help="Leave out files that cannot be read.")
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Threads; one for each core."
)
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A contact sheet of the image SOURCE, .png or .html, in place of OUTPUT.",
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
    """Write a corrupted copy of images: every type at every severity, with a manifest.

    SOURCE is a folder (CLASS/*, test/CLASS/*, val/CLASS/*, or images without classes) or a data
    set (cifar10, cifar100, svhn, fashion_mnist, digits), of which the test images are taken.
    OUTPUT is a new folder.  Of images of one size the bytes are those that `ablate evaluate`
    scores with the same seed; where --image-size enlarges smaller square files they differ, since
    those are scored at their own size.

    With --sheet, SOURCE is one image, and all its copies are drawn side by side.
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
            _say(f"stopped; {output} is unfinished: remove it")
            raise click.exceptions.Exit(130) from None
    frost = manifest.get("frost")
    if isinstance(frost, str):
        _say(frost)
    click.echo(output)


def _check_sheet_options() -> None:
    """Refuse what is asked of copies and would not change a sheet."""
    from ablate.errors import UsageError

    context = click.get_current_context()
    given = [
        option.opts[-1]
        for option in context.command.params
        if option.name in _OF_COPIES
        and context.get_parameter_source(option.name) is not ParameterSource.DEFAULT
    ]
    if given:
        verb, them = ("is", "it") if len(given) == 1 else ("are", "them")
        raise UsageError(
            f"{', '.join(given)}: {verb} for copies of many images, got {them} with --sheet. "
            f"Leave {them} out."
        )


def _say(line: str) -> None:
    click.echo(f"ablate: {line}", err=True)


COMMANDS = (corrupt,)
