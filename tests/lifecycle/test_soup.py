"""`ablate confirm --soup`: the mean of a front's networks, from the command to the report."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import ablate
import ablate.trial.soup as soup_module
from ablate.ablation.confirm import ConfirmInfo
from ablate.ablation.design import front_design
from ablate.analysis.pareto import ParetoPoint, Point, pareto_info
from ablate.errors import ParameterError, UsageError
from ablate.files.cache import cache_folder
from ablate.ledger.record import Row, RowRecord, Soup, StudyRecord
from ablate.model.weights.export_metadata import read_metadata
from ablate.study.seeds import Seeds
from ablate.trial.soup import SoupTrial
from ablate.trial.task import weights_file
from ablate.trial.workbench import Workbench
from tests.commands import run_here

STUDY = """
version: 1
name: searched
dataset: {name: digits, image_size: 8, validation: {fraction: 0.75}}
model: {name: resnet8}
baseline: {epochs: 2}
finetune:
  budget: {images: 600}
  interpolation: {alphas: [0.5, 1]}
augment: {families: [noise]}
space:
  finetune.budget.images: {choice: [600, 1800]}
  finetune.learning_rate: {choice: [0.05, 0.5]}
  loss.terms: {choice: [clean+da, clean+st]}
answer: {clean_margin: 0.015}
objectives:
  - {metric: val_clean_accuracy}
  - {metric: val_robust_accuracy}
  - {metric: student_images, direction: minimize}
search:
  trials: 2
  sampler: random
  reference_point: [0.0, 0.0, 9000]
  enqueue:
    - {finetune.budget.images: 600, finetune.learning_rate: 0.5, loss.terms: clean+st}
    - {finetune.budget.images: 1800, finetune.learning_rate: 0.05, loss.terms: clean+da}
robustness: {severities: [3], images: 100}
run: {gpus_per_trial: 0, precision: fp32}
"""
NAME = "soup of 2 trials"
FILE = "searched.yaml"


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ConfirmInfo]:
    """A search with two trials on its front, confirmed with their soup; stopped once, while a soup
    was made."""
    made = tmp_path_factory.mktemp("soup")
    (made / FILE).write_text(STUDY)
    mean, calls = soup_module.mean_weights, []

    def stop_at_first(networks: Any) -> Any:
        calls.append(networks)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return mean(networks)

    with contextlib.chdir(made), pytest.MonkeyPatch.context() as patch:
        launched = run_here("launch", FILE, "--executor", "inline", "--accept-baseline")
        assert launched.returncode == 0, launched.stderr
        assert len(pareto_info(ablate.read(FILE)).front) == 2
        patch.setattr(soup_module, "mean_weights", stop_at_first)
        with pytest.raises(KeyboardInterrupt):
            ablate.confirm(FILE, seeds=2, soup=True, executor="inline")
        info = ablate.confirm(FILE, seeds=2, soup=True, executor="inline")
    return made, info


def rows_of(record: StudyRecord, cell: str) -> list[RowRecord]:
    return [row for row in record.rows if row.cell == cell]


@pytest.mark.slow
def test_a_soup_is_the_mean_network_scored_on_the_test_images(
    confirmed: tuple[Path, ConfirmInfo],
) -> None:
    made, info = confirmed
    folder = made / "runs" / "searched" / "confirm"
    record = ablate.read(folder)
    assert record.count("COMPLETE") == len(record.rows) == 2 * 5
    soups = rows_of(record, NAME)
    assert [(row.pair, row.attempt) for row in soups] == [(0, 2), (1, 1)]
    points = [point.name for point in info.points]
    assert any("at alpha 0.5" in name for name in points)
    bench = Workbench.get(record.study, made, cache_folder())
    for row in soups:
        members = [one for name in points for one in rows_of(record, name) if one.pair == row.pair]
        states = [load_file(weights_file(folder, one.number)) for one in members]
        model = bench.build_baseline()
        mean = {
            name: (states[0][name].double() + one.double()).div(2).to(one.dtype)
            for name, one in states[1].items()
        }
        model.load_state_dict({**mean, **{n: o for n, o in states[1].items() if o.dtype.is_signed}})
        kept = load_file(weights_file(folder, row.number))
        assert all(
            torch.equal(mean[name], one) for name, one in kept.items() if one.is_floating_point()
        )
        model.load_state_dict(kept)
        scored = bench.score(model).scores
        assert row.scores is not None
        assert row.test_scores is not None
        assert (row.scores.clean_accuracy, row.scores.accuracies) == (
            scored.clean_accuracy,
            scored.accuracies,
        )
        tested = bench.score(model, test={"suite": "families", "severities": [3]}).scores
        assert row.test_scores.accuracies == tested.accuracies
        for cost in ("student_images", "teacher_images", "train_flops", "train_seconds"):
            each = [getattr(one.scores, cost) for one in members]
            assert getattr(row.scores, cost) == getattr(row.test_scores, cost) == sum(each)
        metadata = read_metadata(weights_file(folder, row.number))
        assert metadata is not None
        assert (metadata.trial, metadata.alpha) == (row.number, 1.0)
        assert set(metadata.loss_terms.split(", ")) == {"clean+da", "clean+st"}


@pytest.mark.slow
def test_it_is_an_arm_with_intervals_in_table_figure_and_page(
    confirmed: tuple[Path, ConfirmInfo],
) -> None:
    made, info = confirmed
    points = tuple(point.name for point in info.points)
    (arm,) = (arm for arm in info.test.arms if arm.members)
    assert (arm.name, arm.members) == (NAME, points)
    effect = info.test.to_reference(NAME, "test_robust_accuracy")
    assert effect is not None
    assert (effect.estimate.n, effect.estimate.method) == (2, "t over seeds and images")
    trained = {one.name: one.costs["student_images"] for one in info.test.arms}
    assert trained[NAME] == sum(trained[name] for name in points) > 0
    note = (
        f"{NAME}: at each seed the mean of the weights of {', '.join(points)}; all of their "
        f"training counts as its cost: {trained[NAME]:,.0f} images a seed"
    )
    with contextlib.chdir(made):
        again = run_here(
            "confirm", FILE, "--seeds", "2", "--soup", "--executor", "inline", "--notes"
        )
        assert again.returncode == 0, again.stderr
        assert NAME in again.stdout
        assert note in " ".join(again.stdout.split())
        table = run_here("table", "runs/searched/confirm", "--format", "csv").stdout
        assert NAME in table
        figure = ablate.plot("effects", "runs/searched/confirm").to_json()
        assert NAME in figure
        reported = run_here("report", "runs/searched", "--no-images")
        assert reported.returncode == 0, reported.stderr
        page = (made / "runs" / "searched" / "report.html").read_text()
        assert note in re.sub("<[^>]*>", "", page).replace("\N{NO-BREAK SPACE}", " ")
        assert "arXiv:2203.05482" in page
        (opened, *_) = ablate.read(FILE).test_opened
        assert "and their soup, 2 seeds" in opened.what


@pytest.mark.slow
def test_a_soup_goes_on_with_more_seeds_and_is_exported(
    confirmed: tuple[Path, ConfirmInfo], tmp_path: Path
) -> None:
    made, file = confirmed[0], tmp_path / "soup.safetensors"
    with contextlib.chdir(made):
        before = ablate.read("runs/searched/confirm").rows
        info = ablate.confirm(FILE, seeds=3, executor="inline")  # as it was begun
        assert {row.pair for row in ablate.read("runs/searched/confirm").rows} == {0, 1, 2}
        rows = ablate.read("runs/searched/confirm").rows
        assert rows[: len(before)] == before
        assert [row.state for row in rows_of(ablate.read("runs/searched/confirm"), NAME)] == [
            "COMPLETE"
        ] * 3
        assert info.test.seeds == 3
        number = str(rows[-1].number)
        done = run_here("export", "runs/searched/confirm", "--trial", number, "-o", file, "--json")
        assert json.loads(done.stdout) == [{"number": int(number), "alpha": 1.0, "file": str(file)}]


# -- What has no soup -----------------------------------------------------------------------


def point(number: int, **params: Any) -> ParetoPoint:
    values = {key.replace("__", "."): value for key, value in params.items()}
    return ParetoPoint(Point(number), (0.9, 0.8), values, None, "clean+da", on_front=True)


def test_the_members_share_what_makes_their_baseline() -> None:
    points = [
        point(3, model__name="resnet20", finetune__learning_rate=0.1, dataset__train_fraction=0.5),
        point(5, model__name="resnet20", finetune__learning_rate=0.2),
    ]
    design = front_design(points, soup=True)
    assert design.cells[-1].values == {"model.name": "resnet20"}
    assert design.soups == {NAME: ("trial 3", "trial 5")}
    assert list(design.selected) == ["trial 3", "trial 5"]  # nothing has selected the soup
    assert [one.weights for one in design.contrasts if one.name == f"{NAME} - plain"] == [
        {NAME: 1.0, "plain": -1.0}
    ]
    assert front_design(points).soups == {}


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (
            [point(3)],
            "`soup`: needs two trials or more, got 1. Leave it out, or name more: `trials`.",
        ),
        (
            [point(3, model__name="resnet20"), point(4, model__name="resnet8")],
            "`soup`: needs trials that start from one baseline, got model.name: 'resnet20', "
            "'resnet8'. Leave it out, or name trials that share it: `trials`.",
        ),
        (
            [point(3), point(4, baseline__epochs=3)],
            "`soup`: needs trials that start from one baseline, got baseline.epochs: nothing, 3. "
            "Leave it out, or name trials that share it: `trials`.",
        ),
    ],
)
def test_trials_without_a_soup(points: list[ParetoPoint], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        front_design(points, soup=True)
    assert str(caught.value) == message


@pytest.fixture
def make_soup(confirmed: tuple[Path, ConfirmInfo], tmp_path: Path) -> Callable[..., SoupTrial]:
    """A soup of the confirmation's members, whose weights are copied into a folder."""
    made = confirmed[0]
    folder = made / "runs" / "searched" / "confirm"
    record = ablate.read(folder)
    members = rows_of(record, NAME)[0].members
    numbers = tuple(rows_of(record, name)[0].number for name in members)
    for number in numbers:
        copy = weights_file(tmp_path, number)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(weights_file(folder, number).read_bytes())

    def make(missing: str = "") -> SoupTrial:
        row = Row(99, 1, {}, Seeds(0, 1, 0), soup=Soup(numbers, {}, missing))
        return SoupTrial(Workbench.get(record.study, made, cache_folder()), row, tmp_path, None)

    return make


@pytest.mark.slow
def test_a_soup_without_a_member_says_which(
    make_soup: Callable[..., SoupTrial], tmp_path: Path
) -> None:
    with pytest.raises(ParameterError) as caught:
        make_soup("trial 4 (FAIL, not_finite)").end()
    assert str(caught.value) == (
        "a soup needs the networks of all its members, got none of trial 4 (FAIL, not_finite). "
        "See why they failed: ablate trials."
    )
    first = sorted((tmp_path / "weights").iterdir())[0]
    number = int(first.stem)
    content = first.read_bytes()
    first.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ParameterError, match=rf"weights of trial {number}: .*different bytes"):
        make_soup().end()
    first.unlink()
    with pytest.raises(ParameterError, match=rf"weights of trial {number}: .*No such file"):
        make_soup().end()
