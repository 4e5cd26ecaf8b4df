"""`ablate evaluate`: any network, any images, every corruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ablate.cli.options import json_option, listed, progress_bar


@click.command()
@click.argument("model")
@click.option(
    "--checkpoint",
    metavar="FILE",
    help="Weights of a named network: a file, torchvision:WEIGHTS or timm:pretrained.",
)
@click.option(
    "--checkpoint-order",
    is_flag=True,
    help="Match tensors by order, not by name; each shape must fit.",
)
@click.option(
    "--dataset",
    metavar="DATA",
    help="cifar10, cifar100, svhn, fashion_mnist, digits, package.module:callable, or a folder "
    "with test/CLASS/*, val/CLASS/* or CLASS/*.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="PATH", help="Where its files are."
)
@click.option("--split", type=click.Choice(["test", "val"]), help="Which part of a folder.")
@click.option("--suite", metavar="NAME", help="cifar10c up to 96 pixels, else imagenetc.")
@click.option("--types", callback=listed(), metavar="A,B", help="These corruptions alone.")
@click.option(
    "--severities", callback=listed(int), default="1,2,3,4,5", show_default=True, metavar="1,2,..."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the corruptions' draws.",
)
@click.option("--images", type=int, metavar="N", help="So many, of every class alike.")
@click.option(
    "--official",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="CIFAR-10-C, ImageNet-C and their like, as published.",
)
@click.option(
    "--frost-images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Photographs of frost; without them a texture stands for them, and scores say so.",
)
@click.option(
    "--relative-to",
    type=click.Path(path_type=Path),
    metavar="SCORES.json",
    help="Another network's -o file on the same copies: divides mCE.",
)
@click.option(
    "--normalization",
    type=click.Choice(["auto", "dataset", "imagenet", "none"]),
    help="auto: the network's own; a file or a callable must be told.",
)
@click.option("--mean", callback=listed(float), metavar="A,B,C", help="Of each channel, in [0, 1].")
@click.option("--std", callback=listed(float), metavar="A,B,C", help="Of each channel, in [0, 1].")
@click.option("--image-size", type=click.IntRange(min=8), metavar="N", help="Side that it sees.")
@click.option(
    "--resize",
    type=click.IntRange(min=8),
    metavar="N",
    help="Shorter side before the crop.",
)
@click.option(
    "--seen",
    callback=listed(),
    metavar="A,B",
    help="Training distortions that it was finetuned on; '' for none.  An export says it itself.",
)
@click.option("--skip-unreadable", is_flag=True, help="Leave out files that cannot be read.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "bf16", "fp32", "fp16"]),
    default="auto",
    show_default=True,
)
@click.option("--threads", type=int, metavar="N", help="Of torch on the CPU; one for each core.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="The GPU where there is one.")
@click.option("--batch-size", type=int, metavar="N", help="What suits device and images.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="All numbers, and whether each image was right.",
)
@click.option(
    "--csv",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.csv",
    help="A row for each corruption and severity.",
)
@json_option
def evaluate(
    model: str, output: Path | None, table: Path | None, as_json: bool, **options: Any
) -> None:
    """Accuracy of a network, clean and under every corruption at every severity.

    MODEL is what `model.name` takes (resnet20, torchvision:resnet50, timm:NAME,
    package.module:callable), the bare name of a network of torchvision or timm, or a file: the
    .safetensors that `ablate export` wrote, which needs nothing else, TorchScript, or
    torch.export's .pt2, which can run code as it is read: only files that you trust.
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
