"""The corruption suites by name."""

from __future__ import annotations

import pytest

from ablate.distortion import FAMILIES
from ablate.errors import ParameterError
from ablate.robustness.suites import SUITES, suite_families


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_has_families_of_known_types(name: str) -> None:
    families = suite_families(name)
    assert families
    for family, types in families.items():
        assert types
        assert len(set(types)) == len(types)
        assert set(types) <= set(FAMILIES[family])


def test_families_is_what_published_figures_stand_on() -> None:
    assert suite_families("families") == {
        "noise": ("gaussian_noise", "impulse_noise"),
        "blur": ("gaussian_blur",),
        "photometric": ("brightness", "contrast", "saturation"),
    }


def test_families_all_is_every_type() -> None:
    assert suite_families("families_all") == FAMILIES
    # The costs that the docstring of `SUITES` gives, at 3 severities.
    counts = [sum(map(len, suite_families(name).values())) for name in SUITES]
    assert [3 * count for count in counts] == [18, 48]


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_is_a_copy(name: str) -> None:
    suite_families(name).clear()
    assert suite_families(name)


@pytest.mark.parametrize(
    ("name", "nearest"), [("family", "families"), ("families-all", "families_all")]
)
def test_unknown_suite_suggests_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ParameterError) as error:
        suite_families(name)
    assert str(error.value) == (
        f"robustness.suite: must be a known suite, got {name!r}. Did you mean {nearest}?"
    )
