"""Constraints in a study file: what is refused, in numbers, in the fingerprint."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from example_records import example_scores

from ablate.errors import ParameterError, StudyFileError
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.launch import check_prepared
from ablate.lifecycle.study_file import parse_study
from ablate.space.parse import parse_space
from ablate.study.fingerprint import changed_keys, study_fingerprint
from ablate.study.scores import Bound, violation
from ablate.study.settings import ConstraintSettings, PrunerSettings, Study
from ablate.trial.task import Prepared
from tests.study.conftest import without_columns

HEAD = "version: 1\nname: a\ndataset: {name: digits}\nmodel: {name: resnet8}\n"
OWN = "version: 1\nname: own\ntrainable: my_loop:train\nobjectives: [{metric: a}, {metric: b}]\n"


def read(text: str, names: Callable[[str], Any] = names_for) -> Study:
    return parse_study(text, "s.yaml", names=names, base=Path())


def refusals(text: str, names: Callable[[str], Any] = names_for) -> list[str]:
    with pytest.raises(StudyFileError) as raised:
        read(text, names)
    return without_columns(raised.value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "[{metric: val_clean_accuracy}]",
            "s.yaml:5: constraints[0]: needs min or max, got neither. Add one, such as max: 300.",
        ),
        (
            "[{metric: val_clean_accuracy, min: baseline * 2}]",
            "s.yaml:5: constraints[0].min: must be a number, or baseline plus or less one, got "
            "'baseline * 2'. Write 0.9, or baseline - 0.01.",
        ),
        (
            "[{metric: val_clean_accuracy, min: baseline - 1, max: baseline + 0.01}]",
            "s.yaml:5: constraints[0]: must be baseline plus or less a fraction below 1, "
            "because accuracies are fractions, got baseline - 1. Write baseline - 0.01 for one "
            "point.",
        ),
        (
            "[{metric: val_clean_accuracy, min: 90}]",
            "s.yaml:5: constraints[0].min: must be at most 1, because accuracies are "
            "fractions, got 90. No trial would keep it: change it.",
        ),
        (
            "[{metric: val_clean_accuracy, max: -1}]",
            "s.yaml:5: constraints[0].max: must be at least 0, because val_clean_accuracy is, got "
            "-1. No trial would keep it: change it.",
        ),
        (
            "[{metric: train_seconds, max: 0}]",
            "s.yaml:5: constraints[0].max: must be above 0, because train_seconds is, got 0. No "
            "trial would keep it: change it.",
        ),
        (
            "[{metric: train_seconds, max: baseline}]",
            "s.yaml:5: constraints[0]: must be a number, got baseline: a baseline has no "
            "train_seconds. Write it, such as max: 300.",
        ),
        (
            "[{metric: train_seconds, max: 9}, {metric: train_seconds, min: 1}]",
            "s.yaml:5: constraints[1]: given twice, got 'train_seconds'. Write min and max in one "
            "of them, and remove the other.",
        ),
        (
            "[{metric: val_clean_accuracy, min: 0.9, max: 0.8}]",
            "s.yaml:5: constraints[0]: min must be at most max, got 0.9 and 0.8: no value "
            "keeps both. Swap them.",
        ),
        (
            "[{metric: val_accuracy.fog, min: 0.5}]",
            "s.yaml:5: constraints[0].metric: must be scored by robustness.suite families, got "
            "val_accuracy.fog. Use a suite that contains it, such as families_all or all, or "
            "choose another metric.",
        ),
    ],
)
def test_a_wrong_constraint_is_refused_by_its_line(written: str, message: str) -> None:
    assert message in refusals(f"{HEAD}constraints: {written}\n")


def test_a_training_loop_may_constrain_any_metric_but_has_no_baseline() -> None:
    names = lambda _: {}  # noqa: E731
    study = read(f"{OWN}constraints: [{{metric: size, max: 3}}, {{metric: a, min: -2}}]\n", names)
    assert study.bounds(None) == (Bound("size", 3.0, False), Bound("a", -2.0, True))
    assert study.judged_metrics == ("a", "b", "size")
    text = f"{OWN}constraints: [{{metric: a, min: baseline - 1}}]\n"
    assert refusals(text, names) == [
        "s.yaml:5: constraints[0]: must be a number, got baseline - 1 with trainable, which has "
        "no baseline. Write it, such as 0.9."
    ]


def test_an_ablation_has_no_search_that_constraints_could_apply_to() -> None:
    ablation = "ablation: {design: leave_one_out, components: {fma: {loss.terms: clean}}}\n"
    text = f"{HEAD}constraints: [{{metric: val_clean_accuracy, min: 0.9}}]\n{ablation}"
    assert (
        "s.yaml:5: constraints: apply to a search, got an ablation without tune. Remove them, "
        "or add tune."
    ) in refusals(text)


@pytest.mark.parametrize(
    ("written", "bounds"),
    [
        ({"min": "baseline - 0.01"}, [("a", 0.89, True)]),
        ({"min": "baseline"}, [("a", 0.9, True)]),
        ({"min": "Baseline-1e-2", "max": 1}, [("a", 0.89, True), ("a", 1.0, False)]),
    ],
)
def test_a_constraint_in_numbers(
    written: dict[str, Any], bounds: list[tuple[str, float, bool]]
) -> None:
    found = ConstraintSettings(metric="a", **written).bounds({"a": 0.9})
    assert [(one.metric, one.is_least) for one in found] == [(one[0], one[2]) for one in bounds]
    assert [one.limit for one in found] == pytest.approx([one[1] for one in bounds])


def test_an_excess_is_a_share_of_the_limit_and_rounding_violates_nothing() -> None:
    least, most, zero = Bound("a", 0.8, True), Bound("s", 300.0, False), Bound("a", 0.0, False)
    assert least.excess({"a": 0.6}) == pytest.approx(0.25)
    assert least.excess({"a": 1.0}) == pytest.approx(-0.25)
    assert most.excess({"s": 360.0}) == pytest.approx(0.2)
    assert zero.excess({"a": 0.5}) == 0.5
    assert Bound("a", 0.1 + 0.2, True).excess({"a": 0.3}) == 0
    assert math.isnan(least.excess({}))
    assert violation([least, most], {"a": 0.6, "s": 360.0}) == pytest.approx(0.45)
    assert violation([least, most], {"a": 0.9, "s": 360.0}) == pytest.approx(0.2)
    assert violation([least, most], {"a": 0.9}) == 0
    assert violation([], {"a": 0.9}) == 0


def test_constraints_are_a_section_of_the_fingerprint_only_where_there_are_some() -> None:
    plain, some = (
        read(f"{HEAD}space: {{loss.fma.weight: {{float: [0.01, 30]}}}}\n{more}")
        for more in ("", "constraints: [{metric: val_clean_accuracy, min: baseline - 0.01}]\n")
    )
    sections = [
        study_fingerprint(one, parse_space(one, names_for("resnet8")), "d") for one in (plain, some)
    ]
    assert set(sections[1]) - set(sections[0]) == {"constraints"}
    assert sections[0] == {key: sections[1][key] for key in sections[0]}
    changed = changed_keys(plain.model_dump(mode="json"), some.model_dump(mode="json"))
    assert len(changed) == 1
    assert changed[0].startswith("constraints[0]: nothing -> {metric: 'val_clean_accuracy'")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            {"min": "baseline + 0.2"},
            "constraints[0].min: must be at most 1, because accuracies are fractions, got baseline "
            "+ 0.2 with a baseline of 90.00 %. No trial would keep it: change it.",
        ),
        (
            {"min": 0.95, "max": "baseline + 0.01"},
            "constraints[0]: min must be at most max, got 0.95 and baseline + 0.01 with a baseline "
            "of 90.00 %. No trial would keep both: change one.",
        ),
        ({"min": "baseline - 0.01", "max": 0.99}, ""),
    ],
)
def test_what_no_trial_can_keep_is_refused_once_the_baseline_is_scored(
    limits: dict[str, Any], message: str
) -> None:
    constraint = ConstraintSettings(metric="val_clean_accuracy", **limits)
    study = read(HEAD).model_copy(update={"constraints": (constraint,)})
    prepared = Prepared("d", "b", example_scores(0.9, 0.5), {})
    if not message:
        check_prepared(study, prepared)
        return
    with pytest.raises(ParameterError) as raised:
        check_prepared(study, prepared)
    assert str(raised.value) == message


def test_a_rung_cannot_have_more_images_than_the_split() -> None:
    PrunerSettings(images=359).check_images(359)
    with pytest.raises(ParameterError, match=r"^search.pruner.images: must be at most the 359 val"):
        PrunerSettings(images=360).check_images(359)
