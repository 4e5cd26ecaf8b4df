"""A study with a custom training loop: valid and invalid settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ablate.errors import StudyFileError
from ablate.lifecycle.study_file import parse_study
from ablate.space.parse import parse_space
from ablate.study.fingerprint import changed_keys, study_fingerprint
from ablate.study.settings import Study
from tests.study.conftest import without_columns

HEAD = "version: 1\nname: own\ntrainable: my_loop:train\n"
OBJECTIVES = "objectives: [{metric: error, direction: minimize}, {metric: size}]\n"
SPACE = "space: {lr: {float: [0.01, 1]}, net.depth: {int: [1, 4], when: {net.kind: deep}}, "
SPACE += "net.kind: {choice: [deep, flat]}}\n"


def read(text: str, *overrides: str, base: Path = Path()) -> Study:
    return parse_study(text, "s.yaml", overrides, names=lambda _: {}, base=base)


def test_data_and_model_are_not_needed_and_keys_are_free() -> None:
    study = read(HEAD + OBJECTIVES + SPACE)
    assert study.trainable == "my_loop:train"
    assert [objective.metric for objective in study.objectives] == ["error", "size"]
    space = parse_space(study, {})
    assert space.keys == ("lr", "net.kind", "net.depth")
    assert space.encode({"lr": 0.5, "net.kind": "deep", "net.depth": 2})
    assert Study.model_validate(study.model_dump(mode="json")) == study


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            "dataset: {name: digits}\n",
            "5: dataset: has no effect with trainable, got {name: 'digits'}. Remove it, or "
            "trainable.",
        ),
        (
            "finetune: {budget: {images: 9}}\n",
            "5: finetune.budget.images: must be epochs with trainable, got images: 9. Write "
            "budget: {epochs: 4}.",
        ),
        (
            "space: {net width: {float: [0, 1]}}\n",
            "5: net width: must be words joined by dots, such as net.width, got another name. "
            "Rename it.",
        ),
        (
            "space: {a: {float: [0, 1], when: {finetune.seed: 0}}}\n",
            "5: a: when names an unknown parameter, got 'finetune.seed'. Known: a.",
        ),
        (
            "finetune: {learning_rate: 1}\n",
            "5: finetune.learning_rate: has no effect with trainable, got 1. Remove it: a "
            "trainable reads budget.epochs and seed.",
        ),
        (
            "search: {pruner: {images: 9}}\n",
            "5: search.pruner.images: has no effect with trainable, got 9. Remove it: a trainable "
            "scores itself.",
        ),
        (
            "space: {finetune.budget.epochs: {int: [1, 3]}}\n",
            "5: finetune.budget.epochs: is set by the study with trainable, got "
            "finetune.budget.epochs in the space. Name it otherwise, such as loop.epochs.",
        ),
        (
            "search: {pruner: {metric: anything, min_epochs: 5}}\n",
            "5: search.pruner.min_epochs: must be below finetune.budget.epochs (4), got 5. "
            "Lower it, or raise the budget: after the last epoch there is nothing left to stop.",
        ),
    ],
)
def test_what_would_mean_nothing_is_refused(added: str, message: str) -> None:
    with pytest.raises(StudyFileError) as error:
        read(HEAD + OBJECTIVES + added)
    (line,) = without_columns(error.value)
    assert line.startswith(f"s.yaml:{message}")


@pytest.mark.parametrize("metric", ["state", "param.lr"])
@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("objectives: [{metric: error}, {metric: METRIC}]\n", "4: objectives[1].metric"),
        (OBJECTIVES + "constraints: [{metric: METRIC, min: 1}]\n", "5: constraints[0].metric"),
        (
            OBJECTIVES + "search: {pruner: {metrics: [METRIC]}}\n",
            "5: search.pruner.metrics[0]",
        ),
    ],
)
def test_a_metric_named_like_a_column_is_refused(metric: str, written: str, at: str) -> None:
    with pytest.raises(StudyFileError) as error:
        read(HEAD + written.replace("METRIC", metric))
    (line,) = without_columns(error.value)
    assert line == (
        f"s.yaml:{at}: must not be the name of a column of the trials, got '{metric}'. Rename the "
        f"metric, such as loop_{metric.replace('.', '_')}."
    )


def test_objectives_are_required() -> None:
    with pytest.raises(StudyFileError) as error:
        read(HEAD)
    assert without_columns(error.value) == [
        "s.yaml:1: objectives: are required with trainable, got none. List the metrics that its "
        "function reports: [{metric: accuracy}, {metric: seconds}]."
    ]


def test_a_trainable_of_another_type_is_the_only_problem() -> None:
    others = "constraints: [{metric: size, max: baseline}]\nsearch: {pruner: {images: 9}}\n"
    with pytest.raises(StudyFileError) as error:
        read(f"version: 1\nname: a\ntrainable: 3\n{OBJECTIVES}{others}")
    (line,) = without_columns(error.value)
    assert line == "s.yaml:3: trainable: must be text, got 3. Put it in quotes."


def test_the_fingerprint_is_of_what_the_loop_reads() -> None:
    def sections(*overrides: str) -> dict[str, str]:
        study = read(HEAD + OBJECTIVES + SPACE, *overrides)
        return study_fingerprint(study, parse_space(study, {}), "")

    before = sections()
    assert set(before) == {"trainable", "finetune", "objectives", "space", "data", "method"}
    assert sections("finetune.budget.epochs=4") == before  # the default, written out
    for override, section in (
        ("trainable=my_loop:other", "trainable"),
        ("finetune.budget.epochs=5", "finetune"),
        ("finetune.seed=5", "finetune"),
        ("space.lr={float: [0.1, 1]}", "space"),
    ):
        after = sections(override)
        assert {name for name in before if before[name] != after[name]} == {section}
    old = read(HEAD + OBJECTIVES).model_dump(mode="json")
    new = read(HEAD + OBJECTIVES, "trainable=my_loop:other").model_dump(mode="json")
    assert changed_keys(old, new) == ["trainable: 'my_loop:train' -> 'my_loop:other'"]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            "{pruner: {}}\nspace: {finetune.budget.images: {int: [500, 900]}}",
            "5: search.pruner: compares trials after whole epochs, got finetune.budget in images.",
        ),
        (
            "{pruner: {kind: asha}}",
            "5: search.pruner: asha needs a metric, got none. Add metric, or use kind: "
            "pareto_asha.",
        ),
        (
            "{pruner: {kind: asha, metrics: [val_clean_accuracy]}}",
            "5: search.pruner: asha compares one metric, got a list in metrics. Write kind: "
            "pareto_asha, or metric.",
        ),
        (
            "{pruner: {kind: pareto_asha, metric: val_clean_accuracy}}",
            "5: search.pruner: pareto_asha compares metrics, got metric: val_clean_accuracy. "
            "Write kind: asha, or metrics: [val_clean_accuracy].",
        ),
        (
            "{trials: 3, budget: {trials: 4}}",
            "5: search: trials and budget.trials set the same number, got 3 and 4. Keep one.",
        ),
    ],
)
def test_the_search_of_a_finetuning(
    head: str, names: Mapping[str, Sequence[str]], search: str, message: str
) -> None:
    known = names["objectives.metric"]
    names = {**names, "search.pruner.metric": known, "search.pruner.metrics": known}
    with pytest.raises(StudyFileError) as error:
        parse_study(f"{head}search: {search}\n", "s.yaml", names=lambda _: names, base=Path())
    (line,) = without_columns(error.value)
    assert line.startswith(f"s.yaml:{message}")
