"""The JSON Schema: it takes what is right and refuses what an editor should mark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import ablate
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.schema import json_schema
from ablate.space.domain import DOMAINS
from ablate.study.keys import searchable
from ablate.study.yaml_source import parse_yaml

Names = Mapping[str, Sequence[str]]
ROOT = Path(ablate.__file__).parents[1]


def validator(names: Names) -> Draft202012Validator:
    schema = json.loads(json.dumps(json_schema(names)))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def space_validator(names: Names) -> Draft202012Validator:
    schema = json_schema(names)
    return Draft202012Validator({"$ref": "#/$defs/Space", "$defs": schema["$defs"]})


@pytest.fixture(scope="module")
def of_studies(names: Names) -> Draft202012Validator:
    return validator(names)


@pytest.fixture(scope="module")
def of_spaces(names: Names) -> Draft202012Validator:
    return space_validator(names)


@pytest.mark.parametrize(
    ("added", "is_right"),
    [
        ("", True),
        ("loss: {terms: clean+da+fma, fma: {layers: taps}}", True),
        ("loss: {fma: {layers: [stem, stage3], distance: mse}}", True),
        ("augment: {mix: {noise: 1}}", True),
        ("space: x.yaml", True),
        ("space: {loss.fma.weight: {float: [1, 2], log: true}}", True),
        ("loss: {terms: clean+da+}", False),
        ("loss: {terms: clean+fmaa}", False),
        ("loss: {fma: {layers: [stage9]}}", False),
        ("loss: {fma: {distance: mze}}", False),
        ("loss: {fma: {wieght: 1}}", False),
        ("loss: {fma: {layer_weights: {stage9: 1}}}", False),
        ("augment: {mix: {nose: 1}}", False),
        ("augment: {families: [nose]}", False),
        ("objectives: [{metric: nothing}]", False),
        ("search: {sampler: grid}", False),
        ("search: {pruner: {metric: val_clean_accuracy}, budget: {gpu_hours: 1}}", True),
        ("search: {pruner: {min_epochs: 2}}", True),
        ("search: {pruner: {kind: pareto_asha, metrics: [val_clean_accuracy]}}", True),
        ("search: {pruner: {kind: hyperband}}", False),
        ("search: {pruner: {metrics: [nothing]}}", False),
        ("search: {pruner: {metric: nothing}}", False),
        ("search: {pruner: {images: 0}}", False),
        ("baseline: {epochs: 0}", False),
        ("space: {loss.fma.weight: {flaot: [1, 2]}}", False),
        ("space: {loss.fma.wieght: {float: [1, 2]}}", False),
        ("space: {loss.fma.weight: {float: [1]}}", False),
    ],
)
def test_a_study(head: str, of_studies: Draft202012Validator, added: str, is_right: bool) -> None:
    assert of_studies.is_valid(parse_yaml(head + added, "s").data) == is_right


OWN = "version: 1\nname: a\ntrainable: m:f\nobjectives: [{metric: x}, {metric: y}]\n"


@pytest.mark.parametrize(
    ("study", "is_right"),
    [
        (OWN, True),
        (OWN + "space: {net.width: {int: [1, 8]}}\nsearch: {pruner: {metric: x}}", True),
        (OWN + "space: {b: {when: {k: a}, parameters: {lr: {float: [0, 1]}}}}", True),
        (OWN + "space: {net.width: {itn: [1, 8]}}", False),
        ("version: 1\nname: a\ntrainable: m:f\n", False),
        ("version: 1\nname: a\n", False),
    ],
)
def test_a_study_of_a_trainable(
    of_studies: Draft202012Validator, study: str, is_right: bool
) -> None:
    assert of_studies.is_valid(parse_yaml(study, "s").data) == is_right


@pytest.mark.parametrize(
    ("space", "is_right"),
    [
        ("loss.st.weight: {int: [1, 9], step: 2, when: {loss.terms: clean}}", True),
        ("loss.terms: {choice: [clean, st]}", True),
        ("loss.fma.layers: {subset: taps, when: {loss.terms: {contains: fma}}}", True),
        ("augment.mix: {simplex: augment.families, when: {loss.terms: {in: [clean]}}}", True),
        ("b: {when: {loss.terms: clean}, parameters: {loss.terms: {choice: [a]}}}", True),
        ("loss.terms: {choice: []}", False),
        ("augment.mix: {simplex: [a]}", False),
        ("loss.st.weight: {int: [1, 9], lgo: true}", False),
        ("loss.st.weight: {int: [1, 9], when: {loss.terms: {contain: st}}}", False),
        ("b: {parameters: {loss.terms: {choice: [a]}}}", False),
    ],
)
def test_a_space_file(of_spaces: Draft202012Validator, space: str, is_right: bool) -> None:
    assert of_spaces.is_valid(parse_yaml(space, "s").data) == is_right


def test_the_grammar_is_the_parser_s(names: Names) -> None:
    definitions = json_schema(names)["$defs"]
    domains = [branch["$ref"].rpartition("/")[2] for branch in definitions["Domain"]["anyOf"]]
    assert {definitions[domain]["required"][0] for domain in domains} == set(DOMAINS)
    assert set(definitions["Space"]["properties"]) == set(searchable())


@pytest.mark.parametrize("model", ["resnet8", None])
def test_files_that_ship_are_right(model: str | None) -> None:
    names = names_for(model)
    studies, spaces = (
        sorted((ROOT / name).glob("*.yaml")) for name in ("studies", "search_spaces")
    )
    assert studies
    assert spaces
    of_studies, of_spaces = validator(names), space_validator(names)
    for file in studies:
        assert of_studies.is_valid(parse_yaml(file.read_text(), file.name).data), file
    for file in spaces:
        assert of_spaces.is_valid(parse_yaml(file.read_text(), file.name).data), file
