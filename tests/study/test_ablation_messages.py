"""What is said of a wrong ablation: place, rule, got, fix; each mistake once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ablate.ablation.design import more_seeds
from ablate.errors import UsageError
from ablate.study.checks import check_seeds
from tests.ablation.plans import ablation_study

Problems = Callable[..., list[str]]

BOTH = "reference: {loss.terms: clean+st+fma}"
ALL = "reference: {loss.terms: clean+da+st+fma}"
IMAGES = "finetune: {budget: {images: 1000}}\n"
SEARCHED = IMAGES + "space: {finetune.learning_rate: {float: [0.001, 0.1]}}\n"
OWN = "version: 1\nname: a\ntrainable: m:f\nobjectives: [{metric: x}, {metric: y}]\n"
DESIGNS = (
    "leave_one_out, one_at_a_time, factorial, fractional, shapley, add_one, arms, leave_family_out"
)
SUITE = "must be scored by robustness.suite families"


def one_line(problems: Problems, text: str) -> str:
    (line,) = problems(text)
    assert line.startswith("s.yaml:")
    return line.removeprefix("s.yaml:")


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        # what there must be
        ("{design: loo}", f"5: ablation.design: must be one of {DESIGNS}, got 'loo'. Known: "),
        (
            "{design: leave_one_out}",
            "5: ablation: design leave_one_out needs components, got none. Add components.",
        ),
        # keys of another design
        (
            "{design: factorial, components: [fma], permutations: 3}",
            "5: ablation: permutations belongs to design shapley, got it with factorial. Remove "
            "it, or change the design.",
        ),
        # seeds
        (
            "{design: leave_family_out, seeds: x}",
            "5: ablation.seeds: must be a whole number or a list, got 'x'. Write one of these.",
        ),
        (
            "{design: leave_family_out, seeds: [3, 1, 3]}",
            "5: ablation.seeds: given twice, got 3. Remove one.",
        ),
        (
            "{design: leave_family_out, seeds: 1, primary: [{compare: plain}]}",
            "5: ablation: a test needs at least two seeds, got seeds: 1 with primary or "
            "noninferior. Raise seeds; with 8 the smallest two-sided p is .0078.",
        ),
        # replicates
        (
            "{design: leave_family_out, replicates: 1}",
            "5: ablation.replicates: must be at least 2, got 1.",
        ),
        (
            "{design: leave_family_out, replicates: 2, seeds: [4, 5]}",
            "5: ablation: replicates have seeds of their own, got seeds [4, 5]. Write their "
            "number, such as seeds: 2.",
        ),
        (
            "{design: leave_family_out, replicates: 2, baseline_seeds: each}",
            "5: ablation.replicates: have a baseline each, got 2 with baseline_seeds: each. "
            "Remove one of both.",
        ),
        (
            "{design: leave_family_out, replicates: 2, reference: {study: s}}",
            "5: ablation.replicates: have a baseline each, got 2 with a reference from a search "
            "from one. Write its values, or tune: {trials: N}.",
        ),
        (
            "{design: leave_family_out, replicates: 200, seeds: 1}",
            "5: ablation.max_runs: must be at least 1000: the design has 5 cells x 1 seeds x 200 "
            "replicates, got 500. Raise it, or use fewer seeds or levels.",
        ),
    ],
)
def test_the_section_itself(problems: Problems, head: str, ablation: str, message: str) -> None:
    assert one_line(problems, f"{head}ablation: {ablation}\n").startswith(message)


LOOP = "ablation: {design: arms, arms: {a: {x: 1}, b: {x: 2}}, replicates: 2}\n"
FAMILIES = "ablation: {design: leave_family_out, replicates: 2}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{OWN}{LOOP}",
            "5: ablation.replicates: have a baseline each, got 2 with trainable m:f. Raise seeds "
            "instead.",
        ),
        (
            "HEAD" + FAMILIES + "baseline: {checkpoint: w.safetensors, saw_validation: false}\n",
            "6: baseline.checkpoint: must be a file for each of 2 replicates, got w.safetensors. "
            "Write {replicate} where the names have the number, from 0.",
        ),
        (
            "HEADbaseline: {checkpoint: 'w{replicate}.pt', saw_validation: false}\n",
            "5: baseline.checkpoint: {replicate} needs ablation.replicates, got w{replicate}.pt "
            "without. Name one file.",
        ),
        (
            "HEAD" + FAMILIES + "finetune: {seed: 4294957290}\n",
            "6: finetune.seed: the last of 8 seeds must be below 4294967296, got 4294967298. "
            "Begin lower, or use fewer.",
        ),
    ],
)
def test_each_replicate_has_a_baseline_and_seeds(
    problems: Problems, head: str, text: str, message: str
) -> None:
    assert one_line(problems, text.replace("HEAD", head)).startswith(message)


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        # components
        (
            "{design: leave_one_out, components: [st]}",
            "5: ablation.components[0]: cells must differ, got without st with the same training "
            "as reference. Remove it, or add it to the reference.",
        ),
        (
            "{design: leave_one_out, components: {single: {augment.method: all}}, "
            "reference: {augment.copies: 2}}",
            "5: ablation.components.single: augment.copies: must be 1 with "
            "method all, which makes a copy per type, got 2. Remove it.",
        ),
        # keys and values of a cell
        (
            "{design: leave_one_out, components: {x: {loss: {terms: clean}}}}",
            "5: ablation.components.x.loss: must be one key, got a section. Write it as "
            "loss.terms.",
        ),
        (
            "{design: leave_one_out, components: {x: {finetune.seed: 3}}}",
            "5: ablation.components.x.finetune.seed: seeds are paired over all cells, got 3. "
            "Remove it; ablation.seeds sets the seeds.",
        ),
        (
            "{design: leave_one_out, components: {x: {robustness.suite: all}}}",
            "5: ablation.components.x.robustness.suite: cannot differ between cells, because it is "
            "not part of a run, or runs are compared by it, got 'all'. Set it for the whole study.",
        ),
        (
            "{design: leave_one_out, components: {x: {augment.mix.noise: 0}}}",
            "5: ablation.components.x.augment.mix.noise: augment.mix must be set as a whole, "
            "got only one entry. Write augment.mix: {noise: 0}, with all of its entries.",
        ),
        (
            "{design: leave_one_out, components: {x: {finetune.budget.images: 5, "
            "finetune.budget.epochs: 5}}}",
            "5: ablation.components.x: finetune.budget: takes one unit, got epochs and images. "
            "Keep one, such as budget: {images: 9000}.",
        ),
        # add one
        (
            f"{{design: add_one, {BOTH}, components: [clean, st, fma]}}",
            "5: ablation.components[0]: an objective needs a term, got 'fma' without fma. Add a "
            "term to the reference.",
        ),
        # levels
        (
            "{design: one_at_a_time, factors: {loss.fma.weight: [2, 1]}}",
            "5: ablation.factors.loss.fma.weight[1]: cells must differ, got fma.weight: 1 with "
            "the same training as reference. Remove it, or change the reference.",
        ),
        (
            "{design: one_at_a_time, factors: {loss.st.weight: [2]}}",
            "5: ablation.factors.loss.st.weight[0]: cells must differ, got st.weight: 2 with the "
            "same training as reference. Remove it, or change the reference.",
        ),
        (
            "{design: one_at_a_time, factors: {loss.fma.weight: [2, 3, 2.0]}}",
            "5: ablation.factors.loss.fma.weight: a level may be given once, got 2 twice. "
            "Remove one, or name them: {NAME: {KEY: VALUE}}.",
        ),
        (
            "{design: one_at_a_time, factors: {loss.fma.weight: []}}",
            "5: ablation.factors.loss.fma.weight: needs a level, got none. Write [A, B].",
        ),
        (
            "{design: one_at_a_time, factors: {loss.fma.wieght: [2]}}",
            "5: ablation.factors.loss.fma.wieght: unknown key. Did you mean loss.fma.weight? "
            "Levels of your own factor: {LEVEL: {KEY: VALUE}}.",
        ),
        (
            "{design: one_at_a_time, factors: {a: {x: {loss.fma.weight: 2}}, "
            "'a:': {x: {loss.fma.weight: 3}}, 'a: x': {y: {loss.fma.weight: 4}}}, max_runs: 8}",
            "5: ablation.max_runs: must be at least 32: the design has 4 cells x 8 seeds, got "
            "8. Raise it, or use fewer seeds or levels.",
        ),
        # factorial and fractional
        (
            "{design: factorial, factors: {loss.fma.weight: [1]}}",
            "5: ablation.factors.loss.fma.weight: needs two levels, got 1. Add one.",
        ),
        (
            "{design: factorial, factors: {loss.st.weight: [1, 2]}}",
            "5: ablation.factors.loss.st.weight: levels must differ, got 1, 2, two of which "
            "give the same training at the reference. Change one, or add the component to the "
            "reference.",
        ),
        (
            f"{{design: fractional, {ALL}, components: [fma, st, da], factors: "
            "{loss.fma.weight: [1, 2, 3]}}",
            "5: ablation.factors.loss.fma.weight: a fraction needs two levels per factor, got "
            "3. Remove some, or write design: factorial.",
        ),
        (
            f"{{design: fractional, {ALL}, components: [fma, st, da], factors: "
            "{finetune.momentum: [0.5, 0.9]}, interactions: [fma * st]}",
            "5: ablation.interactions[0]: cannot be told apart from finetune.momentum * da in "
            "this fraction, got 'fma * st'. Write resolution: 5, or design: factorial.",
        ),
        (
            f"{{design: fractional, {ALL}, components: [fma, st, da], interactions: [fma * sta]}}",
            "5: ablation.interactions[0]: must name factors, got 'sta'. Did you mean st?",
        ),
        (
            f"{{design: fractional, {ALL}, components: [fma, st, da], interactions: [fma]}}",
            "5: ablation.interactions[0]: must be two factors joined by *, got 'fma'. Write A * B.",
        ),
        # shapley
        (
            "{design: shapley, components: [fma]}",
            "5: ablation.components: a Shapley value needs two components, got fma alone. Add "
            "one, or write design: leave_one_out.",
        ),
        (
            "{design: shapley, components: {fma: , a * b: {finetune.momentum: 0.5}}}",
            "5: ablation.components.a * b: must not contain *, which joins two components, got "
            "'a * b'. Rename it.",
        ),
        (
            f"{{design: shapley, {BOTH}, components: [fma, st], permutations: 3}}",
            "5: ablation.permutations: must leave subsets out, got 3, which visit all 4. "
            "Remove it: exact values need no more runs.",
        ),
        (
            f"{{design: shapley, {BOTH}, components: [fma, st], primary: [{{compare: fmo}}]}}",
            "5: ablation.primary[0].compare: must be part of the design, got 'fmo'. Did you "
            "mean fma?",
        ),
        (
            f"{{design: shapley, {BOTH}, components: [fma, st], primary: [{{compare: all}}]}}",
            "5: ablation.primary[0]: a shapley design has no reference, got only 'all'. Add "
            "to: CELL, or compare an effect, such as fma.",
        ),
        # leave a family out
        (
            "{design: leave_family_out, families: [noise, nose]}",
            "5: ablation.families[1]: must be a family that the reference trains on ['noise', "
            "'blur', 'photometric'], got 'nose'. Remove it.",
        ),
        (
            "{design: leave_family_out, reference: {augment.types: [hue, jpeg]}}",
            "5: ablation.families: must be scored by robustness.suite ['noise', 'blur', "
            "'photometric'], got 'digital'. Write families: ['photometric'], or use a suite that "
            "contains it.",
        ),
        (
            "{design: leave_family_out, reference: {augment.method: augmix}}",
            "5: ablation.reference: must draw from families of distortion, got augment.method "
            "augmix, whose operators belong to none. Choose another method.",
        ),
        # claims
        (
            "{design: leave_one_out, components: [fma], primary: [{compare: reference}]}",
            "5: ablation.primary[0]: must be two arms, got 'reference' twice. Change one.",
        ),
        (
            "{design: leave_one_out, components: [fma], "
            "primary: [{compare: without fma, metric: val_robust}]}",
            f"5: ablation.primary[0].metric: {SUITE}, got 'val_robust'. Did you mean "
            "val_robust_accuracy?",
        ),
        (
            "{design: leave_one_out, components: [fma], noninferior: {margin: 1}}",
            "5: ablation.noninferior.margin: must be below 1, because accuracies are fractions, "
            "got 1. Write 0.01 for one point.",
        ),
        (
            "{design: leave_one_out, components: [fma], "
            "primary: [{compare: without fma, equivalent_within: 1}]}",
            "5: ablation.primary[0].equivalent_within: must be below 1, because accuracies are "
            "fractions, got 1. Write 0.01 for one point.",
        ),
        (
            "{design: leave_one_out, components: [fma], primary: [{compare: without fma}, "
            "{compare: without fma, equivalent_within: 0.01}, "
            "{compare: without fma, equivalent_within: 0.02}]}",
            "5: ablation.primary[2]: given twice, got without fma - reference on "
            "val_robust_accuracy, equivalent within 2 points. Remove one.",
        ),
        # what stands beside it
        (
            "{design: leave_one_out, components: [fma]}\nspace: {loss.fma.weight: {float: [1, 2]}}",
            "6: space: is searched only with ablation.tune, got a space without it. "
            "Remove it, or add tune: {trials: N}.",
        ),
        (
            "{design: leave_one_out, components: [fma], baseline_seeds: each}\n"
            "baseline: {checkpoint: w.pt, saw_validation: false}",
            "5: ablation.baseline_seeds: each needs a baseline trained by the study, got "
            "baseline.checkpoint w.pt. Remove one.",
        ),
        # a reference of a search
        (
            "{design: leave_one_out, components: [fma], reference: {study: 3}}",
            "5: ablation.reference.study: must name a study, got 3. Write its file, its run "
            "folder or URL#NAME.",
        ),
        (
            "{design: leave_one_out, components: [fma], reference: {study: s, loss.terms: st}}",
            "5: ablation.reference.loss.terms: a reference from a study has only study and "
            "pick, got also 'loss.terms'. Remove it.",
        ),
        (
            "{design: leave_one_out, components: [fma], reference: {pick: knee}}",
            "5: ablation.reference.pick: applies only to a trial of a study, got it without "
            "one. Add study: STUDY.",
        ),
    ],
)
def test_what_it_makes(problems: Problems, head: str, ablation: str, message: str) -> None:
    assert one_line(problems, f"{head}ablation: {ablation}\n").startswith(message)


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        ("{'': {}}}", "6: ablation.arms.: needs a name, got ''. Add one."),
        (
            "{a: {}}, compare_to: b}",
            "6: ablation.compare_to: must be one of the arms, got 'b'. Known: a.",
        ),
        (
            "{a: {augment.types: each, augment.method: augmix}}}",
            "6: ablation.arms.a.augment.types: each means a model for each type that is drawn, "
            "got augment.method augmix, which draws none. Choose another method.",
        ),
        (
            "{a: {augment.types: each}, 'a: hue': {loss.terms: clean}}, "
            "reference: {augment.types: [hue, jpeg]}}",
            "6: ablation.arms.a: hue: every cell needs its own name, got a: hue twice. Rename one.",
        ),
        (
            "{a: {}}, tune: {trials: 2}}",
            "6: ablation.tune: needs a space to search, got none. Add space.",
        ),
    ],
)
def test_arms(problems: Problems, head: str, ablation: str, message: str) -> None:
    text = f"{head}{IMAGES}ablation: {{design: arms, arms: {ablation}\n"
    assert one_line(problems, text).startswith(message)


def test_more_points_than_trials(problems: Problems, head: str) -> None:
    tune = "{trials: 1, enqueue: [{learning_rate: 0.01}, {learning_rate: 0.02}]}"
    text = f"{head}{SEARCHED}ablation: {{design: arms, arms: {{a: {{}}}}, tune: {tune}}}\n"
    assert one_line(problems, text) == (
        "7: ablation.tune: enqueue must have at most 1 points, got 2. Remove some, or raise trials."
    )


def test_a_point_outside_of_the_space(problems: Problems, head: str) -> None:
    tune = "{trials: 4, enqueue: [{finetune.learning_rate: 1}]}"
    text = f"{head}{SEARCHED}ablation: {{design: arms, arms: {{a: {{}}}}, tune: {tune}}}\n"
    assert one_line(problems, text) == (
        "7: ablation.tune.enqueue[0].finetune.learning_rate: must be a number in "
        "[0.001, 0.1], got 1. Use one in this range."
    )


def test_arms_that_are_tuned(problems: Problems, head: str) -> None:
    ablation = "{design: arms, arms: {a: {}}, tune: {trials: 4, pick: trial 99}}"
    assert one_line(problems, f"{head}{SEARCHED}ablation: {ablation}\n") == (
        "7: ablation.tune.pick: must be a trial from 0 to 3, got trial 99. Pick another, or raise "
        "tune.trials."
    )


@pytest.mark.parametrize(
    ("seeds", "key", "largest"),
    [
        ("seeds: 3", "finetune.seed", 4294967292),
        ("seeds: 3, baseline_seeds: each", "baseline.seed", 4294967293),
    ],
)
def test_there_is_room_for_all_seeds(
    problems: Problems, head: str, seeds: str, key: str, largest: int
) -> None:
    text = f"{head}ablation: {{design: leave_one_out, components: [fma], {seeds}}}\n"
    assert problems(text, f"{key}={largest}") == []
    assert problems(text, f"{key}={largest + 1}") == [
        f"`overrides={key}`: the last of 3 seeds must be below 4294967296, got 4294967296. Begin "
        "lower, or use fewer."
    ]


def test_seeds_that_are_added_later_have_room() -> None:
    study = ablation_study(
        {"design": "leave_one_out", "components": ["fma"], "seeds": [4294967295]}
    )
    check_seeds(study)
    added = study.ablation_section.model_copy(update={"seeds": more_seeds(study, 2)})
    with pytest.raises(UsageError, match=r"^study a: ablation.seeds: the last of 2 seeds must be"):
        check_seeds(study.model_copy(update={"ablation": added}))


def test_what_tuning_may_not_search(problems: Problems, head: str) -> None:
    ablation = "{design: arms, arms: {a: {}}, tune: {trials: 2}}"
    space = "{finetune.learning_rate: {float: [0.001, 0.1]}, finetune.seed: {int: [0, 5]}}"
    text = f"{head}{IMAGES}ablation: {ablation}\nspace: {space}\n"
    assert one_line(problems, text) == (
        "7: finetune.seed: seeds are paired, got finetune.seed in the space of ablation.tune. "
        "Remove it."
    )


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        (
            "{design: leave_family_out}",
            "5: ablation.design: needs families of distortion, got a trainable. Use leave_one_out.",
        ),
        (
            "{design: arms, arms: {a: {lr: 1}}, baseline_seeds: each}",
            "5: ablation.baseline_seeds: each needs a baseline, got a trainable. Remove it.",
        ),
        (
            "{design: arms, arms: {a: {lr: 1}, b: {lr: 2}}, primary: [{compare: b, metric: z}]}",
            "5: ablation.primary[0].metric: must be one of the objectives, got 'z'. Known: x,",
        ),
    ],
)
def test_of_a_loop_of_one_s_own(problems: Problems, ablation: str, message: str) -> None:
    assert one_line(problems, f"{OWN}ablation: {ablation}\n").startswith(message)


def test_every_problem_at_once(problems: Problems, head: str) -> None:
    text = f"""{head}finetune: {{budget: {{epochs: 2}}}}
search: {{trials: 3}}
ablation:
  design: arms
  baseline_seeds: one
  arms:
    plain: {{loss.terms: clean}}
    FMA: {{loss.fma.weight: -1, loss.fma.layers: [stem, stage4]}}
    also plain: {{loss.terms: clean, loss.fma.weight: 3}}
    mine: {{augment.strength: 2, finetune.seed: 3}}
  compare_to: plane
"""
    assert [line.removeprefix("s.yaml:") for line in problems(text)] == [
        "5: finetune.budget: arms are compared at equal compute, got a budget of 2 epochs, in "
        "which copies cost extra. Write budget: {images: N}, {flops: N} or {seconds: N}.",
        "6: search: a study has a search or an ablation, got both. Remove one.",
        "12: ablation.arms.FMA.loss.fma.weight: must be at least 0, got -1. Raise it.",
        "12: ablation.arms.FMA.loss.fma.layers[1]: unknown layer, got 'stage4'. Did you mean "
        "stage3?",
        "13: ablation.arms.also plain: cells must differ, got also "
        "plain with the same training as plain. Remove one.",
        "14: ablation.arms.mine.augment.strength: must be at most 1, got 2. Lower it.",
        "14: ablation.arms.mine.finetune.seed: seeds are paired over all cells, got 3. Remove "
        "it; ablation.seeds sets the seeds.",
        "15: ablation.compare_to: must be one of the arms, got 'plane'. Did you mean plain?",
    ]


def test_without_an_ablation_it_is_a_search(problems: Problems, head: str) -> None:
    text = f"{head}ablation: {{design: leave_one_out, components: [fma]}}\nsearch: {{trials: 4}}\n"
    (line,) = problems(text, "ablation=null", must_search=True)
    assert line.startswith("s.yaml:1: space: a search of 4 trials needs a parameter")


def test_an_ablation_is_looked_at_where_the_rest_is_right(problems: Problems, head: str) -> None:
    text = f"{head}loss: {{fma: {{wieght: 1}}}}\nablation: {{design: arms, arms: {{a: {{}}}}}}\n"
    (line,) = problems(text)
    assert line.startswith("s.yaml:5: loss.fma.wieght")
