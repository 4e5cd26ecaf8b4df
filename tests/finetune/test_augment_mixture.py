"""Ratios and strengths of the distortion types, and what is said of wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from ablate.distortion import CORE
from ablate.errors import ParameterError
from ablate.finetune.augment.augmentation import CombinedAugmentations, build_augmentation
from ablate.finetune.augment.mixture import build_mixture
from ablate.finetune.augment.ratios import type_ratios
from ablate.study.settings import AugmentSettings


def test_ratios_are_shared_within_a_family_and_sum_to_1() -> None:
    ratios = type_ratios(("photometric", "noise"), {"noise": 3.0, "photometric": 1.0, "blur": 0.0})
    assert list(ratios) == [*CORE["noise"], *CORE["photometric"]]
    assert ratios["gaussian_noise"] == pytest.approx(3 / 4 / len(CORE["noise"]))
    assert ratios["contrast"] == pytest.approx(1 / 4 / len(CORE["photometric"]))
    assert sum(ratios.values()) == pytest.approx(1)


def test_the_mix_is_over_types_where_types_are_given() -> None:
    types = ("contrast", "gaussian_noise", "gaussian_blur")
    assert type_ratios((), None, types) == {
        "gaussian_noise": 1 / 3,
        "gaussian_blur": 1 / 3,
        "contrast": 1 / 3,
    }
    mix = {"contrast": 3.0, "gaussian_noise": 1.0}
    assert type_ratios(("blur",), mix, types) == {"gaussian_noise": 0.25, "contrast": 0.75}


def test_each_type_has_its_own_strengths() -> None:
    mixture = build_mixture(
        ("noise",),
        strength=0.7,
        types=("gaussian_noise", "brightness", "contrast"),
        strengths={"brightness": 0.4, "contrast": [0.2, 0.2]},
    )
    assert [(kind.name, kind.limits) for kind in mixture] == [
        ("gaussian_noise", (0.0, 0.7)),
        ("brightness", (0.0, 0.4)),
        ("contrast", (0.2, 0.2)),
    ]


def test_strengths_of_a_type_that_is_not_drawn_are_no_problem() -> None:
    # A mix that is searched may end there.
    mix = {"noise": 1.0, "blur": 0.0}
    mixture = build_mixture(("noise", "blur"), mix, strengths={"gaussian_blur": 0.5, "hue": 0.1})
    assert tuple(kind.name for kind in mixture) == CORE["noise"]


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"families": ()},
        f"augment.families: needs at least one family, got none. Known: {', '.join(CORE)}.",
    ),
    (
        {"families": ("noice",)},
        "augment.families: must be families of distortion, got 'noice'. Did you mean noise?",
    ),
    (
        {"families": ("noise", "noise")},
        "augment.families: a family may be given once, got noise twice. Raise its ratio in "
        "augment.mix.",
    ),
    (
        {"mix": {"blurr": 1.0}},
        "augment.mix: must name families of distortion, got 'blurr'. Did you mean blur?",
    ),
    (
        {"mix": {"noise": -0.5}},
        "augment.mix.noise: must be finite and at least 0, got -0.5. 0 leaves the family out.",
    ),
    (
        {"types": ("contrast",), "mix": {"contrast": float("inf")}},
        "augment.mix.contrast: must be finite and at least 0, got inf. 0 leaves the type out.",
    ),
    (
        {"types": ("contrast",), "mix": {"contrast": 1.0, "brightness": 2.0}},
        "augment.mix.brightness: must be 0 for a type outside augment.types, got 2. "
        "Add brightness to augment.types.",
    ),
    (
        {"mix": {"noise": 0.0, "blur": 0.0}},
        "augment.mix: one ratio must be above 0, got {'noise': 0.0, 'blur': 0.0}. "
        "Leave mix out for equal ratios.",
    ),
    (
        {"strength": 0.0},
        "augment.strength: must be above 0 and at most 1, got 0. 1 is the strongest distortion.",
    ),
    (
        {"strength": 1.5},
        "augment.strength: must be above 0 and at most 1, got 1.5. 1 is the strongest distortion.",
    ),
    (
        {"strengths": {"brightnes": 0.5}},
        "augment.strengths: must name types of distortion, got 'brightnes'. "
        "Did you mean brightness?",
    ),
    *(
        (
            {"strengths": {"contrast": limits}},
            "augment.strengths.contrast: must be the highest strength, above 0 and at most 1, or "
            f"the lowest and the highest, got {shown}. Write 0.5 or [0.2, 0.5].",
        )
        for limits, shown in [
            (0.0, "0"),
            (1.2, "1.2"),
            (float("nan"), "nan"),
            ((0.5, 0.2), "[0.5, 0.2]"),
            ((-0.1, 0.5), "[-0.1, 0.5]"),
            ((0.1, 0.2, 0.3), "[0.1, 0.2, 0.3]"),
        ]
    ),
    (
        {"clean_fraction": float("nan")},
        "augment.clean_fraction: must be at least 0 and below 1, got nan. 0 distorts every image.",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        CombinedAugmentations(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("method", ["per_sample", "per_batch", "all", "composed"])
def test_settings_that_do_not_fit_together_are_refused_by_every_method(method: str) -> None:
    settings = AugmentSettings.model_validate(
        {"method": method, "types": ["contrast"], "mix": {"noise": 1.0}}
    )
    with pytest.raises(ParameterError) as caught:
        build_augmentation(settings)
    assert str(caught.value).startswith("augment.mix: must name types of distortion, got 'noise'. ")
