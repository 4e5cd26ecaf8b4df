"""How a network was fed: the order of its channels, and the value of a white pixel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from commands import run_here

import ablate
from ablate.errors import ParameterError
from ablate.finetune.baseline import _without_added
from ablate.lifecycle.place import place_of_file
from ablate.model.build import build_model
from ablate.robustness.evaluate import evaluate
from ablate.study.settings import ModelSettings, NormalizationSettings
from tests.lifecycle.test_own_data import COLOURS, NETS, write_images

MEAN, STD = (103.94, 116.78, 123.68), (57.0, 58.0, 59.0)
"""Of blue, green and red, in [0, 255]."""
FED = NormalizationSettings(mean=MEAN, std=STD)
HOOKED = """
import torch


def build(classes):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, classes))
    net.register_forward_pre_hook(lambda module, images: (images[0].flip(1),))
    return net
"""


def as_written(images: torch.Tensor) -> torch.Tensor:
    """What a network gets that was trained on images as OpenCV reads them."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (255 * images[:, [2, 1, 0]] - mean) / std


@pytest.mark.parametrize("name", ["resnet8", "torchvision:resnet18", "nets:build"])
def test_channels_are_reversed_then_scaled_then_normalised(work: Path, name: str) -> None:
    (work / "nets.py").write_text(NETS)
    images = torch.rand(4, 3, 32, 32)
    fed = ModelSettings(name=name, normalization=FED, channels="bgr", value_range=255)
    plain = ModelSettings(name=name, normalization="none")
    networks = [
        build_model(settings, 5, (0.5,) * 3, (0.5,) * 3, 3, base=work).eval()
        for settings in (fed, plain)
    ]
    torch.testing.assert_close(
        networks[0](images), networks[1](as_written(images)), rtol=1e-4, atol=1e-4
    )


def test_named_numbers_go_with_their_colours() -> None:
    """`dataset` and `imagenet` are of red, green and blue, whatever the order is."""
    images = torch.rand(2, 3, 8, 8)
    of_dataset = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    networks = [
        build_model(
            ModelSettings(name="resnet8", channels=order, normalization=choice), 5, *numbers, 0
        ).eval()
        for order, choice, numbers in (
            ("bgr", "dataset", of_dataset),
            ("rgb", "dataset", tuple(values[::-1] for values in of_dataset)),
        )
    ]
    torch.testing.assert_close(networks[0](images), networks[1](images.flip(1)))


def test_the_own_hook_comes_first(work: Path) -> None:
    """A network that swaps the channels itself takes mean and std in the order that it makes."""
    (work / "swaps.py").write_text(HOOKED)
    images = torch.rand(2, 3, 8, 8)
    swaps = ModelSettings(name="swaps:build", normalization=FED, value_range=255)
    network = build_model(swaps, 5, (0.5,) * 3, (0.5,) * 3, 0, base=work)
    expected = network[1](as_written(images).flatten(1))
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4)


def test_the_range_of_mean_and_std_is_that_of_the_images(work: Path) -> None:
    with pytest.raises(ValueError, match=r"must be from 0 to 1, since images are in \[0, 1\]"):
        ModelSettings(name="resnet8", normalization=FED)
    study = {
        "version": 1,
        "name": "a",
        "dataset": {"name": "digits"},
        "model": {"name": "resnet8", "normalization": {"mean": [300.0], "std": [1.0]}},
        "finetune": {"budget": {"epochs": 1}},
        "space": {"finetune.learning_rate": {"float": [0.01, 0.1]}},
    }
    (work / "a.yaml").write_text(yaml.safe_dump(study))
    found = run_here("check", "a.yaml", cwd=work).stderr
    assert "normalization.mean must be from 0 to 1, since images are in [0, 1], got 300." in found
    study["model"] |= {"value_range": 255}
    (work / "a.yaml").write_text(yaml.safe_dump(study))
    found = run_here("check", "a.yaml", cwd=work).stderr
    assert "normalization.mean must be from 0 to 255, since images are in [0, 255]" in found


def test_a_mean_of_one_number_is_not_of_images_of_three_channels() -> None:
    """The network was trained on grey images: its numbers are kept, and its first layer told."""
    grey = NormalizationSettings(mean=(0.4,), std=(0.2,))
    with pytest.raises(ParameterError) as caught:
        build_model(ModelSettings(name="resnet8", normalization=grey), 5, (0.5,) * 3, (0.5,) * 3, 0)
    assert str(caught.value) == (
        "model: resnet8 with normalization of its own needs images of 1 channel, got 3. Write mean "
        "and std three times (grey images have three equal channels), and give a network of one "
        "channel images[:, :1]."
    )


def test_the_keys_of_baselines_stay() -> None:
    kept = _without_added("model", ModelSettings(name="resnet8").model_dump(mode="json"))
    assert kept == {"name": "resnet8", "normalization": "auto"}


@pytest.fixture
def blue_first(work: Path) -> Path:
    """A folder of train/, val/ and test/; beside it a network that is right on images from blue to
    red, in [0, 255]."""
    for split, size in (("train", 1), ("val", 1), ("test", 3)):
        counts = {"blue": 12 // size, "green": 18 // size, "red": 30 // size}
        write_images(work / "shapes" / split, counts)
    (work / "nets.py").write_text(NETS)
    means = 255 * (torch.tensor(list(COLOURS.values())).flip(1) - 0.5)
    weights = {
        "0.weight": torch.eye(3).view(3, 3, 1, 1),
        "0.bias": torch.full((3,), -127.5),
        "3.weight": means / 500,
        "3.bias": torch.tensor([0.0, 0.0, 1.0]),  # of red, and too much for values up to 1
    }
    torch.save(weights, work / "w.pt")
    return work / "shapes"


def init(*options: object, name: str = "mine", weights: str = "w.pt") -> list[object]:
    model = ("--model", "nets:build", "--checkpoint", weights, "--saw-validation", "no")
    return ["init", name, "--data", "shapes", *model, "--image-size", 8, *options]


def test_init_tries_orders_and_ranges(blue_first: Path, work: Path) -> None:
    result = run_here(*init(), cwd=work)
    tried = "none: bgr 255 100.0 %, rgb 50.0 %, bgr 50.0 %, rgb 255 30.0 %"
    tried += " of 60 validation images right"
    assert tried in result.stdout.splitlines()
    last = result.stderr.splitlines()[-1]
    assert "in brackets: fed so they are right most often (add bgr, 255 to the answer). " in last
    assert "none: not at all, or by the network itself (bgr 255 100.0 %); " in last
    stated = run_here(*init("--normalization", "none", "--yes"), cwd=work)
    assert tried in stated.stdout.splitlines()


def test_what_is_fed_so_is_searched_and_exported_so(blue_first: Path, work: Path) -> None:
    fed = ("--normalization", "none", "--channels", "bgr", "--value-range", 255, "--yes")
    result = run_here(*init(*fed), cwd=work)
    assert result.returncode == 0, result.stderr
    assert (
        "baseline: right on 100.0 % of 60 clean validation images; images of 8 x 8, as BGR, "
        in (result.stdout)
    )
    study = place_of_file(work / "mine.yaml").study
    assert study is not None
    assert (study.model.channels, study.model.value_range) == ("bgr", 255)
    small = ["search.trials=1", "robustness.suite=[gaussian_noise]", "robustness.severities=[5]"]
    small.append("finetune.budget={images: 64}")
    record = ablate.launch(work / "mine.yaml", small, executor="inline")
    scores = record.rows[0].scores
    assert scores is not None
    for ending in ("safetensors", "pt2", "onnx"):
        file = work / f"t0.{ending}"
        assert run_here("export", "runs/mine", "--trial", 0, "-o", file, cwd=work).stderr == ""
        found = evaluate(
            file,
            dataset=str(work / "shapes"),
            split="val",
            types=("gaussian_noise",),
            severities=(5,),
            precision="fp32",
            device="cpu",
        )
        assert found.clean is not None
        assert found.clean.accuracy == pytest.approx(scores.clean_accuracy), ending
        assert found.accuracy(["gaussian_noise"]) == pytest.approx(scores.robust_accuracy), ending
    loaded = ablate.load_model("runs/mine", 0)
    assert loaded.provenance.channels == "bgr"

    following = run_here(*init("--yes", name="next", weights="t0.safetensors"), cwd=work)
    assert "clean validation images; images of 8 x 8, as BGR, " in following.stdout
