"""`ablate evaluate` and `ablate corrupt`: any network, any images, every corruption."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ablate.cli.options import (
    FROM_0,
    FROM_1,
    NAMES_OR_NONE,
    WHOLE_NUMBERS,
    OutputFile,
    grouped,
    json_option,
    normalization_options,
    option,
    output_option,
    progress_bar,
    refuse_given,
    say,
    size_options,
    skip_option,
)

_corruption_options = grouped(
    option("--types A,B", "Only these corruptions, or module:function.", NAMES_OR_NONE),
    option("--severities 1,2,...", "Only these severities.", WHOLE_NUMBERS, default="1,2,3,4,5"),
    option("--seed", "Seed of the corruptions.", FROM_0, default=0, show_default=True),
)
_data_option = option("--data PATH", "Folder of the data set's files.", Path)
_frost_option = option(
    "--frost-images DIR",
    "Folder of frost photographs.  Default: a generated texture, as result and manifest note.",
    Path,
)


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@option("--checkpoint FILE", "Weights to load: a file, torchvision:WEIGHTS or timm:pretrained.")
@option(
    "--checkpoint-order",
    "Match tensors by order instead of by name; every shape must match.",
)
@option(
    "--dataset DATA",
    "cifar10, cifar100, digits, package.module:callable, or a folder "
    "with test/CLASS/*, val/CLASS/* or CLASS/*.",
)
@_data_option
@option("--split", "Which split of a folder to use.", ["test", "val"])
@option("--suite NAME", "Default: cifar10c up to 96 pixels, else imagenetc.")
@_corruption_options
@option("--images N", "Use N images, balanced over classes.", int)
@option(
    "--official FOLDER",
    "Score published files, such as CIFAR-10-C or ImageNet-C, from this folder.",
    Path,
)
@_frost_option
@option(
    "--relative-to SCORES.json",
    "Normalise mCE by another network's -o file on the same images.",
    Path,
)
@option(
    "--normalization",
    "auto: the network's own; must be given for a file or a callable.",
    ["auto", "dataset", "imagenet", "none"],
)
@normalization_options
@size_options
@option(
    "--seen A,B",
    "Distortions that the network was finetuned on; '' for none.  An export records its own.",
    NAMES_OR_NONE,
)
@skip_option
@option("--precision", "", ["auto", "bf16", "fp32", "fp16"], default="auto")
@option("--threads N", "CPU threads of torch, at most one per CPU.  Default: one per core.", int)
@option("--device", "Default: the GPU, if there is one.", ["cpu", "cuda"])
@option("--batch-size N", "Default: chosen for device and image size.", int)
@option(
    "--adapt-batch-norm N",
    "Mix the batch-norm statistics, counted as N images, with those of each batch of a copy, "
    "by default of 256 images.",
    int,
)
@option("--latency", "Time the network with single images as well, after a warm-up.")
@output_option(
    "FILE.json",
    "Write all scores, and whether each image was classified correctly.",
    dir_okay=False,
)
@option(
    "--csv FILE.csv table",
    "Write one row per corruption and severity.",
    OutputFile(dir_okay=False),
)
@json_option
def evaluate(
    models: tuple[str, ...], output: Path | None, table: Path | None, as_json: bool, **options: Any
) -> None:
    """Score a network on clean and on corrupted images.

    Uses every corruption at every severity, unless options select some.
    MODEL is a value of `model.name` (resnet20, torchvision:resnet50, timm:NAME,
    package.module:callable), the name of a network of torchvision or timm, or a file: of `ablate
    export` (of a folder of images it needs --dataset; else no options), TorchScript, a .pt2 file of
    torch.export, or ONNX.  Loading TorchScript or .pt2 can run code: use only files that you trust.

    Several MODELs are scored on the same images and compared in one table (size, accuracies, and
    with --latency the time for one image); --relative-to is by default the first.
    """
    import json

    from ablate.cli.show import print_result
    from ablate.report.terminal.evaluation import evaluation_report, networks_table
    from ablate.robustness.evaluate import evaluate as score
    from ablate.robustness.evaluation import (
        check_place,
        to_json,
        write_csv,
        write_evaluation,
    )

    is_one = len(models) == 1
    if not is_one:
        refuse_given(["output", "table"], f"needs one MODEL, got {len(models)}. Leave it out.")
    for place in (output, table):
        if place is not None:
            check_place(place)
    evaluations = []
    with progress_bar() as show:
        for model in models:
            evaluations.append(score(model, progress=show, **options))
            options["relative_to"] = options["relative_to"] or evaluations[0]
    if output is not None:
        write_evaluation(evaluations[0], output)
    if table is not None:
        write_csv(evaluations[0], table)
    if as_json:
        found = [to_json(each, bits=False) for each in evaluations]
        click.echo(json.dumps(found[0] if is_one else found, indent=2, allow_nan=False))
        return
    if is_one:
        print_result(evaluation_report(evaluations[0]))
    if not is_one or options["latency"]:
        print_result(networks_table(evaluations))


@click.command()
@click.argument("source")
@click.argument("output", type=click.Path(path_type=Path))
@_data_option
@option("--suite NAME", "all (default), cifar10c, imagenetc, ...")
@_corruption_options
@option(
    "--format layout",
    "npy: TYPE.npy as in CIFAR-10-C (data sets only); images: TYPE/SEVERITY/CLASS/*.",
    ["npy", "images"],
)
@option(
    "--image-format",
    "png is lossless; jpeg has quality 95.",
    ["png", "jpeg"],
    default="png",
)
@_frost_option
@size_options
@skip_option
@option("--workers N", "Number of threads.  Default: one per core.", FROM_1)
def corrupt(source: str, output: Path, **options: Any) -> None:
    """Write corrupted copies of images.

    Writes every type at every severity, and a manifest.
    SOURCE is a folder (CLASS/*, test/CLASS/*, val/CLASS/*, or images without classes) or a data
    set (cifar10, cifar100, digits; its test images are used). OUTPUT is a
    new folder.  If all images have one size, the copies are identical to those that `ablate
    evaluate` scores with the same seed.  If --image-size enlarges smaller square files, they
    differ, because `evaluate` scores those at their own size.
    """
    from ablate.robustness.corrupt import corrupt_files

    with progress_bar() as show:
        try:
            manifest = corrupt_files(
                source, output, progress=partial(show, "corrupting"), say=say, **options
            )
        except KeyboardInterrupt:
            say(f"stopped; {output} is incomplete: delete it")
            raise click.exceptions.Exit(130) from None
    frost = manifest.get("frost")
    if isinstance(frost, str):
        say(frost)
    click.echo(output)


COMMANDS = (evaluate, corrupt)
