"""What is said of a wrong space: place, rule, got, fix."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ablate.errors import ParameterError, StudyFileError
from ablate.space.parse import parse_space
from ablate.space.space import Space
from ablate.study.settings import Study

Problems = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        # what no sampler could draw, or no database keep
        (
            "loss.st.weight: {float: [-1e308, 1e308]}",
            "1:25: loss.st.weight: high - low must be finite, got [-1e+308, 1e+308]. Narrow it.",
        ),
        (
            "loss.st.weight: {float: [0, 5e-324]}",
            "1:29: loss.st.weight: high must keep its digits, got 5e-324. Write 0, or at",
        ),
        (
            "loss.st.weight: {float: [1, 1.0000000000000002]}",
            "1:25: loss.st.weight: low and high must differ by a fraction of more than 1e-12, got "
            "[1, ",
        ),
        (
            "loss.st.weight: {float: [0, 1], step: 1e-300}",
            "1:39: loss.st.weight: step must be larger than 1 / 2**52, got 1e-300. Raise",
        ),
        (
            "loss.st.weight: {float: [1e10, 10000001000], step: 1e-7}",
            "1:52: loss.st.weight: step must be larger than 1e+10 / 2**52, got 1e-7.",
        ),
        (
            "finetune.batch_size: {int: [-9007199254740991, 9007199254740991]}",
            "1:28: finetune.batch_size: high - low must be below 2**53, got [-9007199254740991, ",
        ),
        (
            "finetune.batch_size: {int: [1, 9007199254740992]}",
            "1:32: finetune.batch_size: high must be within 2**53, got 9007199254740992. Take a",
        ),
        (
            f"finetune.batch_size: {{choice: {list(range(1, 1002))}}}",
            "1:31: finetune.batch_size: choice must have at most 1000 items, got 1001. Name fewer",
        ),
        (
            f"loss.fma.layers: {{subset: [{', '.join(f'a{i}' for i in range(257))}]}}",
            "1:27: loss.fma.layers: subset must have at most 256 items, got 257. Name fewer, or",
        ),
        (
            f"loss.fma.layers: {{subset: [stem, {'a' * 201}]}}",
            "1:34: loss.fma.layers: items must have at most 200 characters, got 201. Shorten it.",
        ),
        (
            'loss.fma.layers: {subset: ["a\\0b", stem]}',
            "1:28: space.loss.fma.layers.subset[0]: must be text that can be stored, got 'a\\x00b",
        ),
        (
            "loss.st.weight: {choice: [1, .nan]}",
            "1:30: loss.st.weight: must be finite, got .nan. Write a number, or text in quotes.",
        ),
        # intervals
        (
            "loss.st.weight: {float: [10, 0.01]}",
            "1:25: loss.st.weight: low must be below high, got [10, 0.01]. Swap them.",
        ),
        (
            "loss.st.weight: {float: [1, 1]}",
            "1:25: loss.st.weight: low must be below high, got [1, 1]. "
            "Widen it, or fix the value in the study.",
        ),
        (
            "finetune.batch_size: {int: [9, 3]}",
            "1:28: finetune.batch_size: low must be below high, got [9, 3]. Swap them.",
        ),
        (
            "loss.st.weight: {float: [0, 1], log: true}",
            "1:25: loss.st.weight: log needs a low above 0, got [0, 1]. Raise low or drop log.",
        ),
        (
            "loss.st.weight: {float: [0.1, 1], log: true, step: 0.1}",
            "1:52: loss.st.weight: step and log exclude each other, got step 0.1. Drop one.",
        ),
        (
            "loss.st.weight: {float: [0, 1], step: 0}",
            "1:39: loss.st.weight: step must be above 0, got 0. Raise it.",
        ),
        (
            "loss.st.weight: {float: [0, 1], step: 2}",
            "1:39: loss.st.weight: step must fit into [0, 1], got 2. Lower it.",
        ),
        (
            "loss.st.weight: {float: [0, 1], step: 0.3}",
            "1:39: loss.st.weight: step must lead from 0 to 1, got 0.3. "
            "End the range at 0.9 or change the step.",
        ),
        (
            "finetune.batch_size: {int: [2, 9], step: 3}",
            "1:42: finetune.batch_size: step must lead from 2 to 9, got 3. End the range at 8 or",
        ),
        (
            "finetune.batch_size: {int: [3000000000, 3000000005], step: 3}",
            "1:60: finetune.batch_size: step must lead from 3000000000 to 3000000005, got 3. End "
            "the range at 3000000003 or change the step.",
        ),
        (
            "finetune.batch_size: {int: [2, 9], step: 0.5}",
            "1:42: finetune.batch_size: step must be a whole number, got 0.5. Write a whole",
        ),
        (
            "finetune.batch_size: {int: [2.5, 9]}",
            "1:29: finetune.batch_size: low must be a whole number, got 2.5. Write a whole number.",
        ),
        (
            "loss.st.weight: {float: [0, high]}",
            "1:29: loss.st.weight: high must be a number, got 'high'. Write a number.",
        ),
        (
            "loss.st.weight: {float: [0, .inf]}",
            "1:29: loss.st.weight: high must be a number, got .inf. Write a number.",
        ),
        (
            "loss.st.weight: {float: 3}",
            "1:25: loss.st.weight: float needs [low, high], got 3. Write two numbers.",
        ),
        (
            "loss.st.weight: {float: [1, 2, 3]}",
            "1:25: loss.st.weight: float needs [low, high], got [1, 2, 3]. Write two numbers.",
        ),
        (
            "loss.st.weight: {float: [1, 2], log: yes}",
            "1:38: loss.st.weight: log must be true or false, got 'yes'. Write true or false.",
        ),
        # lists
        (
            "loss.terms: {choice: []}",
            "1:22: loss.terms: choice of nothing, got []. Name at least one.",
        ),
        (
            "loss.fma.layers: {subset: []}",
            "1:27: loss.fma.layers: subset of nothing, got []. Name at least one.",
        ),
        (
            "augment.mix: {simplex: []}",
            "1:24: augment.mix: simplex of nothing, got []. Name at least one.",
        ),
        (
            "augment.mix: {simplex: [noise]}",
            "1:24: augment.mix: simplex needs two items or more, got ['noise']. "
            "Add one, or do not search it.",
        ),
        (
            "loss.terms: {choice: [clean, st, clean]}",
            "1:34: loss.terms: given twice, got 'clean'. Remove one.",
        ),
        (
            "augment.mix: {choice: ['{\"noise\":1}', {noise: 1}]}",
            "1:39: augment.mix: stored as the same text, got '{\"noise\":1}' twice. Remove one.",
        ),
        (
            "loss.terms: {choice: clean}",
            "1:22: loss.terms: choice needs a list, got 'clean'. Write choice: [a, b].",
        ),
        (
            "loss.fma.layers: {subset: tap}",
            "1:27: loss.fma.layers: subset needs a list, got 'tap'. Write subset: [a, b].",
        ),
        (
            "augment.types: {choice: [[gaussian_noise, gaussian_noise], [jpeg]]}",
            "1:43: augment.types: given twice, got 'gaussian_noise'. Remove one.",
        ),
        (
            "finetune.budget.epochs: {int: [0, 3]}",
            "1:32: finetune.budget.epochs: must be at least 1, got 0. Raise it.",
        ),
        (
            "loss.fma.layers: {subset: [stem, 3]}",
            "1:34: loss.fma.layers: items must be text, got 3. Put it in quotes.",
        ),
        (
            "augment.mix: {simplex: augment.family}",
            "1:24: augment.mix: simplex must name a subset of the space or a list of the study, "
            "got 'augment.family'. Did you mean augment.families?",
        ),
        # words
        (
            "loss.terms: 3",
            "1:13: loss.terms: must be a domain, got 3. Write for example {float: [LOW, HIGH]}",
        ),
        (
            "loss.st.weight: {flaot: [0, 1]}",
            "1:18: loss.st.weight: unknown domain, got 'flaot'. Did you mean float?",
        ),
        (
            "loss.st.weight: {float: [0, 1], int: [0, 1]}",
            "1:33: loss.st.weight: needs one domain, got float and int. Keep one.",
        ),
        (
            "loss.st.weight: {log: true}",
            "1:17: loss.st.weight: needs a domain, got {log: true}. "
            "Add one of float, int, choice, subset, simplex.",
        ),
        (
            "loss.st.weight: {float: [1, 2], lgo: true}",
            "1:33: loss.st.weight: unknown option of float, got 'lgo'. Did you mean log?",
        ),
        (
            "loss.terms: {choice: [clean, st], step: 1}",
            "1:35: loss.terms: unknown option of choice, got 'step'. Known: when.",
        ),
        # keys
        (
            "loss.st.wait: {float: [0, 1]}",
            "1:1: loss.st.wait: unknown key. Did you mean loss.st.weight?",
        ),
        (
            "alpha: {float: [0, 1]}",
            "1:1: alpha: unknown key. Search a key of model, baseline, finetune, loss, augment.",
        ),
        (
            "loss.st: {float: [0, 1]}",
            "1:1: loss.st: a section cannot be searched, got loss.st. "
            "Search one of loss.st.weight, loss.st.form, loss.st.anchor, loss.st.temperature.",
        ),
        (
            "dataset.image_size: {int: [8, 32]}",
            "1:1: dataset.image_size: cannot be searched, because trials would be compared by "
            "different measures, got dataset.image_size. Create one study for each value.",
        ),
        (
            "search.trials: {int: [8, 32]}",
            "1:1: search.trials: cannot be searched, because it is not part of a trial, got "
            "search.trials. Search a key of model, baseline, finetune, loss, augment.",
        ),
        (
            "a: {when: {loss.terms: clean}, parameters: {loss.st.weight: {float: [0, 1]}}}\n"
            "loss.st.weight: {float: [0, 1]}",
            "2:1: loss.st.weight: searched twice, got it here and at "
            "space.a.parameters.loss.st.weight. Keep one.",
        ),
        # values
        (
            "loss.st.weight: {float: [-1, 1]}",
            "1:26: loss.st.weight: must be at least 0, got -1. Raise it.",
        ),
        (
            "finetune.momentum: {float: [0.5, 1]}",
            "1:34: finetune.momentum: must be below 1, got 1. Lower it.",
        ),
        (
            "loss.st.weight: {choice: [1, abc]}",
            "1:30: loss.st.weight: must be a number, got 'abc'. Write a number, such as 0.5.",
        ),
        (
            "loss.terms: {choice: [clean, clean+fmaa]}",
            "1:30: loss.terms: unknown term, got 'fmaa'. Did you mean fma?",
        ),
        (
            "loss.fma.layers: {subset: [stem, stage4]}",
            "1:34: loss.fma.layers: unknown layer, got 'stage4'. Did you mean stage3?",
        ),
        (
            "loss.fma.distance: {choice: [mse, mze]}",
            "1:35: loss.fma.distance: unknown distance, got 'mze'. Did you mean mse?",
        ),
        (
            "augment.mix: {simplex: [noise, blurr]}",
            "1:24: augment.mix: unknown family or type, got 'blurr'. Did you mean blur?",
        ),
        (
            "augment.strength: {simplex: [noise, blur]}",
            "1:29: augment.strength: must be a number, got {noise: 0.5, blur: 0.5}.",
        ),
        # conditions
        (
            "loss.st.weight: {float: [0, 1], when: {loss.trems: clean}}",
            "1:40: loss.st.weight: when names an unknown parameter, got 'loss.trems'. "
            "Did you mean loss.terms?",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {loss.st.weight: 1}}",
            "1:1: loss.st.weight: conditions must not form a cycle, got loss.st.weight -> "
            "loss.st.weight. Remove one of them.",
        ),
        (
            "finetune.momentum: {float: [0, 0.5], when: {loss.st.weight: 1}}\n"
            "loss.st.weight: {float: [0, 1], when: {loss.st.anchor: both}}\n"
            "loss.st.anchor: {choice: [clean, both], when: {loss.st.weight: 1}}",
            "2:1: loss.st.weight: conditions must not form a cycle, got loss.st.weight -> "
            "loss.st.anchor -> loss.st.weight. Remove one of them.",
        ),
        (
            "augment.mix: {simplex: augment.families}\n"
            "augment.families: {subset: [noise, blur], when: {loss.st.weight: 1}}\n"
            "loss.st.weight: {float: [0, 1], when: {augment.families: [noise]}}",
            "2:1: augment.families: conditions must not form a cycle, got augment.families -> "
            "loss.st.weight -> augment.families. Remove one of them.",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {}}",
            "1:39: loss.st.weight: when must be a mapping of keys to values, got {}. "
            "Write when: {loss.terms: {contains: fma}}.",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {loss.terms: {contain: st}}}",
            "1:53: loss.st.weight: unknown condition, got 'contain'. Did you mean contains?",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {loss.terms: {in: [st], contains: st}}}",
            "1:52: loss.st.weight: when needs one condition per key, got {in: ['st'], contains: ",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {loss.terms: {in: st}}}",
            "1:57: loss.st.weight: in needs a list of values, got 'st'. Write in: [a, b].",
        ),
        (
            "loss.terms: {choice: [clean, clean+st]}\n"
            "loss.st.weight: {float: [0, 1], when: {loss.terms: {contains: stt}}}",
            "2:52: loss.st.weight: when can never hold, got loss.terms contains 'stt'. "
            "Did you mean st?",
        ),
        (
            "loss.terms: {choice: [clean, clean+st]}\n"
            "loss.st.weight: {float: [0, 1], when: {loss.terms: clean+stt}}",
            "2:52: loss.st.weight: when can never hold, got loss.terms is 'clean+stt'. "
            "Did you mean clean+st?",
        ),
        (
            "finetune.batch_size: {int: [2, 4]}\n"
            "loss.st.weight: {float: [0, 1], when: {finetune.batch_size: 8}}",
            "2:61: loss.st.weight: when can never hold, got finetune.batch_size is 8. Use a value "
            "that finetune.batch_size can have.",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {loss.st.anchor: cleen}}",
            "1:56: loss.st.weight: when on loss.st.anchor: must be one of both, clean, pretrained, "
            "ema, got 'cleen'. Did you mean clean?",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {loss.terms: {contains: stt}}}",
            "1:52: loss.st.weight: when on loss.terms: unknown term, got 'stt'. Did you mean st?",
        ),
        # blocks
        (
            "a: {parameters: {loss.st.weight: {float: [0, 1]}}}",
            "1:1: a: a block needs a condition, got none. Add when: {KEY: VALUE}.",
        ),
        (
            "a: {when: {loss.terms: clean}, parameters: {}}",
            "1:44: a: parameters must be a mapping of keys to domains, got {}. "
            "Write KEY: {float: [LOW, HIGH]}.",
        ),
        (
            "a: {when: {loss.terms: clean}, paramters: {}}",
            "1:1: a: needs a domain or, as a block, parameters, got when, paramters. "
            "Add parameters: {KEY: DOMAIN}.",
        ),
        (
            "a: {when: {loss.terms: st}, log: true, parameters: {loss.st.weight: {int: [0, 1]}}}",
            "1:29: a: unknown option of a block, got 'log'. Known: when, parameters.",
        ),
        (
            "a: {when: {loss.trems: st}, parameters: {loss.st.weight: {float: [0, 1]}, "
            "loss.st.anchor: {choice: [both]}}}",
            "1:12: a: when names an unknown parameter, got 'loss.trems'.",
        ),
        # ratios and what they are ratios of
        (
            "augment.families: {subset: [noise, blur]}\naugment.mix: {simplex: [noise, blur]}",
            "2:24: augment.mix: must use the items of augment.families, which is searched too, "
            "got {noise: 0.5, blur: 0.5}. Write {simplex: augment.families}.",
        ),
        (
            "augment.families: {choice: [[noise], [noise, blur]]}\n"
            "augment.mix: {simplex: [noise, blur]}",
            "2:24: augment.mix: must use the items of augment.families, which is searched too, got "
            "{noise: 0.5, blur: 0.5}. Write {simplex: augment.families} and make augment.families "
            "a subset.",
        ),
    ],
)
def test_one_mistake_has_one_message(problems: Problems, space: str, message: str) -> None:
    (line,) = problems(space)
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("study", "space", "message"),
    [
        (
            "augment: {mix: {noise: 1}}\n",
            "augment.families: {subset: [noise, blur]}",
            "1:1: augment.families: augment.mix must not be fixed while augment.families is "
            "searched, got {noise: 1}. Search augment.mix: {simplex: augment.families} or remove "
            "it from the study.",
        ),
        (
            "augment: {families: [noise]}\n",
            "augment.mix: {simplex: [noise, blur]}",
            "1:24: augment.mix: must be one of augment.families ['noise'], got 'blur'. Known:",
        ),
        (
            "loss: {fma: {layers: [stem, stage1]}}\n",
            "loss.fma.layer_weights: {choice: [linear, {stem: 1, stage2: 1}]}",
            "1:34: loss.fma.layer_weights: must be one of loss.fma.layers ['stem', 'stage1'], "
            "got 'stage2'. Did you mean stage1?",
        ),
        (
            "augment: {families: [noise]}\n",
            "augment.mix: {simplex: augment.families}",
            "1:24: augment.mix: simplex needs two items or more, got ['noise']. Add one, or",
        ),
    ],
)
def test_a_space_must_fit_its_study(
    problems: Problems, study: str, space: str, message: str
) -> None:
    (line,) = problems(space, study)
    assert line.startswith(message)


def test_taps_need_a_model_with_taps(make_study: Callable[..., Study]) -> None:
    study = make_study("loss.fma.layers: {subset: taps}")
    with pytest.raises(StudyFileError) as caught:
        parse_space(study, {})
    assert str(caught.value) == (
        "space: loss.fma.layers: taps needs a model whose taps are known, got 'taps'. "
        "List the layers."
    )


def test_a_space_must_be_inline(make_study: Callable[..., Study]) -> None:
    study = make_study("loss.terms: {choice: [clean]}").model_copy(update={"space": "x.yaml"})
    with pytest.raises(ParameterError) as caught:
        parse_space(study, {})
    assert str(caught.value) == (
        "space: must be a mapping here, got 'x.yaml'. Read the study with read_study."
    )


def test_every_problem_of_a_space_is_said(problems: Problems) -> None:
    lines = problems(
        "loss.st.weight: {float: [2, 1]}\n"
        "loss.terms: {choice: [cleann, st], when: {loss.trems: 1}}\n"
        "loss.fma.layers: {subset: []}\n"
    )
    assert [line.split(":")[0] for line in lines] == ["1", "2", "2", "3"]


def test_a_strength_of_one_type_is_searched(
    make_space: Callable[..., Space], make_study: Callable[..., Study]
) -> None:
    space = make_space(
        "augment.types: {subset: [hue, jpeg]}\n"
        "augment.mix: {simplex: augment.types}\n"
        "augment.strengths.hue: {float: [0.2, 1], when: {augment.types: {contains: hue}}}\n"
        "dataset.train_fraction: {choice: [0.1, 1.0]}"
    )
    assert "augment.strengths.hue" in space.keys
    study = make_study("augment.strength: {float: [0.2, 1]}")
    changed = study.with_values({"augment.strengths.hue": 0.5, "augment.strengths.jpeg": [0.1, 1]})
    assert changed.augment.strengths == {"hue": 0.5, "jpeg": (0.1, 1.0)}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            "augment.strengths.hew: {float: [0.2, 1]}",
            "1:33: augment.strengths.hew: unknown type, got 'hew'. Did you mean hue?",
        ),
        (
            "augment.strengths.hue: {float: [0, 2]}",
            "1:33: augment.strengths.hue: must be above 0, got 0. Raise it.",
        ),
        (
            "augment.mix: {simplex: [hue, blur]}",
            "1:24: augment.mix: must be one of augment.families ['noise', 'blur', 'photometric'], "
            "got 'hue'. Known: noise, blur, photometric.",
        ),
    ],
)
def test_types_and_their_strengths_are_checked(
    problems: Problems, space: str, message: str
) -> None:
    assert problems(space)[0] == message


def test_a_mix_of_families_is_none_of_types(problems: Problems) -> None:
    said = problems(
        "augment.families: {subset: [noise, blur]}\naugment.mix: {simplex: augment.families}",
        "augment: {types: [hue, jpeg]}\n",
    )
    assert said[0] == (
        "2:24: augment.mix: must be one of augment.types ['hue', 'jpeg'], got 'blur'. "
        "Known: hue, jpeg."
    )
