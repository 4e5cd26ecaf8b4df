"""`ablate evaluate`: any network, any images, every corruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ablate.cli.options import (
    data_option,
    frost_option,
    json_option,
    listed,
    progress_bar,
    resize_option,
    seed_option,
    severities_option,
    skip_option,
    types_option,
)


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
@severities_option("Severities to score.")
@seed_option
@click.option("--images", type=int, metavar="N", help="Use N images, balanced over classes.")
@click.option(
    "--official",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Score published files, such as CIFAR-10-C or ImageNet-C, from this folder.",
)
@frost_option("result")
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
@click.option("--mean", callback=listed(float), metavar="A,B,C", help="Per channel, in [0, 1].")
@click.option("--std", callback=listed(float), metavar="A,B,C", help="Per channel, in [0, 1].")
@click.option("--image-size", type=click.IntRange(min=8), metavar="N", help="Input size in pixels.")
@resize_option
@click.option(
    "--seen",
    callback=listed(),
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
    "--threads", type=int, metavar="N", help="CPU threads of torch.  Default: one per core."
)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="Default: the GPU, if there is one."
)
@click.option(
    "--batch-size", type=int, metavar="N", help="Default: chosen for device and image size."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="Write all scores, and whether each image was classified correctly.",
)
@click.option(
    "--csv",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
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
    .safetensors file of `ablate export` (needs no other options), TorchScript, or a .pt2 file of
    torch.export.  Loading TorchScript or .pt2 can run code: use only files that you trust.
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
        found = score(model, progress=show, **options)
    if output is not None:
        write_evaluation(found, output)
    if table is not None:
        write_csv(found, table)
    if as_json:
        click.echo(json.dumps(to_json(found, bits=False), indent=2, allow_nan=False))
    else:
        print_result(evaluation_report(found))


COMMANDS = (evaluate,)
