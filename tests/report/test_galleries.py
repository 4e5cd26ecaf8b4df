"""The report's images, made of a study's own data and weights."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from example_sources import searches
from PIL import Image

import ablate
from ablate.errors import DataError
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.place import Place, locate
from ablate.model.build import build_model
from ablate.model.weights.export_metadata import ExportMetadata, export_weights
from ablate.report.images.example_images import (
    Origin,
    example_images,
    find_origin,
    suite_sheet,
    training_sheet,
)
from ablate.report.images.galleries import study_galleries
from ablate.study.settings import ConstraintSettings, Study
from ablate.trial.examples import load_network
from ablate.trial.task import weights_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory,
    write_study_in: Callable[..., Path],
) -> tuple[Path, StudyRecord]:
    """A search of seconds on digits with a trial that saw noise; its folder, and how it ended."""
    folder = tmp_path_factory.mktemp("galleries")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ABLATE_CACHE", str(folder / "cache"))
        file = write_study_in(
            folder,
            "looked",
            dataset={"name": "digits", "image_size": 16, "validation": {"fraction": 0.2}},
            baseline={"epochs": 2, "batch_size": 32},
            space={"augment.strength": {"float": [0.5, 1.0]}},
            loss={"terms": "clean+da"},
            augment={"families": ["noise"]},
            search={"trials": 1, "sampler": "random"},
            finetune={"budget": {"epochs": 1}, "batch_size": 64},
        )
        return folder, ablate.launch(file, executor="inline", accept_baseline=True)


@pytest.fixture
def origin(made: tuple[Path, StudyRecord], monkeypatch: pytest.MonkeyPatch) -> Origin:
    folder, record = made
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ABLATE_CACHE", str(folder / "cache"))
    return find_origin(locate("runs/looked"), record)


def test_examples_are_what_the_two_networks_say(origin: Origin) -> None:
    found, reason = example_images(origin)
    assert found is not None, reason
    assert reason == ""
    assert found.loss_terms == "clean+da"
    assert len(found.gained) <= 6
    assert len(found.lost) <= 6
    assert found.gained, "noise was trained on, and a baseline of two epochs has not seen it"
    for one in found.gained:
        assert one.by_trial == one.label != one.by_baseline
    for one in found.lost:
        assert one.by_baseline == one.label != one.by_trial
    for one in (*found.gained, *found.lost):
        assert one.clean.shape == one.distorted.shape == (16, 16, 3)
        assert one.clean.dtype == np.uint8
        changed = bool((one.clean != one.distorted).any())
        assert changed == (one.kind != "saturation"), "digits are grey"
        assert one.severity == 3
    again, _ = example_images(origin)
    assert again is not None
    assert [one.kind for one in again.gained] == [one.kind for one in found.gained]


def test_a_network_of_ones_own_is_shown_normalised_images(tmp_path: Path) -> None:
    (tmp_path / "shown_nets.py").write_text(
        "from torch import nn\n\n"
        "def small(classes):\n"
        "    pool = nn.AdaptiveAvgPool2d(1)\n"
        "    return nn.Sequential(nn.Conv2d(3, classes, 3), pool, nn.Flatten())\n"
    )
    study = Study.model_validate(
        {
            **{"version": 1, "name": "shown", "dataset": {"name": "digits"}},
            "model": {"name": "shown_nets:small"},
        }
    )
    network = build_model(study.model, 2, (0.5, 0.4, 0.3), (0.2,) * 3, 0, base=tmp_path)
    metadata = ExportMetadata(
        **{"model": "shown_nets:small", "classes": ("a", "b")},
        **{"mean": (0.5, 0.4, 0.3), "std": (0.2,) * 3, "image_size": 8, "resize": None},
        **{"dataset": "digits", "study": "shown", "trial": 0, "loss_terms": "clean"},
        seen_types=(),
    )
    export_weights(network, tmp_path / "0.safetensors", metadata)
    export_weights(network, tmp_path / "baseline.safetensors")
    sample: Any = SimpleNamespace(classes=("a", "b"), bench=SimpleNamespace(base=tmp_path))
    images, trial = torch.rand(2, 3, 8, 8), tmp_path / "0.safetensors"
    for weights in (trial, tmp_path / "baseline.safetensors"):
        shown = load_network(sample, study, weights, trial)
        assert torch.equal(shown(images), network.eval()(images))
    with pytest.raises(DataError, match="must be an export of a trial"):
        load_network(sample, study, trial, tmp_path / "baseline.safetensors")


def test_the_scored_suite_is_a_sheet(origin: Origin) -> None:
    info, reason = suite_sheet(origin)
    assert info is not None, reason
    assert info.severities == (3,)
    assert [row.name for row in info.rows][:2] == ["gaussian_noise", "impulse_noise"]


def test_a_training_is_shown_at_its_own_strengths(origin: Origin) -> None:
    info, reason = training_sheet(origin)
    assert info is not None, reason
    assert info.title == "What trial 0 was trained on"
    assert [row.name for row in info.rows] == ["gaussian_noise", "impulse_noise"]
    strength = origin.record.rows[0].params["augment.strength"]
    assert info.rows[0].parameters[2] == f"strength {strength:.2g}"
    weak, _, strong = (np.abs(tile.astype(int) - info.original) for tile in info.rows[0].tiles)
    assert strong.mean() > weak.mean() > 0


def test_galleries_are_pictures_with_words(origin: Origin) -> None:
    galleries, refused = study_galleries(locate("runs/looked"), origin.record)
    assert refused == []
    assert [gallery.anchor for gallery in galleries] == ["scored", "trained", "gained", "lost"]
    for gallery in galleries:
        assert gallery.pictures or gallery.note == "None found."
        for picture in gallery.pictures:
            head, _, content = picture.uri.partition(",")
            assert head == "data:image/png;base64"
            image = Image.open(io.BytesIO(base64.b64decode(content)))
            assert picture.width / picture.height == pytest.approx(
                image.width / image.height, rel=0.02
            )
    cards = [picture for gallery in galleries[2:] for picture in gallery.pictures]
    assert cards
    assert all("severity 3; is " in card.alt for card in cards)
    assert all(card.alt == "; ".join(card.lines) for card in cards)


def test_weights_that_are_gone_are_a_reason(origin: Origin, tmp_path: Path) -> None:
    elsewhere = replace(origin, folder=tmp_path)
    assert example_images(elsewhere) == (
        None, f"weights of all complete trials are missing in {tmp_path / 'weights'}",
    )  # fmt: skip

    assert training_sheet(elsewhere)[0] is not None, "its parameters are enough"


def test_trials_that_all_violate_a_constraint_are_a_reason(origin: Origin) -> None:
    limit = ConstraintSettings(metric="val_robust_accuracy", min=1.0)
    study = origin.record.study.model_copy(update={"constraints": (limit,)})
    constrained = replace(origin, record=replace(origin.record, study=study))
    for make in (example_images, training_sheet):
        found, reason = make(constrained)
        assert found is None
        assert reason.startswith("no complete trial keeps all constraints")


def test_a_cache_that_is_gone_is_a_reason(origin: Origin, tmp_path: Path) -> None:
    found, reason = example_images(replace(origin, cache=tmp_path))
    assert (found, reason) == (None, f"the baseline's weights are not in {tmp_path}")
    assert list(tmp_path.iterdir()) == [], "nothing is made again"


def test_data_that_are_gone_are_a_reason(origin: Origin) -> None:
    other = {"name": "image_folder", "path": "nowhere"}
    dataset = origin.record.study.dataset.model_copy(update=other)
    study = origin.record.study.model_copy(update={"dataset": dataset})
    elsewhere = replace(origin, record=replace(origin.record, study=study))
    for make in (example_images, suite_sheet, training_sheet):
        found, reason = make(elsewhere)
        assert found is None
        assert "nowhere" in reason
        assert "\n" not in reason


def test_weights_of_another_network_are_a_reason(origin: Origin, tmp_path: Path) -> None:
    shutil.copytree(origin.folder / "weights", tmp_path / "weights")
    model = origin.record.study.model.model_copy(update={"name": "resnet20"})
    study = origin.record.study.model_copy(update={"model": model})
    record = replace(origin.record, study=study)
    found, reason = example_images(replace(origin, record=record, folder=tmp_path))
    assert found is None
    assert "must contain the weights of resnet20, got others" in reason
    weights_file(tmp_path, 0).write_bytes(b"no weights")
    found, reason = example_images(replace(origin, folder=tmp_path))
    assert found is None
    assert "must be a complete .safetensors file" in reason


@pytest.mark.parametrize("section", ["dataset", "model"])
def test_no_code_that_an_archive_names_is_run(origin: Origin, section: str, tmp_path: Path) -> None:
    named = getattr(origin.record.study, section).model_copy(update={"name": "mine:function"})
    study = origin.record.study.model_copy(update={section: named})
    place = replace(locate("runs/looked"), archive=tmp_path / "gift.tar")
    galleries, refused = study_galleries(place, replace(origin.record, study=study))
    assert refused == [f"{section}.name mine:function"]
    assert "mine:function, which is not imported to read a study." in galleries[-1].note


def test_a_loop_of_the_users_own_has_no_images() -> None:
    place = Place("own", "sqlite:///", Path())
    assert study_galleries(place, searches()["own loop"].record) == ((), [])
