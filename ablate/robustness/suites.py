"""The corruption suites by name, as plain data: importing this loads no torch."""

from __future__ import annotations

from ablate.distortion import FAMILIES
from ablate.errors import ParameterError, did_you_mean

SUITES = ("families",)
"""What `robustness.suite` may name: `families` is every distortion type of `FAMILIES`."""


def suite_families(name: str) -> dict[str, tuple[str, ...]]:
    """Family -> its types, in the order of every table.

    Raises:
        ParameterError: if there is no suite of that name.
    """
    if name not in SUITES:
        raise ParameterError(
            f"robustness.suite: must be a known suite, got {name!r}. {did_you_mean(name, SUITES)}"
        )
    return dict(FAMILIES)
