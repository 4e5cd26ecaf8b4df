"""A study whose baseline is a checkpoint from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from kept_notes import KeptNotes

import ablate
from ablate.errors import FingerprintError, ParameterError, StudyFileError
from ablate.lifecycle.dry_run import dry_run
from ablate.model.build import build_model
from ablate.model.weights.export_metadata import ExportMetadata, export_weights
from ablate.model.weights.preprocessing import weights_rules
from ablate.study.baseline_checks import expected_rule
from ablate.study.settings import BaselineSettings, DatasetSettings, ModelSettings, Study
from tests.commands import run_here

Write = Callable[..., Path]


@pytest.mark.slow
def test_a_checkpoint_may_move_and_may_not_change(
    write_study: Write, work: Path, image_folder: Path
) -> None:
    data = {"name": "image_folder", "path": str(image_folder), "validation": {"fraction": 0.2}}

    def write(checkpoint: str) -> Path:
        baseline = {"checkpoint": checkpoint, "saw_validation": False}
        dataset = {**data, "image_size": 16}  # of the files: nothing is resized
        return write_study("outside", dataset=dataset, baseline=baseline, search={"trials": 1})

    def export(seed: int) -> None:
        network = build_model(ModelSettings(name="resnet8"), 3, (0.5,) * 3, (0.5,) * 3, seed)
        export_weights(network, work / "weights.safetensors")

    export(0)
    ablate.launch(write("weights.safetensors"), executor="inline")
    (work / "weights.safetensors").rename(work / "moved.safetensors")
    file = write("moved.safetensors")
    for go_on in (ablate.launch, ablate.resume):  # of a finished study: nothing is read
        listener = KeptNotes()
        assert len(go_on(file, executor="inline", progress=listener).rows) == 1
        assert listener.notes == [
            "the study is finished, and this of its file was not read: baseline.checkpoint: "
            f"'weights.safetensors' -> 'moved.safetensors'; to add trials with it: `ablate resume "
            f"{file.name} --add N`; to run a study of that, give the file another `name:`"
        ]
    listener = KeptNotes()
    assert len(ablate.resume(file, add=1, executor="inline", progress=listener).rows) == 2
    assert not any("not read" in note for note in listener.notes)
    export(1)
    file = write("weights.safetensors")
    with pytest.raises(FingerprintError, match=r"got other weights in baseline\.checkpoint"):
        ablate.resume(file, add=1, executor="inline")


NET = """
from torch import nn

def small(classes):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )
"""
STATED = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
CHOICES = (
    "must be stated, since mine.pt does not say how its images were normalised, got auto. Write "
    "what it was trained with: imagenet (mean 0.485, 0.456, 0.406, as torchvision's), dataset "
    "(mean and std of the training images), none (images in [0, 1], or the network normalises "
    "itself), or {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]} (images in [-1, 1], or your "
    "numbers)."
)


@pytest.fixture
def write_fed(write_study: Write, work: Path, image_folder: Path) -> Write:
    """Writes a study of a network whose weights, mine.pt, say nothing of its images."""
    (work / "fed.py").write_text(NET)
    network = build_model(ModelSettings(name="fed:small"), 3, (0.5,) * 3, (0.5,) * 3, 0, base=work)
    torch.save(network.state_dict(), work / "mine.pt")

    def write(model: object = "auto", expected: float | None = None, **dataset: int) -> Path:
        said = {} if expected is None else {"expected_accuracy": expected}
        return write_study(
            "fed",
            dataset={"name": "image_folder", "path": str(image_folder), **dataset},
            model={"name": "fed:small", "normalization": model},
            baseline={"checkpoint": "mine.pt", "saw_validation": False, **said},
            space={"finetune.learning_rate": {"float": [0.001, 0.01]}},
            finetune={"budget": {"epochs": 1}, "batch_size": 24},
            loss={"terms": "clean"},
            search={"trials": 1},
        )

    return write


def test_a_guessed_normalisation_is_refused(write_fed: Write) -> None:
    file = write_fed(image_size=16)
    told = run_here("check", file)
    place = f"{file}:9:3"
    assert (told.returncode, told.stderr) == (
        2,
        f"ablate: {place}: model.normalization: {CHOICES}\n",
    )
    for start in (ablate.launch, dry_run):
        with pytest.raises(StudyFileError, match=r"model\.normalization: must be stated"):
            start(file, executor="inline")


def test_a_stated_normalisation_is_used(write_fed: Write, work: Path) -> None:
    file = write_fed(STATED, image_size=16)
    assert run_here("check", file).returncode == 0
    record = ablate.launch(file, executor="inline")
    assert record.count("COMPLETE") == 1
    trained = ablate.load_model("runs/fed", trial="plain").provenance
    assert trained.mean == (0.5, 0.5, 0.5)
    assert trained.std == (0.25, 0.25, 0.25)
    assert write_fed("dataset", image_size=16) == file
    with pytest.raises(FingerprintError, match=r"model\.normalization"):
        ablate.resume(file, add=1, executor="inline")


@pytest.mark.parametrize(
    ("dataset", "missing"),
    [
        ({}, "dataset.image_size and dataset.resize"),
        ({"image_size": 12}, "dataset.resize"),
    ],
)
def test_a_guessed_size_is_refused(write_fed: Write, dataset: dict[str, int], missing: str) -> None:
    file = write_fed(STATED, **dataset)
    side = dataset.get("image_size", 32)
    with pytest.raises(ParameterError) as raised:
        ablate.launch(file, executor="inline")
    assert str(raised.value) == (
        f"{missing}: must be stated, since mine.pt does not say at what size it was trained, got "
        "none with images of 16 x 16. Write the side in pixels that the network saw as image_size "
        f"({side} if it is not stated), and the shorter side before the centre crop as resize (the "
        "same, if nothing was cut off)."
    )
    assert dry_run(write_fed(STATED, image_size=12, resize=14), executor="inline").trials == 1


def test_what_brings_its_preprocessing_needs_none_stated(work: Path) -> None:
    (work / "fed.py").write_text(NET)
    other = ModelSettings(name="fed:small")

    def brings_it(settings: ModelSettings, checkpoint: str) -> bool:
        baseline = BaselineSettings(checkpoint=checkpoint, saw_validation=False)
        data = DatasetSettings(name="images:load")  # of so many classes as it has
        study = Study(version=1, name="fed", dataset=data, model=settings, baseline=baseline)
        return not [*weights_rules(study, work)]

    for settings, brings in ((ModelSettings(name="resnet8"), True), (other, False)):
        network = build_model(settings, 3, (0.5,) * 3, (0.5,) * 3, 0, base=work)
        torch.save(network.state_dict(), work / "plain.pt")
        assert brings_it(settings, "plain.pt") == brings
        metadata = ExportMetadata(
            **{"model": settings.name, "classes": tuple("abc"), "mean": (0.5,) * 3},
            **{"std": (0.5,) * 3, "image_size": 8, "resize": None, "dataset": "digits"},
            **{"study": "earlier", "trial": 0, "loss_terms": "clean", "seen_types": ()},
        )
        export_weights(network, work / "export.safetensors", metadata)
        assert brings_it(settings, "export.safetensors")
    published = ModelSettings(name="torchvision:resnet18")
    assert brings_it(published, "torchvision:IMAGENET1K_V1")
    stated = ModelSettings.model_validate({"name": other.name, "normalization": STATED})
    assert brings_it(stated, "plain.pt")


@pytest.mark.slow
def test_a_baseline_is_shown_with_how_it_is_fed(write_fed: Write) -> None:
    """By the dry run, the first lines of a launch, the status, and after a resume."""
    file = write_fed(STATED, image_size=12, resize=14)
    fed = (
        "33.3 % of 9 clean validation images; images of 12 x 12, resize 14, mean 0.5, 0.5, 0.5, "
        "std 0.25, 0.25, 0.25"
    )
    dry = run_here("launch", file, "--dry-run", "--executor", "inline")
    assert f"\nbaseline: right on {fed}\n" in dry.stdout
    launched = run_here("launch", file, "--executor", "inline")
    told = launched.stdout.splitlines()
    first = next(place for place, line in enumerate(told) if "trials ended" in line)
    assert told[first - 1] == f"fed: the baseline, mine.pt, is right on {fed}"
    shown = " ".join(run_here("status", file).stdout.replace("│", " ").split())
    assert f"baseline right on {fed}" in shown
    assert json.loads(run_here("status", file, "--json").stdout)[0]["baseline"] == {
        "accuracy": pytest.approx(1 / 3),
        "images": 9,
        "preprocessing": {
            **{"image_size": 12, "resize": 14, "mean": [0.5] * 3, "std": [0.25] * 3},
            "channels": "rgb",
        },
    }
    assert fed in run_here("resume", file, "--add", 1, "--executor", "inline").stdout


def test_a_baseline_that_is_not_as_expected(write_fed: Write) -> None:
    file = write_fed(STATED, 0.99, image_size=16)
    rule = (
        "baseline.expected_accuracy: must be reached within 4 standard errors of 3.3 points, got "
        "0.99 and a baseline that is right on 33.3 % of 9 clean validation images; images of "
        "16 x 16, mean 0.5, 0.5, 0.5, std 0.25, 0.25, 0.25. Either it is fed otherwise than it was "
        "trained (model.normalization, dataset.image_size, dataset.resize), or its training has "
        "not converged: correct that, or lower it."
    )
    for start in (dry_run, ablate.launch):
        with pytest.raises(ParameterError) as raised:
            start(file, executor="inline")
        assert str(raised.value) == rule
    record = ablate.launch(write_fed(STATED, 0.6, image_size=16), executor="inline")  # 1.6 errors
    assert record.count("COMPLETE") == 1
    assert expected_rule(0.63, 0.53, 363, None) is None
    assert expected_rule(0.63, 0.52, 363, None) is not None
    again = ablate.resume(write_fed(STATED, 0.99, image_size=16), add=1, executor="inline")
    assert len(again.rows) == 2  # it is checked before the first trial alone
