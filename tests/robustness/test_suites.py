"""The corruption suites by name."""

from __future__ import annotations

import pytest

from ablate.distortion import FAMILIES
from ablate.errors import ParameterError
from ablate.robustness.suites import SUITES, suite_families


def test_every_suite_has_families_of_known_types() -> None:
    known = {kind for kinds in FAMILIES.values() for kind in kinds}
    for name in SUITES:
        types = [kind for kinds in suite_families(name).values() for kind in kinds]
        assert types
        assert len(set(types)) == len(types)
        assert set(types) <= known


def test_unknown_suite_suggests_the_nearest() -> None:
    with pytest.raises(ParameterError) as error:
        suite_families("family")
    assert str(error.value) == (
        "robustness.suite: must be a known suite, got 'family'. Did you mean families?"
    )
