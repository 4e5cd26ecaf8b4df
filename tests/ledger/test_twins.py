"""A point that was run is not run again: another draw, or the scores of the row that had it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablate.ledger.driving import Driving
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Failure, Head, Row, RowRecord
from ablate.ledger.row import ended_as
from ablate.lifecycle.known_names import names_for
from ablate.space.parse import parse_space
from ablate.study.fingerprint import study_fingerprint
from ablate.study.interpolation import Curve, curve_point
from ablate.study.scores import Scores
from ablate.study.settings import Study

TWO = {"augment.copies": {"choice": [1, 2]}}
OWN = {
    "trainable": "loops:train",
    "objectives": [{"metric": "val_clean_accuracy"}, {"metric": "val_robust_accuracy"}],
}
Make = Callable[..., Ledger]


def scores(clean: float = 0.9) -> Scores:
    accuracies = {"gaussian_noise": {"3": clean / 2}}
    return Scores("val", 10, clean, accuracies, {"noise": ("gaussian_noise",)})


@pytest.fixture
def make_ledger(tmp_path: Path) -> Make:
    def make(space: Any, trials: int = 6, name: str = "twins", **keys: Any) -> Ledger:
        data = {"version": 1, "name": name, "space": space, **keys}
        if "trainable" not in keys:
            data |= {"dataset": {"name": "digits"}, "model": {"name": "resnet8"}}
        study = Study.model_validate(data)
        names = {} if study.trainable else names_for("resnet8")
        read = parse_space(study, names)
        fingerprint = study_fingerprint(study, read, "digest")
        head = Head("0a1b2c3d", study, "", read.to_json(), "/", fingerprint, "b", {}, (0.8, 0.4))
        return Ledger.create(f"sqlite:///{tmp_path}/study.db", head, trials)

    return make


def drive(ledger: Ledger, *, stop_after: int | None = None) -> list[Row]:
    """Run rows one after the other, each with scores of its own; those that were run."""
    driving, run = Driving(ledger), []
    waiting = driving.adopt()[0]
    while (row := waiting.pop(0) if waiting else driving.ask()) is not None:
        if isinstance(row, RowRecord):
            continue
        run.append(row)
        if stop_after is not None and len(run) > stop_after:
            break  # killed during it
        driving.complete(row.number, scores(0.5 + row.number / 100))
    return run


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp"])
def test_an_exhausted_space_is_run_once(make_ledger: Make, sampler: str) -> None:
    ledger = make_ledger(TWO, search={"sampler": sampler})
    ran = drive(ledger)
    assert sorted(row.params["augment.copies"] for row in ran) == [1, 2]
    first = {row.params["augment.copies"]: row.number for row in ran}
    rows = ledger.read().rows
    assert [row.state for row in rows] == ["COMPLETE"] * 6
    for row in rows:
        origin = first[row.params["augment.copies"]]
        assert row.copy_of == (None if row.number == origin else origin)
        assert (row.values, row.scores) == (rows[origin].values, rows[origin].scores)
        assert len(row.attempts) == (row.copy_of is None)
    # Optuna's own tables say the same.
    import optuna

    study = optuna.load_study(study_name="twins", storage=ledger._url)
    for trial, row in zip(study.trials, rows, strict=True):
        assert trial.values == list(row.values or ())
        assert trial.params["augment.copies"] == row.params["augment.copies"]
        assert trial.datetime_complete is not None


def test_what_no_trial_reads_does_not_make_a_point(make_ledger: Make) -> None:
    """The weight of a term that the objective lacks, drawn or not, is no difference."""
    space = {
        "loss.terms": {"choice": ["clean+da", "da+clean"]},
        "loss.fma.weight": {"float": [0.01, 30]},
    }
    ledger = make_ledger(space, trials=4)
    assert [row.number for row in drive(ledger)] == [0]
    assert [row.copy_of for row in ledger.read().rows] == [None, 0, 0, 0]


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_a_step_that_does_not_end_its_range_is_resumed_alike(
    make_ledger: Make, sampler: str
) -> None:
    """Optuna cuts a range to its steps, and what was cut once more: 12/13, then 11/13."""
    space = {"x": {"float": [0.0, 1.0], "step": 1 / 13}}
    keys = {**OWN, "search": {"sampler": sampler}}
    whole = make_ledger(space, trials=12, **keys)
    drive(whole)
    stopped = make_ledger(space, trials=12, name="stopped", **keys)
    for _ in range(4):
        drive(Ledger.open(stopped._url, "stopped"), stop_after=2)
    drive(stopped)
    assert [row.params for row in stopped.read().rows] == [row.params for row in whole.read().rows]


def test_a_point_that_is_typed_is_that_of_a_step(make_ledger: Make) -> None:
    """Three steps of 0.1 are 0.30000000000000004."""
    space = {"x": {"float": [0.0, 1.0], "step": 0.1}}
    search = {"sampler": "random", "enqueue": [{"x": 3 * 0.1}]}
    ledger = make_ledger(space, trials=1, search=search, **OWN)
    drive(ledger)
    ledger.enqueue({"x": 0.3})
    drive(ledger)
    assert [row.copy_of for row in ledger.read().rows] == [None, 0]


def test_an_enqueued_point_is_not_drawn_anew(make_ledger: Make) -> None:
    space = {"finetune.learning_rate": {"float": [0.001, 0.1]}, **TWO}
    point = {"finetune.learning_rate": 0.01, "augment.copies": 2}
    ledger = make_ledger(space, trials=3, search={"enqueue": [point, point]})
    number = ledger.enqueue(point)
    assert len(drive(ledger)) == 1
    rows = ledger.read().rows
    assert [row.copy_of for row in rows] == [None, 0, 0]
    assert all(row.enqueued and row.params == point for row in rows)
    assert number == 2


def test_only_scores_are_taken(make_ledger: Make) -> None:
    """A row that runs, has failed or was stopped has none: it is drawn around, or run again."""
    ledger = make_ledger(TWO, trials=5)
    driving = Driving(ledger)
    one, other = driving.ask(), driving.ask()
    assert isinstance(one, Row)
    assert isinstance(other, Row)
    assert one.params != other.params  # the one runs
    driving.fail(one.number, Failure("raised", "no"))
    third = driving.ask()
    assert isinstance(third, Row)  # both are started, and neither has scores
    driving.complete(other.number, scores())
    fourth = driving.ask()
    assert isinstance(fourth, RowRecord)
    assert fourth.copy_of == other.number
    assert fourth.params == other.params


def test_a_row_stands_at_the_network_of_its_curve_and_so_does_its_copy(make_ledger: Make) -> None:
    """The driver chooses, by the margin of the study; an ablation's rows stay at alpha 1."""
    ends = scores(0.90), scores(0.80)
    middle = replace(ends[1], clean_accuracy=0.885, accuracies={"gaussian_noise": {"3": 0.6}})
    curve = Curve(
        {"0": curve_point(ends[0]), "0.5": curve_point(middle), "1": curve_point(ends[1])}
    )
    ledger = make_ledger(
        {"augment.copies": {"choice": [1]}},
        trials=3,
        finetune={"interpolation": {"alphas": [0.5, 1.0]}},
        answer={"clean_margin": 0.02},
    )
    driving = Driving(ledger)
    row = driving.ask()
    assert isinstance(row, Row)
    kept = {"curve": curve.to_json(), "outcomes": {"val": "AAAA", "val@0.5": "BBBB"}}
    ended = driving.complete(row.number, ends[1], kept=kept)
    while driving.ask() is not None:
        pass
    rows = ledger.read().rows
    assert [one.copy_of for one in rows] == [None, 0, 0]
    for one in (ended, *rows):
        assert isinstance(one.scores, Scores)
        assert curve_point(one.scores) == curve_point(middle)
        assert one.values == (0.885, 0.6)
        assert one.path is not None
        assert (one.path.alpha, one.path.note) == (0.5, "")
    assert curve.chosen(ends[1], 0.01).alpha == 0.5  # none keeps one point: the smallest loss

    # Of the network that stands for the row and of the finetuned one; a copy has none itself.
    bits = {0: {"val": "BBBB", "val@1": "AAAA"}}
    assert ledger.outcomes()[0] == ledger.outcomes([0, 1])[0] == bits
    assert ledger.outcomes([1])[0] == {}
    ablation = {"design": "arms", "arms": {"a": {}}, "seeds": 3}
    of_arm = Study.model_validate(
        ledger.head.study.model_dump(mode="json") | {"ablation": ablation}
    )
    found, attributes = ended_as(of_arm, ends[1], kept)
    assert found == ends[1]
    assert attributes["ablate:path"]["alpha"] == 1
    assert attributes["ablate:outcomes"] == kept["outcomes"]
