"""What is left of a configuration without a part: by value, in every way it can be written."""

from __future__ import annotations

from typing import Any

import pytest
from plans import TAPS, draft_of

from ablate.ablation.components import (
    COMBINED,
    Change,
    LeftOutError,
    read_components,
)

SIXTH, NINTH = pytest.approx(1 / 6), pytest.approx(1 / 9)


def without(name: str, values: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """What holds without a part that does not hold with it."""
    left = Change(name, (), part=name).apply(draft_of(**sections), values)
    return {key: value for key, value in left.items() if values.get(key, left) != value}


# terms


@pytest.mark.parametrize(
    ("terms", "term", "left"),
    [
        ("clean+fma", "clean", "fma"),
        ("clean+st+fma", "st", "clean+fma"),
        ("da+st", "da", "st"),
    ],
)
def test_without_a_term(terms: str, term: str, left: str) -> None:
    assert without(term, {"loss.terms": terms}) == {"loss.terms": left}
    assert without(term, {}, loss={"terms": terms}) == {"loss.terms": left}


def test_the_last_term_cannot_be_left_out() -> None:
    with pytest.raises(LeftOutError) as caught:
        without("fma", {"loss.terms": "fma"})
    assert str(caught.value) == (
        "an objective needs a term, got 'fma' without fma. Add a term to the reference."
    )


# layers


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({}, {"loss.fma.layers": TAPS[:3]}),
        ({"loss.fma.layers": "taps"}, {"loss.fma.layers": TAPS[:3]}),
        ({"loss.fma.layers": ["stage3", "stem"]}, {"loss.fma.layers": ["stem"]}),
        (
            {"loss.fma.layers": ["stem", "stage3"], "loss.fma.layer_weights": "linear"},
            {"loss.fma.layers": ["stem"]},
        ),
        (
            {"loss.fma.layer_weights": {"stem": 1, "stage3": 2}},
            {"loss.fma.layers": TAPS[:3], "loss.fma.layer_weights": {"stem": 1}},
        ),
        ({"loss.fma.layers": ["stem"]}, {}),
        ({"loss.fma.layers": ["stage3.0.conv1"]}, {}),
    ],
)
def test_without_a_layer(values: dict[str, Any], left: dict[str, Any]) -> None:
    assert without("layer:stage3", values) == left


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"loss.fma.layers": ["stage3"]}, "['stage3']"),
        ({"loss.fma.layer_weights": {"stage3": 1, "stem": 0}}, "['stage3']"),
    ],
)
def test_the_last_layer_cannot_be_left_out(values: dict[str, Any], shown: str) -> None:
    with pytest.raises(LeftOutError) as caught:
        without("layer:stage3", values)
    assert str(caught.value) == (
        f"the feature-map term needs a layer, got {shown} without stage3. Leave out fma instead."
    )


# distortions


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({}, {"augment.families": ["blur", "photometric"]}),
        (
            {"augment.mix": {"noise": 2, "blur": 1, "photometric": 3}},
            {
                "augment.families": ["blur", "photometric"],
                "augment.mix": {"blur": 1, "photometric": 3},
            },
        ),
        (
            {"augment.types": ["gaussian_noise", "speckle_noise", "jpeg", "hue"]},
            {"augment.types": ["hue", "jpeg"]},
        ),
        ({"augment.families": ["blur", "digital"]}, {}),
        ({"augment.types": ["jpeg", "hue"]}, {}),
        ({"augment.mix": {"noise": 0, "blur": 1, "photometric": 1}}, {}),
        ({"augment.method": "augmix"}, {}),
    ],
)
def test_without_a_family(values: dict[str, Any], left: dict[str, Any]) -> None:
    assert without("noise", values) == left


@pytest.mark.parametrize(
    ("values", "left"),
    [
        (
            {"augment.families": ["noise", "blur"], "augment.mix": {"noise": 3, "blur": 1}},
            {
                "augment.types": ["impulse_noise", "gaussian_blur"],
                "augment.mix": {"impulse_noise": 0.375, "gaussian_blur": 0.25},
            },
        ),
        ({"augment.types": ["gaussian_noise", "hue"]}, {"augment.types": ["hue"]}),
        ({"augment.families": ["blur"]}, {}),
    ],
)
def test_without_a_type_what_is_left_keeps_its_shares(
    values: dict[str, Any], left: dict[str, Any]
) -> None:
    assert without("gaussian_noise", values) == left


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("noise", {"augment.types": ["shot_noise", "gaussian_noise"]}),
        ("noise", {"augment.mix": {"noise": 1, "blur": 0}}),
        ("hue", {"augment.types": ["hue"]}),
    ],
)
def test_the_last_distortion_cannot_be_left_out(name: str, values: dict[str, Any]) -> None:
    with pytest.raises(LeftOutError) as caught:
        without(name, values)
    assert str(caught.value) == (
        f"an augmentation needs a distortion, got {name} alone. Add another to the reference."
    )


# combined augmentations


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({}, "gaussian_noise"),
        ({"augment.families": ["photometric", "blur"]}, "gaussian_blur"),
        ({"augment.types": ["jpeg", "hue"]}, "hue"),
        ({"augment.mix": {"noise": 0, "blur": 1, "photometric": 1}}, "gaussian_blur"),
    ],
)
def test_one_type_in_place_of_several_is_the_first_that_is_drawn(
    values: dict[str, Any], kind: str
) -> None:
    assert without(COMBINED, values) == {"augment.types": [kind], "augment.mix": None}


# as they are written


def read(components: Any, **sections: Any) -> tuple[list[str], list[tuple[Any, str]]]:
    draft = draft_of(components, **sections)
    found = read_components(draft)
    return [one.name for one in found], [(path[1:], rule) for path, rule in draft.problems]


@pytest.mark.parametrize(
    ("written", "where", "rule"),
    [
        (
            ("fmaa",),
            ("components", 0),
            "unknown component, got 'fmaa'. Did you mean fma? Or write {fmaa: {KEY: VALUE}}.",
        ),
        (
            ("layer:stage9",),
            ("components", 0),
            "unknown component, got 'layer:stage9'. Did you mean layer:stage3? Or write "
            "{layer:stage9: {KEY: VALUE}}.",
        ),
        (("fma", "fma"), ("components", 1), "given twice, got 'fma'. Remove one."),
        (
            {"x": {"loss.fma.wieght": 0}},
            ("components", "x", "loss.fma.wieght"),
            "unknown key. Did you mean loss.fma.weight?",
        ),
        (
            {"x": {"augment.mix": {"noise": 1, "nose": 1}}},
            ("components", "x", "augment.mix", "nose"),
            "unknown family or type, got 'nose'. Did you mean noise?",
        ),
    ],
)
def test_what_is_wrong_with_a_component(written: Any, where: Any, rule: str) -> None:
    names, refused = read(written)
    assert refused == [(where, rule)]
    assert len(names) == len(written) - 1


def test_a_loop_of_one_s_own_says_what_holds_without_a_part() -> None:
    _, refused = read(("fma",), trainable="own:train")
    assert refused == [
        (
            ("components", 0),
            "a component of a custom training loop needs the values without it, got only 'fma'. "
            "Write "
            "components: {fma: {KEY: VALUE}}.",
        )
    ]
