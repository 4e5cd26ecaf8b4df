"""What is said of a wrong ablation: place, rule, got, fix; each mistake once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from ablate.ablation.design import more_seeds
from ablate.errors import UsageError
from ablate.lifecycle.study_file import parse_study
from ablate.study.seeds import check_room_for_seeds

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
        ("{}", "5:11: ablation.design: is required, got nothing. Add it."),
        ("", "5:10: ablation: must be a mapping, got nothing. Write design: below it, or remove"),
        ("3", "5:11: ablation: must be a mapping, got 3. Write keys below it, or {key: value}."),
        ("{design: loo}", f"5:20: ablation.design: must be one of {DESIGNS}, got 'loo'. Known: "),
        (
            "{design: leave_one_outs, components: [fma]}",
            f"5:20: ablation.design: must be one of {DESIGNS}, got 'leave_one_outs'. Did you mean "
            "leave_one_out?",
        ),
        (
            "{design: leave_one_out}",
            "5:11: ablation: design leave_one_out needs components, got none. Add components.",
        ),
        (
            "{design: add_one, components: []}",
            "5:11: ablation: design add_one needs components, got none. Add components.",
        ),
        (
            "{design: shapley}",
            "5:11: ablation: design shapley needs components, got none. Add components.",
        ),
        (
            "{design: one_at_a_time, factors: {}}",
            "5:11: ablation: design one_at_a_time needs factors, got none. Add factors.",
        ),
        (
            "{design: factorial}",
            "5:11: ablation: design factorial needs factors or components, got none. Add some.",
        ),
        (
            "{design: fractional}",
            "5:11: ablation: design fractional needs factors or components, got none. Add some.",
        ),
        ("{design: arms}", "5:11: ablation: design arms needs arms, got none. Add arms."),
        # keys of another design
        (
            "{design: factorial, components: [fma], permutations: 3}",
            "5:11: ablation: permutations belongs to design shapley, got it with factorial. Remove "
            "it, or change the design.",
        ),
        (
            "{design: leave_one_out, components: [fma], factors: {a: [1]}}",
            "5:11: ablation: factors belongs to design one_at_a_time or factorial or fractional, "
            "got it with leave_one_out. Remove it, or change the design.",
        ),
        (
            "{design: one_at_a_time, factors: {loss.fma.weight: [2]}, components: [fma]}",
            "5:11: ablation: components belongs to design leave_one_out or add_one or factorial "
            "or fractional or shapley, got it with one_at_a_time. Remove it, or change the "
            "design.",
        ),
        (
            "{design: factorial, components: [fma], resolution: 5}",
            "5:11: ablation: resolution belongs to design fractional, got it with factorial. Rem",
        ),
        (
            "{design: leave_one_out, components: [fma], tune: {trials: 2}}",
            "5:11: ablation: tune belongs to design arms, got it with leave_one_out. Remove it,",
        ),
        (
            "{design: arms, arms: {a: {}}, families: [noise]}",
            "5:11: ablation: families belongs to design leave_family_out, got it with arms. Remo",
        ),
        # types
        (
            "{design: leave_one_out, components: fma}",
            "5:47: ablation.components: must be a list or a mapping, got 'fma'. Write one of the",
        ),
        (
            "{design: leave_one_out, components: [3]}",
            "5:48: ablation.components[0]: must be text, got 3. Put it in quotes.",
        ),
        (
            "{design: leave_one_out, components: {x: 3}}",
            "5:51: ablation.components.x: must be a mapping, got 3. Write keys below it, or",
        ),
        (
            "{design: one_at_a_time, factors: {loss.fma.weight: 3}}",
            "5:62: ablation.factors.loss.fma.weight: must be a list or a mapping, got 3. Write o",
        ),
        (
            "{design: one_at_a_time, factors: {x: {low: 3}}}",
            "5:54: ablation.factors.x.low: must be a mapping, got 3. Write keys below it, or",
        ),
        (
            "{design: arms, arms: [a]}",
            "5:32: ablation.arms: must be a mapping, got ['a']. Write keys below it, or",
        ),
        (
            "{design: arms, arms: {a: }}",
            "5:35: ablation.arms.a: must be a mapping, got nothing. Write a value after it or",
        ),
        (
            "{design: leave_family_out, reference: 3}",
            "5:49: ablation.reference: must be a mapping, got 3. Write keys below it, or",
        ),
        (
            "{design: leave_family_out, families: noise}",
            "5:48: ablation.families: must be a list, got 'noise'. Write it in brackets, such as "
            "[a,",
        ),
        (
            "{design: leave_family_out, families: []}",
            "5:48: ablation.families: must have at least 1 item, got []. Add one.",
        ),
        (
            "{design: leave_family_out, max_runs: 0}",
            "5:48: ablation.max_runs: must be at least 1, got 0. Raise it.",
        ),
        (
            "{design: leave_family_out, baseline_seeds: all}",
            "5:54: ablation.baseline_seeds: must be one of one, each, got 'all'. Known: one, each.",
        ),
        (
            "{design: shapley, components: [fma, st], permutations: 0}",
            "5:66: ablation.permutations: must be at least 1, got 0. Raise it.",
        ),
        (
            "{design: shapley, components: [fma, st], permutations: 10001}",
            "5:66: ablation.permutations: must be at most 10000, got 10001. Lower it.",
        ),
        (
            "{design: fractional, components: [fma], resolution: 6}",
            "5:63: ablation.resolution: must be at most 5, got 6. Lower it.",
        ),
        (
            "{design: fractional, components: [fma], interactions: fma}",
            "5:65: ablation.interactions: must be a list, got 'fma'. Write it in brackets, such as",
        ),
        (
            "{design: arms, arms: {a: {}}, compare_to: 3}",
            "5:53: ablation.compare_to: must be text, got 3. Put it in quotes.",
        ),
        (
            "{design: leave_family_out, primary: [{to: plain}]}",
            "5:48: ablation.primary[0].compare: is required, got nothing. Add it.",
        ),
        (
            "{design: leave_family_out, primary: {compare: plain}}",
            "5:47: ablation.primary: must be a list, got {compare: 'plain'}. Write it in",
        ),
        (
            "{design: leave_family_out, noninferior: {}}",
            "5:51: ablation.noninferior.margin: is required, got nothing. Add it.",
        ),
        (
            "{design: leave_family_out, noninferior: {margin: 0}}",
            "5:60: ablation.noninferior.margin: must be above 0, got 0. Raise it.",
        ),
        (
            "{design: arms, arms: {a: {}}, tune: {}}",
            "5:47: ablation.tune.trials: is required, got nothing. Add it.",
        ),
        ("{design: arms, arms: {a: {}}, seed: 3}", "5:41: ablation.seed: unknown key. Did you "),
        # seeds
        (
            "{design: leave_family_out, seeds: 0}",
            "5:45: ablation.seeds: must be at least 1, got 0. Raise it.",
        ),
        (
            "{design: leave_family_out, seeds: x}",
            "5:45: ablation.seeds: must be a whole number or a list, got 'x'. Write one of these.",
        ),
        (
            "{design: leave_family_out, seeds: []}",
            "5:45: ablation.seeds: must have at least 1 item, got []. Add one.",
        ),
        (
            "{design: leave_family_out, seeds: [3, -1]}",
            "5:49: ablation.seeds[1]: must be at least 0, got -1. Raise it.",
        ),
        (
            "{design: leave_family_out, seeds: [3, 1, 3]}",
            "5:45: ablation.seeds: must be distinct, got 3 twice. Remove one.",
        ),
        (
            "{design: leave_family_out, seeds: 1, primary: [{compare: plain}]}",
            "5:11: ablation: a test needs at least two seeds, got seeds: 1 with primary or "
            "noninferior. Raise seeds; with 8 the smallest two-sided p is .0078.",
        ),
        (
            "{design: leave_family_out, seeds: [4], noninferior: {margin: 0.01}}",
            "5:11: ablation: a test needs at least two seeds, got seeds: 1 with primary or",
        ),
    ],
)
def test_the_section_itself(problems: Problems, head: str, ablation: str, message: str) -> None:
    assert one_line(problems, f"{head}ablation: {ablation}\n").startswith(message)


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        # components
        (
            "{design: leave_one_out, components: [st]}",
            "5:48: ablation.components[0]: leaving out st must change the reference, but changes "
            "nothing, got loss.terms 'clean+fma'. Remove it, or add it to the reference.",
        ),
        (
            "{design: leave_one_out, components: {x: {loss.fma.weight: 1, augment.depth: 4}}}",
            "5:51: ablation.components.x: leaving out x must change the reference, but changes "
            "nothing, got loss.terms 'clean+fma'. Remove it, or add it to the reference.",
        ),
        (
            "{design: leave_one_out, components: [hue]}",
            "5:48: ablation.components[0]: leaving out hue must change the reference, but changes",
        ),
        (
            "{design: leave_one_out, components: ['layer:stem'], "
            "reference: {loss.fma.layers: [stage3]}}",
            "5:48: ablation.components[0]: leaving out layer:stem must change the reference, but",
        ),
        (
            "{design: leave_one_out, components: [noise], reference: {loss.terms: clean}}",
            "5:48: ablation.components[0]: leaving out noise must change the reference, but "
            "changes nothing, got loss.terms 'clean'. Remove it, or add it to the reference.",
        ),
        (
            "{design: leave_one_out, components: [combined_augmentations], "
            "reference: {augment.method: augmix}}",
            "5:48: ablation.components[0]: leaving out combined_augmentations must change the",
        ),
        (
            "{design: leave_one_out, components: [fma], reference: {loss.terms: fma}}",
            "5:48: ablation.components[0]: an objective needs a term, got 'fma' without fma. Add "
            "a term to the reference.",
        ),
        (
            "{design: leave_one_out, components: ['layer:stem'], "
            "reference: {loss.fma.layers: [stem]}}",
            "5:48: ablation.components[0]: the feature-map term needs a layer, got ['stem'] "
            "without stem. Leave out fma instead.",
        ),
        (
            "{design: leave_one_out, components: [hue], reference: {augment.types: [hue]}}",
            "5:48: ablation.components[0]: an augmentation needs a distortion, got hue alone. Add "
            "another to the reference.",
        ),
        (
            "{design: leave_one_out, components: {single: {augment.method: all}}, "
            "reference: {augment.copies: 2}}",
            "5:56: ablation.components.single: augment.copies: must be 1 with "
            "method all, which makes a copy per type, got 2. Remove it.",
        ),
        (
            "{design: leave_one_out, components: [fmaa]}",
            "5:48: ablation.components[0]: unknown component, got 'fmaa'. Did you mean fma? Or "
            "write {fmaa: {KEY: VALUE}}.",
        ),
        (
            "{design: leave_one_out, components: ['layer:stage4']}",
            "5:48: ablation.components[0]: unknown component, got 'layer:stage4'. Did you mean "
            "layer:stage3?",
        ),
        (
            "{design: leave_one_out, components: [fma, fma]}",
            "5:53: ablation.components[1]: given twice, got 'fma'. Remove one.",
        ),
        (
            "{design: leave_one_out, components: {fma: , x: {loss.terms: clean}}}",
            "5:58: ablation.components.x: cells must differ, got without x with the same training "
            "as without fma. Remove one.",
        ),
        # keys and values of a cell
        (
            "{design: leave_one_out, components: {x: {loss.fma.wieght: 0}}}",
            "5:69: ablation.components.x.loss.fma.wieght: unknown key. Did you mean "
            "loss.fma.weight?",
        ),
        (
            "{design: leave_one_out, components: {x: {nonsense: 0}}}",
            "5:62: ablation.components.x.nonsense: unknown key. Write a key of model, baseline, "
            "finetune, loss, augment.",
        ),
        (
            "{design: leave_one_out, components: {x: {loss: {terms: clean}}}}",
            "5:58: ablation.components.x.loss: must be one key, got a section. Write it as "
            "loss.terms.",
        ),
        (
            "{design: leave_one_out, components: {x: {finetune.seed: 3}}}",
            "5:67: ablation.components.x.finetune.seed: seeds are paired over all cells, got 3. "
            "Remove it; ablation.seeds sets the seeds.",
        ),
        (
            "{design: leave_one_out, components: {x: {dataset.validation.seed: 3}}}",
            "5:77: ablation.components.x.dataset.validation.seed: seeds are paired over all",
        ),
        (
            "{design: leave_one_out, components: {x: {robustness.suite: all}}}",
            "5:70: ablation.components.x.robustness.suite: cannot differ between cells, because it "
            "is not part of a run, or runs are compared by it, got 'all'. Set it for the whole "
            "study.",
        ),
        (
            "{design: leave_one_out, components: {x: {augment.mix.noise: 0}}}",
            "5:71: ablation.components.x.augment.mix.noise: augment.mix must be set as a whole, "
            "got only one entry. Write augment.mix: {noise: 0}, with all of its entries.",
        ),
        (
            "{design: leave_one_out, components: {x: {loss.fma.weight: abc}}}",
            "5:69: ablation.components.x.loss.fma.weight: must be a number, got 'abc'. Write a "
            "number, such as 0.5.",
        ),
        (
            "{design: leave_one_out, components: {x: {loss.fma.weight: .nan}}}",
            "5:69: ablation.components.x.loss.fma.weight: must be finite, got .nan. Write a",
        ),
        (
            "{design: leave_one_out, components: {x: {augment.strengths.hew: 0.5}}}",
            "5:75: ablation.components.x.augment.strengths.hew: unknown type, got 'hew'. Did you "
            "mean hue?",
        ),
        (
            "{design: leave_one_out, components: {x: {augment.types: [hue, jpg]}}}",
            "5:73: ablation.components.x.augment.types[1]: unknown type, got 'jpg'. Did you mean "
            "jpeg?",
        ),
        (
            "{design: leave_one_out, components: {x: {finetune.budget.images: 5, "
            "finetune.budget.epochs: 5}}}",
            "5:51: ablation.components.x: finetune.budget: takes one unit, got epochs and images. "
            "Keep one, such as budget: {images: 9000}.",
        ),
        (
            "{design: leave_family_out, reference: {loss.terms: clean+stt}}",
            "5:62: ablation.reference.loss.terms: unknown term, got 'stt'. Did you mean st?",
        ),
        (
            "{design: leave_family_out, reference: {finetune.seed: 1}}",
            "5:65: ablation.reference.finetune.seed: seeds are paired over all cells, got 1. Rem",
        ),
        # add one
        (
            f"{{design: add_one, {BOTH}, components: [clean, st, fma]}}",
            "5:92: ablation.components[2]: the first cell is without all components: an objective "
            "needs a term, got 'fma' without fma. Add a term to the reference.",
        ),
        (
            "{design: add_one, components: [combined_augmentations, fma]}",
            "5:42: ablation.components[0]: cells must differ, got + combined_augmentations with "
            "the same training as plain. Put it after the component that it needs.",
        ),
        (
            "{design: add_one, components: [fma, st]}",
            "5:47: ablation.components[1]: leaving out st must change the reference, but changes",
        ),
        # levels
        (
            "{design: one_at_a_time, factors: {loss.fma.weight: [2, 1]}}",
            "5:66: ablation.factors.loss.fma.weight[1]: a level must differ from the reference, "
            "got 1, which is the reference. Remove it; the reference is always a cell.",
        ),
        (
            "{design: one_at_a_time, factors: {loss.fma.layers: [[stem, stage1, stage2, stage3]]}}",
            "5:63: ablation.factors.loss.fma.layers[0]: a level must differ from the reference, "
            "got stem+stage1+stage2+stage3, which is the reference. Remove it; the reference is "
            "always a cell",
        ),
        (
            "{design: one_at_a_time, factors: {x: {same: {loss.fma.weight: 1}}}}",
            "5:55: ablation.factors.x.same: a level must differ from the reference, got same,",
        ),
        (
            "{design: one_at_a_time, factors: {loss.st.weight: [2]}}",
            "5:62: ablation.factors.loss.st.weight[0]: a level must change the training, got 2, "
            "which changes nothing at the reference, loss.terms 'clean+fma'. Remove it, or change "
            "the reference.",
        ),
        (
            "{design: one_at_a_time, factors: {loss.fma.weight: [2, 3, 2.0]}}",
            "5:62: ablation.factors.loss.fma.weight: a level may be given once, got 2 twice. "
            "Remove "
            "one, or name them: {NAME: {KEY: VALUE}}.",
        ),
        (
            "{design: one_at_a_time, factors: {loss.fma.weight: []}}",
            "5:62: ablation.factors.loss.fma.weight: needs a level, got none. Write [A, B].",
        ),
        (
            "{design: one_at_a_time, factors: {loss.fma.wieght: [2]}}",
            "5:62: ablation.factors.loss.fma.wieght: unknown key. Did you mean loss.fma.weight? "
            "Levels of your own factor: {LEVEL: {KEY: VALUE}}.",
        ),
        (
            "{design: one_at_a_time, factors: {baseline.seed: [2]}}",
            "5:60: ablation.factors.baseline.seed: seeds are paired over all cells, got [2]. Rem",
        ),
        (
            "{design: one_at_a_time, factors: {loss.fma.layers: [[stem], [stem, stage4]]}}",
            "5:78: ablation.factors.loss.fma.layers[1][1]: unknown layer, got 'stage4'. Did you",
        ),
        (
            "{design: one_at_a_time, factors: {baseline.checkpoint: [w.pt]}}",
            "5:67: ablation.factors.baseline.checkpoint[0]: baseline: a checkpoint needs "
            "saw_validation, got none with w.pt.",
        ),
        (
            "{design: one_at_a_time, factors: {a: {x: {loss.fma.weight: 2}}, "
            "b: {y: {loss.fma.weight: 2}}}}",
            "5:82: ablation.factors.b.y: cells must differ, got b: y with the same training as a: "
            "x. Remove one.",
        ),
        (
            "{design: one_at_a_time, factors: {a: {x: {loss.fma.weight: 2}}, "
            "'a:': {x: {loss.fma.weight: 3}}, 'a: x': {y: {loss.fma.weight: 4}}}, max_runs: 8}",
            "5:154: ablation.max_runs: must be at least 32: the design has 4 cells x 8 seeds, got "
            "8. Raise it, or use fewer seeds or levels.",
        ),
        # factorial and fractional
        (
            "{design: factorial, factors: {loss.fma.weight: [1]}}",
            "5:58: ablation.factors.loss.fma.weight: needs two levels, got 1. Add one.",
        ),
        (
            "{design: factorial, factors: {loss.st.weight: [1, 2]}}",
            "5:57: ablation.factors.loss.st.weight: levels must differ, got 1, 2, two of which "
            "give the same training at the reference. Change one, or add the component to the "
            "reference.",
        ),
        (
            "{design: factorial, components: [fma, st]}",
            "5:49: ablation.components[1]: levels must differ, got without, with, two of which "
            "give the same training at the reference. Change one, or add the component to the "
            "reference.",
        ),
        (
            "{design: factorial, components: [fma], reference: {loss.terms: fma}}",
            "5:44: ablation.components[0]: an objective needs a term, got 'fma' without fma. Add",
        ),
        (
            "{design: factorial, components: [fma, clean]}",
            "5:11: ablation: cell without fma, without clean: an objective needs a term, got "
            "'clean' without clean. Add a term to the reference.",
        ),
        (
            f"{{design: factorial, {BOTH}, components: [fma, 'layer:stem']}}",
            "5:11: ablation: cells must differ, got without fma, with "
            "layer:stem with the same training as without fma, without layer:stem. Remove a factor "
            "that has no effect without another.",
        ),
        (
            "{design: factorial, factors: {loss.terms: [clean+fma, clean], loss.fma.weight: "
            "[1, 2]}}",
            "5:11: ablation: cells must differ, got loss.terms clean, loss.fma.weight 2 with the "
            "same training as loss.terms clean, loss.fma.weight 1. Remove",
        ),
        (
            "{design: factorial, factors: {fma: {a: {loss.fma.weight: 1}, b: {loss.fma.weight: "
            "2}}}, components: [fma]}",
            "5:112: ablation.components[0]: given twice, got fma as a factor and as a component. "
            "Rename the factor.",
        ),
        (
            "{design: factorial, factors: {"
            + ", ".join(
                f"x{i}: {{{', '.join(f'l{j}: {{loss.fma.weight: {i}.{j}}}' for j in range(1, 6))}}}"
                for i in range(1, 12)
            )
            + "}}",
            "5:11: ablation.max_runs: must be at least 390625000: the design has 48828125 cells x "
            "8 seeds, got 500. Raise it, or use fewer seeds or levels.",
        ),
        (
            f"{{design: fractional, {BOTH}, components: [fma, st]}}",
            "5:11: ablation: factors: a fraction needs 3 to 11, got 2. Add some.",
        ),
        (
            f"{{design: fractional, {ALL}, components: [fma, st, da], factors: "
            "{loss.fma.weight: [1, 2, 3]}}",
            "5:128: ablation.factors.loss.fma.weight: a fraction needs two levels per factor, got "
            "3. Remove some, or write design: factorial.",
        ),
        (
            f"{{design: fractional, {ALL}, components: [fma, st, da], factors: "
            "{finetune.momentum: [0.5, 0.9]}, interactions: [fma * st]}",
            "5:158: ablation.interactions[0]: cannot be told apart from finetune.momentum * da in "
            "this fraction, got 'fma * st'. Write resolution: 5, or design: factorial.",
        ),
        (
            f"{{design: fractional, {ALL}, components: [fma, st, da], resolution: 3, "
            "primary: [{compare: da * fma}]}",
            "5:136: ablation.primary[0].compare: cannot be told apart from st in this fraction, "
            "got 'da * fma'. Write resolution: 5, or design: factorial.",
        ),
        (
            f"{{design: fractional, {ALL}, components: [fma, st, da], interactions: [fma * sta]}}",
            "5:116: ablation.interactions[0]: must name factors, got 'sta'. Did you mean st?",
        ),
        (
            f"{{design: fractional, {ALL}, components: [fma, st, da], interactions: [fma]}}",
            "5:116: ablation.interactions[0]: must be two factors joined by *, got 'fma'. Write "
            "A * B.",
        ),
        (
            f"{{design: fractional, {ALL}, components: [fma, st, da], "
            "interactions: [fma * st, st*fma]}",
            "5:126: ablation.interactions[1]: given twice, got 'st*fma'. Remove one.",
        ),
        # shapley
        (
            "{design: shapley, components: [fma]}",
            "5:41: ablation.components: a Shapley value needs two components, got fma alone. Add "
            "one, or write design: leave_one_out.",
        ),
        (
            f"{{design: shapley, {BOTH}, components: [fma, sta]}}",
            "5:86: ablation.components[1]: unknown component, got 'sta'. Did you mean st? Or write "
            "{sta: {KEY: VALUE}}.",
        ),
        (
            "{design: shapley, components: [fma, st]}",
            "5:47: ablation.components[1]: leaving out st must change the reference, but changes "
            "nothing, got loss.terms 'clean+fma'. Remove it, or add it to the reference.",
        ),
        (
            "{design: shapley, components: [fma, clean]}",
            "5:11: ablation: cell nothing: an objective needs a term, got 'clean' without clean. "
            "Add a term to the reference.",
        ),
        (
            f"{{design: shapley, {BOTH}, components: [fma, 'layer:stem']}}",
            "5:11: ablation: cells must differ, got layer:stem with the same training as nothing. "
            "Remove a component that has no effect without another.",
        ),
        (
            "{design: shapley, components: {fma: , a * b: {finetune.momentum: 0.5}}}",
            "5:56: ablation.components.a * b: must not contain *, which joins two components, got "
            "'a * b'. Rename it.",
        ),
        (
            "{design: shapley, components: {fma: , baseline: {finetune.momentum: 0.5}}}",
            "5:59: ablation.components.baseline: is always an arm, the network before finetuning, "
            "got a component of this name. Rename it.",
        ),
        (
            f"{{design: shapley, {BOTH}, components: [fma, st], permutations: 3}}",
            "5:105: ablation.permutations: must leave subsets out, got 3, which visit all 4. "
            "Remove it: exact values need no more runs.",
        ),
        (
            f"{{design: shapley, {BOTH}, components: [fma, st], max_runs: 31}}",
            "5:101: ablation.max_runs: must be at least 32: the design has 4 cells x 8 seeds, got "
            "31. Raise it, or use fewer seeds or components, or add permutations: M.",
        ),
        (
            f"{{design: shapley, {BOTH}, components: [fma, st], permutations: 1, max_runs: 23}}",
            "5:118: ablation.max_runs: must be at least 24: the design has 3 cells x 8 seeds, got "
            "23. Raise it, or use fewer seeds or permutations.",
        ),
        (
            f"{{design: shapley, {BOTH}, components: [fma, st], primary: [{{compare: fmo}}]}}",
            "5:111: ablation.primary[0].compare: must be part of the design, got 'fmo'. Did you "
            "mean fma?",
        ),
        (
            f"{{design: shapley, {BOTH}, components: [fma, st], primary: [{{compare: all}}]}}",
            "5:101: ablation.primary[0]: a shapley design has no reference, got only 'all'. Add "
            "to: CELL, or compare an effect, such as fma.",
        ),
        # leave a family out
        (
            "{design: leave_family_out, families: [noise, nose]}",
            "5:56: ablation.families[1]: must be a family that the reference trains on ['noise', "
            "'blur', 'photometric'], got 'nose'. Remove it.",
        ),
        (
            "{design: leave_family_out, families: [noise, noise]}",
            "5:56: ablation.families[1]: given twice, got 'noise'. Remove one.",
        ),
        (
            "{design: leave_family_out, reference: {augment.types: [hue, jpeg]}}",
            "5:11: ablation.families: must be scored by robustness.suite ['noise', 'blur', "
            "'photometric'], got 'digital'. Write families: ['photometric'], or use a suite that "
            "contains it.",
        ),
        (
            "{design: leave_family_out, reference: {augment.families: [noise]}}",
            "5:11: ablation.families: an augmentation needs a distortion, got noise alone. Add",
        ),
        (
            "{design: leave_family_out, reference: {loss.terms: clean}}",
            "5:49: ablation.reference: cells must differ, got all "
            "families with the same training as plain. Add a term that reads augmented copies.",
        ),
        (
            "{design: leave_family_out, reference: {augment.method: augmix}}",
            "5:49: ablation.reference: must draw from families of distortion, got augment.method "
            "augmix, whose operators belong to none. Choose another method.",
        ),
        # claims
        (
            "{design: leave_one_out, components: [fma], primary: [{compare: without st}]}",
            "5:74: ablation.primary[0].compare: must be part of the design, got 'without st'. Did "
            "you mean without fma?",
        ),
        (
            "{design: leave_one_out, components: [fma], primary: [{compare: without fma, to: b}]}",
            "5:91: ablation.primary[0].to: must be part of the design, got 'b'. Known: baseline, "
            "reference, without fma.",
        ),
        (
            "{design: leave_one_out, components: [fma], primary: [{compare: reference}]}",
            "5:64: ablation.primary[0]: must be two arms, got 'reference' twice. Change one.",
        ),
        (
            "{design: leave_one_out, components: [fma], "
            "primary: [{compare: without fma}, {compare: without fma, to: reference}]}",
            "5:88: ablation.primary[1]: given twice, got without fma - reference on "
            "val_robust_accuracy. Remove one.",
        ),
        (
            "{design: leave_one_out, components: [fma], "
            "primary: [{compare: without fma, metric: val_robust}]}",
            f"5:95: ablation.primary[0].metric: {SUITE}, got 'val_robust'. Did you mean "
            "val_robust_accuracy?",
        ),
        (
            "{design: leave_one_out, components: [fma], "
            "primary: [{compare: without fma, metric: val_accuracy.hue}]}",
            f"5:95: ablation.primary[0].metric: {SUITE}, got 'val_accuracy.hue'. Did you mean",
        ),
        (
            "{design: leave_one_out, components: [fma], noninferior: {metric: x, margin: 0.1}}",
            f"5:76: ablation.noninferior.metric: {SUITE}, got 'x'. Known: val_clean_accuracy, ",
        ),
        (
            "{design: leave_one_out, components: [fma], noninferior: {margin: 1}}",
            "5:76: ablation.noninferior.margin: must be below 1, because accuracies are fractions, "
            "got 1. Write 0.01 for one point.",
        ),
        (
            f"{{design: factorial, {BOTH}, components: [fma, st], "
            "primary: [{compare: 'with fma, with st'}]}",
            "5:103: ablation.primary[0]: a factorial design has no reference, got only 'with fma, "
            "with "
            "st'. Add to: CELL, or compare an effect, such as fma.",
        ),
        # what stands beside it
        (
            "{design: leave_one_out, components: [fma]}\nsearch: {trials: 3}",
            "6:1: search: a study has a search or an ablation, got both. Remove one.",
        ),
        (
            "{design: leave_one_out, components: [fma]}\nspace: {loss.fma.weight: {float: [1, 2]}}",
            "6:1: space: is searched only with ablation.tune, got a space without it. "
            "Remove it, or add tune: {trials: N}.",
        ),
        (
            "{design: leave_one_out, components: [fma], baseline_seeds: each}\n"
            "baseline: {checkpoint: w.pt, saw_validation: false}",
            "5:70: ablation.baseline_seeds: each needs a baseline trained by the study, got "
            "baseline.checkpoint w.pt. Remove one.",
        ),
        (
            "{design: arms, arms: {plain: {loss.terms: clean}, FMA: {}}}\n"
            "finetune: {budget: {epochs: 3}}",
            "6:20: finetune.budget: arms are compared at equal compute, got a budget of 3 epochs, "
            "in which copies cost extra. Write budget: {images: N}, {flops: N} or {seconds: N}.",
        ),
        (
            "{design: arms, arms: {plain: {loss.terms: clean}, FMA: {}}}",
            "1:1: finetune.budget: arms are compared at equal compute, got a budget of 4 epochs,",
        ),
        # a reference of a search
        (
            "{design: leave_one_out, components: [fma], reference: {study: 3}}",
            "5:73: ablation.reference.study: must name a study, got 3. Write its file, its run "
            "folder or URL#NAME.",
        ),
        (
            "{design: leave_one_out, components: [fma], reference: {study: s, pick: worst}}",
            "5:82: ablation.reference.pick: must be knee, best METRIC or trial N, got 'worst'. "
            "Write pick: knee.",
        ),
        (
            "{design: leave_one_out, components: [fma], reference: {study: s, loss.terms: st}}",
            "5:76: ablation.reference.loss.terms: a reference from a study has only study and "
            "pick, got also 'loss.terms'. Remove it.",
        ),
        (
            "{design: leave_one_out, components: [fma], reference: {pick: knee}}",
            "5:72: ablation.reference.pick: applies only to a trial of a study, got it without "
            "one. Add study: STUDY.",
        ),
    ],
)
def test_what_it_makes(problems: Problems, head: str, ablation: str, message: str) -> None:
    assert one_line(problems, f"{head}ablation: {ablation}\n").startswith(message)


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        (
            "{a: {}, b: {loss.terms: fma+clean}}}",
            "6:43: ablation.arms.b: cells must differ, got b with the same training as a. Remove "
            "one.",
        ),
        (
            "{baseline: {}}}",
            "6:43: ablation.arms.baseline: is always an arm, the network before finetuning, got "
            "values for it. Remove it.",
        ),
        ("{'': {}}}", "6:37: ablation.arms.: needs a name, got ''. Add one."),
        (
            "{a: {loss.temrs: clean}}}",
            "6:49: ablation.arms.a.loss.temrs: unknown key. Did you mean loss.terms?",
        ),
        (
            "{a: {loss.terms: 3}}}",
            "6:49: ablation.arms.a.loss.terms: must be text, got 3. Put it in quotes.",
        ),
        (
            "{a: {augment.method: all, augment.copies: 2}}}",
            "6:74: ablation.arms.a.augment.copies: must be 1 with method all, which makes a copy "
            "per type, got 2. Remove it.",
        ),
        (
            "{a: {finetune.budget.images: 30}}}",
            "6:61: ablation.arms.a.finetune.budget.images: arms are compared at equal compute, got "
            "30 for one of them. Remove it; finetune.budget applies to all.",
        ),
        (
            "{a: {}, b: {loss.terms: clean}}, compare_to: adapted baseline}",
            "6:77: ablation.compare_to: needs robustness.adapt_batch_norm, got 'adapted baseline' "
            "without it. Add it, such as robustness.adapt_batch_norm: 256, or compare with the "
            "baseline.",
        ),
        (
            "{a: {}, b: {loss.terms: clean}}, primary: [{compare: a, to: adapted baseline}]}",
            "6:92: ablation.primary[0].to: needs robustness.adapt_batch_norm, got 'adapted "
            "baseline' without it.",
        ),
        (
            "{a: {}, b: {loss.terms: clean}}, primary: [{compare: adapted baseline, to: a}]}",
            "6:85: ablation.primary[0].compare: needs robustness.adapt_batch_norm, got 'adapted "
            "baseline' without it.",
        ),
        (
            "{a: {}, b: {finetune.frozen: [stem, stage1, stage2, stage3, classifier]}}}",
            "6:61: ablation.arms.b.finetune.frozen: must leave a layer that learns, got ['stem', "
            "'stage1', 'stage2', 'stage3', 'classifier']. Remove one.",
        ),
        (
            "{a: {}, b: {loss.terms: clean}}, primary: [{compare: b, metric: "
            "val_robust_accuracy_interpolated}]}",
            "6:96: ablation.primary[0].metric: needs finetune.interpolation, got "
            "'val_robust_accuracy_interpolated' without it. Add finetune.interpolation: {}, or use "
            "val_robust_accuracy.",
        ),
        (
            "{a: {}}, compare_to: b}",
            "6:53: ablation.compare_to: must be one of the arms, got 'b'. Known: a.",
        ),
        (
            "{a: {augment.types: eech}}}",
            "6:52: ablation.arms.a.augment.types: must be a list, got 'eech'. Write it in",
        ),
        (
            "{a: {augment.types: each, augment.mix: {nose: 1}}}}",
            "6:78: ablation.arms.a.augment.mix.nose: unknown family or type, got 'nose'. Did you",
        ),
        (
            "{a: {augment.types: each, augment.mix: {hue: 1}}}}",
            "6:77: ablation.arms.a.augment.mix.hue: must be one of augment.families ['noise', "
            "'blur', 'photometric'], got 'hue'. Known: noise, blur, photometric.",
        ),
        (
            "{a: {augment.types: each, augment.method: augmix}}}",
            "6:52: ablation.arms.a.augment.types: each means a model for each type that is drawn, "
            "got augment.method augmix, which draws none. Choose another method.",
        ),
        (
            "{a: {augment.types: each, loss.terms: clean}}}",
            "6:36: ablation.arms.a: cells must differ, got a: "
            "impulse_noise with the same training as a: gaussian_noise. Remove one.",
        ),
        (
            "{a: {augment.types: each}, 'a: hue': {loss.terms: clean}}, "
            "reference: {augment.types: [hue, jpeg]}}",
            "6:69: ablation.arms.a: hue: every cell needs its own name, got a: hue twice. Rename "
            "one.",
        ),
        (
            "{a: {}}, tune: {trials: 2}}",
            "6:47: ablation.tune: needs a space to search, got none. Add space.",
        ),
    ],
)
def test_arms(problems: Problems, head: str, ablation: str, message: str) -> None:
    text = f"{head}{IMAGES}ablation: {{design: arms, arms: {ablation}\n"
    assert one_line(problems, text).startswith(message)


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        (
            "{a: {}}, tune: {trials: 2, sampler: ranodm}}",
            "7:68: ablation.tune.sampler: unknown sampler, got 'ranodm'. Did you mean random?",
        ),
        (
            "{a: {}}, tune: {trials: 2, pick: worst}}",
            "7:65: ablation.tune.pick: must be knee, best METRIC or trial N, got 'worst'. Write",
        ),
        (
            "{a: {}}, tune: {trials: 4, pick: trial 99}}",
            "7:65: ablation.tune.pick: must be a trial from 0 to 3, got trial 99. Pick another, or "
            "raise tune.trials.",
        ),
        (
            "{a: {}}, tune: {trials: 2, pick: best robst_accuracy}}",
            "7:65: ablation.tune.pick: best needs one of the objectives, got robst_accuracy. Did "
            "you mean val_robust_accuracy?",
        ),
        (
            "{a: {}, b: {finetune.learning_rate: 0.1}}, tune: {trials: 2}}",
            "7:43: ablation.arms.b: its search: tune needs a parameter that the arm uses, got "
            "none. Add one to the space, such as finetune.learning_rate.",
        ),
    ],
)
def test_arms_that_are_tuned(problems: Problems, head: str, ablation: str, message: str) -> None:
    text = f"{head}{SEARCHED}ablation: {{design: arms, arms: {ablation}\n"
    assert one_line(problems, text).startswith(message)


TUNED = f"{IMAGES}ablation: {{design: arms, arms: {{a: {{}}}}, tune: {{trials: 2}}}}\nspace: "
RATE = "finetune.learning_rate: {float: [0.001, 0.1]}"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            f"{{{RATE}, finetune.budget.images: {{choice: [500, 1000]}}}}",
            "7:80: finetune.budget.images: arms are compared at equal compute, got "
            "finetune.budget.images in the space of ablation.tune. Remove it.",
        ),
        (
            f"{{{RATE}, b: {{when: {{loss.terms: clean}}, parameters: {{finetune.budget.images: "
            "{int: [500, 1000]}}}}",
            "7:124: finetune.budget.images: arms are compared at equal compute, got ",
        ),
        (
            f"{{{RATE}, finetune.seed: {{int: [0, 5]}}}}",
            "7:71: finetune.seed: seeds are paired, got finetune.seed in the space of "
            "ablation.tune. Remove it.",
        ),
    ],
)
def test_what_tuning_may_not_search(
    problems: Problems, head: str, space: str, message: str
) -> None:
    assert one_line(problems, f"{head}{TUNED}{space}\n").startswith(message)


@pytest.mark.parametrize(
    ("seeds", "others", "message"),
    [
        (
            "seeds: 3",
            "finetune: {seed: 4294967293, budget: {images: 1000}}",
            "6:18: finetune.seed: must be at most 4294967292, since the 3 seeds after it are used, "
            "got 4294967293. Lower it.",
        ),
        (
            "seeds: 3, baseline_seeds: each",
            f"{IMAGES}baseline: {{seed: 4294967294}}",
            "7:18: baseline.seed: must be at most 4294967293 for 3 baselines, got 4294967294. "
            "Lower it.",
        ),
    ],
)
def test_there_is_room_for_all_seeds(
    problems: Problems, head: str, seeds: str, others: str, message: str
) -> None:
    ablation = f"ablation: {{design: leave_one_out, components: [fma], {seeds}}}\n"
    assert one_line(problems, f"{head}{ablation}{others}\n") == message
    largest, got = re.findall(r"42949672\d\d", message)
    assert problems(f"{head}{ablation}{others.replace(got, largest)}\n") == []


def test_seeds_that_are_added_later_have_room(
    head: str, names: Mapping[str, Sequence[str]]
) -> None:
    text = f"{head}ablation: {{design: leave_one_out, components: [fma], seeds: [4294967295]}}\n"
    study = parse_study(text, "s.yaml", names=lambda _: names, base=Path())
    check_room_for_seeds(study)
    ablation = study.ablation_section.model_copy(update={"seeds": more_seeds(study, 2)})
    with pytest.raises(UsageError, match=r"ablation.seeds: must be at most 4294967295, got 42949"):
        check_room_for_seeds(study.model_copy(update={"ablation": ablation}))


def test_a_search_may_draw_its_budget(problems: Problems, head: str) -> None:
    budget = "finetune.budget.images: {choice: [500, 1000]}"
    assert problems(f"{head}{IMAGES}space: {{{budget}}}\n") == []


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        (
            "{design: leave_one_out, components: [fma]}",
            "5:48: ablation.components[0]: a component of a custom training loop needs the values "
            "without it, got only 'fma'. Write components: {fma: {KEY: VALUE}}.",
        ),
        (
            "{design: leave_one_out, reference: {lr: 1}, components: {a: {lr: 1.0}}}",
            "5:71: ablation.components.a: leaving out a must change the reference, but changes "
            "nothing. Remove it, or add it to the reference.",
        ),
        (
            "{design: one_at_a_time, reference: {lr: 1}, factors: {lr: [1]}}",
            "5:70: ablation.factors.lr[0]: a level must differ from the reference, got 1, which",
        ),
        (
            "{design: one_at_a_time, factors: {a b: [1]}}",
            "5:50: ablation.factors.a b: must be words joined by dots, such as net.width, got 'a "
            "b'. Rename it.",
        ),
        (
            "{design: one_at_a_time, factors: {finetune.seed: [1]}}",
            "5:60: ablation.factors.finetune.seed: seeds are paired over all cells, got [1]. Rem",
        ),
        (
            "{design: leave_family_out}",
            "5:20: ablation.design: needs families of distortion, got a trainable. Use "
            "leave_one_out.",
        ),
        (
            "{design: arms, arms: {a: {lr: 1}}, baseline_seeds: each}",
            "5:62: ablation.baseline_seeds: each needs a baseline, got a trainable. Remove it.",
        ),
        (
            "{design: arms, arms: {a: {lr: 1}, b: {lr: 2}}, compare_to: baseline}",
            "5:70: ablation.compare_to: must be one of the arms, got 'baseline'. Known: a, b.",
        ),
        (
            "{design: arms, arms: {a: {lr: 1}, b: {lr: 2}}, primary: [{compare: b, metric: z}]}",
            "5:89: ablation.primary[0].metric: must be one of the objectives, got 'z'. Known: x,",
        ),
        (
            "{design: arms, arms: {a: {lr: 1}, b: {lr: 2}}, noninferior: {margin: 5}}",
            "5:71: ablation.noninferior.metric: must be one of the objectives, got "
            "'val_clean_accuracy'. Known: x, y.",
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
        "5:20: finetune.budget: arms are compared at equal compute, got a budget of 2 epochs, in "
        "which copies cost extra. Write budget: {images: N}, {flops: N} or {seconds: N}.",
        "6:1: search: a study has a search or an ablation, got both. Remove one.",
        "12:28: ablation.arms.FMA.loss.fma.weight: must be at least 0, got -1. Raise it.",
        "12:56: ablation.arms.FMA.loss.fma.layers[1]: unknown layer, got 'stage4'. Did you mean "
        "stage3?",
        "13:17: ablation.arms.also plain: cells must differ, got also "
        "plain with the same training as plain. Remove one.",
        "14:30: ablation.arms.mine.augment.strength: must be at most 1, got 2. Lower it.",
        "14:48: ablation.arms.mine.finetune.seed: seeds are paired over all cells, got 3. Remove "
        "it; ablation.seeds sets the seeds.",
        "15:15: ablation.compare_to: must be one of the arms, got 'plane'. Did you mean plain?",
    ]


def test_every_problem_of_the_section_at_once(problems: Problems, head: str) -> None:
    text = f"""{head}ablation:
  design: 3
  components: fma
  seeds: [1, 1]
  primary: [{{compare: 3}}]
  noninferior: {{margin: x}}
  tune: {{trials: 0}}
"""
    assert [line.removeprefix("s.yaml:").split(", got ")[0] for line in problems(text)] == [
        f"6:11: ablation.design: must be one of {DESIGNS}",
        "7:15: ablation.components: must be a list or a mapping",
        "8:10: ablation.seeds: must be distinct",
        "9:23: ablation.primary[0].compare: must be text",
        "10:25: ablation.noninferior.margin: must be a number",
        "11:18: ablation.tune.trials: must be at least 1",
    ]


@pytest.mark.parametrize(
    ("ablation", "rule"),
    [
        (
            "{design: leave-one-out, components: [fma]}",
            f"ablation.design: must be one of {DESIGNS}",
        ),
        ("", "ablation: must be a mapping, got nothing"),
        ("3", "ablation: must be a mapping, got 3"),
    ],
)
def test_a_refused_ablation_is_no_search(
    problems: Problems, head: str, ablation: str, rule: str
) -> None:
    (line,) = problems(f"{head}{IMAGES}ablation: {ablation}\n", must_search=True)
    assert rule in line


def test_without_an_ablation_it_is_a_search(problems: Problems, head: str) -> None:
    text = f"{head}ablation: {{design: leave_one_out, components: [fma]}}\nsearch: {{trials: 4}}\n"
    (line,) = problems(text, "ablation=null", must_search=True)
    assert line.startswith("s.yaml:1:1: space: a search of 4 trials needs a parameter")


def test_overrides(problems: Problems, head: str) -> None:
    text = f"{head}ablation: {{design: leave_one_out, components: [fma]}}\n"
    assert problems(text, "ablation.seeds=3") == []
    assert problems(text, "ablation.noninferior={margin: 0.01}") == []
    assert problems(text, "ablation.max_runs=10") == [
        "--set ablation.max_runs: must be at least 16: the design has 2 cells x 8 seeds, got 10. "
        "Raise it, or use fewer seeds or levels."
    ]
    assert problems(text, "ablation.components=[st]") == [
        "--set ablation.components: ablation.components[0]: leaving out st must change the "
        "reference, but changes nothing, got loss.terms 'clean+fma'. Remove it, or add it to the "
        "reference."
    ]


def test_a_reference_of_a_search_is_looked_at_when_the_study_is_begun(
    problems: Problems, head: str
) -> None:
    reference = "reference: {study: runs/s, pick: best robust_accuracy}"
    text = f"{head}ablation: {{design: leave_one_out, components: [fma], {reference}}}\n"
    assert problems(text) == []


def test_an_ablation_is_looked_at_where_the_rest_is_right(problems: Problems, head: str) -> None:
    text = f"{head}loss: {{fma: {{wieght: 1}}}}\nablation: {{design: arms, arms: {{a: {{}}}}}}\n"
    (line,) = problems(text)
    assert line.startswith("s.yaml:5:14: loss.fma.wieght")
