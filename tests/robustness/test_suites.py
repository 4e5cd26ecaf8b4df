"""The suites by name, and what a network has seen of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate import distortion
from ablate.errors import ParameterError
from ablate.robustness import corruption
from ablate.robustness.suites import (
    SUITES,
    Suite,
    added_types,
    caveats,
    exposures,
    find_suite,
    select,
)


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_has_families_of_known_types(name: str) -> None:
    suite = find_suite(name)
    assert suite.name == name
    of = distortion.FAMILIES if suite.made_by == "distortion" else corruption.SELECTABLE
    for family, types in suite.families.items():
        assert types
        assert len(set(types)) == len(types)
        assert set(types) <= set(of[family])


def test_the_benchmarks_have_their_fifteen_and_four() -> None:
    counts = {name: len(find_suite(name).types) for name in SUITES}
    assert counts == {
        "families": 6,
        "families_grey": 5,
        "families_all": sum(map(len, distortion.FAMILIES.values())),
        "cifar10c": 15,
        "cifar10c_extra": 4,
        "imagenetc": 15,
        "cifar10cbar": 10,
        "imagenetcbar": 10,
        "all": 19,
    }
    assert find_suite("cifar10c").families == {
        "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
        "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        "weather": ("snow", "frost", "fog", "brightness"),
        "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    }
    scales = {name: find_suite(name).scale for name in SUITES}
    assert (scales["cifar10c"], scales["imagenetc"], scales["all"]) == ("cifar", "imagenet", None)


def test_a_list_is_a_suite_in_the_order_of_every_table() -> None:
    suite = find_suite(["fog", "shot_noise", "gaussian_noise"])
    assert suite == Suite(
        "custom",
        {"noise": ("gaussian_noise", "shot_noise"), "weather": ("fog",)},
        "corruption",
        "types",
    )


def test_an_unknown_suite_is_refused() -> None:
    for name, message in (
        ("family", "must be a known suite, got 'family'. Did you mean families?"),
        ("fog", "must be a known suite, got 'fog'. Write [fog]."),
        (["fogg"], "a list must name corruptions, got 'fogg'. Did you mean fog?"),
        ([], "a list must name at least one corruption, got none. Add one, or name a suite."),
    ):
        with pytest.raises(ParameterError) as error:
            find_suite(name)
        assert str(error.value) == f"robustness.suite: {message}"


def test_an_added_corruption_is_in_no_suite_and_in_any_list() -> None:
    for name in SUITES:
        suite = find_suite(name)
        assert suite.made_by == "distortion" or not set(suite.types) & set(corruption.ADDED)
    assert find_suite(["vignette", "fog"]).families == {"weather": ("fog",), "other": ("vignette",)}
    with pytest.raises(ParameterError, match=r"must be of the suite all, got 'vignette'"):
        select("all", ["vignette"], usual="cifar10c")
    frost, own = corruption.APPROXIMATE_FROST, "vignette: this project's own, in no published suite"
    assert caveats(find_suite(["frost", "vignette"]), None) == (frost, own)
    assert caveats(find_suite("cifar10c"), "photographs") == ()
    made = "lines: generated from descriptions, not the published files"
    yours = "a.b:haze: a function of the user's own, in no published suite"
    assert caveats(find_suite(["lines", "a.b:haze"]), None) == (made, yours)
    assert select(None, ["a.b:haze", "fog"], usual="all").types == ("fog", "a.b:haze")
    with pytest.raises(ParameterError, match=r"must be of the suite all, got 'a.b:haze'"):
        select("all", ["a.b:haze"], usual="all")


def test_some_types_of_a_suite() -> None:
    found = select("cifar10c", ["snow", "shot_noise", "fog"], usual="all")
    assert found.families == {"noise": ("shot_noise",), "weather": ("snow", "fog")}
    assert (found.name, found.scale) == ("cifar10c", "cifar")
    assert select(None, None, usual="imagenetc") == find_suite("imagenetc")
    assert select(None, ["spatter"], usual="cifar10c") == find_suite(["spatter"], Path())
    for types, message in (
        (["fogg"], "`types`: must be of the suite cifar10c, got 'fogg'. Did you mean fog?"),
        ([], "`types`: must name at least one type, got none. Leave it out to use all."),
    ):
        with pytest.raises(ParameterError) as error:
            select("cifar10c", types, usual="all")
        assert str(error.value) == message


def test_types_that_came_later_are_those_of_no_first_study() -> None:
    families = {**distortion.FAMILIES, "digital": ("jpeg", "pixelate", "stripes")}
    grown = Suite("families_all", families, "distortion", "families")
    assert added_types(grown) == ("stripes",)
    assert added_types(find_suite("families")) == ()
    assert added_types(find_suite("all")) == ()


def test_what_was_seen_of_the_benchmark() -> None:
    seen = exposures(find_suite("all"), ["gaussian_noise", "jpeg", "saturation"])
    assert seen["gaussian_noise"] == "seen_type"
    assert seen["jpeg_compression"] == "seen_type"  # under another name
    assert seen["saturate"] == "seen_type"
    assert seen["shot_noise"] == "seen_family"
    assert seen["pixelate"] == "seen_family"
    assert seen["brightness"] == seen["contrast"] == "seen_family"  # photometric, as saturation
    unseen = {kind for kind, exposure in seen.items() if exposure == "unseen"}
    assert unseen == {
        *corruption.FAMILIES["blur"],
        *("snow", "frost", "fog", "spatter", "elastic_transform"),
    }
