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


@pytest.fixture(scope="module")
def of_studies(names: Names) -> Draft202012Validator:
    return Draft202012Validator(json_schema(names))


@pytest.mark.parametrize(
    ("added", "is_right"),
    [
        ("", True),
        ("loss: {terms: clean+da+fma, fma: {layers: taps}}", True),
        ("loss: {fma: {layers: [stem, stage3], distance: mse}}", True),
        ("augment: {mix: {noise: 1}}", True),
        ("space: x.yaml", True),
        ("space: {loss.fma.weight: {float: [1, 2], log: true}}", True),
        ("loss: {fma: {layers: [stage9]}}", False),
        ("loss: {fma: {distance: mze}}", False),
        ("loss: {fma: {wieght: 1}}", False),
        ("loss: {fma: {layer_weights: {stage9: 1}}}", False),
        ("augment: {mix: {nose: 1}}", False),
        ("augment: {families: [nose]}", False),
        ("search: {sampler: grid}", False),
        ("search: {pruner: {metric: val_clean_accuracy}, budget: {gpu_hours: 1}}", True),
        ("search: {pruner: {kind: hyperband}}", False),
        ("baseline: {epochs: 0}", False),
        ("run: {trackers: [wandb, {mlflow: {uri: x}}]}", True),
        ("space: {loss.fma.weight: {flaot: [1, 2]}}", False),
        ("space: {loss.fma.weight: {float: [1]}}", False),
    ],
)
def test_a_study(head: str, of_studies: Draft202012Validator, added: str, is_right: bool) -> None:
    assert of_studies.is_valid(parse_yaml(head + added, "s").data) == is_right


OWN = "version: 1\nname: a\ntrainable: m:f\nobjectives: [{metric: x}, {metric: y}]\n"


@pytest.mark.parametrize(
    ("study", "is_right"),
    [
        (OWN + "space: {net.width: {int: [1, 8]}}\nsearch: {pruner: {metric: x}}", True),
        (OWN + "space: {b: {when: {k: a}, parameters: {lr: {float: [0, 1]}}}}", True),
        (OWN + "space: {net.width: {itn: [1, 8]}}", False),
        ("version: 1\nname: a\n", False),
    ],
)
def test_a_study_of_a_trainable(
    of_studies: Draft202012Validator, study: str, is_right: bool
) -> None:
    assert of_studies.is_valid(parse_yaml(study, "s").data) == is_right


def test_keys_and_names_are_completed(names: Names) -> None:
    schema = json_schema(names)
    space = schema["$defs"]["Space"]["properties"]
    assert set(space) == set(searchable())
    assert set(DOMAINS) <= set(schema["$defs"]["Domain"]["properties"])
    assert space["loss.fma.weight"]["description"].startswith("Weight of the feature-map term.")
    assert schema["$defs"]["LossSettings"]["properties"]["terms"]["examples"] == list(
        names["loss.terms"]
    )


def test_files_that_ship_are_right() -> None:
    schema = json_schema(names_for(None))
    Draft202012Validator.check_schema(json.loads(json.dumps(schema)))
    of_studies = Draft202012Validator(schema)
    of_spaces = Draft202012Validator({"$ref": "#/$defs/Space", "$defs": schema["$defs"]})
    for folder, validator in (("studies", of_studies), ("search_spaces", of_spaces)):
        files = sorted((ROOT / folder).glob("*.yaml"))
        assert files
        for file in files:
            assert validator.is_valid(parse_yaml(file.read_text(), file.name).data), file
