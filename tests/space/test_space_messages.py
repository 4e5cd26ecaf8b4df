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
            "loss.st.weight: {float: [0, 5e-324]}",
            "1: loss.st.weight: high must be 0, or from 1e-300 to 1e+300 in size, got 4.94066e-324",
        ),
        (
            "loss.st.weight: {float: [0, 1], step: 1e-300}",
            "1: loss.st.weight: step must be larger than 1 / 2**52, got 1e-300. Raise",
        ),
        (
            f"finetune.batch_size: {{choice: {list(range(1, 1002))}}}",
            "1: finetune.batch_size: choice must have at most 1000 items, got 1001. Name fewer",
        ),
        (
            f"loss.fma.layers: {{subset: [stem, {'a' * 201}]}}",
            "1: loss.fma.layers: items must have at most 200 characters, got 201. Shorten it.",
        ),
        (
            "loss.terms: {choice: [.inf]}",
            "1: loss.terms: must be finite, got inf. Write a number, or text in quotes.",
        ),
        # intervals
        (
            "loss.st.weight: {float: 3}",
            "1: loss.st.weight: float needs [low, high], got 3. Write two numbers.",
        ),
        (
            "finetune.batch_size: {int: [2.5, 9]}",
            "1: finetune.batch_size: low must be a whole number, got 2.5. Write a whole number.",
        ),
        (
            "loss.st.weight: {float: [0, 1], step: 0}",
            "1: loss.st.weight: step must be above 0, got 0. Raise it.",
        ),
        (
            "loss.st.weight: {float: [10, 0.01]}",
            "1: loss.st.weight: low must be below high, got [10, 0.01]. Swap them.",
        ),
        (
            "loss.st.weight: {float: [0.1, 0.10000000000000002]}",
            "1: loss.st.weight: low and high must differ by a fraction of more than 1e-12, got "
            "[0.1, 0.10000000000000002]. Widen it, or fix the value in the study.",
        ),
        (
            "loss.st.weight: {float: [0, 1], log: true}",
            "1: loss.st.weight: log needs a low above 0, got [0, 1]. Raise low or drop log.",
        ),
        (
            "loss.st.weight: {float: [0.1, 1], log: true, step: 0.1}",
            "1: loss.st.weight: step and log exclude each other, got step 0.1. Drop one.",
        ),
        (
            "loss.st.weight: {float: [0, 1], step: 2}",
            "1: loss.st.weight: step must fit into [0, 1], got 2. Lower it.",
        ),
        (
            "loss.st.weight: {float: [0, 1], step: 0.3}",
            "1: loss.st.weight: step must lead from 0 to 1, got 0.3. "
            "End the range at 0.9 or change the step.",
        ),
        (
            "loss.st.weight: {float: [1, 2], log: yes}",
            "1: loss.st.weight: log must be true or false, got 'yes'. Write true or false.",
        ),
        # lists
        (
            "loss.terms: {choice: [clean, clean]}",
            "1: loss.terms: given twice, got 'clean'. Remove one.",
        ),
        (
            "loss.fma.layers: {subset: [stem, 3]}",
            "1: loss.fma.layers: items must be text, got 3. Put it in quotes.",
        ),
        (
            "loss.terms: {choice: []}",
            "1: loss.terms: choice of nothing, got []. Name at least one.",
        ),
        (
            "augment.mix: {simplex: [noise]}",
            "1: augment.mix: simplex needs two items or more, got ['noise']. "
            "Add one, or do not search it.",
        ),
        (
            "loss.terms: {choice: clean}",
            "1: loss.terms: choice needs a list, got 'clean'. Write choice: [a, b].",
        ),
        (
            "augment.mix: {simplex: augment.family}",
            "1: augment.mix: simplex must name a subset of the space or a list of the study, "
            "got 'augment.family'. Did you mean augment.families?",
        ),
        # words
        (
            "loss.terms: 3",
            "1: loss.terms: must be a domain, got 3. Write for example {float: [LOW, HIGH]}",
        ),
        (
            "loss.st.weight: {flaot: [0, 1]}",
            "1: loss.st.weight: unknown domain, got 'flaot'. Did you mean float?",
        ),
        (
            "loss.st.weight: {float: [0, 1], int: [0, 1]}",
            "1: loss.st.weight: needs one domain, got float and int. Keep one.",
        ),
        (
            "loss.st.weight: {log: true}",
            "1: loss.st.weight: needs a domain, got {log: true}. "
            "Add one of float, int, choice, subset, simplex.",
        ),
        (
            "loss.st.weight: {float: [1, 2], lgo: true}",
            "1: loss.st.weight: unknown option of float, got 'lgo'. Did you mean log?",
        ),
        # keys
        (
            "gamma: {float: [0, 1]}",
            "1: gamma: unknown key. Search a key of model, baseline, finetune, loss, augment.",
        ),
        (
            "loss.st: {float: [0, 1]}",
            "1: loss.st: a section cannot be searched, got loss.st. "
            "Search one of loss.st.weight, loss.st.form, loss.st.anchor, loss.st.temperature.",
        ),
        (
            "search.trials: {int: [8, 32]}",
            "1: search.trials: cannot be searched, because it is not part of a trial, got "
            "search.trials. Search a key of model, baseline, finetune, loss, augment.",
        ),
        (
            "a: {when: {loss.terms: clean}, parameters: {loss.st.weight: {float: [0, 1]}}}\n"
            "loss.st.weight: {float: [0, 1]}",
            "2: loss.st.weight: searched twice, got it here and at "
            "space.a.parameters.loss.st.weight. Keep one.",
        ),
        # conditions
        (
            "loss.st.weight: {float: [0, 1], when: {loss.st.weight: 1}}",
            "1: loss.st.weight: conditions must not form a cycle, got loss.st.weight. Remove one",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {}}",
            "1: loss.st.weight: when must be a mapping of keys to values, got {}. "
            "Write when: {loss.terms: {contains: fma}}.",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {loss.terms: {contain: st}}}",
            "1: loss.st.weight: unknown condition, got 'contain'. Did you mean contains?",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {loss.terms: {in: [st], contains: st}}}",
            "1: loss.st.weight: when needs one condition per key, got {in: ['st'], contains: ",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {loss.terms: {in: st}}}",
            "1: loss.st.weight: in needs a list of values, got 'st'. Write in: [a, b].",
        ),
        (
            "loss.terms: {choice: [clean, clean+st]}\n"
            "loss.st.weight: {float: [0, 1], when: {loss.terms: {contains: stt}}}",
            "2: loss.st.weight: when can never hold, got loss.terms contains 'stt'. "
            "Did you mean st?",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {loss.st.anchor: cleen}}",
            "1: loss.st.weight: when on loss.st.anchor: must be one of both, clean, pretrained, "
            "ema, got 'cleen'. Did you mean clean?",
        ),
        (
            "loss.st.weight: {float: [0, 1], when: {loss.terms: {contains: stt}}}",
            "1: loss.st.weight: when on loss.terms: unknown term, got 'stt'. Did you mean st?",
        ),
        # blocks
        (
            "a: {parameters: {loss.st.weight: {float: [0, 1]}}}",
            "1: a: a block needs a condition, got none. Add when: {KEY: VALUE}.",
        ),
        (
            "a: {when: {loss.terms: st}, log: true, parameters: {loss.st.weight: {int: [0, 1]}}}",
            "1: a: unknown option of a block, got 'log'. Known: when, parameters.",
        ),
        (
            "a: {when: {loss.terms: clean}, parameters: {}}",
            "1: a: parameters must be a mapping of keys to domains, got {}. "
            "Write KEY: {float: [LOW, HIGH]}.",
        ),
        (
            "a: {when: {loss.terms: clean}, paramters: {}}",
            "1: a: needs a domain or, as a block, parameters, got when, paramters. "
            "Add parameters: {KEY: DOMAIN}.",
        ),
        # ratios and what they are ratios of
        (
            "augment.families: {subset: [noise, blur]}\naugment.mix: {simplex: [noise, blur]}",
            "2: augment.mix: must use the items of augment.families, which is searched too, "
            "got {noise: 0.5, blur: 0.5}. Write {simplex: augment.families}.",
        ),
    ],
)
def test_one_mistake_has_one_message(problems: Problems, space: str, message: str) -> None:
    (line,) = problems(space)
    assert line.startswith(message)


def test_a_space_must_fit_its_study(problems: Problems) -> None:
    space = "augment.families: {subset: [noise, blur]}"
    assert problems(space, "augment: {mix: {noise: 1}}\n") == [
        "1: augment.families: augment.mix must not be fixed while augment.families is searched, "
        "got {noise: 1}. Search augment.mix: {simplex: augment.families} or remove it from the "
        "study."
    ]


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


def test_a_mix_of_families_is_none_of_types(problems: Problems) -> None:
    said = problems(
        "augment.families: {subset: [noise, blur]}\naugment.mix: {simplex: augment.families}",
        "augment: {types: [hue, jpeg]}\n",
    )
    assert said[0] == (
        "2: augment.mix: must be one of augment.types ['hue', 'jpeg'], got 'blur'. "
        "Known: hue, jpeg."
    )
