"""Robust to what?  The gain in accuracy by type and family of corruption, with intervals.

Of a search, some trials less the baseline, image by image; of an ablation, its contrasts.  A filled
mark is a type that the network was trained on; a hollow one was held out.  An arm with a model per
type has two: the model of that type, and the mean of all others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from plotly.graph_objects import Figure, Scatter

from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import NONE, Estimate, over_images
from ablate.ablation.networks import Network, ablation_runs, shown_networks
from ablate.ablation.results import BASELINE
from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import study_basis
from ablate.analysis.frame import typed_frame
from ablate.files.shown import count_text, shown_if
from ablate.ledger.record import ADAPTED
from ablate.report.arms import printed
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.numbers import plain_text, shortened
from ablate.report.style import FAINT_INK, INK, SMALL_SIZE, SYMBOLS, Look
from ablate.report.words import as_contribution, contrast_words, network_label, sides
from ablate.robustness.bits import image_shares
from ablate.study.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

_MOST = 4  # contrasts of an ablation
_MOST_PIXELS, _AROUND, _ROW, _MARK = 1700, 170, 10, 9
"""Of all rows where the height is free; around them; of a row, and of each of its marks."""
OVER_IMAGES = "95 % intervals over images: each network was trained once"
REFERENCES = {
    "baseline": Look(network_label("baseline"), INK, "star"),
    ADAPTED: Look(network_label(ADAPTED), INK, "star-open", "dash"),
    "plain": Look(network_label("plain"), FAINT_INK, "x", "dot"),
}


class Profile(NamedTuple):
    """A network, its gains by type and family (fractions), and by type whether it was trained on
    it, where that is known."""

    look: Look
    number: int | None
    gains: Mapping[str, Estimate]
    seen: Mapping[str, bool]


@dataclass(frozen=True)
class ProfileInfo:
    """Gains by family and its types; `over` what, empty where they are accuracies; `left_out`
    networks could be shown too."""

    facts: tuple[str, ...]
    meta: Mapping[str, Any]
    over: str
    families: Mapping[str, Sequence[str]]
    profiles: tuple[Profile, ...]
    left_out: int

    def frame(self) -> pd.DataFrame:
        """One row a network, family and type (missing of a family's mean); gains are fractions."""
        types = {"network": "string", "trial": "Int64", "family": "string", "type": "string"}
        types |= {"trained_on": "boolean", "over": "string", "method": "string"}
        types |= dict.fromkeys(("gain", "low", "high"), "float64")
        rows = []
        for one in self.profiles:
            for family, kind in _rows(self.families):
                gain = one.gains.get(kind or family)
                if gain is not None:
                    names = (one.look.label, one.number, family, kind or None, one.seen.get(kind))
                    numbers = (gain.mean, gain.low, gain.high)
                    rows.append((*names, self.over or None, gain.method, *numbers))
        return typed_frame(types, rows)


def _rows(families: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Each family, with an empty type, before its types."""
    return [(family, kind) for family, kinds in families.items() for kind in ("", *kinds)]


# -- Trials of a search, image by image ----------------------------------------------------


def network_looks(source: StudySource, networks: Sequence[Network]) -> list[Look]:
    """Of each; trials of the same loss terms have another mark and dash."""
    looks, used, found = canvas.looks(source), list[str](), list[Look]()
    for one in networks:
        if one.number is None:
            found.append(REFERENCES[one.name])
            continue
        look = canvas.like(looks[one.terms], used.count(one.terms))
        label = f"Trial {one.number}" + shown_if(one.terms, f", {look.label}")
        found.append(replace(look, label=label))
        used.append(one.terms)
    return found


def _of_search(source: StudySource, trials: Sequence[int]) -> ProfileInfo:
    networks, left_out = shown_networks(source, "profile", trials)
    baseline = next((one for one in networks if one.name == BASELINE), None)
    families = {name: kinds for one in networks for name, kinds in one.scores.families.items()}
    profiles = tuple(
        Profile(
            look,
            one.number,
            {kind or name: _gain(one, baseline, kind or name) for name, kind in _rows(families)},
            _seen(one.scores),
        )
        for one, look in zip(networks, network_looks(source, networks), strict=True)
        if one is not baseline
    )
    basis, over = study_basis(source.record), shown_if(baseline, "the baseline")
    facts = (*canvas.several_facts([basis]), OVER_IMAGES, *basis.marks)
    meta = canvas.basis_meta("Profile", basis)
    return ProfileInfo(facts, meta, over, families, profiles, left_out)


def _seen(scores: Scores) -> dict[str, bool]:
    """By type, whether it was trained on."""
    return {kind: scores.exposure_of(kind) == "seen_type" for kind in scores.accuracies}


def _gain(one: Network, baseline: Network | None, part: str) -> Estimate:
    """Of a type or a family, over images; without an interval where bits were not kept."""
    metric = f"{one.scores.split}_accuracy.{part}"
    networks = [one] if baseline is None else [one, baseline]
    values = [of.scores.metrics().get(metric, math.nan) for of in networks]
    mean = values[0] - sum(values[1:])
    shares = [image_shares(of.bits, of.scores, metric) for of in networks if of.bits]
    if len(shares) == 2 and math.isfinite(mean):
        return over_images((shares[0] - shares[1])[0]).estimate()  # type: ignore[operator]
    return Estimate(mean, math.nan, math.nan, math.nan, 1, NONE)


# -- Contrasts of an ablation --------------------------------------------------------------


def _of_ablation(source: StudySource, ablation: AblationInfo) -> ProfileInfo:
    """Contrasts with the reference, or effects of factors; the declared ones first."""
    scored = {cell: scores for (cell, _), scores in ablation_runs(source, ablation).items()}
    arms = {arm.name: arm for arm in ablation.arms}
    transfers = {one.arm: one for one in ablation.transfers}
    claimed = {effect.contrast for effect in ablation.primary}
    by_contrast: dict[str, dict[str, Effect]] = {}
    for effect in ablation.effects:
        arm, to = sides(effect, ablation)
        is_arm = bool(arm) and to == ablation.reference and not arms[arm].is_one_network
        if effect.estimate.n and (is_arm or effect.kind in ("main effect", "Shapley value")):
            found = by_contrast.setdefault(effect.contrast, {})
            found[effect.metric.partition("_accuracy.")[2]] = as_contribution(effect, ablation)
    order = sorted(by_contrast, key=lambda contrast: contrast not in claimed)
    looks, profiles = canvas.looks(source), list[Profile]()
    for contrast in order[:_MOST]:
        effects = by_contrast[contrast]
        effect = next(iter(effects.values()))
        arm = sides(effect, ablation)[0]
        name = arm if contrast.startswith(f"{arm} - ") else contrast_words(effect, ablation)
        look = replace(looks.get(arm, Look("", INK, SYMBOLS[len(profiles) % 8])), label=name)
        if of := transfers.get(arm):
            for label, those in (("that type", of.own), ("others", of.others)):
                own = dict.fromkeys(of.tested_on, label == "that type")
                gains = dict(zip(own, those, strict=True))
                named = replace(look, label=f"{arm}, trained on {label}")
                profiles.append(Profile(named, None, gains, own))
            continue
        cells = arms[arm].cells if arm else ()
        seen = next((_seen(scored[cell]) for cell in cells if cell in scored), {})
        gains = {part: one.estimate for part, one in effects.items() if part}
        profiles.append(Profile(look, None, gains, seen))
    methods = {one.method: None for of in profiles for one in of.gains.values() if one.n > 1}
    intervals = f"95 % intervals, exploratory: {' or '.join(methods)}"
    is_part = any(one.look.label.startswith("contribution") for one in profiles)
    over = "networks without it" if is_part else ablation.reference
    families = next((one.families for one in scored.values()), {})
    facts = (*canvas.ablation_facts(ablation), intervals, *ablation.marks)
    meta = canvas.basis_meta("Profile", ablation)
    return ProfileInfo(facts, meta, over, families, tuple(profiles), len(order[_MOST:]))


# -- Drawing -------------------------------------------------------------------------------


def plot_profile(info: ProfileInfo, sheet: Sheet) -> Figure:
    """Draw a row a family and a row a type, with a mark for each network; without room for types
    families alone, then fewer networks."""
    facts = list(info.facts)
    room = _MOST_PIXELS if sheet.height is None else sheet.height - _AROUND
    # A family of one type is that type.
    rows = [row for row in _rows(info.families) if row[1] or len(info.families[row[0]]) > 1]
    if len(rows) * (_ROW + _MARK * len(info.profiles)) > room:
        rows = [(family, "") for family in info.families]
        facts.insert(1, "means over families, for want of room")
    most = max(1, int(room / max(1, len(rows)) - _ROW) // _MARK)
    profiles = info.profiles[:most]
    left_out = info.left_out + len(info.profiles[most:])
    facts[1:1] = [f"{count_text(left_out, 'network')} not shown"] if left_out else []
    height, figure = _ROW + _MARK * len(profiles), Figure()
    for order, one in enumerate(profiles):
        shift = _ROW / 2 + _MARK * (order + 0.5)
        places = {kind or family: at * height + shift for at, (family, kind) in enumerate(rows)}
        known = [part for part in places if part in one.gains and one.gains[part].n]
        for is_seen in (True, False):
            some = {
                part: places[part]
                for part in known
                if any(one.seen.get(kind) for kind in info.families.get(part, (part,))) == is_seen
            }
            if some:
                figure.add_trace(_marks(one, some, is_filled=is_seen))
                figure.data[-1].showlegend = known[0] in some
    axis = canvas.axis(f"Points over {info.over}" if info.over else "Accuracy (%)")
    zero = {"zeroline": bool(info.over), "zerolinecolor": INK, "zerolinewidth": 1.5}
    ticks: dict[str, Any] = {"tickfont": {"size": SMALL_SIZE}, "ticks": "", "showgrid": False}
    ticks |= {"tickvals": [(at + 0.5) * height for at in range(len(rows))]}
    names = [shortened((kind or family).replace("_", " "), 24) for family, kind in rows]
    ticks["ticktext"] = [
        plain_text(name) if kind else f"<b>{plain_text(name)}</b>"
        for name, (_, kind) in zip(names, rows, strict=True)
    ]
    figure.update_layout(
        xaxis=axis | zero | {"showgrid": True},
        yaxis=canvas.axis() | ticks | {"range": [height * len(rows), 0]},
    )
    if any(any(one.seen.values()) for one in profiles):
        facts.insert(0, "filled: trained on that type, or one of that family; hollow: held out")
    return canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=facts,
        meta=dict(info.meta),
        height=height * len(rows) + _AROUND if figure.data else 300,
        nothing="" if figure.data else canvas.NO_TRIAL,
    )


def _marks(one: Profile, places: Mapping[str, float], *, is_filled: bool) -> Scatter:
    """Some types and families of a network, each at its place."""
    gains = [one.gains[part] for part in places]
    name = plain_text(shortened(network_label(one.look.label), 40))
    hover = [
        f"<b>{name}</b><br>{plain_text(part)}<br>{printed(gain)}"
        for part, gain in zip(places, gains, strict=True)
    ]
    return Scatter(
        x=[100 * gain.mean if math.isfinite(gain.mean) else None for gain in gains],
        y=list(places.values()),
        mode="markers",
        name=name,
        legendgroup=one.look.label,
        marker=canvas.marker(one.look, 8, hollow=not is_filled),
        error_x=canvas.interval_bars(gains, 100, color=one.look.color, thickness=1.5, width=0),
        customdata=None if one.number is None else [one.number] * len(gains),
        hovertext=hover,
        hoverinfo="text",
    )


def _title(info: ProfileInfo) -> str:
    """On how many types a network gains whose intervals are known, the recommended trial or the arm
    that gains most in the mean; else the question."""
    found = []
    for one in info.profiles:
        gains = [gain for part, gain in one.gains.items() if part not in info.families]
        known = [gain for gain in gains if math.isfinite(gain.low)]
        more, less = sum(gain.low > 0 for gain in known), sum(gain.high < 0 for gain in known)
        if more and one.look != REFERENCES["plain"]:
            short = shortened(one.look.label.partition(", ")[0], 32)
            said = f"{short[:1].upper()}{short[1:]}: more accurate than {info.over} "
            said += f"on {more} of {len(known)} types"
            mean = sum(gain.mean for gain in known) / len(known)
            found.append((one.number is None, mean, said + shown_if(less, f", less on {less}")))
    if found and all(is_arm for is_arm, *_ in found):
        return max(found)[2]
    if found:
        return found[0][2]
    return "Robust to what?"


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> ProfileInfo:
    """Gains of trials of a search, or of an ablation's contrasts; raises as `shown_networks`."""
    (source,) = sources
    if source.ablation is None or source.record.study.trainable is not None or options.trials:
        return _of_search(source, options.trials)
    return _of_ablation(source, source.ablation)


FIGURE = FigureKind(
    name="profile",
    section="types",
    title="Robust to what?",
    says="Each mark is how many points of accuracy a network gains on a type of corruption, or in "
    "the mean over a family (bold), with its interval.",
    read=info_of,
    draw=plot_profile,
    takes=("trials",),
)
