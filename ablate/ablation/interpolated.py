"""The networks of an ablation at its stated clean loss: what each image contributes to them.

Where a curve has lost so much is measured on the images that are scored there.  So an image counts
twice: in the robust accuracy, and in where that is read off, which the contribution holds by the
slope of the curve (the delta method).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.ledger.record import RowRecord, StudyRecord
from ablate.robustness.bits import Shares, image_shares, unpack_bits
from ablate.study.interpolation import Curve, bits_name, loss_point
from ablate.study.scores import AT_CLEAN_LOSS, TOTALS, Scores, base_name

ON_CURVE = tuple(f"val_{name}" for name in TOTALS if name.endswith(AT_CLEAN_LOSS))
"""The metrics of these networks that tables have, on the validation images."""
_CLEAN = "val_clean_accuracy"


def images_at_clean_loss(
    row: RowRecord, bits: Mapping[str, str], metric: str, loss: float
) -> Shares | None:
    """Contribution of each image to a metric at a clean loss, `[n]`: its mean is the metric.

    Args:
        row: with a curve; bits: of its networks, by name.
        metric: the name ends with `AT_CLEAN_LOSS`.

    Returns:
        None if bits are missing, or which images are corrupted is not known.
    """
    assert row.path is not None
    assert isinstance(row.scores, Scores)
    place, share = row.path.loss_point(loss)
    names = [bits_name(row.path.alphas[at]) for at in (0, place, place + 1)]
    if any(name not in bits for name in names):
        return None
    of_all = unpack_bits([bits[name] for name in names], row.scores)
    clean = of_all.clean.astype(np.float64)
    robust = image_shares(of_all, row.scores, base_name(metric), [_CLEAN])
    spread = over_all_images(robust, row.scores, row.path)
    if spread is None:
        return None
    return contributions(clean, spread, share)


def contributions(clean: Shares, robust: Shares, share: float) -> Shares:
    """Between the networks p and q of a curve, with the weights s and 1 - s, and g = (R_p - R_q) /
    (C_p - C_q): the first-order change of R where the loss is is that of R at these weights plus g
    times that of the baseline's clean accuracy less the clean accuracy at these weights.

    Args:
        clean, robust: `[3, n]`, what each image contributes to both, of the baseline, p and q.
        share: s; 0 at the end of the curve, where nothing is read off.

    Returns:
        `[n]`.
    """
    mixed: Shares = share * robust[1] + (1 - share) * robust[2]
    if share:
        slope = (robust[1] - robust[2]).mean() / (clean[1] - clean[2]).mean()
        lost = clean[0] - share * clean[1] - (1 - share) * clean[2]
        mixed += slope * (lost - lost.mean())
    return mixed


def over_all_images(
    shares: Shares | None, scores: Scores, path: Curve
) -> NDArray[np.float64] | None:
    """Contributions of the corrupted images as such of all clean ones: `[networks, n]`."""
    if shares is None or shares.shape[1] == scores.n_images:
        return shares
    places = _corrupted(scores, path)
    if places is None:
        return None
    means = shares.mean(axis=1, keepdims=True)
    spread = np.repeat(means, scores.n_images, axis=1)
    spread[:, places] += (shares - means) * (scores.n_images / len(places))
    return spread


def _corrupted(scores: Scores, path: Curve) -> NDArray[np.intp] | None:
    """Indices of the corrupted images among the clean ones; None where not known."""
    n, corrupted = scores.n_images, scores.n_corrupted or scores.n_images
    if corrupted == n or scores.cell_share < 1:
        return np.arange(corrupted)
    if not path.corrupted:
        return None
    packed = np.frombuffer(base64.b64decode(path.corrupted), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(packed, count=n))


def stated_loss(record: StudyRecord) -> float:
    """The stated clean loss of an ablation, or of one that was confirmed."""
    test = record.test or {}
    return float(test.get("clean_loss", record.study.answer.clean_margin))


def with_alphas(test: Mapping[str, Any], record: StudyRecord) -> dict[str, Any]:
    """What a confirmation of an ablation scores: where that asks for metrics at a clean loss also
    that loss, and the alpha of each cell, where the mean curve of its complete runs has lost it.

    Args:
        test: suite and severities; record: the ablation, or the replicate of one; a search, and a
            study of replicates, has no cells of its own.
    """
    if not record.study.asks_at_clean_loss or record.design is None or not record.rows:
        return {**test}
    loss, curves = record.study.answer.clean_margin, dict[str, list[Curve]]()
    for row in record.complete:
        if row.cell is not None and row.path is not None:
            curves.setdefault(row.cell, []).append(row.path)
    alphas = {}
    for cell, of in curves.items():
        clean = [[point.clean_accuracy for point in one.points.values()] for one in of]
        point = loss_point(np.mean(clean, axis=0).tolist(), loss)
        alphas[cell] = round(point.mixed(of[0].alphas), 4)
    return {**test, "clean_loss": loss, "alphas": alphas}
