"""The search of an arm: fixed and searched settings, and arms that cannot be started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from example_records import example_record, example_row
from kept_notes import KeptNotes
from plans import NAMES, ablation_study, design_of, plan

from ablate.ablation.cell import Cell, Design, Tuning
from ablate.ablation.searches import arm_study, tuned_cells
from ablate.errors import ParameterError
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.ablation_reference import tune_design
from ablate.lifecycle.place import Place
from ablate.search.progress import Progress
from ablate.space.parse import parse_space
from ablate.study.settings import Study

RATE = {"finetune.learning_rate": {"float": [0.001, 0.1], "log": True}}
FMA = {"loss.fma.weight": {"float": [0.1, 10], "when": {"loss.terms": {"contains": "fma"}}}}
ARMS = {"plain": {"loss.terms": "clean"}, "FMA": {}}
IMAGES = {"budget": {"images": 1000}}
SEARCHES = {"trials": 4, "sampler": "tpe", "seed": 7}


def tuned_study(arms: dict[str, Any], space: dict[str, Any], **sections: Any) -> Study:
    ablation = {"design": "arms", "arms": arms, "tune": SEARCHES}
    return ablation_study(ablation, space=space, **sections)


def rules(arms: dict[str, Any], space: dict[str, Any], **sections: Any) -> list[Any]:
    ablation = {"arms": arms, "tune": {"trials": 4}}
    return plan("arms", ablation, space=space, finetune=IMAGES, **sections)[1]


def test_an_arm_s_values_are_fixed_and_the_rest_is_searched() -> None:
    study = tuned_study(ARMS, {**RATE, **FMA}, finetune=IMAGES)
    cell = Cell("slow", {"loss.terms": "clean+st", "finetune.learning_rate": 0.001})
    search = arm_study(study, cell, "a~slow", NAMES)
    assert (search.name, search.ablation) == ("a~slow", None)
    assert (search.search.trials, search.search.sampler, search.search.seed) == (4, "tpe", 7)
    assert search.loss.terms == "clean+st"
    assert search.finetune.learning_rate == 0.001
    assert search.space == FMA
    assert search.finetune.budget.images == 1000


def test_values_of_a_loop_of_one_s_own_are_choices_of_one() -> None:
    sections = {
        "trainable": "own:train",
        "objectives": [{"metric": "accuracy"}, {"metric": "seconds"}],
    }
    space = {"lr": {"float": [0.1, 1]}, "width": {"int": [1, 8], "when": {"net": "wide"}}}
    study = tuned_study({"a": {"net": "wide"}}, space, **sections)
    search = arm_study(study, Cell("a", {"net": "wide", "lr": 0.5}), "a~a", {})
    assert search.space == {
        "net": {"choice": ["wide"]},
        "lr": {"choice": [0.5]},
        "width": space["width"],
    }
    assert parse_space(search, {}).keys == ("net", "lr", "width")


def test_each_arm_begins_with_the_points_without_what_it_does_not_search() -> None:
    points = [
        {"finetune.learning_rate": 0.01, "loss.fma.weight": 1.0},
        {"finetune.learning_rate": 0.01, "loss.fma.weight": 2.0},
        {"loss.fma.weight": 4.0},
    ]
    tune = {"tune": SEARCHES | {"enqueue": points}}
    study = ablation_study({"design": "arms", "arms": ARMS} | tune, space=RATE | FMA)

    def first(values: dict[str, Any]) -> list[dict[str, Any]]:
        return [*arm_study(study, Cell("a", values), "a~a", NAMES).search.enqueue]

    assert first({}) == points
    # Each point once, and none that gives nothing.
    assert first({"loss.terms": "clean"}) == [{"finetune.learning_rate": 0.01}]
    fixed = {"finetune.learning_rate": 0.1}
    assert first(fixed) == [{"loss.fma.weight": weight} for weight in (1.0, 2.0, 4.0)]
    assert plan("arms", {"arms": ARMS} | tune, space=RATE | FMA, finetune=IMAGES)[1] == []


def test_points_of_a_loop_of_one_s_own() -> None:
    space = {"lr": {"float": [0.1, 1]}, "width": {"int": [1, 8], "when": {"net": "wide"}}}
    arms = {"a": {"net": "wide"}, "b": {"net": "deep"}}
    tune = SEARCHES | {"enqueue": [{"net": "wide", "lr": 0.5, "width": 4}]}
    study = ablation_study(
        {"design": "arms", "arms": arms, "tune": tune},
        **{"trainable": "own:train", "space": space},
    )
    found = {
        name: arm_study(study, Cell(name, values), name, {}).search.enqueue
        for name, values in arms.items()
    }
    assert found == {"a": ({"lr": 0.5, "width": 4},), "b": ({"lr": 0.5},)}


def test_invalid_points_are_all_said() -> None:
    points = [
        {"finetune.learning_rate": 5.0, "loss.fma.weigth": 1.0},
        {"finetune.learning_rate": 0.01, "loss.st.weight": 1.0},
    ]
    tune = {"tune": {"trials": 4, "enqueue": points}}
    found = dict(plan("arms", {"arms": ARMS} | tune, space=RATE | FMA, finetune=IMAGES)[1])
    where = ("ablation", "tune", "enqueue")
    assert found == {
        (
            *where,
            0,
            "finetune.learning_rate",
        ): "must be a number in [0.001, 0.1], got 5. Use one in this range.",
        (*where, 0, "loss.fma.weigth"): "searched by no arm. Did you mean loss.fma.weight?",
        (*where, 1, "loss.st.weight"): "searched by no arm. Did you mean loss.fma.weight?",
    }


@pytest.mark.parametrize(
    "space",
    [
        RATE,
        {"augment.families": {"subset": ["noise", "blur"]}, **RATE},
        {"loss.clean.weight": {"float": [0.5, 1]}},
    ],
)
def test_arms_that_can_be_tuned(space: dict[str, Any]) -> None:
    assert rules(ARMS, space) == []


def test_an_arm_that_fixes_every_key_is_not_tuned() -> None:
    block = {"with copies": {"when": {"loss.terms": "clean+fma"}, "parameters": FMA}}
    default = {"finetune.learning_rate": 0.01, "loss.fma.weight": 1.0}
    arms = {"plain": {"loss.terms": "clean"} | default, "FMA": {}}
    assert rules(arms, RATE | block) == []
    ablation = {"arms": arms, "tune": {"trials": 4}}
    design = design_of("arms", ablation, space=RATE | block, finetune=IMAGES)
    study = tuned_study(arms, RATE | block)
    assert [cell.name for cell in tuned_cells(study, design.cells)] == ["FMA"]
    nothing = "needs a key of the space that an arm leaves open. Add one."
    assert rules({"plain": arms["plain"]}, RATE | block) == [(("ablation", "tune"), nothing)]


@pytest.mark.parametrize(
    "space",
    [
        FMA,
        {"augment.families": {"subset": ["noise", "blur"]}},
        {"augment.mix": {"simplex": "augment.families"}},
    ],
)
def test_an_arm_whose_trials_would_all_be_one(space: dict[str, Any]) -> None:
    rule = (
        "its search: tune needs a parameter that the arm uses, got none. Add one to the space, "
        "or fix every key of the space: then it is not tuned."
    )
    assert (("ablation", "arms", "plain"), rule) in rules(ARMS, space)


def test_a_search_that_could_not_be_begun_is_said_before_the_others_are_run() -> None:
    space = {
        "loss.fma.layers": {"subset": ["stem", "stage3"]},
        "loss.fma.layer_weights": {"simplex": "loss.fma.layers"},
    }
    arms = {"FMA": {}, "last": {"loss.fma.layer_weights": {"stage1": 1.0}}}
    ((path, rule),) = rules(arms, space)
    assert path == ("ablation", "arms", "last")
    assert rule.startswith("its search: loss.fma.layers: loss.fma.layer_weights must not be")


def tuned(
    design: Design, study: Study, rows: list[Any], progress: Progress, **settings: Any
) -> Design:
    """The design tuned by searches whose rows are these, whatever was asked."""
    asked: list[tuple[str, str]] = []

    def run_search(where: Place, search: Study) -> StudyRecord:
        asked.append((where.name, str(where.folder)))
        assert search.ablation is None
        return example_record(rows, **settings)

    place = Place("a", "sqlite:///a.db", Path("/runs/a"))
    made = tune_design(design, study, place, run_search, progress, names=NAMES)
    assert asked == [
        ("a~00-plain", "/runs/a/tune/00-plain"),
        ("a~01-F-MA-0", "/runs/a/tune/01-F-MA-0"),
    ]
    return made


ROWS = [
    example_row(0, (0.9, 0.6), params={"finetune.learning_rate": 0.1}),
    example_row(1, None, state="FAIL"),
    example_row(2, (0.8, 0.7), params={"finetune.learning_rate": 0.01}),
]


@pytest.mark.parametrize(
    ("pick", "rate", "metric", "scores"),
    [
        ("best val_robust_accuracy", 0.01, "val_robust_accuracy", (0.6, None, 0.7)),
        ("best clean_accuracy", 0.1, "val_clean_accuracy", (0.9, None, 0.8)),
        ("trial 0", 0.1, "val_robust_accuracy", (0.6, None, 0.7)),
    ],
)
def test_each_cell_is_run_at_what_its_own_search_has_picked(
    pick: str, rate: float, metric: str, scores: tuple[float | None, ...]
) -> None:
    ablation = {"arms": {"plain": {"loss.terms": "clean"}, "F/MA 0": {}}}
    ablation |= {"tune": SEARCHES | {"pick": pick}, "baseline_seeds": "each"}
    design = design_of("arms", ablation, space=RATE, finetune=IMAGES)
    study = ablation_study({"design": "arms"} | ablation, space=RATE, finetune=IMAGES)
    progress = KeptNotes()
    made = tuned(design, study, ROWS, progress)
    assert [cell.name for cell in made.cells] == ["baseline", "plain", "F/MA 0"]
    assert made.cells[0] == design.cells[0]
    assert made.cell("plain").values == {"loss.terms": "clean", "finetune.learning_rate": rate}
    assert made.cell("F/MA 0").values == {"finetune.learning_rate": rate}
    number = {0.1: 0, 0.01: 2}[rate]
    assert made.tuning == {
        name: Tuning("example", number, metric, scores) for name in ("plain", "F/MA 0")
    }
    assert progress.notes[0] == "tuning plain (1 of 2): a~00-plain"


def test_a_search_without_a_complete_trial_stops_the_ablation() -> None:
    ablation = {"arms": {"plain": {"loss.terms": "clean"}, "F/MA 0": {}}, "tune": SEARCHES}
    design = design_of("arms", ablation, space=RATE, finetune=IMAGES)
    study = ablation_study({"design": "arms"} | ablation, space=RATE, finetune=IMAGES)
    with pytest.raises(ParameterError) as caught:
        tuned(design, study, [example_row(0, None, state="FAIL")], KeptNotes())
    assert str(caught.value) == (
        "ablation.tune: study example: must have a complete trial, got none in 1 row. Finish the "
        "search, or see `ablate trials` for why its trials failed."
    )
