"""Robust accuracy at a stated clean loss: its value, what each image contributes, and its alpha."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from example_records import example_record
from example_results import FAMILIES, score_bits

from ablate.ablation.interpolated import (
    images_at_clean_loss,
    over_all_images,
    with_alphas,
)
from ablate.ledger.record import RowRecord
from ablate.robustness.bits import Outcomes, Scored, SetOutcomes, pack_row
from ablate.robustness.sparse import scored_cells
from ablate.study.interpolation import Curve, alpha_text, bits_name, curve_point, loss_point

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
METRIC = "val_robust_accuracy_at_clean_loss"
KINDS = [kind for kinds in FAMILIES.values() for kind in kinds]
N = 200


def by_hand(clean: np.ndarray, robust: np.ndarray, loss: float) -> tuple[float, float]:
    """Value and alpha, walking from the finetuned network towards the baseline."""
    lower = clean[0] - loss - 1e-9
    if clean[-1] >= lower:
        return float(robust[-1]), 1.0
    for place in range(len(clean) - 2, -1, -1):
        if clean[place] >= lower:
            share = (lower - clean[place + 1]) / (clean[place] - clean[place + 1])
            value = robust[place + 1] + share * (robust[place] - robust[place + 1])
            alpha = ALPHAS[place + 1] + share * (ALPHAS[place] - ALPHAS[place + 1])
            return float(value), float(alpha)
    raise AssertionError


@pytest.mark.parametrize(
    ("clean", "loss", "point"),
    [
        ((0.9, 0.9, 0.88), 0.01, (1, 0.5)),
        ((0.9, 0.91, 0.92), 0.0, (1, 0.0)),
        ((0.9, 0.895, 0.89), 0.01, (1, 0.0)),  # just that much is not more
        ((0.9, 0.7, 0.8), 0.05, (0, 0.75)),
        ((0.9, 0.7, 0.9, 0.8), 0.05, (2, 0.5)),  # the last crossing
        ((0.9, 0.8), 0.0, (0, 1.0)),
    ],
)
def test_where_a_curve_has_lost_so_much(
    clean: tuple[float, ...], loss: float, point: tuple[int, float]
) -> None:
    found = loss_point(clean, loss)
    assert found.place == point[0]
    assert found.share == pytest.approx(point[1], abs=1e-6)


def drawn(seed: int, n: int = N, n_corrupted: int = N, share: float = 1.0) -> dict[float, Scored]:
    """Networks that get less clean and more robust from the baseline on."""
    random = np.random.default_rng(seed)
    ease, hard = random.random(n), random.random((len(KINDS), n_corrupted))
    wrong = np.zeros(max(n, n_corrupted), np.float32)
    scored = scored_cells(n_corrupted, len(KINDS), share, 3)
    found = {}
    for alpha in ALPHAS:
        clean = ease < 0.95 - 0.08 * alpha**2
        cells = {
            (kind, 1): Outcomes((hard[at] < 0.4 + 0.3 * alpha)[scored[at]], None, wrong, wrong)
            for at, kind in enumerate(KINDS)
        }
        fields = {"n_corrupted": n_corrupted, "cell_share": share, "cell_seed": 3}
        found[alpha] = score_bits(SetOutcomes(Outcomes(clean, None, wrong, wrong), cells), **fields)
    return found


def row_of(
    made: dict[float, Scored], loss: float, number: int = 0, corrupted: str = ""
) -> tuple[RowRecord, dict[str, str]]:
    points = {alpha_text(alpha): curve_point(one.scores) for alpha, one in made.items()}
    path = Curve(points, corrupted=corrupted)
    row = RowRecord(number, "COMPLETE", 1, {}, values=(0.0,), cell="a", pair=number)
    scores = path.at_clean_loss(made[1.0].scores, loss)
    return replace(row, scores=scores, path=path), {
        bits_name(alpha): one.bits for alpha, one in made.items()
    }


def alphas_of(rows: list[RowRecord], loss: float) -> dict[str, float]:
    """Of a confirmation of these rows."""
    primary = [{"compare": "a", "metric": METRIC}]
    ablation = {"design": "arms", "arms": {"a": {}, "b": {}}, "primary": primary}
    sections = {"ablation": ablation, "answer": {"clean_margin": loss}}
    record = replace(example_record(rows, **sections), design={})
    test = {"suite": "all", "severities": [3]}
    assert with_alphas(test, replace(record, rows=())) == test
    found = with_alphas(test, record)
    assert found == test | {"clean_loss": loss, "alphas": found["alphas"]}
    alphas: dict[str, float] = found["alphas"]
    return alphas


@pytest.mark.parametrize("loss", [0.0, 0.005, 0.02, 0.5])
@pytest.mark.parametrize("share", [1.0, 2 / 3])
def test_the_mean_over_images_is_the_value(loss: float, share: float) -> None:
    made = drawn(0, share=share)
    row, bits = row_of(made, loss)
    clean = np.array([one.scores.clean_accuracy for one in made.values()])
    robust = np.array([one.scores.robust_accuracy for one in made.values()])
    value, alpha = by_hand(clean, robust, loss)
    assert row.scores is not None
    assert row.scores.metrics()[METRIC] == pytest.approx(value)
    shares = images_at_clean_loss(row, bits, METRIC, loss)
    assert shares is not None
    assert shares.shape == (N,)
    assert shares.mean() == pytest.approx(value)
    assert alphas_of([row], loss)["a"] == pytest.approx(alpha, abs=6e-5)
    assert images_at_clean_loss(row, {}, METRIC, loss) is None


def test_a_contribution_is_what_the_value_changes_by() -> None:
    """Against the value itself where the image counts a little more: the derivative."""
    loss, step = 0.02, 1e-6
    made = drawn(1)
    row, bits = row_of(made, loss)
    shares = images_at_clean_loss(row, bits, METRIC, loss)
    assert shares is not None
    from ablate.robustness.bits import image_shares, unpack_bits

    right = [unpack_bits([one.bits], one.scores) for one in made.values()]
    clean = np.stack([one.clean[0].astype(float) for one in right])
    robust = np.stack(
        [
            image_shares(one, made[1.0].scores, "val_robust_accuracy")[0]  # type: ignore[index]
            for one in right
        ]
    )
    for image in range(0, N, 17):
        weights = np.full(N, (1 - step) / N)
        weights[image] += step
        value, _ = by_hand(clean @ weights, robust @ weights, loss)
        before, _ = by_hand(clean.mean(axis=1), robust.mean(axis=1), loss)
        slope = (value - before) / step
        assert slope == pytest.approx(shares[image] - shares.mean(), abs=2e-3)


def test_images_that_are_not_corrupted_tell_where_it_is_read_off() -> None:
    made = drawn(2, n=N, n_corrupted=80)
    places = np.sort(np.random.default_rng(0).permutation(N)[:80])
    is_corrupted = np.zeros(N, bool)
    is_corrupted[places] = True
    row, bits = row_of(made, 0.02, corrupted=pack_row(is_corrupted))
    shares = images_at_clean_loss(row, bits, METRIC, 0.02)
    assert shares is not None
    assert shares.shape == (N,)
    assert row.scores is not None
    assert shares.mean() == pytest.approx(row.scores.metrics()[METRIC])
    assert row.path is not None
    own = np.arange(80.0)[None]
    spread = over_all_images(own, made[1.0].scores, row.path)
    assert spread is not None
    assert spread.mean() == pytest.approx(own.mean())
    assert np.ptp(spread[0, ~is_corrupted]) == 0
    # In studies of earlier versions it is not known which they are.
    row, bits = row_of(made, 0.02)
    assert images_at_clean_loss(row, bits, METRIC, 0.02) is None


def test_a_confirmation_scores_where_the_mean_curve_is() -> None:
    made = [drawn(seed) for seed in (3, 4, 5)]
    rows = [row_of(one, 0.02, number)[0] for number, one in enumerate(made)]
    clean = np.mean([[one.scores.clean_accuracy for one in of.values()] for of in made], axis=0)
    _, alpha = by_hand(clean, np.zeros(len(ALPHAS)), 0.02)
    failed = replace(rows[0], state="FAIL", cell="b")
    found = alphas_of([*rows, failed], 0.02)
    assert found == {"a": pytest.approx(alpha, abs=6e-5)}
