"""`--set key=value`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ablate.lifecycle.study_file import parse_study
from ablate.study.keys import value_at

Names = Mapping[str, Sequence[str]]


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("loss.fma.weight=1e-3", "loss.fma.weight", 0.001),
        ("loss.fma.layers=[stem]", "loss.fma.layers", ["stem"]),
        ("dataset.path=../a b", "dataset.path", "../a b"),
        ("finetune={batch_size: 32}", "finetune.batch_size", 32),
        ("augment.mix.noise=2", "augment.mix", {"noise": 2}),
        ("space.loss.fma.weight={int: [1, 2]}", "space", {"loss.fma.weight": {"int": [1, 2]}}),
        (" name =b", "name", "b"),
    ],
)
def test_an_override_is_yaml(head: str, names: Names, override: str, key: str, value: Any) -> None:
    study = parse_study(head, "s.yaml", [override], names=lambda _: names, base=Path())
    assert value_at(study.model_dump(mode="json"), key) == value


def test_later_overrides_stand_over_earlier_ones_and_the_file(head: str, names: Names) -> None:
    text, sets = f"{head}loss: {{st: {{weight: 2}}}}\n", ["loss.st.weight=3", "loss.st.weight=4"]
    study = parse_study(text, "s.yaml", sets, names=lambda _: names, base=Path())
    assert study.loss.st.weight == 4


def test_a_parameter_of_a_space_file_and_of_a_block_is_replaced(
    tmp_path: Path, head: str, names: Names
) -> None:
    (tmp_path / "x.yaml").write_text(
        "b: {when: {loss.terms: clean+fma}, parameters: {loss.fma.weight: {float: [1, 2]}}}\n"
    )
    sets = ["space.loss.fma.weight={float: [3, 4]}", "space.loss.clean.weight={int: [1, 2]}"]
    text = head + "space: x.yaml\n"
    study = parse_study(text, "s.yaml", sets, names=lambda _: names, base=tmp_path)
    assert isinstance(study.space, dict)
    assert study.space["b"]["parameters"] == {"loss.fma.weight": {"float": [3, 4]}}
    assert study.space["loss.clean.weight"] == {"int": [1, 2]}


def test_the_space_itself_is_replaced(tmp_path: Path, head: str, names: Names) -> None:
    (tmp_path / "y.yaml").write_text("loss.clean.weight: {float: [0, 1]}\n")
    text = head + "space: missing.yaml\n"
    study = parse_study(text, "s.yaml", ["space=y.yaml"], names=lambda _: names, base=tmp_path)
    assert study.space == {"loss.clean.weight": {"float": [0, 1]}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "loss.terms",
            "`overrides`: must be key=value, got 'loss.terms'. Write `overrides=loss.terms=VALUE`.",
        ),
        (
            "loss.fma.wieght=3",
            "`overrides=loss.fma.wieght`: unknown key. Did you mean loss.fma.weight?",
        ),
        (
            "loss.fma={weight: abc}",
            "`overrides=loss.fma`: loss.fma.weight: must be a number, got 'abc'.",
        ),
        (
            "dataset.crop_scale=0.5",
            "`overrides=dataset.crop_scale`: needs images that are decoded in each epoch, got 0.5 "
            "with resident ones. Write loading: streamed.",
        ),
        ("loss.terms=[a", "`overrides=loss.terms`: invalid YAML: expected ',' or ']', but got"),
        (
            "space.loss.da.weight={float: [2, 1]}",
            "`overrides=space.loss.da.weight`: loss.da.weight: low must be below high, got [2, 1]",
        ),
        (
            "space.loss.da.wait={int: [1, 2]}",
            "`overrides=space.loss.da.wait`: loss.da.wait: unknown key.",
        ),
    ],
)
def test_a_wrong_override_is_said(
    problems: Callable[..., list[str]], head: str, override: str, message: str
) -> None:
    (line,) = problems(head, override)
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("written", "overrides", "parent"),
    [
        ("loss: 5\n", ("loss.terms=clean",), "loss is 5"),
        ("", ("loss=clean+fma", "loss.fma.weight=2"), "loss is 'clean+fma'"),
        ("run: {trackers: [wandb]}\n", ("run.trackers.mlflow.uri=x",), "run.trackers is a list"),
        (
            "loss: {fma: {layer_weights: linear}}\n",
            ("loss.fma.layer_weights.stem=2",),
            "loss.fma.layer_weights is 'linear'",
        ),
    ],
)
def test_an_override_below_what_is_no_section(
    problems: Callable[..., list[str]],
    head: str,
    written: str,
    overrides: tuple[str, ...],
    parent: str,
) -> None:
    key = overrides[-1].partition("=")[0]
    (line,) = problems(head + written, *overrides)
    assert line.startswith(f"`overrides={key}`: {parent}, got one key of it. Write `overrides=")
