"""A trial, whole: its scores are a function of study, values and seeds, and of nothing else."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ablate.data import image_folder
from ablate.distortion import CORE
from ablate.errors import ParameterError
from ablate.model.flops import ImageFlops, count_flops
from ablate.robustness.corruption import APPROXIMATE_FROST
from ablate.study.scores import Scores
from ablate.study.seeds import PLAIN, Seeds
from ablate.study.settings import Study
from ablate.trial.robustness import TrialRun
from ablate.trial.workbench import Workbench

pytestmark = pytest.mark.slow

STUDY = Study.model_validate(
    {
        "version": 1,
        "name": "tiny",
        "dataset": {"name": "digits", "image_size": 8, "validation": {"fraction": 0.75}},
        "model": {"name": "resnet8"},
        "baseline": {"epochs": 4},
        "finetune": {"budget": {"epochs": 2}},
        "robustness": {"severities": [1, 5], "images": 150},
        "run": {"precision": "fp32"},
    }
)
SEEDS = Seeds(split=0, train=0, evaluation=0)
VALUES: dict[str, Any] = {
    "loss.terms": "clean+fma",
    "loss.fma.weight": 3.0,
    "loss.fma.layers": ["stage2", "stage3"],
    "augment.families": ["noise"],
    "finetune.learning_rate": 0.05,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bench(cache: Path) -> Workbench:
    return Workbench.get(STUDY, Path(), cache)


def run_whole(bench: Workbench, values: dict[str, Any] = VALUES, seeds: Seeds = SEEDS) -> Scores:
    run = TrialRun(bench, values, seeds)
    while not run.done:
        run.run_epoch()
    return run.finish().scores


@pytest.fixture(scope="module")
def scores(cache: Path) -> Scores:
    """Of the trial that most tests look at."""
    return run_whole(Workbench.get(STUDY, Path(), cache))


def untimed(scores: Scores) -> Scores:
    return replace(scores, train_seconds=0.0)


def bits(run: TrialRun) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in run.model.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def image_flops(bench: Workbench) -> ImageFlops:
    channels, height, width = bench.dataset.validation.images.shape[1:]
    return count_flops(bench.build_baseline(), (channels, height, width))


def test_scores_say_how_it_was_finetuned(bench: Workbench, scores: Scores) -> None:
    steps = len(bench.dataset.train) // 64
    assert scores.seen_types == CORE["noise"]
    assert (scores.epochs, scores.student_images) == (2, 2 * 2 * 64 * steps)
    assert scores.teacher_images == scores.student_images // 2  # the clean ones
    flops = image_flops(bench)
    assert flops.training > 2 * flops.forward > 0
    teacher = scores.teacher_images * flops.forward
    assert scores.train_flops == scores.student_images * flops.training + teacher
    assert scores.train_seconds > 0
    assert list(scores.accuracies) == [kind for kinds in scores.families.values() for kind in kinds]
    assert all(list(row) == ["1", "5"] for row in scores.accuracies.values())


def test_resumed_is_uninterrupted(bench: Workbench, tmp_path: Path) -> None:
    whole = TrialRun(bench, VALUES, SEEDS)
    whole.run_epoch()
    saved = whole.save(str(tmp_path))
    seconds = whole.finish().scores.train_seconds
    whole.run_epoch()
    later = TrialRun(bench, VALUES, SEEDS)
    later.restore(saved)
    assert later.epoch == 1
    assert later.finish().scores.train_seconds == seconds
    later.run_epoch()
    assert same(bits(later), bits(whole))
    assert untimed(later.finish().scores) == untimed(whole.finish().scores)


def _score_elsewhere(cache: Path, answers: multiprocessing.Queue[str]) -> None:
    scores = run_whole(Workbench.get(STUDY, Path(), cache))
    answers.put(json.dumps(untimed(scores).to_json()))


def test_a_kept_worker_gives_the_bits_of_a_new_one(bench: Workbench, cache: Path) -> None:
    run_whole(bench, {"loss.terms": "clean+st", "finetune.seed": 3})
    kept = json.dumps(untimed(run_whole(bench)).to_json())
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=_score_elsewhere, args=(cache, answers))
    process.start()
    assert answers.get(timeout=120) == kept
    process.join()


def test_each_seed_has_its_purpose(bench: Workbench) -> None:
    first = TrialRun(bench, VALUES, SEEDS)
    first.run_epoch()
    trained_else = TrialRun(bench, VALUES, replace(SEEDS, train=1))
    trained_else.run_epoch()
    assert not same(bits(first), bits(trained_else))
    evaluated_else = TrialRun(bench, VALUES, replace(SEEDS, evaluation=1))
    evaluated_else.run_epoch()
    assert same(bits(first), bits(evaluated_else))
    one, other = first.finish().scores, evaluated_else.finish().scores
    assert one.clean_accuracy == other.clean_accuracy
    assert one.accuracies["gaussian_noise"] != other.accuracies["gaussian_noise"]
    selected_else = TrialRun(bench, VALUES, replace(SEEDS, split=1))
    assert not same(bits(TrialRun(bench, VALUES, SEEDS)), bits(selected_else))


def test_search_reads_no_test_image(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are only looked through for damage: once that is done, nothing notices what is there."""
    from PIL import Image

    for name, level in (("dark", 20), ("light", 200)):
        for number in range(6):
            place = tmp_path / "data" / "train" / name
            place.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (level + number,) * 3).save(place / f"{number}.png")
        place = tmp_path / "data" / "test" / name
        place.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(place / "0.png")
    read = list[str]()
    decoded_split = image_folder.decoded_split
    monkeypatch.setattr(
        image_folder,
        "decoded_split",
        lambda listing, *rest: read.append(listing.root.name) or decoded_split(listing, *rest),
    )
    dataset = {"name": "image_folder", "path": "data", "image_size": 8}
    study = STUDY.model_copy(
        update={
            "dataset": STUDY.dataset.model_validate({**dataset, "validation": {"fraction": 0.4}})
        }
    )
    bench = Workbench.get(study, tmp_path, cache)
    bench.prepare()
    for name in ("dark", "light"):
        (tmp_path / "data" / "test" / name / "0.png").write_bytes(b"no image")
    assert run_whole(bench).n_images == 4
    assert set(read) == {"train"}


def test_images_without_labels(tmp_path: Path, cache: Path) -> None:
    from PIL import Image

    (tmp_path / "more").mkdir()
    for number in range(70):
        Image.new("RGB", (8, 8), (3 * number,) * 3).save(tmp_path / "more" / f"{number}.png")
    dataset = {**STUDY.dataset.model_dump(), "unlabeled": "more"}
    study = STUDY.model_copy(update={"dataset": STUDY.dataset.model_validate(dataset)})
    bench = Workbench.get(study, tmp_path, cache)
    scores = run_whole(bench, {"loss.terms": "st+fma"})
    assert scores.student_images == 2 * 2 * 64
    plain = run_whole(bench, dict(PLAIN))
    assert plain.student_images == 2 * 64 * (len(bench.dataset.train) // 64)


def test_fewer_images_are_corrupted_and_all_are_scored_as_they_are(
    bench: Workbench, cache: Path
) -> None:
    capped, uncapped, everything = (
        Workbench.get(STUDY.with_values({"robustness.images": images}), Path(), cache)
        for images in (50, None, 10**6)
    )
    scores, of_all = capped.prepare().baseline_scores, uncapped.prepare().baseline_scores
    assert (scores.n_images, scores.n_corrupted) == (of_all.n_images, 50)
    assert scores.clean_accuracy == of_all.clean_accuracy
    drawn = capped.evaluation_set.labels.bincount()
    there = bench.dataset.validation.labels.bincount()
    assert (drawn - 50 * there / there.sum()).abs().max() < 1.5
    assert everything.prepare().baseline_scores.accuracies == of_all.accuracies


def test_a_set_that_is_too_large_to_keep_gives_the_same_scores(
    bench: Workbench, cache: Path
) -> None:
    kept = bench.evaluation_set.byte_count / 1e9
    large = Workbench.get(STUDY.with_values({"robustness.stored_gb": kept * 0.99}), Path(), cache)
    assert large.evaluation_set.cache is None
    assert bench.evaluation_set.cache is not None
    assert large.prepare().baseline_scores == bench.prepare().baseline_scores


def test_photographs_of_frost_are_part_of_the_data(
    cache: Path, tmp_path: Path, bench: Workbench
) -> None:
    values = {"robustness.suite": ["frost"], "robustness.severities": [3]}
    made = Workbench.get(STUDY.with_values(values), tmp_path, cache)
    assert made.prepare().data_digest == bench.dataset.digest
    (tmp_path / "photographs").mkdir()
    Image.new("RGB", (250, 200), (180, 200, 220)).save(tmp_path / "photographs" / "one.png")
    study = STUDY.with_values({**values, "robustness.frost_images": "photographs"})
    photographed = Workbench.get(study, tmp_path, cache)
    assert photographed.prepare().data_digest != bench.dataset.digest
    assert photographed.evaluation_set.identity != made.evaluation_set.identity
    assert (made.evaluation_set.marks, photographed.evaluation_set.marks) == (
        (APPROXIMATE_FROST,),
        (),
    )
    # A suite without frost reads no photograph.
    other = STUDY.with_values({"robustness.frost_images": "nowhere"})
    assert Workbench.get(other, tmp_path, cache).prepare().data_digest == bench.dataset.digest


def test_layers_that_are_searched_are_read_too(cache: Path) -> None:
    layers = {"loss.fma.layers": {"subset": ["stem", "stage1.0.conv1"]}}
    before = {"loss.fma.activation": {"choice": ["after", "before"]}}
    block = {"when": {"loss.terms": {"contains": "fma"}}, "parameters": {**layers, **before}}
    for space, is_right in ((layers, True), ({**layers, **before}, False), ({"b": block}, False)):
        study = STUDY.model_copy(update={"space": space})
        if is_right:
            Workbench.get(study, Path(), cache).prepare()
            continue
        with pytest.raises(ParameterError, match=r"stage1\.0\.conv1 must end in an activation"):
            Workbench.get(study, Path(), cache).prepare()


NETS = """
import torch
from torch import nn


class Rows(nn.Module):
    def forward(self, images):
        return images.flatten(2)


def rows(classes):
    return nn.Sequential(Rows(), nn.Flatten(), nn.Linear(192, classes))
"""


def test_a_layer_whose_channels_are_not_known_is_said_before_the_first_trial(
    tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "trial_nets.py").write_text(NETS)
    study = STUDY.with_values(
        {"model.name": "trial_nets:rows", "baseline.epochs": 1, "loss.fma.layers": ["0"]}
    )
    Workbench.get(study, tmp_path, cache).prepare()
    distances = {"loss.fma.distance": {"choice": ["relative", "unit"]}}
    searching = study.model_copy(update={"space": distances})
    with pytest.raises(ParameterError, match="unit needs the channel axis of 0, which is not"):
        Workbench.get(searching, tmp_path, cache).prepare()


def test_a_batch_too_small_for_the_objective_is_said_at_once(cache: Path) -> None:
    values = {"loss.fma.distance": "cka", "finetune.batch_size": 2}
    with pytest.raises(ParameterError, match="needs 3 at once, got 2"):
        Workbench.get(STUDY.with_values(values), Path(), cache).prepare()
