"""YAML's traps: scalars, duplicate keys, places, bombs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ablate.study.document import Place
from ablate.study.yaml_source import MAX_DEPTH, MAX_NODES, parse_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2.5e+2", -250.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("010", 10),
        ("0o10", 8),
        ("0x1f", 31),
        ("-.inf", -math.inf),
        ("true", True),
        ("no", "no"),
        ("2020-01-01", "2020-01-01"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("1e", "1e"),
        ("'1e-3'", "1e-3"),
        ("[1, [a, {b: c}]]", [1, ["a", {"b": "c"}]]),
        ("{<<: {a: 1}, =: 2}", {"<<": {"a": 1}, "=": 2}),
        ("&x [1]", [1]),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
        ("{'?': 1}", {"?": 1}),
        ("", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    document = parse_yaml(text, "f")
    assert not document.problems
    assert document.data == value
    assert type(document.data) is type(value)


def test_nan() -> None:
    assert math.isnan(parse_yaml(".nan", "f").data)


@pytest.mark.parametrize(
    "text", ["no", "1e-3", "~", "", "010", "0x1", ".inf", "true", "<<", "1:30", "a: b", "- a", "\t"]
)
def test_text_that_looks_like_something_else_is_written_as_text(text: str) -> None:
    assert parse_yaml(write_yaml({text: [text, {text: text}]}), "f").data == {
        text: [text, {text: text}]
    }


def test_every_part_has_its_place() -> None:
    document = parse_yaml("a:\n  b: [1,\n      two]\n", "f")
    assert document.place(("a",)) == Place("f", 1, 1)
    assert document.place(("a", "b")) == Place("f", 2, 3)
    assert document.place(("a", "b", 1)) == Place("f", 3, 7)
    assert document.place(("a", "nowhere", "below")) == Place("f", 1, 1)


def test_an_alias_is_its_own_copy() -> None:
    data = parse_yaml("{a: &x {k: 1}, b: *x}", "f").data
    data["a"]["k"] = 2
    assert data["b"] == {"k": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n1: 2\n", "f:2:1: ?: keys must be text, got 1. Put it in quotes."),
        ("? !!str [a]\n: 1\n", "f:1:3: ?: keys must be text, got a list or mapping. Put it in"),
        (f"a: {'9' * 5000}", "f:1:1: a: whole numbers must be below 2**63, got one of 5000 char"),
        ("a: [1, 2\nb: 3\n", "f:2:2: invalid YAML: expected ',' or ']', but got ':'."),
        (
            "a: b: c\n",
            "f:1:5: invalid YAML: mapping values are not allowed here. "
            'Put text that holds ": " in quotes, or check the indentation.',
        ),
        ("a:\n\tb: 1\n", "f:2:1: invalid YAML: found character '\\t' that cannot start any token."),
        ("a: *x\n", "f:1:4: invalid YAML: found undefined alias 'x'."),
        ("a: 1\n---\nb: 1\n", "f:2:1: invalid YAML: found another document. Keep one"),
        ("a: 1\nb: \x07\n", "f:2:4: invalid YAML: a control character, got '\\x07'. Remove it."),
        (
            "a: !!python/name:os.system 1\n",
            "f:1:1: a: tags are not allowed, got 'tag:yaml.org,2002:",
        ),
        ("a: !!int b\n", "f:1:1: a: must fit its tag, got 'b'. Remove the tag."),
        (
            "a: 99999999999999999999999\n",
            "f:1:1: a: whole numbers must be below 2**63, got 99999999999999999999999. Write a",
        ),
        ("a: &a [*a]\n", "f:1:4: invalid YAML: an alias contains itself."),
    ],
)
def test_what_is_broken_is_said_with_its_place(text: str, message: str) -> None:
    (problem,) = parse_yaml(text, "f").problems
    assert str(problem).startswith(message)


def test_depth_is_bounded() -> None:
    (problem,) = parse_yaml("[" * 5000 + "]" * 5000, "f").problems
    assert f"more than {MAX_DEPTH} levels. Make it flatter." in str(problem)


def test_a_chain_of_aliases_is_one_problem() -> None:
    chain = ["&a0 [x]", *(f"&a{i} [*a{i - 1}]" for i in range(1, 3000))]
    problems = parse_yaml(f"1: [{', '.join(chain)}]\nb: *a2999\n", "f").problems
    assert "nested too deeply" in str(problems[-1])


def test_aliases_cannot_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    (problem,) = parse_yaml("\n".join(lines), "f").problems
    assert f"more than {MAX_NODES} values after aliases" in str(problem)
