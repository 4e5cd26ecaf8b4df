"""The networks of an arm between baseline and finetuned weights, each at an alpha that was picked
on other seeds and other images than it is scored on.

An alpha that is picked on the images and the seed of its score makes that score too good. So the
images are halved, by odd and even index: the alpha of a run on one half is the one that the rule
(`ablate.study.interpolation.choose_alpha`) picks on the mean curve of the cell's other seeds on the
other half.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.ledger.record import RowRecord
from ablate.robustness.bits import Bits, Shares, image_shares, unpack_bits
from ablate.study.interpolation import CURVE_METRICS, AlphaScore, bits_name, choose_alpha
from ablate.study.scores import Scores

ON_CURVE: Mapping[str, str] = {f"{metric}_interpolated": metric for metric in CURVE_METRICS}
"""The metrics of these networks, and what each is of one network."""


@dataclass(frozen=True)
class PickedNetworks:
    """The networks of a cell.

    Attributes:
        shares: metric -> contribution of each image, `[runs, n]`; a run's value is the mean.
        alphas: `[runs, 2]`, on the images with an even and with an odd index.
        places: index of each run's pair.
    """

    shares: Mapping[str, Shares]
    alphas: NDArray[np.float64]
    places: tuple[int, ...]


def pick_networks(
    rows: Mapping[int, RowRecord],
    outcomes: Mapping[int, Mapping[str, str]],
    clean_margin: float,
) -> PickedNetworks | None:
    """Pick the alpha of every run of a cell.

    Args:
        rows: of the cell, by index of the pair; those without a curve are left out.
        outcomes: of the rows.

    Returns:
        None for fewer than two runs with a curve.
    """
    curved = {
        place: row
        for place, row in rows.items()
        if row.state == "COMPLETE" and row.path is not None and isinstance(row.scores, Scores)
        if all(bits_name(alpha) in outcomes.get(row.number, {}) for alpha in row.path.alphas)
    }
    if len(curved) < 2:
        return None
    first = next(iter(curved.values()))
    assert first.path is not None
    assert isinstance(first.scores, Scores)
    alphas, by_alpha = first.path.alphas, []
    for alpha in alphas:
        texts = [outcomes[row.number][bits_name(alpha)] for row in curved.values()]
        bits = unpack_bits(texts, first.scores)
        found = {metric: image_shares(bits, first.scores, metric) for metric in CURVE_METRICS}
        by_alpha.append({name: shares for name, shares in found.items() if shares is not None})
    odd = {metric: _is_odd(first, by_alpha[0][metric].shape[1], metric) for metric in CURVE_METRICS}
    # [alpha, metric, half, run]
    means = np.array(
        [
            [
                [shares[metric][:, odd[metric] == half].mean(axis=1) for half in (0, 1)]
                for metric in CURVE_METRICS
            ]
            for shares in by_alpha
        ]
    )
    picked = np.empty((len(curved), 2))
    made = {metric: by_alpha[0][metric].copy() for metric in CURVE_METRICS}
    for run in range(len(curved)):
        others = np.delete(means.transpose(0, 1, 3, 2), run, axis=2).mean(axis=2)
        for half in (0, 1):
            curve = [
                AlphaScore(alpha, *map(float, others[place, :, 1 - half]))
                for place, alpha in enumerate(alphas)
            ]
            picked[run, half] = choose_alpha(curve, clean_margin).alpha
            shares = by_alpha[alphas.index(picked[run, half])]
            for metric in CURVE_METRICS:
                there = odd[metric] == half
                made[metric][run, there] = shares[metric][run, there]
    named = {name: made[metric] for name, metric in ON_CURVE.items()}
    return PickedNetworks(named, picked, tuple(curved))


def _is_odd(row: RowRecord, n: int, metric: str) -> Bits:
    """Of each image of the metric, whether its index in the validation split is odd."""
    assert row.path is not None
    if metric == CURVE_METRICS[0] or not row.path.odd:
        odd: Bits = np.arange(n) % 2 == 1
        return odd
    packed = np.frombuffer(base64.b64decode(row.path.odd), dtype=np.uint8)
    return np.unpackbits(packed, count=n).view(np.bool_)
