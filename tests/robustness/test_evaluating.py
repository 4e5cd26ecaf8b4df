"""Any network on any images, from Python and from the command line, through the real parts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from ablate.cli.evaluate import evaluate as command
from ablate.distortion import FAMILIES
from ablate.errors import AblateError, NotFiniteError
from ablate.model.build import build_model
from ablate.model.weights.export_metadata import ExportMetadata, export_weights, read_metadata
from ablate.robustness.arguments import named_by_parameters
from ablate.robustness.evaluate import evaluate
from ablate.robustness.evaluation import Evaluation, load_evaluation, summarise
from ablate.study.settings import ModelSettings

QUICK: dict[str, Any] = {"types": ["brightness", "contrast"], "severities": (1, 5)}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
CPU: dict[str, Any] = {"device": "cpu", "precision": "fp32", "threads": 1}


class Bright(nn.Module):
    """Says where a 16 x 16 image is brightest: left, middle or right."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        columns = images.mean(dim=(1, 2))
        return torch.stack([columns[:, 5 * k : 5 * k + 6].mean(dim=1) for k in range(3)], dim=1)


def of_images(model: Any, image_folder: Path, **options: Any) -> Evaluation:
    usual = {"dataset": image_folder, "image_size": 16, "normalization": "none", **QUICK, **CPU}
    return evaluate(model, **{**usual, **options})


def refusal(call: Callable[[], Any], kind: type[AblateError] = AblateError) -> str:
    with pytest.raises(kind) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export of a trial on digits; its weights are new ones."""
    metadata = ExportMetadata(
        model="resnet8",
        classes=tuple(map(str, range(10))),
        mean=(0.3,) * 3,
        std=(0.3,) * 3,
        image_size=8,
        resize=None,
        dataset="digits",
        study="tiny",
        trial=4,
        loss_terms="clean+da",
        seen_types=("gaussian_noise", "brightness"),
    )
    network = build_model(ModelSettings(name="resnet8"), 10, metadata.mean, metadata.std, 0)
    export_weights(network, tmp_path / "trial.safetensors", metadata)
    return tmp_path / "trial.safetensors"


def test_a_network_in_memory_is_scored_by_its_answers(image_folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = of_images(Bright(), image_folder, progress=lambda *said: told.append(said))
    assert found.clean is not None
    assert (found.data.n, found.clean.accuracy) == (12, 1.0)
    assert (found.model.name, found.model.checkpoint, found.suite.name) == (
        "Bright",
        None,
        "custom",
    )
    assert list(found.cells) == [
        *(("brightness", severity) for severity in (1, 5)),
        *(("contrast", severity) for severity in (1, 5)),
    ]
    assert told == [
        *(("brightness 1", 0, 4), ("brightness 5", 1, 4)),
        *(("contrast 1", 2, 4), ("contrast 5", 3, 4)),
    ]
    # Less contrast leaves the order of the columns as it was.
    assert found.cells["contrast", 1].accuracy == 1.0
    assert found.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.environment["device"] == "cpu"
    assert set(found.versions) >= {"ablate", "code"}
    assert found.marks == (
        "corrupted by ablate: same distribution as the benchmark, not the same bytes",
    )


def test_an_export_needs_nothing_else(export: Path) -> None:
    found = evaluate(export, **QUICK, **CPU)
    assert (found.model.name, found.data.name, found.data.n) == ("resnet8", "digits", 359)
    assert found.data.image_shape == (3, 8, 8)
    assert found.suite.scale == "cifar"
    assert found.model.training["trial"] == 4
    assert found.exposure == {"brightness": "seen_type", "contrast": "seen_family"}
    assert found.marks[-1] == (
        "the mean includes types that were trained on: not comparable with methods that hold these "
        "types out"
    )
    said = evaluate(export, seen=["pixelate"], **QUICK, **CPU)
    assert set((said.exposure or {}).values()) == {"unseen"}
    assert "mean_corruption_top5_accuracy_unnormalised" in {one.name for one in summarise(said)}


def test_another_size_is_corrupted_as_it_is(image_folder: Path, export: Path) -> None:
    found = evaluate(export, image_size=12, dataset="digits", **QUICK, **CPU)
    assert found.model.image_size == 12
    assert found.data.image_shape == (3, 12, 12)
    assert of_images(Bright(), image_folder).notes == (
        "files: shorter side 16 pixels",
        "the network was fed images of 16 x 16, mean 0, 0, 0, std 1, 1, 1",
    )
    cut = of_images(
        nn.Sequential(nn.AvgPool2d(2), Bright()), image_folder, resize=40, image_size=32
    )
    fed = "the network was fed images of 32 x 32, resize 40, mean 0, 0, 0, std 1, 1, 1"
    assert cut.notes[-1] == fed
    larger = nn.Sequential(nn.AvgPool2d(2), Bright())
    found = of_images(larger, image_folder, image_size=32)
    assert found.data.image_shape == (3, 16, 16)
    assert found.notes[-1] == "corrupted at 16 x 16, then resized to 32 x 32"
    assert found.clean is not None
    assert found.clean.accuracy == 1.0


def arrays(folder: Path, images: np.ndarray, labels: list[int]) -> Path:
    """CIFAR-10-C's layout: darker with each severity."""
    folder.mkdir()
    blocks = [images // severity for severity in range(1, 6)]
    for kind in ("brightness", "fog"):
        np.save(folder / f"{kind}.npy", np.concatenate(blocks))
    np.save(folder / "labels.npy", np.array(labels * 5, dtype=np.uint8))
    return folder


def test_official_files_with_their_images(image_folder: Path, tmp_path: Path) -> None:
    clean = of_images(Bright(), image_folder)
    from PIL import Image

    files = sorted((image_folder / "test").rglob("*.png"), key=str)
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    official = arrays(tmp_path / "C", pixels, clean.labels.tolist())
    found = of_images(Bright(), image_folder, official=official, types=None)
    assert found.suite.made_by == "official files"
    assert (found.seed, found.suite.name, found.suite.types) == (None, "C", ("fog", "brightness"))
    assert found.marks == ("official files",)
    assert found.clean is not None
    assert found.cells["fog", 1].correct.tolist() == found.clean.correct.tolist()
    alone = of_images(Bright(), image_folder, official=official, dataset=None, types=["fog"])
    assert alone.clean is None
    assert alone.data.classes == ("0", "1", "2")
    assert alone.notes[0] == ("the clean images were not scored: their data set was not named")
    assert alone.cells["fog", 5].correct.tolist() == found.cells["fog", 5].correct.tolist()

    np.save(official / "labels.npy", np.array(clean.labels.tolist()[::-1] * 5, dtype=np.uint8))
    assert refusal(lambda: of_images(Bright(), image_folder, official=official, types=None)) == (
        "`official`: must have the images of `dataset` in the same order, got label 2 for 0 at "
        "image 0. Name the images that they were made from."
    )
    fewer = arrays(tmp_path / "fewer", pixels[:6], [0, 0, 1, 1, 2, 2])
    assert refusal(lambda: of_images(Bright(), image_folder, official=fewer, types=None)) == (
        "`official`: must be copies of the images of `dataset`, got 6 for 12. Name the images that "
        "they were made from."
    )
    assert refusal(
        lambda: of_images(Bright(), image_folder, official=official, suite="families")
    ) == (
        "`suite`: must contain the benchmark's corruptions with `official`, got families. Leave it "
        "out, or write cifar10c or imagenetc."
    )


def test_relative_to_another_networks_scores(
    image_folder: Path, tmp_path: Path, export: Path
) -> None:
    other = of_images(Bright(), image_folder)
    found = of_images(Bright(), image_folder, relative_to=other)
    assert found.reference is not None
    assert found.reference.name == "Bright"
    text = refusal(lambda: evaluate(export, relative_to=other, **QUICK, **CPU))
    assert text.startswith("`relative_to`: must be scores on the same number of images, got 12 for")
    text = refusal(lambda: of_images(Bright(), image_folder, relative_to=tmp_path / "none.json"))
    assert "must be a readable file" in text


def test_classes_that_an_export_does_not_know(image_folder: Path, export: Path) -> None:
    assert refusal(lambda: evaluate(export, dataset=image_folder, **QUICK, **CPU)) == (
        f"`dataset`: {image_folder.name} must have the 10 classes that {export} was finetuned on, "
        "got 3: 0, 1, 2 and 10 more in only one of them. Name that data set."
    )


def test_logits_that_are_not_finite_name_the_copies(image_folder: Path) -> None:
    class Breaks(Bright):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            too_bright = torch.where(images.mean(dim=(1, 2, 3)) > 0.5, torch.nan, 1.0)
            return super().forward(images) * too_bright[:, None]

    text = refusal(lambda: of_images(Breaks(), image_folder), NotFiniteError)
    assert text == (
        "`model`: Breaks: every logit must be finite, got NaN or infinity on brightness 5. Score "
        "it with `precision='fp32'`, or use weights from a finished training."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"seen": ["fog"]},
            "`seen`: must name training distortions, got 'fog'. Known: "
            f"{', '.join(FAMILIES['noise'])}, ",
        ),
        (
            {"dataset": None},
            "`dataset`: must name the images to evaluate on, got none. Give a name (digits, "
            "cifar10, cifar100), a folder, or `official`.",
        ),
        (
            {"checkpoint": "weights.pt"},
            "`checkpoint`: applies only to a named network, got it with one in memory. Load the "
            "weights into it first.",
        ),
        ({"precision": "fp16"}, "`precision`: fp16 needs a GPU, got a CPU. Use bf16 or fp32"),
    ],
)
def test_wrong_use(image_folder: Path, options: dict[str, Any], message: str) -> None:
    text = refusal(lambda: of_images(Bright(), image_folder, **options))
    assert text.startswith(message)


def test_keys_of_a_study_are_named_by_parameters(tmp_path: Path) -> None:
    text = refusal(lambda: evaluate("resnet8", checkpoint="no.pt", dataset="digits"))
    assert text.startswith("`checkpoint`: must be a readable file, torchvision:WEIGHTS or ")
    assert text.endswith("Correct the path.")
    weights = tmp_path / "weights.safetensors"
    export_weights(build_model(ModelSettings(name="resnet8"), 7, (0.5,), (0.5,), 0), weights)
    options = {"dataset": "digits", "image_size": 8, **CPU}
    text = refusal(lambda: evaluate("resnet20", checkpoint=weights, **options))
    assert text.startswith("`checkpoint`: must contain the weights of resnet20, got ")
    assert text.endswith("Name its network as MODEL; its classes must be those of the data set.")
    with pytest.raises(NotFiniteError, match=r"finetune\.learning_rate"), named_by_parameters():
        raise NotFiniteError("lower finetune.learning_rate of model.name")


def test_weights_that_do_not_say_how_they_were_fed(tmp_path: Path) -> None:
    name, network = "resnet8", build_model(ModelSettings(name="resnet8"), 10, MEAN, STD, 0)
    state = {key: one for key, one in network.state_dict().items() if "normalize" not in key}
    torch.save(state, tmp_path / "mine.pt")
    options = {"checkpoint": tmp_path / "mine.pt", "dataset": "digits", **QUICK, **CPU}
    assert refusal(lambda: evaluate(name, **options)) == (
        "`image_size`: must be given, since the weights do not say at what size they were trained, "
        "got images of 8 x 8 for a network of 32 x 32. Give the side in pixels that it saw."
    )
    text = refusal(lambda: evaluate(name, image_size=32, **options))
    assert text.startswith("`mean` and `std`: must be given for ")
    given = {"image_size": 8, "mean": MEAN, "std": STD, "images": 20}
    assert evaluate(name, **given, **options).model.image_size == 8


# --- the command


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments), "--device", "cpu", "--threads", "1"])


def test_the_command_writes_what_it_shows(export: Path, tmp_path: Path) -> None:
    json_file, csv_file = tmp_path / "scores.json", tmp_path / "scores.csv"
    types = ("--types", "brightness,contrast", "--severities", "1,5", "--images", 50)
    shown = run(export, *types, "-o", json_file, "--csv", csv_file)
    assert shown.exit_code == 0, shown.output
    assert "digits test, 5" in shown.stdout
    assert re.search(r"brightness +\d+\.\d", shown.stdout)
    written = load_evaluation(json_file)
    assert len(csv_file.read_text().splitlines()) == 6
    other = tmp_path / "other.safetensors"
    metadata = read_metadata(export)
    assert metadata is not None
    network = build_model(ModelSettings(name="resnet8"), 10, metadata.mean, metadata.std, 1)
    export_weights(network, other, metadata)
    again = run(other, *types, "--relative-to", json_file, "--json")
    assert again.exit_code == 0, again.output
    found = json.loads(again.stdout)
    assert "correct" not in found["cells"][0]
    assert "mean_corruption_error_relative_to" in found["summary"]
    assert found["relative_to"]["identity"] == written.model.identity


def test_copies_that_are_none_of_the_benchmark_are_not_said_to_be() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    options = {"dataset": "digits", "normalization": "none", "images": 10, "severities": [1]}
    for types, is_said in ((["lines"], False), (["lines", "fog"], True)):
        marks = evaluate(network, types=types, **options).marks
        assert "lines: generated from descriptions, not the published files" in marks
        assert any("the benchmark" in mark for mark in marks) == is_said
