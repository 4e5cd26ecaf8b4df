"""Fractional: a regular two-level fraction of the factorial, and what it cannot tell apart."""

from __future__ import annotations

from itertools import combinations

from ablate.ablation.cell import Arm, Contrast, Design
from ablate.ablation.configuration import Ground, Path, Refuse, Values
from ablate.ablation.designs.factorial import (
    NO_REFERENCE,
    TIMES,
    check_factors,
    effect,
    factors_of,
    make_cells,
)
from ablate.ablation.fraction import Effect, Fraction, alias_lines, aliases_of, make_fraction
from ablate.errors import ParameterError, did_you_mean
from ablate.study.document import show
from ablate.study.settings import AblationSettings


def plan(ground: Ground, reference: Values, refuse: Refuse) -> Design:
    """A cell a run of the smallest fraction of the stated resolution.

    Contrasts are all main effects, and the interactions that are asked for, by name or as a
    primary contrast; one that is aliased with another effect up to order two cannot be asked for.
    """
    settings = ground.study.ablation
    assert settings is not None
    empty = Design("fractional", (), (), ())
    factors = check_factors(ground, reference, refuse)
    if factors is None:
        return empty
    for factor in factors:
        if len(factor.levels) != 2:
            rule = f"a fraction takes two levels a factor, got {len(factor.levels)}"
            refuse(factor.path, f"{rule}. Remove some, or write design: factorial.")
            return empty
    try:
        fraction = make_fraction([factor.name for factor in factors], settings.resolution)
    except ParameterError as error:
        refuse((), str(error))
        return empty
    picks = [[int(high) for high in run] for run in fraction.runs]
    wanted = _asked(fraction, settings, refuse)
    cells = make_cells(ground, reference, factors, picks, refuse)
    if len(cells) < len(picks):
        return empty
    names = [cell.name for cell in cells]
    contrasts: list[Contrast] = []
    for effect_of in [*((name,) for name in fraction.factors), *wanted]:
        places = [fraction.factors.index(name) for name in effect_of]
        signs = [_product([1 if run[at] else -1 for at in places]) for run in fraction.runs]
        kind = "main effect" if len(effect_of) == 1 else "interaction"
        contrasts.append(effect(TIMES.join(effect_of), kind, signs, names))
    return Design(
        "fractional",
        tuple(cells),
        tuple(Arm(name, (name,)) for name in names),
        tuple(contrasts),
        aliases=(*_defining(fraction), *alias_lines(fraction)),
        notes=(NO_REFERENCE, *_warning(fraction)),
    )


def _asked(fraction: Fraction, settings: AblationSettings, refuse: Refuse) -> list[Effect]:
    """The interactions that are asked for; all that are free of aliases where none is named."""
    asked: dict[Path, str] = {
        ("interactions", place): text for place, text in enumerate(settings.interactions)
    }
    for place, claim in enumerate(settings.primary):
        if len(set(factors_of(claim.compare)) & set(fraction.factors)) > 1:
            asked["primary", place, "compare"] = claim.compare
    found: dict[Effect, None] = {}
    for path, text in asked.items():
        rule = _interaction_rule(fraction, text)
        effect_of = tuple(name for name in fraction.factors if name in factors_of(text))
        if rule is not None:
            refuse(path, rule)
        elif effect_of in found and path[0] == "interactions":
            refuse(path, f"given twice, got {show(text)}. Remove one.")
        else:
            found[effect_of] = None
    if settings.interactions:
        return list(found)
    pairs = combinations(fraction.factors, 2)
    return [pair for pair in pairs if not aliases_of(fraction, pair)]


def _interaction_rule(fraction: Fraction, text: str) -> str | None:
    """Why an interaction cannot be asked for, as `rule, got X. Fix.`; none where it can."""
    names = factors_of(text)
    unknown = next((name for name in names if name not in fraction.factors), None)
    if unknown is not None:
        return f"must name factors, got {show(unknown)}. {did_you_mean(unknown, fraction.factors)}"
    if len(names) != 2 or len(set(names)) != 2:
        return f"must be two factors joined by *, got {show(text)}. Write A * B."
    aliases = aliases_of(fraction, names)
    if not aliases:
        return None
    others = ", ".join(TIMES.join(alias) for alias in aliases)
    rule = f"cannot be told apart from {others} in this fraction, got {show(text)}"
    return f"{rule}. Write resolution: 5, or design: factorial."


def _warning(fraction: Fraction) -> tuple[str, ...]:
    """What a main effect may be mixed up with."""
    mixed = [name for name in fraction.factors if aliases_of(fraction, (name,))]
    if not mixed:
        return ()
    return (
        f"main effects of {', '.join(mixed)} are those of the factor or of the interactions that "
        "they are aliased with",
    )


def _defining(fraction: Fraction) -> tuple[str, ...]:
    size = f"{fraction.n_runs} of {2 ** len(fraction.factors)} runs"
    if not fraction.generators:
        return (f"the full factorial, {size}",)
    return (f"resolution {fraction.resolution}, {size}; {'; '.join(fraction.generators)}",)


def _product(signs: list[int]) -> int:
    product = 1
    for sign in signs:
        product *= sign
    return product
