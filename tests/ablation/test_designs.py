"""Every design by value: its cells, arms and contrasts, its rows, and its JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from plans import NAMES, ablation_study, cells_of, design_of, plan, weights_of

import ablate
from ablate.ablation.cell import Claim, Design
from ablate.ablation.design import make_design, more_seeds, planned_rows, train_seeds
from ablate.ablation.designs.factorial import NO_REFERENCE

IMAGES = {"budget": {"images": 1000}}
BOTH = {"loss.terms": "clean+st+fma"}
SINGLE = {"augment.types": ["gaussian_noise"], "augment.mix": None}

# One of each, small.
EVERY: dict[str, dict[str, Any]] = {
    "leave_one_out": {"components": ["fma"]},
    "add_one": {"reference": BOTH, "components": ["fma", "st"]},
    "one_at_a_time": {"factors": {"loss.fma.weight": [2.0, 3.0]}},
    "factorial": {"factors": {"loss.fma.weight": [1, 2, 3], "finetune.momentum": [0.5, 0.9]}},
    "fractional": {
        "reference": {"loss.terms": "clean+da+st+fma"},
        "components": ["da", "st", "fma"],
        "resolution": 3,
    },
    "shapley": {"reference": BOTH, "components": ["fma", "st"]},
    "arms": {"arms": {"plain": {"loss.terms": "clean"}, "FMA": {}}},
    "leave_family_out": {},
}


def made(design: str, **ablation: Any) -> Design:
    return design_of(design, {**EVERY[design], **ablation}, finetune=IMAGES)


def test_every_design_is_here() -> None:
    folder = Path(ablate.__file__).parent / "ablation" / "designs"
    names = {file.stem for file in folder.glob("*.py")} - {"__init__"}
    assert names == set(EVERY), (
        f"add a small example of each to EVERY: {sorted(names ^ set(EVERY))}"
    )


@pytest.mark.parametrize("name", EVERY)
def test_a_difference_sums_to_0_and_an_effect_too(name: str) -> None:
    for contrast in made(name).contrasts:
        assert sum(contrast.weights.values()) == pytest.approx(0)
        assert any(contrast.weights.values())


@pytest.mark.parametrize("name", EVERY)
def test_arms_and_contrasts_are_of_cells_that_are_run(name: str) -> None:
    design = made(name)
    there = {"baseline", *cells_of(design)}
    assert len(cells_of(design)) == len(design.cells)
    assert {cell for arm in design.arms for cell in arm.cells} == there
    assert {cell for contrast in design.contrasts for cell in contrast.weights} <= there
    assert len(weights_of(design)) == len(design.contrasts)


def test_an_arm_may_fix_the_alpha_that_it_is_scored_at() -> None:
    half = {"finetune.interpolation": {"alpha": 0.5}}
    arms = {"plain": {"loss.terms": "clean"}, "FMA": {}, "half": half}
    assert cells_of(made("arms", arms=arms))["half"] == half
    for again, rule in (
        ({"finetune.interpolation": {"alpha": 0.5}}, "the same training as half"),
        ({"finetune.interpolation": {"alphas": [0.5, 1]}}, "cannot differ between cells"),
    ):
        keys = {"arms": {**arms, "again": again}}
        _, problems = plan("arms", keys, finetune=IMAGES)
        assert rule in " ".join(problem for _, problem in problems)


@pytest.mark.parametrize("name", EVERY)
def test_json_and_back(name: str) -> None:
    first = made(name).cells[0].name
    design = made(name, primary=[{"compare": first, "to": "baseline"}], seeds=2)
    assert design.claims == (Claim(f"{first} - baseline", "val_robust_accuracy"),)
    assert Design.from_json(json.loads(json.dumps(design.to_json()))) == design


def test_a_baseline_a_seed_is_a_cell_that_is_not_trained() -> None:
    design = made("leave_one_out", baseline_seeds="each")
    assert cells_of(design)["baseline"] == {
        "finetune.budget.epochs": 0,
        "finetune.budget.images": None,
        "finetune.budget.flops": None,
        "finetune.budget.seconds": None,
    }
    study = ablation_study({"design": "arms"} | EVERY["arms"], finetune=IMAGES)
    budget = study.with_values(cells_of(design)["baseline"]).finetune.budget
    assert (budget.in_epochs, budget.images) == (0, None)


# leave one out


def test_leave_one_out() -> None:
    parts = ["fma", "combined_augmentations", "noise", "layer:stage3"]
    design = design_of("leave_one_out", {"reference": BOTH, "components": parts})
    assert cells_of(design) == {
        "reference": BOTH,
        "without fma": {"loss.terms": "clean+st"},
        "without combined_augmentations": BOTH | SINGLE,
        "without noise": BOTH | {"augment.families": ["blur", "photometric"]},
        "without layer:stage3": BOTH | {"loss.fma.layers": ["stem", "stage1", "stage2"]},
    }
    assert weights_of(design) == {
        "baseline - reference": {"baseline": 1.0, "reference": -1.0},
        **{
            f"without {part} - reference": {f"without {part}": 1.0, "reference": -1.0}
            for part in parts
        },
    }
    assert {contrast.kind for contrast in design.contrasts} == {"difference"}
    assert design.reference == "reference"


# add one


def test_add_one_is_cumulative() -> None:
    parts = ["fma", "layer:stage3", "st", "combined_augmentations"]
    design = design_of("add_one", {"reference": BOTH, "components": parts})
    fewer = {"loss.fma.layers": ["stem", "stage1", "stage2"]}
    assert cells_of(design) == {
        "plain": {"loss.terms": "clean"} | fewer | SINGLE,
        "+ fma": {"loss.terms": "clean+fma"} | fewer | SINGLE,
        "+ layer:stage3": {"loss.terms": "clean+fma"} | SINGLE,
        "+ st": BOTH | SINGLE,
        "+ combined_augmentations": BOTH,
    }
    assert design.reference == "plain"
    assert [(one.name, one.kind) for one in design.contrasts] == [
        ("baseline - plain", "difference"),
        ("+ fma - plain", "difference"),
        ("+ layer:stage3 - plain", "difference"),
        ("+ st - plain", "difference"),
        ("+ combined_augmentations - plain", "difference"),
        ("+ layer:stage3 - + fma", "step"),
        ("+ st - + layer:stage3", "step"),
        ("+ combined_augmentations - + st", "step"),
    ]
    assert weights_of(design)["+ st - + layer:stage3"] == {"+ st": 1.0, "+ layer:stage3": -1.0}


# one at a time


def test_one_at_a_time() -> None:
    factors = {
        "loss.fma.layers": [["stem"], ["stage2", "stage3"]],
        "augment.strengths.gaussian_noise": [0.5, [0.2, 0.5]],
        "recipe": {"slow": {"finetune.learning_rate": 0.001, "finetune.budget.images": 2000}},
    }
    design = design_of("one_at_a_time", {"factors": factors}, finetune=IMAGES)
    assert cells_of(design) == {
        "reference": {},
        "fma.layers: stem": {"loss.fma.layers": ["stem"]},
        "fma.layers: stage2+stage3": {"loss.fma.layers": ["stage2", "stage3"]},
        "augment.strengths.gaussian_noise: 0.5": {"augment.strengths.gaussian_noise": 0.5},
        "augment.strengths.gaussian_noise: 0.2+0.5": {
            "augment.strengths.gaussian_noise": [0.2, 0.5]
        },
        "recipe: slow": {"finetune.learning_rate": 0.001, "finetune.budget.images": 2000},
    }
    assert list(weights_of(design)) == [
        f"{name} - reference" for name in ("baseline", *list(cells_of(design))[1:])
    ]


# factorial


def test_a_factorial_of_components() -> None:
    design = design_of("factorial", {"reference": BOTH, "components": ["fma", "st"]})
    none, st = "without fma, without st", "without fma, with st"
    fma, both = "with fma, without st", "with fma, with st"
    assert cells_of(design) == {
        none: {"loss.terms": "clean"},
        st: {"loss.terms": "clean+st"},
        fma: {"loss.terms": "clean+fma"},
        both: BOTH,
    }
    assert weights_of(design) == {
        "fma": {none: -0.5, st: -0.5, fma: 0.5, both: 0.5},
        "st": {none: -0.5, st: 0.5, fma: -0.5, both: 0.5},
        "fma * st": {none: 0.5, st: -0.5, fma: -0.5, both: 0.5},
    }
    assert [one.kind for one in design.contrasts] == ["main effect", "main effect", "interaction"]
    assert design.reference == ""
    assert design.notes == (NO_REFERENCE,)


def test_a_factorial_with_three_levels() -> None:
    factors = {"loss.fma.distance": ["relative", "mse", "cosine"], "loss.fma.weight": [1, 2]}
    design = design_of("factorial", {"factors": factors})
    cell = "loss.fma.distance {}, loss.fma.weight {}".format
    assert list(cells_of(design)) == [
        cell(distance, weight) for distance in factors["loss.fma.distance"] for weight in (1, 2)
    ]
    weights = weights_of(design)
    assert list(weights) == [
        "loss.fma.distance mse",
        "loss.fma.distance cosine",
        "loss.fma.weight",
        "loss.fma.distance mse * loss.fma.weight",
        "loss.fma.distance cosine * loss.fma.weight",
    ]
    assert weights["loss.fma.distance cosine"] == {
        cell("relative", 1): -0.5,
        cell("relative", 2): -0.5,
        cell("cosine", 1): 0.5,
        cell("cosine", 2): 0.5,
    }
    third = pytest.approx(1 / 3)
    assert weights["loss.fma.weight"] == {
        cell(distance, weight): third if weight == 2 else -third.expected
        for distance in factors["loss.fma.distance"]
        for weight in (1, 2)
    }
    assert weights["loss.fma.distance mse * loss.fma.weight"] == {
        cell("relative", 1): 0.5,
        cell("relative", 2): -0.5,
        cell("mse", 1): -0.5,
        cell("mse", 2): 0.5,
    }


def test_a_claim_on_an_interaction_may_name_its_factors_in_any_order() -> None:
    ablation = {
        "reference": BOTH,
        "components": ["fma", "st"],
        "primary": [{"compare": " st  *fma "}, {"compare": "st", "metric": "val_clean_accuracy"}],
    }
    assert design_of("factorial", ablation).claims == (
        Claim("fma * st", "val_robust_accuracy"),
        Claim("st", "val_clean_accuracy"),
    )


# fractional


def test_a_half_fraction_with_its_aliases() -> None:
    design = made("fractional")
    cells = [
        "without da, without st, with fma",
        "with da, without st, without fma",
        "without da, with st, without fma",
        "with da, with st, with fma",
    ]
    assert list(cells_of(design)) == cells
    assert [values["loss.terms"] for values in cells_of(design).values()] == [
        "clean+fma",
        "clean+da",
        "clean+st",
        "clean+da+st+fma",
    ]
    assert design.aliases == (
        "resolution 3, 4 of 8 runs; fma = da st",
        "da = st * fma",
        "st = da * fma",
        "fma = da * st",
    )
    assert weights_of(design) == {
        "da": dict(zip(cells, (-0.5, 0.5, -0.5, 0.5), strict=True)),
        "st": dict(zip(cells, (-0.5, -0.5, 0.5, 0.5), strict=True)),
        "fma": dict(zip(cells, (0.5, -0.5, -0.5, 0.5), strict=True)),
    }
    assert design.notes == (
        NO_REFERENCE,
        "main effects of da, st, fma may be those of the interactions that they are aliased with",
    )


def test_interactions_that_are_asked_for_are_the_only_ones() -> None:
    ablation = {
        "reference": {"loss.terms": "clean+da+st+fma"},
        "components": ["da", "st", "fma"],
        "interactions": ["fma*da"],
        "primary": [{"compare": "st * fma"}],
    }
    design = design_of("fractional", ablation)
    kinds = {one.name: one.kind for one in design.contrasts}
    assert [name for name, kind in kinds.items() if kind == "interaction"] == [
        "da * fma",
        "st * fma",
    ]
    assert design.claims == (Claim("st * fma", "val_robust_accuracy"),)


# arms


def test_arms() -> None:
    arms = {"a": {}, "plain": {"loss.terms": "clean"}, "b": {"loss.fma.weight": 2}}
    ablation = {"reference": {"loss.fma.weight": 0.5}, "arms": arms}
    design = design_of("arms", ablation, finetune=IMAGES)
    assert cells_of(design) == {
        "a": {"loss.fma.weight": 0.5},
        "plain": {"loss.fma.weight": 0.5, "loss.terms": "clean"},
        "b": {"loss.fma.weight": 2},
    }
    assert list(weights_of(design)) == ["baseline - plain", "a - plain", "b - plain"]
    ablation["compare_to"] = "baseline"
    compared = design_of("arms", ablation, finetune=IMAGES)
    assert list(weights_of(compared)) == [f"{name} - baseline" for name in arms]


def test_a_model_for_each_type() -> None:
    arms = {
        "plain": {"loss.terms": "clean"},
        "single": {"loss.terms": "clean+da", "augment.types": "each"},
    }
    reference = {
        "augment.types": ["jpeg", "gaussian_noise", "hue"],
        "augment.mix": {"jpeg": 1, "hue": 2},
    }
    design = design_of("arms", {"reference": reference, "arms": arms}, finetune=IMAGES)
    da = {"loss.terms": "clean+da", "augment.mix": None}
    assert cells_of(design) == {
        "plain": {**reference, "loss.terms": "clean"},
        "single: hue": {**da, "augment.types": ["hue"]},
        "single: jpeg": {**da, "augment.types": ["jpeg"]},
    }
    assert design.arm("single").cells == ("single: hue", "single: jpeg")
    assert weights_of(design)["single - plain"] == {
        "single: hue": 0.5,
        "single: jpeg": 0.5,
        "plain": -1.0,
    }


@pytest.mark.parametrize(
    ("budget", "note"),
    [
        ({"images": 12345}, "equal compute: 12,345 images through the network in each run"),
        ({"seconds": 90}, "equal compute: 90 seconds of training in each run"),
    ],
)
def test_arms_say_at_what_compute_they_are_compared(budget: dict[str, float], note: str) -> None:
    assert design_of("arms", EVERY["arms"], finetune={"budget": budget}).notes == (note,)


# leave a family out


def test_leave_family_out() -> None:
    design = design_of("leave_family_out", {"families": ["blur", "noise"]})
    assert cells_of(design) == {
        "plain": {"loss.terms": "clean"},
        "all families": {},
        "without blur": {"augment.families": ["noise", "photometric"]},
        "without noise": {"augment.families": ["blur", "photometric"]},
    }
    assert design.reference == "all families"
    assert [(one.name, one.metrics) for one in design.contrasts] == [
        ("baseline - all families", ()),
        ("plain - all families", ()),
        ("without blur - all families", ()),
        ("unseen blur: without blur - plain", ("val_accuracy.blur",)),
        ("seen blur: all families - plain", ("val_accuracy.blur",)),
        ("without noise - all families", ()),
        ("unseen noise: without noise - plain", ("val_accuracy.noise",)),
        ("seen noise: all families - plain", ("val_accuracy.noise",)),
    ]
    assert weights_of(design)["unseen blur: without blur - plain"] == {
        "without blur": 1.0,
        "plain": -1.0,
    }


def test_leave_out_a_family_of_ones_own() -> None:
    families = ["blur", "my_lens:shade", "my_lens:grain"]
    own = {"augment": {"families": families}, "robustness": {"suite": ["fog", "my_lens:shade"]}}
    design = design_of("leave_family_out", {"families": ["my_lens"]}, **own)
    assert cells_of(design)["without my_lens"] == {
        "augment.types": ["gaussian_blur"],
        "augment.mix": {"gaussian_blur": pytest.approx(1 / 3)},
    }
    assert ("seen my_lens: all families - plain", ("val_accuracy.my_lens",)) in [
        (one.name, one.metrics) for one in design.contrasts
    ]
    left = design_of("leave_one_out", {"components": ["my_lens:grain"]}, **own)
    changed = {"augment.families": ["blur", "my_lens:shade"]}
    assert cells_of(left)["without my_lens:grain"] == changed


# rows


def rows_of(ablation: dict[str, Any], **sections: Any) -> list[tuple[str, int, int, Any]]:
    study = ablation_study(
        {"design": "leave_one_out", "components": ["fma"], **ablation}, **sections
    )
    assert study.ablation is not None
    design, problems = make_design(study, NAMES, study.ablation.reference)
    assert problems == []
    return [
        (row.cell, row.pair, row.seeds.train, row.params.get("baseline.seed"))
        for row in planned_rows(study, design)
    ]


def test_rows_are_planned_seed_by_seed_after_the_study_s_own() -> None:
    assert rows_of({"seeds": 3}, finetune={"seed": 7}) == [
        ("reference", 0, 8, None),
        ("without fma", 0, 8, None),
        ("reference", 1, 9, None),
        ("without fma", 1, 9, None),
        ("reference", 2, 10, None),
        ("without fma", 2, 10, None),
    ]


def test_all_cells_of_a_seed_start_from_its_baseline() -> None:
    assert rows_of({"seeds": 2, "baseline_seeds": "each"}, baseline={"seed": 4}) == [
        ("baseline", 0, 1, 4),
        ("reference", 0, 1, 4),
        ("without fma", 0, 1, 4),
        ("baseline", 1, 2, 5),
        ("reference", 1, 2, 5),
        ("without fma", 1, 2, 5),
    ]


@pytest.mark.parametrize(
    ("seeds", "asked", "all_of_them"),
    [(2, 4, (1, 2, 3, 4)), ([7, 3], 4, (7, 3, 8, 9)), ([7, 3], 2, (7, 3)), ([7, 3], 1, (7, 3))],
)
def test_more_seeds_come_after_those_that_are_there(
    seeds: int | list[int], asked: int, all_of_them: tuple[int, ...]
) -> None:
    study = ablation_study({"design": "leave_one_out", "components": ["fma"], "seeds": seeds})
    assert more_seeds(study, asked) == all_of_them
    assert more_seeds(study, asked)[: len(train_seeds(study))] == train_seeds(study)


def test_further_contrasts_are_shown_and_claim_nothing() -> None:
    arms = {name: {"loss.terms": name} for name in ("clean", "clean+da", "clean+fma")}
    asked = [{"compare": "clean+fma", "to": "clean+da"}]
    planned = design_of("arms", {"arms": arms, "contrasts": asked}, finetune=IMAGES)
    assert "clean+fma - clean+da" in [contrast.name for contrast in planned.contrasts]
    assert planned.claims == ()
