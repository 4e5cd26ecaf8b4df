"""What `evaluate` is asked: what goes together, what is refused, and what has to be said."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from ablate.cli.main import main
from ablate.errors import AblateError
from ablate.robustness.evaluate import evaluate
from ablate.robustness.evaluation import Evaluation

QUICK: dict[str, Any] = {"types": ["contrast"], "severities": (1,)}
CPU: dict[str, Any] = {"device": "cpu", "precision": "fp32", "threads": 1}
CPUS = os.cpu_count()
NAMES = ("left", "middle", "right")


class Columns(nn.Module):
    """Mean brightness of each part of an image, from left to right."""

    def __init__(self, parts: int = 3) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d((1, parts))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 20 * self.pool(images.mean(dim=1, keepdim=True)).flatten(1)


def of_images(image_folder: Path, model: Any = None, **options: Any) -> Evaluation:
    usual = {"dataset": image_folder, "image_size": 16, "normalization": "none", **QUICK, **CPU}
    return evaluate(model or Columns(), **{**usual, **options})


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(AblateError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"severities": [1.0]}, "`severities`: must be whole numbers from 1 to 5, got 1.0. "),
        ({"severities": 3}, "`severities`: must be a list of whole numbers, got 3. Write [3]."),
        ({"batch_size": 0}, "`batch_size`: must be at least 1, got 0. Correct it."),
        ({"batch_size": 8.0}, "`batch_size`: must be a whole number, got 8.0. Correct it."),
        ({"threads": 100_000}, f"`threads`: must be at most {CPUS}, got 100000. Lower it."),
        ({"image_size": 4}, "`image_size`: must be at least 8, got 4. Correct it."),
        (
            {"precision": "fp8"},
            "`precision`: must be auto, bf16, fp16 or fp32, got 'fp8'. Correct it.",
        ),
        (
            {"types": "fog"},
            "`types`: must be a list of names, got the text 'fog'. Write ['fog'].",
        ),
        ({"types": ()}, "`types`: must name at least one type, got none. Leave it out to use all."),
        (
            {"suite": "fog", "types": None},
            "`suite`: must be a known suite, got 'fog'. Give `types=['fog']`.",
        ),
        (
            {"mean": 0.5, "std": [0.5], "normalization": None},
            "`mean`: must have a number for each channel, got 0.5. Write [0.5, 0.5, 0.5].",
        ),
        (
            {"model": lambda images: images},
            "`model`: must be a torch.nn.Module, a name or a file, got <lambda>. Put the function ",
        ),
    ],
)
def test_kinds_and_ranges(image_folder: Path, options: dict[str, Any], message: str) -> None:
    assert refusal(lambda: of_images(image_folder, **options)).startswith(message)


@pytest.mark.parametrize("severities", [np.array([5, 1]), iter([5, 1, 5])])
def test_severities_are_taken_in_their_order(image_folder: Path, severities: Any) -> None:
    found = of_images(image_folder, severities=severities)
    assert found.suite.severities == (1, 5)
    assert all(type(severity) is int for severity in found.suite.severities)
    plain = of_images(image_folder, severities=(1, 5))
    assert found.data.corrupted_identity == plain.data.corrupted_identity


def test_probabilities_are_marked(image_folder: Path) -> None:
    mark = "the network returns probabilities; its calibration error is computed from their softmax"
    assert mark in of_images(image_folder, nn.Sequential(Columns(), nn.Softmax(dim=1))).marks
    assert mark not in of_images(image_folder).marks


# --- official files


def write_copies(image_folder: Path, root: Path) -> Path:
    """Of the test images, in the layout of ImageNet-C: as they are."""
    for severity in "12345":
        for file in (image_folder / "test").rglob("*.png"):
            copy = root / "contrast" / severity / file.parent.name / f"{file.stem}.JPEG"
            copy.parent.mkdir(parents=True, exist_ok=True)
            Image.open(file).save(copy, quality=95)
    return root


@pytest.fixture
def copies(image_folder: Path, tmp_path: Path) -> Path:
    return write_copies(image_folder, tmp_path / "C")


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Twelve images of 16 x 16 in the layout of CIFAR-10-C, labels 0 to 2."""
    folder = tmp_path / "arrays"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    np.save(folder / "contrast.npy", pixels)
    np.save(folder / "labels.npy", np.tile(np.arange(12) % 3, 5))
    return folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 5}, "`seed`: applies only to generated copies, got it with `official`. Leave "),
        ({"frost_images": "x"}, "`frost_images`: applies only to generated copies, got it with "),
        (
            {"split": "test", "dataset": None},
            "`split`: applies only to the images of `dataset`, got it with `official` alone. Leave "
            "it out, or add `dataset`.",
        ),
        (
            {"data": "x", "dataset": None},
            "`data`: applies only to the images of `dataset`, got it with ",
        ),
        (
            {"skip_unreadable": True},
            "`skip_unreadable=True`: cannot be used with `official`, whose copies must all have ",
        ),
        ({"resize": 12}, "`resize`: must be at least the image size 16, got 12. Raise it."),
        (
            {"resize": 40, "image_size": None, "dataset": None},
            "`resize`: needs `image_size`, got 40. Give both.",
        ),
    ],
)
def test_options_that_mean_nothing_beside_official_files(
    image_folder: Path, copies: Path, options: dict[str, Any], message: str
) -> None:
    text = refusal(lambda: of_images(image_folder, official=copies, **options))
    assert text.startswith(message)


def test_files_must_be_of_the_images(image_folder: Path, copies: Path) -> None:
    found = of_images(image_folder, official=copies)
    assert found.clean is not None
    assert found.data.classes == NAMES
    for folder in (copies / "contrast").iterdir():
        (folder / "middle" / "0.JPEG").rename(folder / "middle" / "00.JPEG")
    assert refusal(lambda: of_images(image_folder, official=copies)) == (
        "`official`: must have the images of `dataset`, got middle/00 for middle/0 at image 4. "
        "Name the images that they were made from."
    )


def test_copies_say_at_what_size_they_were_corrupted(
    image_folder: Path, arrays: Path, tmp_path: Path
) -> None:
    for file in (image_folder / "test").rglob("*.png"):
        large = tmp_path / "large" / file.parent.name / file.name
        large.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).resize((128, 128)).save(large)
    np.save(arrays / "labels.npy", np.repeat(np.arange(3), 4))
    options: dict[str, Any] = {"dataset": tmp_path / "large", "official": arrays}
    found = of_images(image_folder, image_size=128, **options)
    assert found.data.image_shape == (3, 16, 16)
    assert found.suite.scale == "cifar"
    assert found.notes[-1] == "corrupted at 16 x 16, then resized to 128 x 128"
    cut = of_images(image_folder, image_size=128, resize=140, **options)
    assert cut.notes[-2] == "copies: shorter side 140 pixels, centre crop 128 x 128"
    assert cut.notes[-1].startswith("the network was fed images of 128 x 128, resize 140, mean ")


def test_grey_copies_are_said(image_folder: Path, copies: Path) -> None:
    file = copies / "contrast/1/left/0.JPEG"
    Image.open(file).convert("L").save(file)
    found = of_images(image_folder, official=copies)
    assert "1 of 12 checked files are grey; their channel is repeated three times" in found.notes


# --- the command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--types", ","),
            "--types: must name at least one type, got none. Leave it out to use all.",
        ),
        (
            ("--types", "fog", "--suite", "fog"),
            "--suite: must be a known suite, got 'fog'. Give --types fog.",
        ),
        (("-o", "/proc/scores.json"), "/proc/scores.json: must be in a writable folder, got "),
        (("--mean", "120,110,100", "--std", "60,60,60"), "--mean: must be from 0 to 1, since "),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    image_folder: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "network.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Columns()), file)
    common = ["evaluate", str(file), "--dataset", str(image_folder), "--image-size", "16"]
    said = () if "--mean" in arguments else ("--normalization", "none")
    result = CliRunner().invoke(main, [*common, *said, *arguments, "--threads", "1"])
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"ablate: {message}")


def test_a_missing_module_is_said_with_the_place_for_it(work: Path) -> None:
    torch.save({}, work / "w.pt")
    common = ["evaluate", "no_module:make", "--checkpoint", "w.pt", "--dataset", "digits"]
    result = CliRunner().invoke(main, [*common, "--normalization", "none"])
    assert result.exit_code == 2
    assert result.stderr.endswith(
        "no module no_module. Install it or put no_module.py into this folder.\n"
    )
