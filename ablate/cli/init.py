"""`ablate init`: a study to edit: one that comes with ablate, one of your own images, or the
ablation of a search."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ablate.cli.options import (
    complete_study,
    in_options,
    json_option,
    normalization_options,
    option,
    refuse_given,
    said_when_slow,
    size_options,
    skip_option,
)
from ablate.cli.show import print_result
from ablate.errors import ParameterError, StudyFileError, UsageError

if TYPE_CHECKING:
    from ablate.lifecycle.own_data import Question

_PARAMETERS = {
    "baseline.checkpoint": "`checkpoint`",
    "baseline.backbone": "`backbone`",
    "model.name": "`model`",
    "MODEL": "`model`",
    "dataset.path": "`data`",
    "dataset.image_size": "`image_size`",
    "dataset.resize": "`resize`",
    "model.normalization": "`normalization`, `mean` and `std`",
}
"""What a study's keys are called here."""


@click.command()
@click.argument("name", required=False, shell_complete=complete_study)
@click.argument("folder", type=click.Path(path_type=Path), default=".", metavar="[FOLDER]")
@option(
    "--data IMAGES",
    "Write a study of this folder of images: CLASS/*, or train/CLASS/* with or without "
    "test/CLASS/* and val/CLASS/*.",
    Path,
)
@option(
    "--model NAME",
    "The network: resnet20, torchvision:NAME, timm:NAME or package.module:callable.",
)
@option(
    "--checkpoint FILE",
    "Its weights: a file, torchvision:WEIGHTS or timm:pretrained.  Without: a baseline is trained.",
)
@option(
    "--backbone FILE",
    "Weights that the baseline is trained from, with a new head for your classes: a file, "
    "timm:NAME, package.module:callable, or none.  Default: those published for the network.",
)
@option(
    "--normalization",
    "How images were normalised, where the weights do not say it; or --mean and --std.",
    ["imagenet", "dataset", "none"],
)
@normalization_options
@option("--channels", "Order in which the network gets the channels.", ["rgb", "bgr"])
@option("--value-range", "Value of a white pixel for the network.", ["1", "255"])
@size_options
@option(
    "--saw-validation",
    "Whether the weights were trained on the images that trials are compared on.",
    ["yes", "no"],
)
@option(
    "--expected-accuracy F",
    "Clean accuracy that the network had, from 0 to 1: a baseline that is clearly below is "
    "refused.",
    click.FloatRange(0, 1),
)
@option("--yes is_as_expected", "Take the baseline's accuracy as it is.")
@option(
    "--minutes N",
    "Time that the search may take on this machine.",
    click.FloatRange(min=1),
    default=10,
)
@skip_option
@option(
    "--ablation-of STUDY search",
    "Write the ablation of a trial of this search.",
    shell_complete=complete_study,
)
@option("--pick TRIAL", "With --ablation-of: knee, 'best METRIC' or 'trial N'.", default="knee")
@json_option
def init(
    name: str | None,
    folder: Path,
    *,
    data: Path | None,
    search: str | None,
    pick: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a study to edit.  Without NAME and options: list those that come with ablate.

    Writes NAME.yaml, and the search space that it names, into FOLDER (default: the current one).
    No file is overwritten.  `ablate launch NAME` runs a study that comes with it as it is.

    With --data, NAME is the new study's (default: that of IMAGES).  The images are looked at, the
    network is scored on clean validation images, a batch is timed, and the study is written with
    what was found.  On a terminal it asks what weights and images do not say; elsewhere options
    must say it.  Where there is no test/, it makes NAME_data with links to the images: a fifth of
    each class becomes test/.  IMAGES is not changed.

    With --ablation-of, NAME is the new study's (default: STUDY's with _ablation).
    """
    if data is not None and search is not None:
        raise UsageError("--data: cannot be combined with --ablation-of, got both. Leave one out.")
    if data is None:
        refuse_given(options, "needs --data, got none. Add it.")
    if search is None:
        refuse_given(["pick"], "needs --ablation-of, got none. Add it.")
    if data is not None:
        _show_written(
            _init_of_data(data, name, folder, as_json=as_json, **options), as_json=as_json
        )
        return
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


def _init_of_data(
    data: Path, name: str | None, folder: Path, *, as_json: bool, **options: Any
) -> tuple[Path, ...]:
    from ablate.lifecycle.own_data import Answers, write_own_study

    seen, white = options.pop("saw_validation"), options.pop("value_range")
    options |= {"saw_validation": None if seen is None else seen == "yes"}
    answers = Answers(data, value_range=None if white is None else int(white), **options)
    ask = _ask if is_terminal() and not as_json else _refuse
    say = partial(click.echo, err=as_json)
    try:
        return write_own_study(answers, name, folder, ask=ask, say=say, working=said_when_slow)
    except StudyFileError:
        raise
    except UsageError as error:
        raise error.named_by(_PARAMETERS) from error


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _ask(question: Question) -> Any:
    """The answer from the terminal; asked again where it is none."""
    click.echo(f"\n{question.text}")
    width = max(map(len, question.choices))
    for choice, meaning in question.choices.items():
        click.echo(f"  {choice:{width}}  {meaning}")
    is_yes_or_no = set(question.choices) == {"yes", "no"}
    label = "yes or no" if is_yes_or_no else in_options(question.option).lstrip("-")
    while True:
        text = click.prompt(label, default=question.default, type=str)
        try:
            return question.read(text.strip())
        except ParameterError as error:
            click.echo(f"{error}", err=True)


def _refuse(question: Question) -> Any:
    """Without a terminal, one line says what is missing, and what each choice means."""
    choices = "; ".join(f"{choice}: {meaning}" for choice, meaning in question.choices.items())
    raise UsageError(
        f"{question.option}: must be given without a terminal, got none. {question.text} {choices}."
    )


def _show_written(files: Sequence[Path], *, as_json: bool) -> None:
    if as_json:
        print_result([{"file": str(file)} for file in files])
        return
    click.echo(f"wrote {' and '.join(map(str, files))}")
    click.echo(f"run it: ablate launch {shlex.quote(str(files[0]))}")


COMMANDS = (init,)
