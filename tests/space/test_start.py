"""The points that a search begins with: of defaults and space alone, inside the space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.space.space import Space
from ablate.space.start import point_of, start_points
from ablate.study.settings import Study

HERE = Path(__file__).parents[2]
JOINT = (HERE / "search_spaces" / "joint.yaml").read_text()


Make = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def points_of(make_study: Callable[..., Study], make_space: Callable[..., Space]) -> Make:
    """Points of a space that all lie in it; a study that was stored gives the same."""

    def points(text: str, study: str = "") -> list[dict[str, Any]]:
        written, space = make_study(text, study), make_space(text, study)
        found = start_points(written, space)
        assert found is not None
        for point in found:
            space.encode_partial(point)
        stored = Study.model_validate(written.model_dump(mode="json"))
        assert found == start_points(stored, Space.from_json(space.to_json()))
        return list(found)

    return points


def test_a_point_for_each_method_at_both_rates_where_the_space_has_all(points_of: Make) -> None:
    """Recomputed from the bold rows of docs/measurements.md#defaults."""
    found = points_of(JOINT)
    common = {
        "augment.families": ["noise", "blur", "photometric"],
        "augment.mix": {"noise": 1.0, "blur": 1.0, "photometric": 1.0},
        "augment.strength": 1.0,
    }
    fma = {"loss.fma.layers": ["stage3"]}
    expected = {
        ("clean+da", 0.01): {},
        ("clean+da", 0.03): {},
        ("clean+st", 0.01): {"loss.st.weight": 1.0, "loss.st.anchor": "pretrained"},
        ("clean+st", 0.03): {"loss.st.weight": 1.0, "loss.st.anchor": "both"},
        ("clean+fma", 0.01): {"loss.fma.weight": 3.0, "loss.fma.anchor": "pretrained", **fma},
        ("clean+fma", 0.03): {"loss.fma.weight": 1.0, "loss.fma.anchor": "pretrained", **fma},
        ("clean+da+fma", 0.01): {"loss.fma.weight": 1.0, "loss.fma.anchor": "pretrained", **fma},
        ("clean+da+fma", 0.03): {"loss.fma.weight": 0.3, "loss.fma.anchor": "clean", **fma},
    }
    by_method = {(one["loss.terms"], one["finetune.learning_rate"]): one for one in found}
    assert by_method.keys() == expected.keys()
    assert len(by_method) == len(found)
    for (terms, rate), own in expected.items():
        whole = {"loss.terms": terms, "finetune.learning_rate": rate, **common, **own}
        assert by_method[terms, rate] == whole


KEY = "finetune.learning_rate"
RATE = "finetune.learning_rate: {float: [0.001, 0.1], log: true}\n"


@pytest.mark.parametrize(
    ("space", "study", "expected"),
    [
        # One method, at two rates; at the study's own where none is searched.
        (RATE, "", [{KEY: 0.01}, {KEY: 0.03}]),
        ("loss.st.weight: {float: [0.1, 9]}", "loss: {terms: clean+st}\n", [{"loss.st.weight": 1}]),
        ("loss.fma.weight: {float: [0.1, 9]}", "", [{"loss.fma.weight": 3.0}]),
        (
            "loss.fma.weight: {float: [0.1, 9]}",
            "finetune: {learning_rate: 0.04}\n",
            [{"loss.fma.weight": 1.0}],
        ),
        # Into the range, onto its steps; equal points once.
        ("finetune.learning_rate: {float: [0.1, 0.2]}", "", [{KEY: 0.1}]),
        (
            "finetune.learning_rate: {float: [0.004, 0.02], step: 0.004}",
            "",
            [{KEY: 0.012}, {KEY: 0.02}],
        ),
        (
            "finetune.learning_rate: {choice: [0.008, 0.1, 0.02]}",
            "",
            [{KEY: 0.008}, {KEY: 0.02}],
        ),
        ("finetune.batch_size: {int: [10, 100], step: 10}", "", [{"finetune.batch_size": 60}]),
        # What has nothing near is left to the sampler, and so is what depends on it.
        (
            "loss.fma.anchor: {choice: [both, ema]}\n"
            "finetune.budget.epochs: {int: [1, 3], when: {loss.fma.anchor: ema}}\n"
            "loss.fma.layer_weights: {choice: [linear, uniform]}",
            "",
            [{"loss.fma.layer_weights": "uniform"}],
        ),
        ("loss.fma.layers: {subset: [stem, stage2]}", "", [{"loss.fma.layers": ["stage2"]}]),
        ("finetune.frozen: {subset: [stem, stage1]}", "", []),
        ("augment.types: {subset: [hue, jpeg]}", "", [{"augment.types": ["hue", "jpeg"]}]),
        # Another optimizer has rates of its own.
        (
            RATE,
            "finetune: {optimizer: adamw, learning_rate: 0.002}\n",
            [{KEY: 0.002}, {KEY: 0.006}],
        ),
        # Rates that were measured hold near them alone, and a ratio of gradients is another weight.
        (RATE, "finetune: {learning_rate: 0.001}\n", [{KEY: 0.001}, {KEY: 0.003}]),
        (
            "loss.fma.weight: {float: [0.1, 9]}",
            "loss: {fma: {scale: gradient}}\n",
            [{"loss.fma.weight": 1.0}],
        ),
        # Sets that were not measured have points only where no other is in the space.
        (
            "loss.terms: {choice: [clean+st+da, fma]}\nloss.fma.weight: {float: [0.1, 9]}",
            "",
            [
                {"loss.terms": "clean+st+da", "loss.fma.weight": 1.0},
                {"loss.terms": "fma", "loss.fma.weight": 3.0},
            ],
        ),
        ("loss.terms: {choice: [clean+st+da, da+clean]}", "", [{"loss.terms": "da+clean"}]),
        # The plain finetune is run anyway.
        (
            "loss.terms: {choice: [clean, clean+da]}",
            "",
            [{"loss.terms": "clean+da"}],
        ),
    ],
)
def test_points_that_the_space_allows(
    points_of: Make, space: str, study: str, expected: list[dict[str, object]]
) -> None:
    found = points_of(space, study)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for key, value in other.items():
            assert one[key] == (pytest.approx(value) if isinstance(value, float) else value)


def test_conditions_are_kept_and_no_point_stands_twice(
    points_of: Make, whole: Space, whole_text: str
) -> None:
    found = points_of(whole_text)
    assert {one["loss.terms"] for one in found} == {"clean+da", "clean+st", "clean+fma"}
    for one in found:
        assert ("loss.fma.weight" in one) == ("fma" in one["loss.terms"])
    raw = [repr(sorted(whole.canonical(whole.encode_partial(one)).items())) for one in found]
    assert len({*raw}) == len(raw)


def test_a_point_of_enqueue_is_not_given_again(points_of: Make) -> None:
    mine = "search: {enqueue: [{finetune.learning_rate: 0.01}]}\n"
    assert points_of(RATE, mine) == [{KEY: 0.01}, {KEY: 0.03}]
    other = "search: {enqueue: [{finetune.learning_rate: 0.05}]}\n"
    assert points_of(RATE, other) == [{KEY: 0.05}, {KEY: 0.01}, {KEY: 0.03}]


@pytest.mark.parametrize("search", ["sampler: gp", "sampler: tpe", "start: random"])
def test_another_sampler_or_start_has_none(
    make_study: Callable[..., Study], make_space: Callable[..., Space], search: str
) -> None:
    study = f"search: {{{search}}}\n"
    assert start_points(make_study(RATE, study), make_space(RATE)) is None


def test_a_loop_of_ones_own_has_none(make_space: Callable[..., Space]) -> None:
    study = Study.model_validate(
        {"version": 1, "name": "a", "trainable": "a:b", "space": {"lr": {"float": [0.0, 1.0]}}}
    )
    assert start_points(study, make_space(RATE)) == ()


def test_a_configuration_of_another_kind_is_outside(make_space: Callable[..., Space]) -> None:
    mix = make_space(
        "augment.families: {subset: [noise, blur]}\naugment.mix: {simplex: augment.families}"
    )
    assert point_of(mix, {"augment.families": ["noise"], "augment.mix": ["noise"]}) is None
    strengths = make_space("augment.strengths.gaussian_noise: {float: [0.1, 1]}")
    assert point_of(strengths, {"augment.strengths": 0.5}) is None
