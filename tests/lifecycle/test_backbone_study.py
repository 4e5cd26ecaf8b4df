"""A study whose baseline is trained from a backbone: checked, tried out, launched, resumed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from commands import run_here

import ablate
from ablate.errors import DataError, FingerprintError, StudyFileError
from ablate.lifecycle.dry_run import dry_run
from ablate.lifecycle.place import place_of_file
from ablate.model.build import build_model
from ablate.study.settings import ModelSettings
from tests.lifecycle.test_checkpoint_study import NET
from tests.lifecycle.test_own_data import write_images

Write = Callable[..., Path]


@pytest.fixture
def write_begun(write_study: Write, work: Path, image_folder: Path) -> Write:
    """Writes a study of a small network on images of 3 classes; seven.pt is for 7 classes."""
    (work / "fed.py").write_text(NET)
    save_seven(work, 1)

    def write(name: str = "begun", model: str = "fed:small", **baseline: object) -> Path:
        given = {"backbone": "seven.pt", "epochs": 2, "batch_size": 24, **baseline}
        data = {"name": "image_folder", "path": str(image_folder), "image_size": 16}
        return write_study(
            name,
            dataset={**data, "validation": {"fraction": 0.2}},  # not resized: a file says no size
            model={"name": model, "normalization": "auto" if "timm" in model else "imagenet"},
            baseline={key: value for key, value in given.items() if value is not None},
            space={"finetune.learning_rate": {"float": [0.001, 0.01]}},
            finetune={"budget": {"epochs": 1}, "batch_size": 24},
            loss={"terms": "clean"},
            search={"trials": 1},
        )

    return write


def save_seven(work: Path, seed: int) -> None:
    settings = ModelSettings(name="fed:small")
    network = build_model(settings, 7, (0.5,) * 3, (0.5,) * 3, seed, base=work)
    torch.save(network.state_dict(), work / "seven.pt")


HEAD = (
    "must have the 3 classes of the data set, got '{weights}' with {got}. Write baseline.backbone: "
    "{weights} in place of it and of saw_validation, which trains a new head."
)


@pytest.mark.parametrize(
    ("model", "weights", "got"),
    [
        ("fed:small", "seven.pt", "7"),
        pytest.param("timm:test_vit", "timm:pretrained", "1,000", marks=pytest.mark.slow),
        pytest.param(
            "timm:vit_base_patch32_clip_224.openai",
            "timm:pretrained",
            "512",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "torchvision:resnet18", "torchvision:DEFAULT", "1,000", marks=pytest.mark.slow
        ),
    ],
)
def test_a_head_of_other_classes_is_refused_everywhere(
    write_begun: Write, model: str, weights: str, got: str
) -> None:
    """In one line that names the fix; nothing is downloaded for it."""
    file = write_begun(model=model, backbone=None, checkpoint=weights, saw_validation=False)
    line = HEAD.format(weights=weights, got=got)
    with pytest.raises(StudyFileError) as checked:
        ablate.check(file)
    assert str(checked.value).endswith(f": baseline.checkpoint: {line}")
    for start in (ablate.launch, dry_run):
        with pytest.raises(DataError) as raised:
            start(file, executor="inline")
        assert str(raised.value) == f"baseline.checkpoint: {line}"


def test_a_checkpoint_without_a_head_names_the_fix(write_begun: Write, work: Path) -> None:
    """As a file of DINO's features."""
    state = torch.load(work / "seven.pt")
    torch.save({key: state[key] for key in state if key[0] != "3"}, work / "headless.pt")
    file = write_begun(backbone=None, checkpoint="headless.pt", saw_validation=False)
    with pytest.raises(StudyFileError, match=r"got 'headless\.pt' without a head\. Write baseline"):
        ablate.check(file)


def test_a_study_begins_from_a_backbone(write_begun: Write, work: Path) -> None:
    file = write_begun()
    assert run_here("check", file).returncode == 0
    assert dry_run(file, executor="inline").trials == 1
    record = ablate.launch(file, executor="inline")
    assert record.count("COMPLETE") == 1
    assert record.study.marks == ()  # its baseline is trained by the study
    (work / "seven.pt").rename(work / "moved.pt")
    again = write_begun(backbone="moved.pt")
    assert len(ablate.resume(again, add=1, executor="inline").rows) == 2
    save_seven(work, 2)
    other = write_begun()
    with pytest.raises(FingerprintError, match=r"got other weights in baseline\.backbone"):
        ablate.resume(other, add=1, executor="inline")


def test_a_replicate_trains_its_own_from_one_backbone(write_begun: Write) -> None:
    study = place_of_file(write_begun()).study
    assert study is not None
    begun = [study.with_values({"baseline.seed": seed}).baseline for seed in (0, 1)]
    assert {one.backbone for one in begun} == {"seven.pt"}
    assert {one.learning_rate for one in begun} == {1e-4}


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (
            {"checkpoint": "seven.pt", "saw_validation": False},
            "baseline: starts from a checkpoint, a whole network, or from a backbone, got both. "
            "Remove one.",
        ),
        (
            {"saw_validation": False},
            "baseline: saw_validation applies only to a checkpoint, got it without one.",
        ),
        ({"backbone": "absent.pt"}, "baseline.backbone: must be a readable file"),
        (
            {"backbone": "half.pt"},
            "baseline.backbone: must be a complete .safetensors file or state",
        ),
        ({"backbone": "absent:make"}, "baseline.backbone: must name a module that can be imported"),
        ({"backbone": "timm:resnet18"}, "baseline.backbone: must be weights of model.name"),
        ({"frozen": ["3.*", "o.*"]}, "baseline.frozen: must be taps, module paths or patterns"),
        ({"frozen": ["*"]}, "baseline.frozen: must leave a layer that learns, got ['*']."),
        (
            {"frozen": ["stage9"], "model": "resnet8"},
            "baseline.frozen[0]: unknown layer, got 'stage9'. Did you mean stage3?",
        ),
        ({"layer_decay": 0}, "baseline.layer_decay: must be above 0"),
        ({"probe_fraction": 1}, "baseline.probe_fraction: must be below 1"),
    ],
)
def test_bad_input_gets_a_line(
    write_begun: Write, work: Path, baseline: dict[str, object], message: str
) -> None:
    (work / "half.pt").write_bytes((work / "seven.pt").read_bytes()[:-200])
    with pytest.raises(StudyFileError, match=re.escape(message)) as raised:
        ablate.check(write_begun(**baseline))
    assert len(raised.value.problems) == 1


def test_a_backbone_says_how_its_images_were_normalised(write_begun: Write) -> None:
    with pytest.raises(StudyFileError, match=r"normalization.*: must be stated, since seven"):
        ablate.check(write_begun(), ["model.normalization=auto"])


def test_a_backbone_is_not_searched(write_begun: Write) -> None:
    with pytest.raises(StudyFileError, match=r"Create one study for each value"):
        ablate.check(write_begun(), ["space={baseline.backbone: {choice: [a.pt, b.pt]}}"])


def test_its_code_is_imported_only_where_that_is_allowed(write_begun: Write, work: Path) -> None:
    (work / "loads.py").write_text("raise SystemExit('imported')\n")
    file = write_begun(backbone="loads:weights", model="resnet8")
    assert "imported" in run_here("check", file).stderr
    told = run_here("check", "--no-import", file)
    assert (told.returncode, "baseline.backbone loads:weights" in told.stdout) == (0, True)


@pytest.mark.long
def test_init_writes_a_study_of_a_network_of_timm(work: Path) -> None:
    """Fed as timm's configuration of that network says; nothing is asked."""
    write_images(work / "shapes", {"blue": 12, "green": 12, "red": 12})
    torch.save(timm.create_model("test_vit").state_dict(), work / "vit.pt")
    init = ("init", "mine", "--data", "shapes", "--model", "timm:test_vit")
    both = run_here(*init, "--backbone", "vit.pt", "--checkpoint", "vit.pt", cwd=work)
    assert both.stderr.splitlines()[-1] == (
        "ablate: --backbone: is what a baseline is trained from, and --checkpoint is a whole one, "
        "got both. Leave one out."
    )
    result = run_here(*init, "--backbone", "vit.pt", "--yes", "--minutes", 1, cwd=work)
    assert result.returncode == 0, result.stderr
    assert "backbone: vit.pt, with a new head for 3 classes" in result.stdout.splitlines()
    study = place_of_file(work / "mine.yaml").study
    assert study is not None
    assert (study.baseline.backbone, study.baseline.learning_rate) == ("vit.pt", 1e-4)
    assert (study.dataset.image_size, study.dataset.resize) == (160, 168)
    assert study.finetune.batch_norm == "joint"  # it has none
    assert run_here("check", "mine.yaml", cwd=work).returncode == 0
    small = ["search.trials=1", "robustness.suite=[contrast]", "robustness.severities=[3]"]
    small.append("answer.mixtures=false")
    record = ablate.launch(work / "mine.yaml", small, executor="inline")
    assert record.count("COMPLETE") == 1


@pytest.mark.slow
def test_init_keeps_the_statistics_of_a_backbone_with_batch_norm(work: Path) -> None:
    write_images(work / "shapes", {"blue": 40, "green": 12, "red": 12})
    torch.save(timm.create_model("test_resnet").state_dict(), work / "net.pt")
    init = ("init", "mine", "--data", "shapes", "--model", "timm:test_resnet", "--yes")
    result = run_here(*init, "--backbone", "net.pt", "--image-size", 32, "--minutes", 1, cwd=work)
    assert result.returncode == 0, result.stderr
    study = place_of_file(work / "mine.yaml").study
    assert study is not None
    assert (study.finetune.batch_norm, study.finetune.learning_rate) == ("frozen", 0.00025)
    asked = [objective.metric for objective in study.objectives]
    assert asked == ["val_balanced_accuracy", "val_robust_balanced_accuracy"]  # 40 to 12 images


@pytest.mark.slow
def test_init_offers_the_weights_of_the_network(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they cannot be fetched, one line says what to give."""
    write_images(work / "shapes", {"blue": 12, "green": 12, "red": 12})
    init = ("init", "mine", "--data", "shapes", "--model", "timm:test_vit", "--yes")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = run_here(*init, cwd=work)
    assert told.returncode == 2
    assert "backbone: timm:test_vit, with a new head for 3 classes" in told.stdout
    last = told.stderr.splitlines()[-1]
    assert last.startswith("ablate: --backbone: cannot fetch timm:test_vit, got ")
    assert last.endswith("elsewhere and set --backbone: FILE.")
    assert not (work / "mine.yaml").exists()
