"""Sparse scoring: a balanced design, scored as it says, and every metric the mean of its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ablate.errors import ParameterError, StudyFileError
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.study_file import parse_study
from ablate.model.environment import Environment
from ablate.robustness.bits import (
    Outcomes,
    SetOutcomes,
    image_shares,
    pack_bits,
    unpack_bits,
)
from ablate.robustness.score import score_set
from ablate.robustness.sparse import dealing_order, images_of_cells, scored_cells
from ablate.study.scores import COSTS, Scores, is_mean
from ablate.study.settings import Study
from ablate.trial.workbench import Workbench
from tests.robustness.test_score import COPIES, Reader, split_of

FAMILIES = {"noise": ("gaussian_noise", "impulse_noise"), "blur": ("gaussian_blur",)}
KINDS = [kind for kinds in FAMILIES.values() for kind in kinds]
LEVELS = (1, 3, 5)
CELLS = [(kind, level) for kind in KINDS for level in LEVELS]


@pytest.mark.parametrize(
    ("n_images", "n_cells", "share"),
    [(100, 15, 0.2), (101, 15, 0.31), (40, 3, 0.5), (500, 80, 1 / 80), (7, 4, 0.99), (1, 5, 1.0)],
)
def test_images_and_cells_have_as_many_as_another(
    n_images: int, n_cells: int, share: float
) -> None:
    scored = scored_cells(n_images, n_cells, share, 0)
    assert scored.shape == (n_cells, n_images)
    assert scored.sum() == round(share * n_cells * n_images)
    assert np.ptp(scored.sum(axis=0)) <= 1
    assert np.ptp(scored.sum(axis=1)) <= 1


def test_the_design_is_that_of_its_seed_and_random() -> None:
    one, same, other = (scored_cells(200, 15, 0.2, seed) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    # Any two cells share images about as often as by chance: 200 * .2 * (2 / 14).
    shared = one.astype(int) @ one.T.astype(int)
    pairs = shared[np.triu_indices(15, 1)]
    assert pairs.mean() == pytest.approx(200 * 3 * 2 / (15 * 14))
    assert pairs.std() < 3
    scored_cells.cache_clear()
    assert np.array_equal(scored_cells(200, 15, 0.2, 3), one)


def test_each_class_has_its_share_of_every_cell() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), (50, 50, 75, 25)))
    order = dealing_order(labels, 0)
    assert sorted(order.tolist()) == list(range(200))
    assert not np.array_equal(order, dealing_order(labels, 1))
    for places in images_of_cells(labels, 15, 0.2, 0):
        counts = np.bincount(labels[places], minlength=4)
        assert np.abs(counts - np.array([10, 10, 15, 5])).max() <= 2
        assert len({*places.tolist()}) == len(places)


def test_only_the_chosen_images_pass_and_answers_have_their_order(environment: Environment) -> None:
    seen = list[int]()

    class Counter(Reader):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(len(images))
            return super().forward(images)

    clean = split_of([0, 1, 2, 3])
    whole = score_set(Counter(), clean, COPIES, environment, batch_size=3)
    passes = sum(seen)
    seen.clear()
    scored = {
        ("defocus", 1): np.array([3]),
        ("defocus", 4): np.array([2, 0]),
        ("white", 1): np.array([1, 3]),
        ("white", 4): np.array([3, 1, 0]),
    }
    found = score_set(Counter(), clean, COPIES, environment, batch_size=3, scored=scored)
    assert (passes, sum(seen)) == (4 + 16, 4 + 8)
    for cell, places in scored.items():
        expected = whole.cells[cell].take(places)
        assert np.array_equal(found.cells[cell].correct, expected.correct)
        assert np.array_equal(found.cells[cell].confidence, expected.confidence)


# -- Shares: recomputed cell by cell ---------------------------------------------------------


def sparse_scored(n: int, share: float, seed: int = 0) -> tuple[Scores, str, dict]:  # type: ignore[type-arg]
    """Scores, bits, and right or wrong by cell and image, NaN where not scored."""
    random = np.random.default_rng(seed)
    scored = scored_cells(n, len(CELLS), share, 7)
    right = {cell: random.random(n) < 0.3 + 0.1 * place for place, cell in enumerate(CELLS)}

    def outcomes(bits: np.ndarray) -> Outcomes:
        return Outcomes(bits, None, *2 * [np.zeros(len(bits), np.float32)])

    cells = {cell: right[cell][row] for cell, row in zip(CELLS, scored, strict=True)}
    accuracies: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    for (kind, level), bits in cells.items():
        accuracies[kind][str(level)] = float(bits.mean())
    clean = random.random(n + 5) < 0.9
    packed = SetOutcomes(outcomes(clean), {cell: outcomes(bits) for cell, bits in cells.items()})
    exposure = dict(zip(KINDS, ("seen_type", "seen_family", "unseen"), strict=True))
    made = Scores(
        *("val", n + 5, float(clean.mean()), accuracies, FAMILIES),
        **{"n_corrupted": n, "cell_share": share, "cell_seed": 7, "exposure": exposure},
    )
    by_cell = {
        cell: np.where(row, right[cell], np.nan) for cell, row in zip(CELLS, scored, strict=True)
    }
    return made, pack_bits(packed), by_cell


@pytest.mark.parametrize(("n", "share"), [(60, 0.4), (60, 1 / 9), (9, 1 / 9), (50, 0.97)])
def test_every_metric_is_the_mean_of_its_images(n: int, share: float) -> None:
    scores, text, _ = sparse_scored(n, share)
    bits = unpack_bits([text, text], scores)
    compared = 0
    for metric, value in scores.metrics().items():
        shares = image_shares(bits, scores, metric)
        if metric in COSTS or not is_mean(metric):
            assert shares is None
            assert metric in COSTS or np.isnan(value)
            continue
        assert shares is not None
        assert shares.mean(axis=1) == pytest.approx([value, value], abs=1e-12), metric
        compared += 1
    assert compared == 2 + 4 + 2 + 3 + 9


def test_a_share_is_what_the_image_adds_to_the_metric() -> None:
    """By hand: weights of a family's cells, deviations from the metric, images without a cell."""
    scores, text, right = sparse_scored(60, 1 / 3)
    bits = unpack_bits([text], scores)
    assert {cell: int(bits.of_cell(cell[0], LEVELS.index(cell[1])).sum()) for cell in CELLS} == {
        cell: int(np.nansum(own)) for cell, own in right.items()
    }
    for metric, weights in (
        ("val_accuracy.gaussian_blur.3", {("gaussian_blur", 3): 1.0}),
        ("val_accuracy.noise", dict.fromkeys(CELLS[:6], 1 / 6)),
        (
            "val_robust_accuracy",
            dict.fromkeys(CELLS[:6], 1 / 12) | dict.fromkeys(CELLS[6:], 1 / 6),
        ),
    ):
        value = sum(weight * np.nanmean(right[cell]) for cell, weight in weights.items())
        places = [i for i in range(60) if any(np.isfinite(right[cell][i]) for cell in weights)]
        expected = [
            value
            + sum(
                len(places) * weight / np.isfinite(right[cell]).sum() * (right[cell][i] - value)
                for cell, weight in weights.items()
                if np.isfinite(right[cell][i])
            )
            for i in places
        ]
        shares = image_shares(bits, scores, metric)
        assert shares is not None
        assert shares[0] == pytest.approx(expected), metric
    # The contributions of several metrics have the images of any of them.
    parts = ["val_accuracy.gaussian_blur.3", "val_accuracy.gaussian_noise.1"]
    both = [image_shares(bits, scores, part, parts) for part in parts]
    assert both[0] is not None
    assert both[1] is not None
    assert both[0].shape == both[1].shape
    total = np.mean([one.mean() for one in both if one is not None])
    assert total == pytest.approx(np.mean([scores.metrics()[part] for part in parts]))


def test_all_cells_are_as_without_the_key() -> None:
    """Shares of all cells by the sparse formula are the plain means."""
    scores, text, right = sparse_scored(30, 1.0)
    shares = image_shares(unpack_bits([text], scores), scores, "val_robust_accuracy")
    types = [np.mean([right[kind, level] for level in LEVELS], axis=0) for kind in KINDS]
    assert shares is not None
    assert shares[0] == pytest.approx(((types[0] + types[1]) / 2 + types[2]) / 2)


# -- What is refused, and a network that is scored ------------------------------------------


STUDY = {
    "version": 1,
    "name": "tiny",
    "dataset": {"name": "digits", "image_size": 8, "validation": {"fraction": 0.5}},
    "model": {"name": "resnet8"},
    "baseline": {"epochs": 1},
    "finetune": {"budget": {"epochs": 1}},
    "robustness": {"severities": [1, 5]},
    "run": {"precision": "fp32"},
}
FILE = """version: 1
name: tiny
dataset: {name: digits}
model: {name: resnet8}
robustness: ROBUSTNESS
space: {loss.fma.weight: {float: [0.1, 10], log: true}}
search: {trials: 2PRUNER}
"""


@pytest.mark.parametrize(
    ("robustness", "pruner", "line"),
    [
        ("{cells: 0.001, images: 500}", "", "got 0.001 of 500 images. Raise it to 0.002, or score"),
        ("{cells: 0.02}", ", pruner: {images: 40}", "got 0.02 of 40 images. Raise it to 0.025, or"),
        ("{cells: 0}", "", "must be above 0, got 0"),
        ("{cells: 1.5}", "", "must be at most 1, got 1.5"),
    ],
)
def test_too_few_images_are_refused_before_anything_runs(
    robustness: str, pruner: str, line: str, tmp_path: Path
) -> None:
    text = FILE.replace("ROBUSTNESS", robustness).replace("PRUNER", pruner)
    with pytest.raises(StudyFileError) as error:
        parse_study(text, "s.yaml", names=lambda name: names_for(name, tmp_path), base=tmp_path)
    (found,) = str(error.value).splitlines()
    assert found.startswith("s.yaml:5:")
    assert "robustness.cells: " in found
    assert line in found


def test_images_that_are_counted_later_are_refused_with_the_data(tmp_path: Path) -> None:
    study = Study.model_validate({**STUDY, "robustness": {"cells": 0.0004}})
    with pytest.raises(ParameterError) as error:
        _ = Workbench.get(study, tmp_path, tmp_path / "cache").dataset
    assert str(error.value) == (
        "robustness.cells: must score each type at each severity on one image at least, got "
        "0.0004 of 719 images. Raise it to 0.0014, or score 2,500 images."
    )


@pytest.mark.slow
@pytest.mark.parametrize("images", [None, 90])
def test_a_workbench_scores_a_part_of_what_it_scores_in_full(
    images: int | None, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = [
        Study.model_validate({**STUDY, "robustness": {**robustness, "images": images}})
        for robustness in ({"severities": [1, 5], "cells": 0.25}, {"severities": [1, 5]})
    ]
    sparse, whole = (Workbench.get(study, Path(), session_cache) for study in studies)
    assert sparse.evaluation_set.identity == whole.evaluation_set.identity
    model = sparse.build_baseline()
    passes = list[int]()
    model.register_forward_hook(lambda _, given, __: passes.append(len(given[0])))
    of_all = whole.score(model)
    full, n = sum(passes), of_all.scores.n_images
    passes.clear()
    some = sparse.score(model)
    copies = images or n
    assert full == n + 12 * copies
    assert sum(passes) == n + round(0.25 * 12 * copies)
    assert (some.scores.n_images, some.scores.n_corrupted) == (n, copies)
    assert some.scores.clean_accuracy == of_all.scores.clean_accuracy
    design = scored_cells(copies, 12, 0.25, 0)
    order = dealing_order(whole.evaluation_set.labels.numpy(), 0)
    bits = [unpack_bits([one.bits], one.scores) for one in (some, of_all)]
    places = whole.corrupted_places(whole.dataset.validation)
    for place, (kind, level) in enumerate(
        (kind, level) for kind in some.scores.accuracies for level in (0, 1)
    ):
        chosen = bits[1].types[kind][0, level][order][design[place]]
        assert some.scores.accuracies[kind][str((1, 5)[level])] == chosen.mean()
        assert np.array_equal(bits[0].of_cell(kind, level)[0], chosen)
    # Clean and corrupted images are in one order.
    ordered = order if places is None else places.numpy()[order]
    assert np.array_equal(bits[0].clean[0, :copies], bits[1].clean[0, ordered])
    # Test images are scored under all cells, adapted statistics are of the images of a cell.
    test = {"suite": ["gaussian_blur"], "severities": [3]}
    assert sparse.score(model, test=test).scores.cell_share == 1
    adapted = sparse.score(model, adapt=16)
    assert adapted.scores.cell_share == 0.25
    assert adapted.scores.accuracies != some.scores.accuracies
    rung = sparse.score(model, images=60).scores
    assert (rung.n_images, rung.n_corrupted, rung.cell_share) == (60, 60, 0.25)
