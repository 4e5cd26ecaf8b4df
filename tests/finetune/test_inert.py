"""What is searched in vain is said before a trial is run; what is not, is not."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from ablate.errors import StudyFileError
from ablate.finetune.reads import READINGS, inert_rule, is_read, trained_identity, with_params
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.study_file import parse_study
from ablate.space.domain import CategoricalDimension, Dimension
from ablate.space.parse import parse_space
from ablate.space.space import Space
from ablate.study.keys import leaves, plain_values
from ablate.study.settings import Study

HEAD = "version: 1\nname: a\ndataset: {name: digits}\nmodel: {name: resnet8}\nsearch: {trials: 9}\n"
ROOT = Path(__file__).parents[2]


def read(space: str, study: str = "", head: str = HEAD) -> Study:
    lines = "".join(f"  {line}\n" for line in space.strip().splitlines())
    text = f"{head}{study}space:\n{lines}"
    return parse_study(text, "s.yaml", names=names_for, base=Path())


def said(space: str, study: str = "", head: str = HEAD) -> list[str]:
    try:
        read(space, study, head)
    except StudyFileError as error:
        return [problem.message for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("study", "space", "message"),
    [
        (
            "loss: {terms: clean+da}\n",
            "loss.fma.weight: {float: [0.01, 30], log: true}",
            "loss.fma.weight: has no effect, used only where loss.terms has fma, got loss.terms: "
            "'clean+da'. Change loss.terms, or remove this.",
        ),
        (
            "",
            "loss.terms: {choice: [clean, clean+da]}\nloss.st.form: {choice: [kl, js]}",
            "loss.st.form: has no effect, used only where loss.terms has st, got loss.terms: one "
            "of ['clean', 'clean+da']. Change loss.terms, or remove this.",
        ),
        (
            "loss: {fma: {layers: [stage3]}}\n",
            "loss.fma.layer_weights: {choice: [uniform, linear]}",
            "loss.fma.layer_weights: has no effect, used only where loss.fma.layers has more than "
            "one layer, got loss.fma.layers: ['stage3']. Change loss.fma.layers, or remove this.",
        ),
        (
            "loss: {fma: {weight: 0}}\n",
            "loss.fma.distance: {choice: [mse, cosine]}",
            "loss.fma.distance: has no effect, used only where loss.fma.weight is above 0, got ",
        ),
        (
            "loss: {terms: clean+st, st: {anchor: clean}, fma: {anchor: ema}}\n",
            "loss.teacher_decay: {float: [0.9, 0.99]}",
            "loss.teacher_decay: has no effect, used only where a term in loss.terms has the ",
        ),
        (
            "loss: {terms: clean}\n",
            "augment.strength: {float: [0.2, 1]}",
            "augment.strength: has no effect, used only where loss.terms has more than clean, got",
        ),
        (
            "augment: {method: augmix}\n",
            "augment.families: {subset: [noise, blur]}",
            "augment.families: has no effect, used only where augment.method is not augmix, got ",
        ),
        (
            "augment: {types: [hue]}\n",
            "augment.families: {subset: [noise, blur]}",
            "augment.families: has no effect, used only where augment.types is not given, got ",
        ),
        (
            "",
            "augment.method: {choice: [per_sample, per_batch]}\naugment.depth: {int: [2, 4]}",
            "augment.depth: has no effect, used only where augment.method is composed, got ",
        ),
        (
            "augment: {families: [noise]}\n",
            "augment.strengths.hue: {float: [0.2, 1]}",
            "augment.strengths.hue: has no effect, used only where the type hue is drawn, got ",
        ),
        (
            "augment: {types: [hue], strengths: {hue: 0.5}}\n",
            "augment.strength: {float: [0.2, 1]}",
            "augment.strength: has no effect, used only where a type is drawn that ",
        ),
        (
            "finetune: {optimizer: adamw}\n",
            "finetune.momentum: {float: [0, 0.9]}",
            "finetune.momentum: has no effect, used only where finetune.optimizer is sgd, got ",
        ),
        (
            "baseline: {checkpoint: a.safetensors, saw_validation: false}\n",
            "baseline.learning_rate: {float: [0.01, 0.1]}",
            "baseline.learning_rate: has no effect, used only where baseline.checkpoint is not ",
        ),
        (
            "loss: {terms: clean}\n",
            "finetune.batch_norm: {choice: [joint, separate]}",
            "finetune.batch_norm: has no effect on any trial, got ['joint', 'separate",
        ),
        # conditions
        (
            "loss: {terms: clean+da}\n",
            "loss.fma.weight: {float: [0.01, 30], when: {loss.terms: {contains: fma}}}",
            "loss.fma.weight: when can never hold: loss.terms contains 'fma', got loss.terms: "
            "'clean+da'. Change loss.terms, or remove the parameter.",
        ),
        (
            "",
            "loss.terms: {choice: [clean+st, clean+fma]}\n"
            "loss.st.form: {choice: [kl, js], when: {loss.terms: {contains: st}}}\n"
            "loss.fma.weight: {float: [1, 2], when: {loss.st.form: js, loss.terms: clean+fma}}",
            "loss.fma.weight: when can never hold: loss.st.form is 'js' and loss.terms is "
            "'clean+fma' exclude each other, got no sample with both. Change one.",
        ),
    ],
)
def test_what_is_searched_in_vain_is_named(study: str, space: str, message: str) -> None:
    rate = "finetune.learning_rate: {float: [0.001, 0.1], log: true}\n"
    (line,) = said(rate + space, study)
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("study", "space"),
    [
        ("", "loss.fma.layers: {subset: taps}\nloss.fma.layer_weights: {simplex: loss.fma.layers}"),
        ("loss: {fma: {weight: 0}}\n", "loss.fma.anchor: {choice: [clean, ema]}"),
        ("loss: {terms: clean}\n", "finetune.batch_norm: {choice: [joint, frozen]}"),
        ("loss: {terms: clean+st}\n", "loss.st.weight: {choice: [0, 1]}\nloss.st.form: "
         "{choice: [kl, js]}"),
        ("", "loss.terms: {choice: [clean+da]}\naugment.strength: {float: [0.2, 1]}"),
        ("", "augment.method: {choice: [augmix, composed]}\naugment.depth: {int: [2, 4]}\n"
         "augment.augmix.severity: {float: [1, 3], when: {augment.method: augmix}}"),
        ("", "finetune.optimizer: {choice: [sgd, adamw]}\nfinetune.momentum: {float: [0, 0.9]}"),
    ],
)  # fmt: skip
def test_what_some_draw_reads_is_right(study: str, space: str) -> None:
    assert said(space, study) == []


def test_all_of_it_is_said_at_once() -> None:
    space = (
        "loss.fma.weight: {float: [0.01, 30]}\nloss.st.weight: {float: [0.01, 30]}\n"
        "finetune.momentum: {float: [0, 0.9]}"
    )
    assert [line.partition(":")[0] for line in said(space, "loss: {terms: clean}\n")] == [
        "loss.fma.weight",
        "loss.st.weight",
    ]


def test_an_arm_that_is_tuned_searches_what_it_reads() -> None:
    ablation = (
        "loss: {terms: clean}\nfinetune: {budget: {images: 900}}\nablation: {design: arms, "
        "seeds: 2, tune: {trials: 2}, "
        "arms: {a: {loss.terms: clean+st}, b: {loss.terms: clean+fma}}}\n"
    )
    space = """
finetune.learning_rate: {float: [0.001, 0.1]}
loss.st.weight: {float: [1, 2], when: {loss.terms: {contains: st}}}"""
    assert said(space, ablation, head=HEAD.replace("search: {trials: 9}\n", "")) == []


def draw(space: Space, chance: random.Random) -> dict[str, Any]:
    def ask(dimension: Dimension) -> Any:
        if isinstance(dimension, CategoricalDimension):
            return chance.choice(dimension.choices)
        low, high = dimension.low, dimension.high
        return chance.choice([low, high, type(low)(low + (high - low) * chance.random())])

    return dict(space.draw(ask).values)


VARIED = {
    "loss.terms": {"choice": ["clean", "clean+da", "clean+st", "clean+fma", "clean+st+fma"]},
    "loss.teacher_decay": {"choice": [0.9, 0.99]},
    "loss.clean.weight": {"float": [0, 2]},
    "loss.da.weight": {"float": [0, 2]},
    "loss.st.weight": {"float": [0, 2]},
    "loss.st.form": {"choice": ["kl", "js"]},
    "loss.st.anchor": {"choice": ["both", "ema"]},
    "loss.fma.weight": {"float": [0, 2]},
    "loss.fma.layers": {"subset": "taps"},
    "loss.fma.layer_weights": {"choice": ["uniform", "linear"]},
    "loss.fma.anchor": {"choice": ["both", "ema"]},
    "augment.method": {"choice": ["per_sample", "all", "composed", "augmix"]},
    "augment.types": {"choice": [None, ["hue"], ["hue", "jpeg"]]},
    "augment.families": {"subset": ["noise", "blur"]},
    "augment.strength": {"float": [0.2, 1]},
    "augment.strengths.hue": {"float": [0.2, 1]},
    "augment.depth": {"int": [1, 3]},
    "augment.copies": {"int": [1, 3]},
    "augment.augmix.chains": {"int": [1, 3]},
    "finetune.optimizer": {"choice": ["sgd", "adamw"]},
    "finetune.momentum": {"float": [0, 0.9]},
    "finetune.schedule": {"choice": ["cosine", "one_cycle"]},
    "finetune.warmup_fraction": {"choice": [0, 0.1]},
    "finetune.batch_norm": {"choice": ["joint", "separate"]},
    "finetune.frozen": {"choice": [[], ["stem"], ["stage1", "stem"]]},
    "finetune.layer_decay": {"float": [0.5, 1]},
}


@pytest.mark.slow
def test_inert_is_what_changes_no_draw() -> None:
    """Against 30 spaces: no draw of one shows a change by a parameter that is named."""
    chance, named, seen = random.Random(0), 0, 0
    study = Study.model_validate(yaml.safe_load(HEAD))
    names, fixed = names_for("resnet8"), plain_values(study)
    for _ in range(30):
        keys = chance.sample(sorted(VARIED), 5)
        own = {key: {**VARIED[key]} for key in keys}
        for entry in own.values():  # some are all but fixed
            if "choice" in entry and chance.random() < 0.5:
                entry["choice"] = entry["choice"][:1]
        space = parse_space(study.model_copy(update={"space": own}), names)
        differs = set()
        for values in (draw(space, chance) for _ in range(8)):
            for parameter in space.parameters:
                key = parameter.key
                if len(own[key].get("choice", "ab")) == 1:
                    if is_read(key, with_params(fixed, values)):
                        differs.add(key)
                    continue
                other = with_params(fixed, {**values, key: draw(space, chance)[key]})
                if trained_identity(other) != trained_identity(with_params(fixed, values)):
                    differs.add(key)
        inert = {one.key for one in space.parameters if inert_rule(space, one, fixed)}
        named += len(inert)
        seen += len(differs)
        assert not inert & differs, own
    assert named > 15
    assert seen > 45


def test_every_reading_is_of_keys_that_exist() -> None:
    for reading in READINGS:
        for key in reading.deciders:
            assert key in leaves(), reading
        covered = [one for one in leaves() if one.startswith(reading.keys)]
        assert covered, reading


@pytest.mark.parametrize("file", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda f: f.stem)
def test_shipped_studies_search_nothing_in_vain(file: Path) -> None:
    names: Callable[..., Any] = partial(names_for, base=file.parent)
    parse_study(file.read_text(), str(file), names=names, base=file.parent)


def test_layers_of_frozen_are_those_of_the_network() -> None:
    (wrong,) = said("finetune.layer_decay: {float: [0.5, 1]}", "finetune: {frozen: [stage9]}\n")
    assert wrong == "finetune.frozen[0]: unknown layer, got 'stage9'. Did you mean stage3?"
    (wrong,) = said("finetune.layer_decay: {float: [0.5, 1]}", "finetune: {frozen: [fc]}\n")
    assert wrong.startswith(
        "finetune.frozen[0]: unknown layer, got 'fc'. Known: stem, stage1, stage2, stage3, "
        "normalize, classifier, stem.0, "
    )
    (wrong,) = said("finetune.frozen: {choice: [[], [stem, stages]]}")
    assert wrong == "finetune.frozen: unknown layer, got 'stages'. Did you mean stage3?"
    space = read("finetune.frozen: {subset: taps}\nfinetune.layer_decay: {float: [0.5, 1]}").space
    assert set(space) == {"finetune.frozen", "finetune.layer_decay"}


ALL = "[stem, stage1, stage2, stage3, classifier]"
TAPS = "[stem, stage1, stage2, stage3]"
RATE = "finetune.learning_rate: {float: [0.01, 0.1]}"


@pytest.mark.parametrize(
    ("study", "space"),
    [
        (f"finetune: {{frozen: {ALL}}}\n", RATE),
        ("", f"finetune.frozen: {{choice: [[stem], {ALL}]}}"),
        (
            "",
            "loss.terms: {choice: [clean+da, clean+fma]}\n"
            f"deep: {{when: {{loss.terms: clean+da}}, parameters: {{finetune.frozen: {{choice: "
            f"[[], {ALL}]}}}}}}",
        ),
    ],
)
def test_a_network_in_which_every_layer_is_frozen_is_refused(study: str, space: str) -> None:
    assert said(space, study) == [
        "finetune.frozen: must leave a layer that learns, got ['stem', 'stage1', 'stage2', "
        "'stage3', 'classifier']. Remove one."
    ]


def test_a_frozen_last_layer_is_not_probed() -> None:
    (rule,) = said(RATE, "finetune: {probe_fraction: 0.5, frozen: [classifier]}\n")
    assert rule == (
        "finetune.probe_fraction: needs a network that ends in a linear layer that learns, got "
        "Linear, which is frozen. Leave it out, or change finetune.frozen."
    )
    assert not said(RATE, "finetune: {probe_fraction: 0.5, frozen: [stem]}\n")
    tried = "finetune.frozen: {choice: [[stem], [classifier], [stem, classifier]]}"
    assert said(tried, "finetune: {probe_fraction: 0.5}\n") == [rule]


def test_feature_maps_alone_must_depend_on_what_learns() -> None:
    def refused(frozen: str, loss: str, space: str = RATE) -> list[str]:
        return said(space, f"loss: {{{loss}}}\nfinetune: {{frozen: {frozen}}}\n")

    (rule,) = refused(TAPS, "terms: fma")
    assert rule == (
        "finetune.frozen: a term must reach a layer that learns, got ['stem', 'stage1', 'stage2', "
        "'stage3']. Remove one, or change loss.terms or loss.fma.layers."
    )
    assert refused("[stem, stage1]", "terms: fma, fma: {layers: [stage1]}")
    assert not refused("[stem, stage1]", "terms: fma, fma: {layers: [stage1, stage2]}")
    assert not refused(TAPS, "terms: clean+fma")
    terms = "loss.terms: {choice: [fma, clean+fma]}"
    assert not refused(TAPS, "terms: fma", f"{RATE}\n{terms}")  # of one of the trials, not of all
    assert not said("finetune.frozen: {subset: taps}", f"finetune: {{frozen: {ALL}}}\n")
