"""ParetoInfo by values."""

from __future__ import annotations

import pytest
from example_records import example_record, example_row, example_scores

from ablate.ablation.answer import search_answer
from ablate.ablation.searches import pick_trial
from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import status_info
from ablate.errors import ParameterError
from ablate.ledger.record import Failure, RowRecord
from ablate.lifecycle.mixtures import Keeper


def test_a_front() -> None:
    info = pareto_info(
        example_record(
            [
                example_row(0, (0.94, 0.70)),
                example_row(1, (0.90, 0.80), params={"loss.terms": "clean+st"}),
                example_row(2, (0.90, 0.65)),
                example_row(3, None, state="FAIL", failure=Failure("raised", "boom")),
                example_row(4, None, state="RUNNING"),
                example_row(5, None, state="PRUNED"),
            ],
        )
    )
    assert [point.number for point in info.points] == [0, 1, 2]
    assert [point.on_front for point in info.points] == [True, True, False]
    assert [point.number for point in info.front] == [0, 1]
    assert info.points[1].loss_terms == "clean+st"
    assert info.hypervolume == pytest.approx(0.09 * 0.1 + 0.05 * 0.2 - 0.05 * 0.1)
    assert (info.split, info.n_images, info.trials, info.seed) == ("validation", 359, 16, 0)
    assert (info.study, info.subject) == ("example", "digits, resnet8")
    assert info.references["baseline"] == pytest.approx((0.95, 0.60))
    assert info.references["plain"] == pytest.approx((0.96, 0.61))
    assert info.gains((0.94, 0.70)) == pytest.approx((-0.01, 0.10))


CONSTRAINTS = [
    {"metric": "val_clean_accuracy", "min": "baseline - 0.02"},
    {"metric": "train_seconds", "max": 30},
]


def scored_row(number: int, clean: float, robust: float, seconds: float = 20.0) -> RowRecord:
    scores = example_scores(clean, robust, train_seconds=seconds)
    return example_row(number, (clean, robust), scores=scores)


def test_only_trials_that_keep_the_constraints_are_on_the_front() -> None:
    rows = [
        scored_row(0, 0.94, 0.70),
        scored_row(1, 0.90, 0.90),  # loses five points
        scored_row(2, 0.96, 0.80, seconds=31),  # takes too long
        scored_row(3, 0.93, 0.72),  # loses just two points
    ]
    record = example_record(rows, constraints=CONSTRAINTS)
    info = pareto_info(record)
    assert [point.number for point in info.points if point.violation] == [1, 2]
    assert info.points[1].violation == pytest.approx(0.03 / 0.93)
    assert info.points[2].violation == pytest.approx(1 / 30)
    assert [point.number for point in info.front] == [0, 3]
    assert info.hypervolume == pytest.approx(0.09 * 0.1 + 0.08 * 0.12 - 0.08 * 0.1)
    assert (
        "2 of 4 complete trials violate a constraint and do not count: val_clean_accuracy must be "
        "at least 93.00 % and train_seconds must be at most 30"
    ) in info.marks
    assert [(best.value, best.point.trials[0]) for best in status_info(record, 0.0).best] == [
        (0.94, 0),
        (0.72, 3),
    ]
    assert pick_trial(record, "best robust_accuracy").number == 3
    assert pick_trial(record, "trial 1").number == 1
    kept = pareto_info(example_record(rows[::3], constraints=CONSTRAINTS[:1]))
    assert any(mark.startswith("every complete trial keeps the") for mark in kept.marks)
    for bounds, gone in ((record.bounds, [1, 2, 0]), ((), [0, 1, 3])):
        assert Keeper(["maximize", "maximize"], 1, bounds).resume(rows) == gone, "whose weights go"


def test_of_one_objective_the_best_that_keeps_the_constraints_is_first() -> None:
    pairs = [(0.94, 0.70), (0.90, 0.90), (0.93, 0.60)]
    rows = [example_row(at, one[1:], scores=example_scores(*one)) for at, one in enumerate(pairs)]
    objectives, limits = [("val_robust_accuracy", "maximize")], {"constraints": CONSTRAINTS}
    record = example_record(rows, objectives=objectives, reference_point=(0.5,), **limits)
    info = pareto_info(record)
    answer = search_answer(record, info, lambda _: ({}, {}))
    assert answer is not None
    assert [point.number for point in info.front] == [0]
    for ranked in (info.ranked, answer.ranked):
        assert [point.number for point in ranked] == [0, 2]


def test_where_none_keeps_them_the_nearest_is_named() -> None:
    rows = [scored_row(0, 0.80, 0.7), scored_row(1, 0.91, 0.9, 45), scored_row(2, 0.92, 0.5)]
    record = example_record(rows, constraints=CONSTRAINTS)
    info = pareto_info(record)
    assert (info.front, info.picked, info.hypervolume) == ((), None, 0.0)
    nearest = "trial 2, whose val_clean_accuracy is 92.00 %, must be at least 93.00 %"
    assert f"no complete trial keeps all constraints; nearest: {nearest}" in info.marks
    with pytest.raises(ParameterError) as raised:
        pick_trial(record, "knee")
    assert str(raised.value) == (
        "ablation.reference: study example: must have a trial that keeps all constraints, got none "
        f"of 3 complete ones: nearest is {nearest}. Name one that does not by its number, or "
        "change the constraints."
    )
