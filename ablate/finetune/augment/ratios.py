"""The distortion types that are drawn from: the probability of each, and its strengths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ablate.distortion import CORE, FAMILIES
from ablate.errors import ParameterError, did_you_mean
from ablate.study.callables import is_callable_name

Limits = float | Sequence[float]
"""Strengths of a type: the highest, or the lowest and the highest."""


def lowest_and_highest(given: Limits) -> tuple[float, ...]:
    """The lowest and the highest strength that a value of `augment.strengths` means."""
    return (0.0, given) if isinstance(given, int | float) else tuple(given)


def type_ratios(
    families: Sequence[str],
    mix: Mapping[str, float] | None,
    types: Sequence[str] | None = None,
) -> dict[str, float]:
    """The probability of each distortion type.

    Args:
        families: the families to draw from, and types of the user's own, each of which is as a
            family here; their order does not matter.
        mix: ratio by family, or by type if `types` is given, >= 0, scaled to sum 1; missing ones
            have ratio 0, and unused ones must have ratio 0.  None: equal ratios.
        types: single types to draw from instead of families, which are then ignored.

    Returns:
        Type -> ratio above 0, summing to 1, in the order of `FAMILIES`.  The `CORE` types of a
        family share its ratio equally.

    Raises:
        ParameterError: if a family or type is unknown or repeated, there is none, a ratio is
            negative or not finite, all are 0, or an unused one has a ratio above 0.
    """
    own = sorted(
        {name for name in (*families, *(types or ()), *(mix or ())) if is_callable_name(name)}
    )
    every_type: dict[str, tuple[str, ...]]
    every_type = {kind: (kind,) for kinds in (*FAMILIES.values(), own) for kind in kinds}
    if types is None:
        what, many, chosen, parts = (
            "family",
            "families",
            families,
            {**CORE, **{kind: (kind,) for kind in own}},
        )
    else:
        what, many, chosen, parts = "type", "types", types, every_type
    known = tuple(parts)
    if not chosen:
        raise ParameterError(
            f"augment.{many}: needs at least one {what}, got none. Known: {', '.join(known)}."
        )
    for number, name in enumerate(chosen):
        if name not in known:
            raise ParameterError(
                f"augment.{many}: must be {many} of distortion, got {name!r}. "
                f"{did_you_mean(name, known)}"
            )
        if name in chosen[:number]:
            raise ParameterError(
                f"augment.{many}: a {what} may be given once, got {name} twice. Raise its ratio in "
                "augment.mix."
            )
    ratios = dict.fromkeys(chosen, 1.0) if mix is None else dict(mix)
    for name, ratio in ratios.items():
        # A mix over families at 0 may stay where types are drawn, and the other way round.
        if name not in known and not (ratio == 0 and name in {**FAMILIES, **every_type}):
            raise ParameterError(
                f"augment.mix: must name {many} of distortion, got {name!r}. "
                f"{did_you_mean(name, known)}"
            )
        if not (math.isfinite(ratio) and ratio >= 0):
            raise ParameterError(
                f"augment.mix.{name}: must be finite and at least 0, got {ratio:g}. "
                f"0 leaves the {what} out."
            )
        if ratio and name not in chosen:
            raise ParameterError(
                f"augment.mix.{name}: must be 0 for a {what} outside augment.{many}, "
                f"got {ratio:g}. Add {name} to augment.{many}."
            )
    total = sum(ratios.values())
    if not total:
        raise ParameterError(
            f"augment.mix: one ratio must be above 0, got {ratios}. Leave mix out for equal ratios."
        )
    return {
        kind: ratios[name] / total / len(kinds)
        for name, kinds in parts.items()
        if ratios.get(name)
        for kind in kinds
    }
