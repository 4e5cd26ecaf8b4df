"""Groups of bars, one an arm below the other: where each stands, and what its label says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.ablation.arms_info import ArmsInfo
from ablate.ablation.info import ArmInfo
from ablate.report.arms import runs_text
from ablate.report.figures.parts.ablations import wrapped
from ablate.report.numbers import plain_text
from ablate.report.style import FONT_SIZE, terms_style

LEFT, WIDE_LEFT = 164, 400
"""Margin in pixels, for names; of very many arms each name has one line."""
_NAME_CHARACTERS, _WIDE_CHARACTERS = 24, 62
_BAR, _LANE, _BETWEEN, _LINE = 17, 15, 13, 15
"""Pixels of a bar, of the families' marks, between two arms, of a line of text."""


@dataclass(frozen=True)
class Group:
    """The bars of an arm.

    Attributes:
        label: lines of plotly's markup: its name, its loss terms, runs that are missing.
        top, height: in pixels from the top of the panel; bar: height of one bar, 0 of none.
        bars: middle of each; lane: middle of the families' marks.
    """

    arm: ArmInfo
    loss_terms: str
    label: tuple[str, ...]
    top: float
    height: float
    bar: float
    bars: tuple[float, ...]
    lane: float


def arm_groups(
    info: ArmsInfo, bars: int, *, has_families: bool, is_wide: bool, room: float
) -> list[Group]:
    """The arms of a panel, in the order of the design.

    Args:
        bars: of each arm; is_wide: whether names have one line; room: pixels that all may take:
            where they would take more, each gets less.
    """
    wanted = bars * _BAR + _LANE * has_families + _BETWEEN
    labels = [_label(info, arm, terms, is_wide=is_wide) for arm, terms in info.arms]
    heights = [max(wanted, len(label) * _LINE + 6) for label in labels]
    squeeze = min(1.0, room / max(1, sum(heights)))
    groups, top = [], 0.0
    for (arm, terms), label, height in zip(info.arms, labels, heights, strict=True):
        first = top + squeeze * (height - wanted + _BETWEEN) / 2
        middles = [first + squeeze * _BAR * (place + 0.5) for place in range(bars)]
        groups.append(
            Group(
                arm,
                terms,
                tuple(label[: max(1, int(squeeze * height // _LINE))]),
                top,
                squeeze * height,
                squeeze * _BAR,
                tuple(middles),
                first + squeeze * (_BAR * bars + _LANE / 2 + 1),
            )
        )
        top += squeeze * height
    return groups


def groups_height(groups: Sequence[Group]) -> float:
    """Pixels that these groups take."""
    return sum(group.height for group in groups)


def _label(info: ArmsInfo, arm: ArmInfo, terms: str, *, is_wide: bool) -> list[str]:
    small = [plain_text(terms_style(terms).label)] if terms else []
    runs = runs_text(info.ablation, arm)
    small += [runs] if runs else []
    size = FONT_SIZE - 3
    name = wrapped(arm.name, _WIDE_CHARACTERS if is_wide else _NAME_CHARACTERS, 4)
    return [
        *name,
        *(f'<span style="font-size:{size}px">{line}</span>' for line in small),
    ]
