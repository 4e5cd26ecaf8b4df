"""The corruption suites by name, as plain data: importing this loads no torch."""

from __future__ import annotations

from ablate.distortion import CORE, FAMILIES
from ablate.errors import ParameterError, did_you_mean

SUITES = ("families", "families_all")
"""What `robustness.suite` may name.

`families` is the `CORE` types of noise, blur and photometric: six types, 18 distorted copies of a
set at 3 severities.  `families_all` is every type of `FAMILIES`: 48 copies, most of them of types
that a study which names families has not trained on.
"""

_FAMILIES = ("noise", "blur", "photometric")


def suite_families(name: str) -> dict[str, tuple[str, ...]]:
    """Family -> its types, in the order of every table.

    Raises:
        ParameterError: if there is no suite of that name.
    """
    if name not in SUITES:
        raise ParameterError(
            f"robustness.suite: must be a known suite, got {name!r}. {did_you_mean(name, SUITES)}"
        )
    return {family: CORE[family] for family in _FAMILIES} if name == "families" else dict(FAMILIES)
