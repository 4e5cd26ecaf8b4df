"""The suites that a network is scored on, as plain data; importing this does not load torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ablate import distortion
from ablate.data import GREY
from ablate.errors import ParameterError, did_you_mean
from ablate.robustness import corruption
from ablate.robustness.corruption import Scale
from ablate.study.callables import is_callable_name
from ablate.study.document import Finding, show
from ablate.study.metrics import metric_paths
from ablate.study.scores import (
    COSTS,
    LOSS_OBJECTIVE,
    Exposure,
    base_name,
    less_is_better,
    metric_names,
    scored_copies,
    total_of,
)
from ablate.study.settings import Study

MeanOver = Literal["families", "types"]


@dataclass(frozen=True)
class Suite:
    """A set of corruptions that a network is scored on.

    Attributes:
        name: value of `robustness.suite`; "custom" for a list.
        families: family -> its types, in the order of all tables.
        made_by: "distortion": training distortions at strength severity / 5; "corruption": the
            benchmark's corruptions, by its tables.
        mean_over: "types": mean over all types, as in the benchmark; "families": mean over the
            means of families, so that families count equally, whatever their number of types.
        scale: parameter table of corruptions; None: chosen by image size.
        base: folder that the user's own functions are imported from, beside installed packages.
    """

    name: str
    families: Mapping[str, tuple[str, ...]]
    made_by: Literal["distortion", "corruption"]
    mean_over: MeanOver
    scale: Scale | None = None
    base: Path | None = None

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(kind for kinds in self.families.values() for kind in kinds)


def _corruptions(name: str, chosen: Collection[str], scale: Scale | None = None) -> Suite:
    families = distortion.with_own(only_types(corruption.SELECTABLE, chosen), chosen)
    return Suite(name, families, "corruption", "types", scale)


def only_types(
    families: Mapping[str, Sequence[str]], chosen: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """The families with only these types; those without one are left out."""
    kept = (
        (family, tuple(kind for kind in families[family] if kind in chosen)) for family in families
    )
    return {family: kinds for family, kinds in kept if kinds}


_CORE = {family: distortion.CORE[family] for family in ("noise", "blur", "photometric")}
_CORE_OF_GREY = {
    family: tuple(kind for kind in kinds if kind not in distortion.OF_COLOUR)
    for family, kinds in _CORE.items()
}
_SUITES = {
    suite.name: suite
    for suite in (
        Suite("families", _CORE, "distortion", "families"),
        Suite("families_grey", _CORE_OF_GREY, "distortion", "families"),
        Suite("families_all", distortion.FAMILIES, "distortion", "families"),
        _corruptions("cifar10c", corruption.BENCHMARK, "cifar"),
        _corruptions("cifar10c_extra", corruption.EXTRA, "cifar"),
        _corruptions("imagenetc", corruption.BENCHMARK, "imagenet"),
        _corruptions("cifar10cbar", corruption.CIFAR10CBAR, "cifar"),
        _corruptions("imagenetcbar", corruption.IMAGENETCBAR, "imagenet"),
        _corruptions("all", corruption.CORRUPTIONS),
    )
}

SUITES = tuple(_SUITES)
"""Values of `robustness.suite`, which may also be a list of corruptions."""

ANY = _corruptions("all", (*corruption.CORRUPTIONS, *corruption.BAR, *corruption.ADDED))
"""Every corruption that a list may name: those of the suites, and the added ones."""

_FIRST_DISTORTIONS = frozenset(
    (
        *("gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise", "salt_and_pepper"),
        *("gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur"),
        *("brightness", "contrast", "saturation", "hue", "gamma", "jpeg", "pixelate"),
    )
)
"""The training distortions whose names are in no fingerprint; this list does not grow."""

# Corruption -> the equivalent training distortion; the others have the same name, or none.
_NAMESAKES = {"saturate": "saturation", "jpeg_compression": "jpeg"}
# Corruption -> the nearest family of training distortions; the others have none.
_RELATED = {
    **dict.fromkeys(corruption.FAMILIES["noise"], "noise"),
    **dict.fromkeys(corruption.FAMILIES["blur"], "blur"),
    **dict.fromkeys(("brightness", "contrast", "saturate"), "photometric"),
    **dict.fromkeys(("pixelate", "jpeg_compression"), "digital"),
    **dict.fromkeys([kind for kind in corruption.BAR if "_noise" in kind], "noise"),
    "circular_motion_blur": "blur",
}


def find_suite(name: str | Sequence[str], base: Path | None = None) -> Suite:
    """Find the suite of that name, or make one of these corruptions.

    Args:
        base: folder of the study file, for corruptions of the user's own, which are not imported.

    Raises:
        ParameterError: if there is no such suite or corruption, or a list is empty.
    """
    if isinstance(name, str):
        if name not in SUITES:
            is_type = name in ANY.types
            raise ParameterError(
                f"robustness.suite: must be a known suite, got {name!r}.",
                f"Write [{name}]." if is_type else did_you_mean(name, (*SUITES, *ANY.types)),
                parameter_fix=f"Give `types={[name]}`." if is_type else "",
            )
        return _SUITES[name]
    for kind in name:
        if kind not in ANY.types and not is_callable_name(kind):
            raise ParameterError(
                f"robustness.suite: a list must name corruptions, got {kind!r}. "
                f"{did_you_mean(kind, ANY.types)}"
            )
    if not name:
        raise ParameterError(
            "robustness.suite: a list must name at least one corruption, got none. "
            "Add one, or name a suite."
        )
    return replace(_corruptions("custom", name), base=base)


def added_types(suite: Suite) -> tuple[str, ...]:
    """Training distortions of a suite that were added later, for the fingerprint of a study.

    They change the suite's mean, so a study that began without them is not continued with them.
    """
    if suite.made_by != "distortion":
        return ()  # no suite of corruptions gains a type, and a list names its own
    return tuple(kind for kind in suite.types if kind not in _FIRST_DISTORTIONS)


def types_without_effect(study: Study) -> tuple[str, ...]:
    """Types of a study's suite that change nothing on its data, as far as its name tells; those
    that do so at some severities with these."""
    suite = find_suite(study.robustness.suite)
    if study.trainable or study.dataset.name not in GREY:
        return ()
    if suite.made_by == "distortion":
        return tuple(kind for kind in suite.types if kind in distortion.OF_COLOUR)
    kept = []
    for kind in suite.types:
        listed = corruption.GREY_KEPT.get(kind, ())
        severities = [str(at) for at in study.robustness.severities if at in listed]
        if severities:
            kept.append(f"{kind} at severity {', '.join(severities)}")
    return tuple(kept)


def select(suite: str | None, types: Sequence[str] | None, *, usual: str) -> Suite:
    """The suite that the arguments of `evaluate` or `corrupt` name.

    Args:
        suite: a name of `SUITES`; None: `usual`, or any with the types.
        types: some of its types; None: all.  Without a suite also functions of the user's own, of
            the current folder.

    Raises:
        ParameterError: if there is no such suite, or a type is not in it.
    """
    if types is None:
        return find_suite(usual if suite is None else suite)
    chosen = ANY if suite is None else find_suite(suite)
    if not types:
        raise ParameterError(
            "`types`: must name at least one type, got none. Leave it out to use all."
        )
    for kind in types:
        if kind not in chosen.types and not (suite is None and is_callable_name(kind)):
            raise ParameterError(
                f"`types`: must be of the suite {chosen.name}, got {kind!r}. "
                f"{did_you_mean(kind, chosen.types)}"
            )
    if suite is None:
        return find_suite(types, Path())
    return replace(chosen, families=only_types(chosen.families, types))


def caveats(suite: Suite, frost_images: object) -> tuple[str, ...]:
    """What is noted with every score: a corruption that is only approximated, or is our own.

    Args:
        frost_images: photographs of frost, or their folder; None: none are given.
    """
    if suite.made_by != "corruption":
        return ()
    own = [kind for kind in corruption.ADDED if kind in suite.types]
    noted = [f"{kind}: this project's own, in no published suite" for kind in own]
    if bar := [kind for kind in corruption.BAR if kind in suite.types]:
        noted.append(f"{', '.join(bar)}: generated from descriptions, not the published files")
    yours = filter(is_callable_name, suite.types)
    noted += [f"{kind}: a function of the user's own, in no published suite" for kind in yours]
    if "frost" in suite.types and frost_images is None:
        noted.insert(0, corruption.APPROXIMATE_FROST)
    return tuple(noted)


def exposures(suite: Suite, trained_types: Collection[str]) -> dict[str, Exposure]:
    """What a network has seen of each type of a suite, given its training types. [O]

    Args:
        trained_types: training distortions (`ablate.distortion.FAMILIES`, and the user's own).

    Returns:
        Type -> "seen_type" if it or its equivalent was trained on; "seen_family" if another type of
        its family was; else "unseen".  Snow, frost, fog, spatter and elastic have no equivalent
        among the training distortions.
    """
    trained = set(trained_types)
    families = distortion.with_own(distortion.FAMILIES, trained)
    trained_families = {family for family, kinds in families.items() if trained.intersection(kinds)}
    is_trainable = suite.made_by == "distortion"
    scored = distortion.with_own(distortion.FAMILIES if is_trainable else {}, suite.types)
    own = {kind: family for family, kinds in scored.items() for kind in kinds}
    related = own if is_trainable else own | _RELATED

    def exposure(kind: str) -> Exposure:
        if _NAMESAKES.get(kind, kind) in trained:
            return "seen_type"
        return "seen_family" if related.get(kind) in trained_families else "unseen"

    return {kind: exposure(kind) for kind in suite.types}


def cells_rule(study: Study, n_validation: int | None = None) -> str | None:
    """Why `robustness.cells` is too sparse, as `rule, got X. Fix.`; or None.

    Args:
        n_validation: images of the split; None: not known.
    """
    robustness, pruner = study.robustness, study.search.pruner
    counts = n_validation, robustness.images, pruner.images if pruner else None
    n, share = min((count for count in counts if count is not None), default=None), robustness.cells
    n_cells = len(find_suite(robustness.suite).types) * len(robustness.severities)
    if n is None or scored_copies(n, n_cells, share) >= n_cells:
        return None
    return (
        "must score each type at each severity on one image at least, got "
        f"{share:g} of {n:,} images. Raise it to {math.ceil(10_000 / n) / 10_000:g}, or score "
        f"{math.ceil(1 / share):,} images."
    )


def needs_curves(metric: str) -> str:
    """The rule for a metric at a clean loss in a study that scores one network a trial."""
    rule = f"needs finetune.interpolation, got {show(metric)} without its alphas"
    return f"{rule}. Add finetune.interpolation: {{alphas: 10}}, or use {base_name(metric)}."


def sparse_rule(study: Study, metric: str) -> str | None:
    """The rule for a metric that sparse scores do not give; None for any other."""
    total, share = total_of(metric), study.robustness.cells
    if share == 1 or total is None or not total.needs_all_cells:
        return None
    return (
        f"{metric} needs all images under each cell, or it is biased, got robustness.cells "
        f"{share:g}. Write robustness.images for fewer images, or choose another metric."
    )


def objective_rules(study: Study) -> Iterator[Finding]:
    """Problems of a study's metrics with its suite, and of its cells.

    A metric must belong to the suite, and be one that its cells give; costs and losses must be
    minimized, and a cost needs a reference point because a baseline has no cost.
    """
    if study.trainable is not None:
        return  # a trainable has its own metrics
    suite = find_suite(study.robustness.suite)
    scored = metric_names(suite.families, study.robustness.severities)
    if wrong := cells_rule(study):
        yield Finding(("robustness", "cells"), wrong)
    rule = f"must be scored by robustness.suite {suite.name}"
    fix = "Use a suite that contains it, such as families_all or all, or choose another metric."
    for path, metric in metric_paths(study).items():
        if metric == LOSS_OBJECTIVE and not study.finetune.curve_alphas:
            yield Finding(path, needs_curves(metric))
        elif metric not in (*scored, LOSS_OBJECTIVE):
            yield Finding(path, f"{rule}, got {metric}. {fix}")
        elif wrong := sparse_rule(study, metric):
            yield Finding(path, wrong)
    for place, objective in enumerate(study.objectives):
        path, metric = ("objectives", place), objective.metric
        if less_is_better(metric):
            if objective.direction == "maximize":
                rule = f"{metric} must be minimized, got maximize. Add direction: minimize."
                yield Finding(path, rule)
            if metric not in COSTS:
                continue
            if len(study.objectives) > 1 and study.search.reference_point is None:
                rule = (
                    f"must be set if {metric} is an objective, got none. Write one value for each "
                    "objective: the worst that you would accept, such as [0.8, 0.5, 60]."
                )
                yield Finding(("search", "reference_point"), rule)
        elif objective.direction == "minimize":
            rule = f"{metric} must be maximized, got minimize. Leave direction out."
            yield Finding(path, rule)
