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
from ablate.report.arms import points_cell
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.numbers import plain_text, shortened
from ablate.report.style import FAINT_INK, INK, MIXTURES_LOOK, SMALL_SIZE, SYMBOLS, Look
from ablate.report.words import as_contribution, contrast_words, network_label, sides
from ablate.robustness.bits import image_shares
from ablate.study.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

_MOST = 4  # contrasts of an ablation
_MOST_PIXELS, _AROUND = 1700, 170  # of all rows where the height is free, and around them
_ROW, _MARK = 10, 9  # pixels of a row, and of each of its marks
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
        for profile in self.profiles:
            for family, kind in _rows(self.families):
                if gain := profile.gains.get(kind or family):
                    names = (profile.look.label, profile.number, family, kind or None)
                    how = (profile.seen.get(kind), self.over or None, gain.method)
                    rows.append((*names, *how, gain.mean, gain.low, gain.high))
        return typed_frame(types, rows)


def _rows(families: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Each family, with an empty type, before its types."""
    return [(family, kind) for family, kinds in families.items() for kind in ("", *kinds)]


# -- Trials of a search, image by image ----------------------------------------------------


def network_looks(source: StudySource, networks: Sequence[Network]) -> list[Look]:
    """Of each; trials of the same loss terms have another mark and dash."""
    looks, terms_before, network_looks = canvas.looks(source), list[str](), list[Look]()
    for network in networks:
        if network.number is None:
            mixed = replace(MIXTURES_LOOK, label=network.name.capitalize())
            network_looks.append(REFERENCES.get(network.name, mixed))
            continue
        look = canvas.like(looks[network.terms], terms_before.count(network.terms))
        label = f"Trial {network.number}" + shown_if(network.terms, f", {look.label}")
        network_looks.append(replace(look, label=label))
        terms_before.append(network.terms)
    return network_looks


def _of_search(source: StudySource, trials: Sequence[int]) -> ProfileInfo:
    networks, left_out = shown_networks(source, "profile", trials)
    baseline = next((network for network in networks if network.name == BASELINE), None)
    families: dict[str, Sequence[str]] = {}
    for network in networks:
        families |= network.scores.families
    parts = [kind or family for family, kind in _rows(families)]
    profiles = tuple(
        Profile(
            look,
            network.number,
            {part: _gain(network, baseline, part) for part in parts},
            _seen(network.scores),
        )
        for network, look in zip(networks, network_looks(source, networks), strict=True)
        if network is not baseline
    )
    basis, over = study_basis(source.record), shown_if(baseline, "the baseline")
    facts = (*canvas.several_facts([basis]), OVER_IMAGES, *basis.marks)
    meta = canvas.basis_meta("Profile", basis)
    return ProfileInfo(facts, meta, over, families, profiles, left_out)


def _seen(scores: Scores) -> dict[str, bool]:
    """By type, whether it was trained on."""
    return {kind: scores.exposure_of(kind) == "seen_type" for kind in scores.accuracies}


def _gain(network: Network, baseline: Network | None, part: str) -> Estimate:
    """Of a type or a family, over images; without an interval where bits were not kept."""
    metric = f"{network.scores.split}_accuracy.{part}"
    networks = [network] if baseline is None else [network, baseline]
    values = [each.scores.metrics().get(metric, math.nan) for each in networks]
    mean = values[0] - sum(values[1:])
    shares = [image_shares(each.bits, each.scores, metric) for each in networks if each.bits]
    if len(shares) == 2 and math.isfinite(mean):
        return over_images((shares[0] - shares[1])[0]).estimate()  # type: ignore[operator]
    return Estimate(mean, math.nan, math.nan, math.nan, 1, NONE)


# -- Contrasts of an ablation --------------------------------------------------------------


def _of_ablation(source: StudySource, ablation: AblationInfo) -> ProfileInfo:
    """Contrasts with the reference, or effects of factors; the declared ones first."""
    scored = {cell: scores for (cell, _), scores in ablation_runs(source, ablation).items()}
    arms = {arm.name: arm for arm in ablation.arms}
    transfers = {transfer.arm: transfer for transfer in ablation.transfers}
    claimed = {effect.contrast for effect in ablation.primary}
    by_contrast: dict[str, dict[str, Effect]] = {}
    for effect in ablation.effects:
        arm, to = sides(effect, ablation)
        is_arm = bool(arm) and to == ablation.reference and not arms[arm].is_one_network
        if effect.estimate.n and (is_arm or effect.kind in ("main effect", "Shapley value")):
            part = effect.metric.partition("_accuracy.")[2]
            by_contrast.setdefault(effect.contrast, {})[part] = as_contribution(effect, ablation)
    order = sorted(by_contrast, key=lambda contrast: contrast not in claimed)
    looks, profiles, has_contribution = canvas.looks(source), list[Profile](), False
    for contrast in order[:_MOST]:
        effects = by_contrast[contrast]
        effect = next(iter(effects.values()))
        arm, _ = sides(effect, ablation)
        words = contrast_words(effect, ablation)
        has_contribution = has_contribution or words.is_contribution
        name = arm if contrast.startswith(f"{arm} - ") else words.text
        look = looks.get(arm, Look("", INK, SYMBOLS[len(profiles) % len(SYMBOLS)]))
        if transfer := transfers.get(arm):
            for label, gains in (("that type", transfer.own), ("others", transfer.others)):
                seen = dict.fromkeys(transfer.tested_on, label == "that type")
                own_look = replace(look, label=f"{arm}, trained on {label}")
                by_type = dict(zip(seen, gains, strict=True))
                profiles.append(Profile(own_look, None, by_type, seen))
            continue
        cells = arms[arm].cells if arm else ()
        seen = next((_seen(scored[cell]) for cell in cells if cell in scored), {})
        by_part = {part: of_part.estimate for part, of_part in effects.items() if part}
        profiles.append(Profile(replace(look, label=name), None, by_part, seen))
    estimates = [gain for profile in profiles for gain in profile.gains.values()]
    methods = dict.fromkeys(gain.method for gain in estimates if gain.n > 1)
    intervals = f"95 % intervals, exploratory: {' or '.join(methods)}"
    return ProfileInfo(
        (*canvas.ablation_facts(ablation), intervals, *ablation.marks),
        canvas.basis_meta("Profile", ablation),
        "networks without it" if has_contribution else ablation.reference,
        next((scores.families for scores in scored.values()), {}),
        tuple(profiles),
        len(order[_MOST:]),
    )


# -- Drawing -------------------------------------------------------------------------------


def draw(info: ProfileInfo, sheet: Sheet) -> Figure:
    """Draw a row a family and a row a type, with a mark for each network; without room for types
    families alone."""
    facts, profiles = list(info.facts), info.profiles
    # A family of one type is that type.
    rows = [row for row in _rows(info.families) if row[1] or len(info.families[row[0]]) > 1]
    pixels = _ROW + _MARK * len(profiles)
    room = sheet.rows_that_fit(len(rows), pixels, _AROUND)
    if min(room, _MOST_PIXELS // pixels) < len(rows):
        rows = [(family, "") for family in info.families]
        facts.insert(1, "means over families, for want of room")
    if info.left_out:
        facts.insert(1, f"{count_text(info.left_out, 'network')} not shown")
    figure, parts = Figure(), [kind or family for family, kind in rows]
    for order, profile in enumerate(profiles):
        middle = (order + 0.8) / (len(profiles) + 0.6)
        heights = {
            part: row + middle
            for row, part in enumerate(parts)
            if part in profile.gains and profile.gains[part].n
        }
        for is_seen in (False, True):  # the last one stands in the legend
            some = {
                part: y for part, y in heights.items() if _is_seen(info, profile, part) == is_seen
            }
            if some:
                figure.add_trace(_marks(profile, some, is_filled=is_seen))
    names = [plain_text(shortened(part.replace("_", " "), 24)) for part in parts]
    texts = [
        name if kind else f"<b>{name}</b>" for name, (_, kind) in zip(names, rows, strict=True)
    ]
    zero = {"zeroline": bool(info.over), "zerolinecolor": INK, "zerolinewidth": 1.5}
    ticks = {"tickvals": [row + 0.5 for row in range(len(rows))], "ticktext": texts, "ticks": ""}
    title = f"Points over {info.over}" if info.over else "Accuracy (%)"
    figure.update_layout(
        xaxis=canvas.axis(title, showgrid=True) | zero,
        yaxis=canvas.axis(range=[len(rows), 0], showgrid=False, tickfont={"size": SMALL_SIZE})
        | ticks,
    )
    if any(any(profile.seen.values()) for profile in profiles):
        facts.insert(0, "filled: trained on that type, or one of that family; hollow: held out")
    return canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=facts,
        meta=info.meta,
        height=pixels * len(rows) + _AROUND if figure.data else 300,
        nothing="" if figure.data else canvas.NO_TRIAL,
    )


def _is_seen(info: ProfileInfo, profile: Profile, part: str) -> bool:
    """Whether a network was trained on a type, or on one of a family."""
    return any(profile.seen.get(kind) for kind in info.families.get(part, (part,)))


def _marks(profile: Profile, heights: Mapping[str, float], *, is_filled: bool) -> Scatter:
    """Some types and families of a network."""
    gains = [profile.gains[part] for part in heights]
    name = plain_text(shortened(network_label(profile.look.label), 40))
    return Scatter(
        x=[100 * gain.mean if math.isfinite(gain.mean) else None for gain in gains],
        y=list(heights.values()),
        mode="markers",
        name=name,
        marker=canvas.marker(profile.look, 8, hollow=not is_filled),
        error_x=canvas.interval_bars(gains, 100, color=profile.look.color, thickness=1.5),
        customdata=None if profile.number is None else [profile.number] * len(gains),
        hovertext=[
            f"<b>{name}</b><br>{plain_text(part)}<br>{points_cell(gain).printed}"
            for part, gain in zip(heights, gains, strict=True)
        ],
        hoverinfo="text",
    )


def _title(info: ProfileInfo) -> str:
    """On how many types a network gains whose intervals are known, the recommended trial or the arm
    that gains most in the mean; else the question."""
    findings = []
    for profile in info.profiles:
        of_types = [gain for part, gain in profile.gains.items() if part not in info.families]
        known = [gain for gain in of_types if math.isfinite(gain.low)]
        more, less = sum(gain.low > 0 for gain in known), sum(gain.high < 0 for gain in known)
        if more and profile.look not in REFERENCES.values():
            name = shortened(profile.look.label.partition(", ")[0], 32)
            text = f"{name[:1].upper()}{name[1:]}: more accurate than {info.over} on {more} of "
            text += f"{len(known)} types" + shown_if(less, f", less on {less}")
            mean = sum(gain.mean for gain in known) / len(known)
            findings.append((profile.number is None, mean, text))
    if not findings:
        return FIGURE.title
    is_of_arms = all(is_arm for is_arm, _, _ in findings)
    return (max(findings) if is_of_arms else findings[0])[2]


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
    draw=draw,
    takes=("trials",),
)
