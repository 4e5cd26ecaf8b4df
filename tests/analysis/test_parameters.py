"""The trials as a table of parameters: kinds, order, what is shown, what a person may name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from example_records import example_record, example_row

from ablate.analysis.parameters import (
    ParameterColumn,
    ParametersInfo,
    find_params,
    mean_ranks,
    parameter_column,
    parameters_info,
)
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import Failure

SPACE = {
    "loss.terms": {"choice": ["clean+st", "clean+fma"]},
    "fma": {
        "when": {"loss.terms": {"contains": "fma"}},
        "parameters": {
            "loss.fma.weight": {"float": [0.01, 100.0], "log": True},
            "loss.fma.layers": {"subset": "taps"},
        },
    },
    "augment.mix": {"simplex": ["noise", "blur"]},
    "finetune.epochs": {"int": [1, 8]},
}
FMA = {"loss.terms": "clean+fma", "loss.fma.weight": 1.0, "loss.fma.layers": ["stem", "stage2"]}


def mix(noise: float) -> dict[str, Any]:
    return {"augment.mix": {"noise": noise, "blur": 1 - noise}}


ROWS = [
    example_row(0, (0.9, 0.7), params={**FMA, "finetune.epochs": 2, **mix(0.25)}),
    example_row(1, (0.8, 0.6), params={"loss.terms": "clean+st", "finetune.epochs": 4, **mix(1.0)}),
    example_row(
        2,
        (0.7, 0.8),
        params={
            **FMA,
            **mix(0.5),
            "loss.fma.layers": ["stage1"],
            "finetune.epochs": 8,
            "other": True,
        },
    ),
    example_row(3, None, state="FAIL", params={"late": 1}, failure=Failure("raised", "boom")),
]


def info_of(*rows: Any, **options: Any) -> ParametersInfo:
    return parameters_info(example_record(rows or ROWS, space=SPACE), **options)


def column(key: str, **options: Any) -> ParameterColumn:
    (found,) = [one for one in info_of(params=(key,), **options).columns if one.key == key]
    return found


def test_a_log_parameter_of_a_block_knows_where_it_was_left_out() -> None:
    weight = column("loss.fma.weight")
    assert (weight.kind, weight.values, weight.bounds) == ("log", (1.0, None, 1.0), (0.01, 100.0))
    assert weight.ends == pytest.approx((-2, 2))
    np.testing.assert_array_equal(weight.coordinates, [0, np.nan, 0])


def test_a_subset_has_its_items_in_one_order_and_its_levels_from_the_smallest() -> None:
    layers = column("loss.fma.layers")
    assert layers.kind == "categorical"
    assert layers.values == ("stem+stage2", None, "stage1")
    assert layers.levels == ("stage1", "stem+stage2")
    assert set(layers.parts) == {"stem", "stage1", "stage2"}
    assert layers.parts.index("stem") < layers.parts.index("stage2")


def test_a_mix_is_a_ratio_a_part_and_a_choice_keeps_its_order() -> None:
    noise, terms = column("augment.mix.noise"), column("loss.terms")
    assert (noise.kind, noise.values, noise.ends) == ("numeric", (0.25, 1.0, 0.5), (0, 1))
    assert noise.base == "augment.mix"
    assert terms.levels == ("clean+st", "clean+fma")
    np.testing.assert_array_equal(terms.coordinates, [1, 0, 1])


@pytest.mark.parametrize(
    ("values", "domain", "kind", "levels"),
    [
        ([1, 2.5], {}, "numeric", ()),
        ([True, False], {}, "categorical", ("False", "True")),
        ([64, 32], {"choice": [64, 32]}, "categorical", ("64", "32")),
        ([None, 1.0], {"choice": [None, 1.0]}, "categorical", ("None", "1.0")),
        (["b", 1], {}, "categorical", ("1", "b")),
        ([], {"float": [1, 2], "log": True}, "log", ()),
        ([0.0], {"float": [0, 2], "log": True}, "numeric", ()),
    ],
)
def test_kinds(values: list, domain: dict, kind: str, levels: tuple) -> None:
    found = parameter_column("x", "x", [{"x": value} for value in values], domain)
    assert (found.kind, found.levels) == (kind, levels)


@pytest.mark.parametrize(
    ("values", "ends"),
    [([math.nan], (0, 1)), ([5.0], (4.5, 5.5)), ([0.0], (-0.5, 0.5)), ([1, 3], (1, 3))],
)
def test_an_axis_has_two_ends_always(values: list, ends: tuple) -> None:
    found = parameter_column("x", "x", [{"x": value} for value in values], {})
    assert found.ends == pytest.approx(ends)


def test_keys_are_in_the_order_of_the_space_with_those_that_only_failed_trials_have() -> None:
    assert info_of().keys == (
        "loss.terms", "loss.fma.weight", "loss.fma.layers", "augment.mix.noise",
        "augment.mix.blur", "finetune.epochs", "late", "other",
    )  # fmt: skip


def test_what_is_the_same_in_all_trials_is_not_shown() -> None:
    shown = [one.key for one in info_of().columns]
    assert "loss.fma.weight" not in shown  # 1.0 wherever it is
    assert "late" not in shown
    assert {"loss.terms", "finetune.epochs"} <= set(shown)


def test_the_parameter_that_sorts_the_trials_best_comes_first() -> None:
    rows = [
        example_row(at, (0.9, 0.5 + 0.01 * at), params={"a": (7 * at) % 12, "b": at})
        for at in range(12)
    ]
    info = parameters_info(example_record(rows))
    assert [one.key for one in info.columns] == ["b", "a"]


def test_at_most_eight_parameters_are_shown_and_sixteen_may_be_named() -> None:
    names = [f"p{at:02d}" for at in range(17)]
    rows = [
        example_row(at, (0.9, 0.7), params=dict.fromkeys(names, at) | {"same": 1})
        for at in range(4)
    ]
    record = example_record(rows)
    assert [one.key for one in parameters_info(record).columns] == names[:8]
    assert len(parameters_info(record, params=names[:16]).columns) == 16
    with pytest.raises(ParameterError, match=r"^--params: figure slice takes 1 to 16 of them, got "
                       r"17: p00, p01, .*, p16\. Name fewer\.$"):  # fmt: skip
        parameters_info(record, params=names)


def test_the_frame_has_a_typed_column_a_parameter() -> None:
    frame = info_of(params=("fma", "mix")).frame()
    assert [str(kind) for kind in frame.dtypes[-4:]] == ["float64", "string", "float64", "float64"]
    assert frame["number"].tolist() == [0, 1, 2]
    assert frame["param.loss.fma.layers"].isna().tolist() == [False, True, False]
    assert frame["param.augment.mix.blur"].tolist() == [0.75, 0.0, 0.5]


def test_all_objectives_are_shown_unless_one_is_named() -> None:
    assert info_of().shown == (0, 1)
    assert info_of(objective="clean").shown == (0,)


def test_the_second_objective_or_the_named_one_sorts() -> None:
    rows = [
        example_row(at, (0.5 + 0.01 * at, 0.5 + 0.01 * ((7 * at) % 12)),
                    params={"a": at, "b": (7 * at) % 12})
        for at in range(12)
    ]  # fmt: skip
    record = example_record(rows)
    assert [one.key for one in parameters_info(record).columns] == ["b", "a"]
    assert [one.key for one in parameters_info(record, objective="clean").columns] == ["a", "b"]


KEYS = ("loss.fma.weight", "loss.st.weight", "augment.mix.noise", "augment.mix.blur", "rate")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("loss.st.weight", ["loss.st.weight"]),
        ("param.rate", ["rate"]),
        ("fma.weight", ["loss.fma.weight"]),
        ("mix", ["augment.mix.noise", "augment.mix.blur"]),
        ("augment.mix", ["augment.mix.noise", "augment.mix.blur"]),
        ("mix.noise", ["augment.mix.noise"]),
    ],
)
def test_a_parameter_may_be_named_by_its_end(name: str, keys: list[str]) -> None:
    assert find_params([name, name], KEYS) == keys


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("weight", "must be one parameter, got weight, which is short for loss.fma.weight, "
                   "loss.st.weight. Write more of the key."),
        ("rat", "must be parameters of the study, got rat. Did you mean rate?"),
        ("", "must be parameters of the study, got nothing. Known: "),
    ],
)  # fmt: skip
def test_a_name_that_means_no_parameter_is_refused(name: str, said: str) -> None:
    with pytest.raises(ParameterError) as error:
        find_params([name], KEYS)
    assert str(error.value).startswith(f"--params: {said}")


def test_another_objective_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"^--objective: must be an objective of the study, "
                       r"got robst\. "):  # fmt: skip
        info_of(objective="robst")


def test_without_a_parameter_there_is_no_figure() -> None:
    record = example_record([example_row(0, (0.9, 0.7), params={})])
    with pytest.raises(NothingToDrawError, match=r"^study example: figure slice needs a parameter "
                       r"that is searched, got none\. Search one in"):  # fmt: skip
        parameters_info(record)


def test_before_a_row_the_space_says_what_there_will_be() -> None:
    info = parameters_info(example_record(space=SPACE), params=("weight",))
    assert [(one.key, one.values) for one in info.columns] == [("loss.fma.weight", ())]
    assert len(info.frame()) == 0


def test_ties_share_their_rank_and_what_is_no_number_has_none() -> None:
    np.testing.assert_array_equal(mean_ranks([3, 1, 3, math.nan, 5]), [2.5, 1, 2.5, np.nan, 4])
