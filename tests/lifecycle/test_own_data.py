"""`ablate init --data`: from a folder of images and a network to a study that runs."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run_here
from PIL import Image

import ablate
from ablate.lifecycle.own_data import SearchSize
from ablate.lifecycle.place import place_of_file
from ablate.study.baseline_checks import seen_rule

COUNTS = {"blue": 12, "green": 18, "red": 30}
MEAN, STD = (0.9, 0.1, 0.5), (0.3, 0.2, 0.1)
NETS = """
import torch


def build(classes):
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 3, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(3, classes),
    )
    net.taps = {"early": "0"}
    return net
"""
COLOURS = {"blue": (0.4, 0.4, 0.6), "green": (0.4, 0.6, 0.4), "red": (0.6, 0.4, 0.4)}
FED = ("--image-size", 8, "--mean", "0.9,0.1,0.5", "--std", "0.3,0.2,0.1")
"""How the network was fed."""
WRONG = ("--mean", "0,1,1", "--std", "0.1,1,1")
SAID = (*FED, "--saw-validation", "no", "--yes")


def write_images(folder: Path, counts: dict[str, int] = COUNTS, *, grey: bool = False) -> None:
    """Images of 8 x 8 pixels, each of the colour of its class and noise."""
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.array(COLOURS[name]) + random.normal(0, 0.1, (8, 8, 3))
            image = Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8))
            (image.convert("L") if grey else image).save(folder / name / f"{number}.png")


@pytest.fixture
def shapes(work: Path) -> Path:
    """The folder of images; beside it a network, and its weights, which are right when fed so."""
    write_images(work / "shapes")
    (work / "nets.py").write_text(NETS)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    means = (torch.tensor(list(COLOURS.values())) - mean) / std
    weights = {
        "0.weight": torch.eye(3).view(3, 3, 1, 1),
        "0.bias": torch.zeros(3),
        "3.weight": 2 * means,
        "3.bias": -(means**2).sum(dim=1),
    }
    torch.save(weights, work / "w.pt")
    return work / "shapes"


def init(*options: object, name: str = "mine") -> list[object]:
    model = ("--model", "nets:build", "--checkpoint", "w.pt")
    return ["init", name, "--data", "shapes", *model, *options]


@pytest.mark.slow
def test_a_study_of_ones_own_images_is_written_and_runs(shapes: Path, work: Path) -> None:
    before = {file: file.read_bytes() for file in shapes.rglob("*.png")}
    result = run_here(*init(*SAID), cwd=work)
    assert result.stderr == ""
    *said, wrote, how = result.stdout.splitlines()
    assert said[0] == "shapes: 60 images of 3 classes (blue 12, green 18, red 30)"
    baseline = (
        "baseline: right on 100.0 % of 12 clean validation images; images of 8 x 8, mean 0.9, 0.1, "
        "0.5, std 0.3, 0.2, 0.1 (a network that always answers red: 50.0 %)"
    )
    assert baseline in said
    assert (wrote, how) == ("wrote mine.yaml and mine_data", "run it: ablate launch mine.yaml")
    assert {file: file.read_bytes() for file in shapes.rglob("*.png")} == before

    assert run_here("check", "mine.yaml", cwd=work).returncode == 0
    study = place_of_file(work / "mine.yaml").study
    assert study is not None
    assert study.model.normalization.mean == MEAN  # type: ignore[union-attr]
    assert (study.baseline.saw_validation, study.baseline.expected_accuracy) == (False, 1.0)
    assert study.loss.fma.layers == ("early",)
    assert study.robustness.suite == "cifar10c"
    assert (study.finetune.optimizer, study.finetune.batch_size) == ("adamw", 32)
    small = ["search.trials=1", "robustness.suite=[contrast]", "robustness.severities=[3]"]
    record = ablate.launch(work / "mine.yaml", small, executor="inline")
    assert [row.state for row in record.rows] == ["COMPLETE"]
    assert record.references["baseline"].clean_accuracy == 1.0

    run_here("export", "runs/mine", "--trial", 0, "-o", "t0.safetensors", cwd=work)
    said_by_weights = init("--saw-validation", "no", "--yes", name="next")  # and nothing else
    said_by_weights[said_by_weights.index("w.pt")] = "t0.safetensors"
    assert run_here(*said_by_weights, cwd=work).stderr == ""
    following = place_of_file(work / "next.yaml").study
    assert following is not None
    assert following.dataset.image_size == 8
    assert following.model.normalization == "auto"

    again = run_here(*init(*SAID), cwd=work)
    assert (again.returncode, again.stderr) == (
        2,
        "ablate: mine.yaml: must not exist, got a file. Give another NAME, or move it.\n",
    )


@pytest.mark.slow
def test_the_test_split_is_a_fifth_of_each_class_and_always_the_same(
    shapes: Path, work: Path
) -> None:
    (shapes / "red" / "broken.png").write_bytes(b"no image")
    run_here(*init(*SAID, "--skip-unreadable"), cwd=work)
    run_here(*init(*SAID, "--skip-unreadable", name="other"), cwd=work)
    found = {}
    for name in ("mine", "other"):
        links = sorted((work / f"{name}_data").rglob("*.png"))
        assert all(link.is_symlink() and link.resolve().parents[1] == shapes for link in links)
        found[name] = {str(link.relative_to(work / f"{name}_data")) for link in links}
    assert found["mine"] == found["other"]
    counts = {
        (split, label): sum(one.startswith(f"{split}/{label}/") for one in found["mine"])
        for split in ("train", "test")
        for label in COUNTS
    }
    assert list(counts.values()) == [10, 14, 24, 2, 4, 6]
    assert not any("broken" in one for one in found["mine"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            (),
            "--saw-validation: must be given without a terminal, got none. There are 48 images of "
            "train/: was it trained on these?  Trials are compared on 25 % of each class of "
            "train/. yes: every result is marked so; no: it has seen none of them.",
        ),
        (
            ("--saw-validation", "no"),
            "--normalization: must be given without a terminal, got none. How were images "
            "normalised?  The weights do not say it; in brackets: fed so they are right most often "
            "(add bgr, 255 to the answer). imagenet: mean 0.485, 0.456, 0.406, std 0.229, 0.224, "
            "0.225 (rgb @ %); dataset: mean and std of the training images (rgb @ %); none: not at "
            "all, or by the network itself (rgb @ %); --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5: images "
            "in [-1, 1], or any other numbers (rgb @ %).",
        ),
        (
            ("--saw-validation", "no", *FED[2:]),
            "--yes: must be given without a terminal, got none. 100.0 % of 12 clean validation "
            "images: is that what you expect? yes: go on; no: it is fed otherwise than it was "
            "trained, or not converged.",
        ),
        (
            ("--saw-validation", "no", "--normalization", "imagenet", "--expected-accuracy", "1"),
            "--expected-accuracy: must be reached within 4 standard errors of @ points, got 1 and "
            "a baseline that is right on @ % of 12 clean validation images; images of 8 x 8, mean "
            "0.485, 0.456, 0.406, std 0.229, 0.224, 0.225. Either it is fed otherwise than it was "
            "trained (--normalization, --mean and --std, --image-size, --resize), or its training "
            "has not converged: correct that, or lower it.",
        ),
        (
            ("--saw-validation", "no", *WRONG, "--expected-accuracy", "0.3"),
            "baseline: the baseline is right on 50.0 %, no more than a network that always "
            "answers red (@ %): either it is fed otherwise than it was trained (--normalization, "
            "--mean and --std, --image-size, --resize), or its training has not converged. "
            "Correct that, or "
            "give --yes to go on.",
        ),
        (
            ("--image-size", "16", "--resize", "12"),
            "--resize: must be at least the image size 16, got 12. Raise it, or lower "
            "--image-size.",
        ),
        (
            ("--image-size", "16"),
            "--resize: must be given without a terminal, got none. To which shorter side in pixels "
            "were images resized before the centre crop?  The weights do not say it; the images "
            "are 8x8 (60), the network sees 16 x 16. 16: only the longer side is cut; 18: the "
            "usual crop of ImageNet's evaluation; N: any other.",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_one_line_and_nothing_is_written(
    shapes: Path, work: Path, options: tuple[str, ...], said: str
) -> None:
    size = () if "--image-size" in options else ("--image-size", 8)
    result = run_here(*init(*size, *options), cwd=work)
    assert result.returncode == 2
    last = re.sub(r"\d+\.\d( % of| %\)| points)(?!.*: is)", r"@\1", result.stderr.splitlines()[-1])
    assert last.removeprefix("ablate: ") == said
    left = {path.name for path in work.iterdir()} - {"__pycache__", "cache"}
    assert left == {"shapes", "nets.py", "w.pt"}


def test_on_a_terminal_it_asks(shapes: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from ablate.cli.main import main

    monkeypatch.chdir(work)
    monkeypatch.setattr("ablate.cli.init.is_terminal", lambda: True)
    answers = ["8", "no", "0.9,0.1", "0.9,0.1,0.5 0.3,0.2,0.1", "y"]
    arguments = [str(one) for one in init()]
    result = CliRunner().invoke(main, arguments, input="\n".join(answers) + "\n")
    assert result.exit_code == 0, result.output
    assert "must be imagenet, dataset, none, or numbers as --mean" in result.output
    assert "100.0 % of 12 clean validation images: is that what you expect?" in result.output
    assert (
        "normalization: {mean: [0.9, 0.1, 0.5], std: [0.3, 0.2, 0.1]}"
        in (work / "mine.yaml").read_text()
    )
    refused = CliRunner().invoke(
        main, [str(one) for one in init(name="other")], input="8\nno\nimagenet\nn\n"
    )
    assert refused.exit_code == 2
    assert "ablate: baseline: must be as good as it was, got" in refused.output
    assert not (work / "other.yaml").exists()


def test_a_network_that_has_seen_the_training_images_is_noticed(shapes: Path, work: Path) -> None:
    """It is right on train/, and on a third of val/: what `saw_validation: no` says looks false."""
    shapes.rename(work / "train")
    (work / "shapes").mkdir()
    (work / "train").rename(shapes / "train")
    others = {"blue": "green", "green": "red", "red": "red"}
    for name, other in others.items():  # two of three classes look otherwise
        shutil.copytree(shapes / "train" / other, shapes / "val" / name)
    result = run_here(*init(*SAID), cwd=work)
    assert result.returncode == 0, result.stderr
    assert (
        "val/ becomes the test split, since there is no test/, and train/ both the training and "
        "the validation images; of a study's commands `ablate confirm` alone scores the test "
        "split; trials are compared on 25 % of each class of train/"
    ) in result.stdout.splitlines()
    assert (
        "warning: saw_validation: no looks false: the network is right on 100.0 % of 15 images of "
        "train/, which trials are compared on, and on 38.5 % of 78 images of val/ (standard error "
        "of the difference 5.5 points): say yes if it was trained on train/"
    ) in result.stdout.splitlines()
    seen = (*FED, "--saw-validation", "yes", "--yes")
    assert "looks false" not in run_here(*init(*seen, name="seen"), cwd=work).stdout


def test_how_far_train_may_be_above_val() -> None:
    """Up to 3 points, and up to 3 standard errors of the two, which are of different images."""
    assert seen_rule((0.9, 100), (0.75, 100)) is None  # 15 points, 2.8 standard errors
    assert "(standard error of the difference 5.4 points)" in str(
        seen_rule((0.9, 100), (0.73, 100))
    )
    assert seen_rule((0.9, 50_000), (0.875, 50_000)) is None  # 2.5 points, 12 standard errors
    assert seen_rule((0.7, 500), (0.9, 500)) is None


@pytest.mark.slow
def test_splits_that_are_there_are_kept_and_a_baseline_is_trained(work: Path) -> None:
    for split, share in (("train", 1), ("val", 2), ("test", 3)):
        counts = {name: count // share for name, count in COUNTS.items()}
        write_images(work / "grey" / split, counts, grey=True)
    (work / "grey" / "train" / "red" / "broken.png").write_bytes(b"no image")
    options = ("--data", "grey", "--model", "resnet8", "--image-size", 8, "--yes", "--minutes", 1)
    options = (*options, "--skip-unreadable")
    result = run_here("init", *options, cwd=work)
    assert result.stderr == ""
    assert result.stdout.splitlines()[-2] == "wrote grey.yaml"
    study = place_of_file(work / "grey.yaml").study
    assert study is not None
    assert (study.dataset.path, study.robustness.suite) == ("grey", "families_grey")
    assert study.dataset.skip_unreadable
    assert study.baseline.checkpoint is None
    assert study.baseline.epochs >= 10
    assert study.finetune.optimizer == "sgd"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "resnet8"), "--model: needs --data, got none. Add it."),
        (("--pick", "trial 3"), "--pick: needs --ablation-of, got none. Add it."),
        (("--data", "a", "--ablation-of", "b"), "--data: cannot be combined with --ablation-of, "
         "got both. Leave one out."),
        (("--data", "a"), "a: must be a folder of images, got no such folder. Correct the path."),
        (("--data", "empty"), "empty: must have CLASS/*, or train/CLASS/* with or without "
         "test/CLASS/* and val/CLASS/*, of two classes or more, and for each split an image of "
         "each, got 0 classes to train on. Correct --data."),
    ],
)  # fmt: skip
def test_what_init_refuses(work: Path, options: tuple[str, ...], said: str) -> None:
    (work / "empty").mkdir()
    result = run_here("init", *options, cwd=work)
    assert (result.returncode, result.stderr) == (2, f"ablate: {said}\n")


def test_a_search_is_as_large_as_fits() -> None:
    measured = SearchSize(images=400, steps=20, step_seconds=0.01, score_seconds=0.001, parallel=2)
    assert measured.fitted() == measured  # 16 trials of 4 passes: 31 s
    slower = replace(measured, step_seconds=0.5).fitted()
    assert (slower.trials, slower.passes, slower.images) == (16, 4, 400)
    for factor in (2.0, 4.0, 8.0):
        other = replace(measured, step_seconds=0.5 * factor).fitted()
        assert other.seconds <= 600
        assert other.passes * other.trials < slower.passes * slower.trials
    dear = replace(measured, score_seconds=0.3).fitted()
    assert dear.images == 200
    least = replace(measured, step_seconds=60.0, score_seconds=3.0).fitted()
    assert (least.trials, least.passes, least.images) == (8, 1, 100)
    assert least.seconds > 600
    assert replace(measured, steps=20).baseline_epochs == 75
    assert replace(measured, steps=20, step_seconds=10.0).baseline_epochs == 10


NO_MAP = """
import torch


def build(classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, classes))
"""


@pytest.mark.slow
def test_a_network_without_a_feature_map_is_studied_without_fma(shapes: Path, work: Path) -> None:
    (work / "flat_nets.py").write_text(NO_MAP)
    means = torch.tensor(list(COLOURS.values())).repeat_interleave(64, dim=1)
    weights = {"1.weight": 2 * means, "1.bias": -(means**2).sum(dim=1)}
    torch.save(weights, work / "flat.pt")
    model = ("--model", "flat_nets:build", "--checkpoint", "flat.pt", "--image-size", 8)
    fed = ("--normalization", "none", "--saw-validation", "no", "--yes")
    result = run_here("init", "flat", "--data", "shapes", *model, *fed, cwd=work)
    assert result.stderr == ""
    said = "no layer of flat_nets:build has a feature map (height and width, or tokens)"
    assert f"note: {said}, so the study has no FMA" in result.stdout.splitlines()
    assert "fma" not in (work / "flat.yaml").read_text()

    result = run_here("check", "flat.yaml", cwd=work)
    assert result.returncode == 0
    assert f"flat.yaml: note: model.name: {said}, so no trial can have FMA" in result.stdout
    listed = run_here("layers", "flat_nets:build", "--image-size", 8, cwd=work).stdout
    assert said in " ".join(listed.split())
    small = ["search.trials=2", "robustness.suite=[contrast]", "robustness.severities=[3]"]
    record = ablate.launch(work / "flat.yaml", small, executor="inline")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 2
