"""`ablate evaluate` and `ablate corrupt`: any network, any images, every corruption."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ablate.cli.options import (
    OutputFile,
    image_size_option,
    json_option,
    listed,
    mean_option,
    output_option,
    progress_bar,
    resize_option,
    skip_option,
    std_option,
)

# -- What both commands take ----------------------------------------------------------------


data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Folder of the data set's files.",
)
types_option = click.option(
    "--types", callback=listed(or_none=True), metavar="A,B", help="Only these corruptions."
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the corruptions.",
)


severities_option = click.option(
    "--severities",
    callback=listed(int),
    default="1,2,3,4,5",
    show_default=True,
    metavar="1,2,...",
    help="Only these severities.",
)
frost_option = click.option(
    "--frost-images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of frost photographs.  Default: a generated texture, as result and manifest note.",
)


# -- The commands ---------------------------------------------------------------------------


@click.command()
@click.argument("model")
@click.option(
    "--checkpoint",
    metavar="FILE",
    help="Weights to load: a file, torchvision:WEIGHTS or timm:pretrained.",
)
@click.option(
    "--checkpoint-order",
    is_flag=True,
    help="Match tensors by order instead of by name; every shape must match.",
)
@click.option(
    "--dataset",
    metavar="DATA",
    help="cifar10, cifar100, svhn, fashion_mnist, digits, package.module:callable, or a folder "
    "with test/CLASS/*, val/CLASS/* or CLASS/*.",
)
@data_option
@click.option("--split", type=click.Choice(["test", "val"]), help="Which split of a folder to use.")
@click.option("--suite", metavar="NAME", help="Default: cifar10c up to 96 pixels, else imagenetc.")
@types_option
@severities_option
@seed_option
@click.option("--images", type=int, metavar="N", help="Use N images, balanced over classes.")
@click.option(
    "--official",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Score published files, such as CIFAR-10-C or ImageNet-C, from this folder.",
)
@frost_option
@click.option(
    "--relative-to",
    type=click.Path(path_type=Path),
    metavar="SCORES.json",
    help="Normalise mCE by another network's -o file on the same images.",
)
@click.option(
    "--normalization",
    type=click.Choice(["auto", "dataset", "imagenet", "none"]),
    help="auto: the network's own; must be given for a file or a callable.",
)
@mean_option
@std_option
@image_size_option
@resize_option
@click.option(
    "--seen",
    callback=listed(or_none=True),
    metavar="A,B",
    help="Distortions that the network was finetuned on; '' for none.  An export records its own.",
)
@skip_option
@click.option(
    "--precision",
    type=click.Choice(["auto", "bf16", "fp32", "fp16"]),
    default="auto",
    show_default=True,
)
@click.option(
    "--threads",
    type=int,
    metavar="N",
    help="CPU threads of torch, at most one per CPU.  Default: one per core.",
)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="Default: the GPU, if there is one."
)
@click.option(
    "--batch-size", type=int, metavar="N", help="Default: chosen for device and image size."
)
@click.option(
    "--adapt-batch-norm",
    type=int,
    metavar="N",
    help="Mix the batch-norm statistics, counted as N images, with those of each batch of a copy, "
    "by default of 256 images.",
)
@output_option(
    "FILE.json",
    "Write all scores, and whether each image was classified correctly.",
    dir_okay=False,
)
@click.option(
    "--csv",
    "table",
    type=OutputFile(dir_okay=False),
    metavar="FILE.csv",
    help="Write one row per corruption and severity.",
)
@json_option
def evaluate(
    model: str, output: Path | None, table: Path | None, as_json: bool, **options: Any
) -> None:
    """Score a network on clean and on corrupted images.

    Uses every corruption at every severity, unless options select some.
    MODEL is a value of `model.name` (resnet20, torchvision:resnet50, timm:NAME,
    package.module:callable), the name of a network of torchvision or timm, or a file: a
    .safetensors file of `ablate export` (of a folder of images it needs --dataset; else no
    options), TorchScript, or a .pt2 file of torch.export.  Loading TorchScript or .pt2 can run
    code: use only files that you trust.
    """
    import json

    from ablate.cli.show import print_result
    from ablate.report.terminal.evaluation import evaluation_report
    from ablate.robustness.evaluation.evaluate import evaluate as score
    from ablate.robustness.evaluation.evaluation_file import (
        check_place,
        to_json,
        write_csv,
        write_evaluation,
    )

    for place in (output, table):
        if place is not None:
            check_place(place)
    with progress_bar() as show:
        evaluation = score(model, progress=show, **options)
    if output is not None:
        write_evaluation(evaluation, output)
    if table is not None:
        write_csv(evaluation, table)
    if as_json:
        click.echo(json.dumps(to_json(evaluation, bits=False), indent=2, allow_nan=False))
    else:
        print_result(evaluation_report(evaluation))


@click.command()
@click.argument("source")
@click.argument("output", type=click.Path(path_type=Path))
@data_option
@click.option("--suite", metavar="NAME", help="all (default), cifar10c, imagenetc, ...")
@types_option
@severities_option
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
@frost_option
@image_size_option
@resize_option
@skip_option
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of threads.  Default: one per core.",
)
def corrupt(source: str, output: Path, **options: Any) -> None:
    """Write corrupted copies of images.

    Writes every type at every severity, and a manifest.
    SOURCE is a folder (CLASS/*, test/CLASS/*, val/CLASS/*, or images without classes) or a data
    set (cifar10, cifar100, svhn, fashion_mnist, digits; its test images are used). OUTPUT is a
    new folder.  If all images have one size, the copies are identical to those that `ablate
    evaluate` scores with the same seed.  If --image-size enlarges smaller square files, they
    differ, because `evaluate` scores those at their own size.
    """
    from ablate.robustness.corrupt import corrupt_files

    with progress_bar() as show:
        try:
            manifest = corrupt_files(
                source, output, progress=partial(show, "corrupting"), say=_say, **options
            )
        except KeyboardInterrupt:
            _say(f"stopped; {output} is incomplete: delete it")
            raise click.exceptions.Exit(130) from None
    frost = manifest.get("frost")
    if isinstance(frost, str):
        _say(frost)
    click.echo(output)


def _say(line: str) -> None:
    click.echo(f"ablate: {line}", err=True)


COMMANDS = (evaluate, corrupt)
