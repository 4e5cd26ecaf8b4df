"""Alphas picked on other seeds and other images than they are scored on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_results import FAMILIES, score_bits

from ablate.ablation.interpolated import ON_CURVE, PickedNetworks, pick_networks
from ablate.ledger.record import RowRecord
from ablate.robustness.bits import Outcomes, Scored, SetOutcomes, pack_row
from ablate.study.interpolation import Curve, alpha_text, bits_name, curve_point

ALPHAS = (0.0, 0.5, 1.0)
N = 40
CLEAN, ROBUST = ON_CURVE


def scored(clean: np.ndarray, robust: np.ndarray) -> Scored:
    """These images right, `robust` ones under every corruption."""
    wrong = np.zeros(N, np.float32)
    kinds = [kind for kinds in FAMILIES.values() for kind in kinds]
    cells = {(kind, 1): Outcomes(robust, None, wrong[: len(robust)]) for kind in kinds}
    return score_bits(SetOutcomes(Outcomes(clean, None, wrong), cells))


def first_of(half: int, count: int, n: int = N) -> np.ndarray:
    """The first images of a half are right."""
    right = np.zeros(n, bool)
    right[half::2][:count] = True
    return right


def both(even: int, odd: int, n: int = N) -> np.ndarray:
    return first_of(0, even, n) | first_of(1, odd, n)


Path = Mapping[float, tuple[np.ndarray, np.ndarray]]
"""By alpha, which images are right: clean and robust."""


def curved(number: int, path: Path, odd: str = "") -> tuple[RowRecord, dict[str, str]]:
    made = {alpha: scored(*right) for alpha, right in path.items()}
    points = {alpha_text(alpha): curve_point(one.scores) for alpha, one in made.items()}
    row = RowRecord(number, "COMPLETE", 1, {}, values=(0.0,), cell="a", pair=number)
    row = replace(row, scores=made[1.0].scores, path=Curve(points, odd=odd))
    bits = {bits_name(alpha): one.bits for alpha, one in made.items() if alpha != 1}
    return row, bits | {"val": made[1.0].bits}


def pick(*paths: Path, odd: str = "", margin: float = 0.01) -> PickedNetworks | None:
    made = [curved(number, path, odd) for number, path in enumerate(paths)]
    rows = {number: row for number, (row, _) in enumerate(made)}
    return pick_networks(rows, {number: bits for number, (_, bits) in enumerate(made)}, margin)


FULL = both(20, 20)


def path_to(best: float, *, even: bool = True, odd: bool = True) -> Path:
    """Clean accuracy stays; the network at `best` is the most robust on these halves."""
    good = {alpha: 15 if alpha == best else 5 + round(alpha) for alpha in ALPHAS}
    return {
        alpha: (FULL, both(good[alpha] if even else 5, good[alpha] if odd else 5))
        for alpha in ALPHAS
    }


def test_a_run_has_the_alpha_of_the_other_runs() -> None:
    found = pick(path_to(1.0), path_to(0.5), path_to(0.5))
    assert found is not None
    assert found.alphas[0].tolist() == [0.5, 0.5]
    assert found.alphas[1].tolist() == found.alphas[2].tolist()
    assert found.places == (0, 1, 2)
    # Its own best, of 15 right of 20, is not what it is scored by.
    assert found.shares[ROBUST][0].mean() == pytest.approx(5 / 20)
    assert found.shares[CLEAN].mean() == 1


def test_a_half_has_the_alpha_of_the_other_half() -> None:
    path = {
        0.0: (FULL, both(5, 5)),
        0.5: (FULL, both(15, 5)),  # better on the even images
        1.0: (FULL, both(6, 12)),  # and this on the odd ones
    }
    found = pick(path, path, path)
    assert found is not None
    assert found.alphas.tolist() == [[1.0, 0.5]] * 3
    assert found.shares[ROBUST].mean(axis=1) == pytest.approx([(6 + 5) / 40] * 3)


def test_what_a_run_is_scored_on_does_not_reach_its_alpha() -> None:
    """Whatever the run's own bits are, and those of its half in the other runs."""
    random = np.random.default_rng(0)

    def noise(rate: float) -> np.ndarray:
        return random.random(N) < rate

    paths = [{alpha: (noise(0.9), noise(0.3 + 0.4 * alpha)) for alpha in ALPHAS} for _ in range(4)]
    before = pick(*paths, margin=0.1)
    assert before is not None
    for half in (0, 1):
        here = np.arange(N) % 2 == half
        others = [
            {
                alpha: tuple(np.where(here, noise(0.5), right) for right in rights)
                for alpha, rights in path.items()
            }
            for path in paths
        ]
        own = {alpha: (noise(0.5), noise(0.5)) for alpha in ALPHAS}
        changed: list[Any] = [own, *others[1:]]
        after = pick(*changed, margin=0.1)
        assert after is not None
        assert after.alphas[0, half] == before.alphas[0, half]


def test_copies_of_some_images_are_halved_as_the_images_are() -> None:
    """Of a copy the first 10 images are even ones, the rest odd."""
    n = 20
    odd = np.arange(n) >= 10
    early, late = np.arange(n) < 10, np.arange(n) >= 10
    path = {
        0.0: (FULL, np.zeros(n, bool)),
        0.5: (FULL, early),  # right on the even images alone
        1.0: (FULL, late),
    }
    found = pick(path, path, odd=pack_row(odd))
    assert found is not None
    assert found.alphas.tolist() == [[1.0, 0.5]] * 2
    assert found.shares[ROBUST].mean() == 0


def test_the_margin_counts_and_runs_without_a_curve_do_not() -> None:
    path = {
        0.0: (FULL, both(5, 5)),
        0.5: (both(19, 19), both(10, 10)),
        1.0: (both(15, 15), both(20, 20)),
    }
    for margin, alpha in ((0.05, 0.5), (0.25, 1.0)):
        found = pick(path, path, margin=margin)
        assert found is not None
        assert found.alphas.tolist() == [[alpha, alpha]] * 2
    assert pick(path) is None
    row, bits = curved(0, path)
    bare = replace(row, path=None)
    failed = replace(row, state="FAIL", scores=None, path=None)
    assert pick_networks({0: bare, 1: failed, 2: row}, {0: bits, 1: bits, 2: bits}, 0.01) is None
