"""Whether each image was classified correctly, one bit per image and copy.

Scores are means of these bits.  They are stored for every run, so that two networks can be compared
image by image, in every metric of `Scores`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.robustness.sparse import scored_cells
from ablate.study.interpolation import bits_name
from ablate.study.scores import EXPOSURES, Scores

Bits = NDArray[np.bool_]
Shares = NDArray[np.float64]
"""For each image the fraction of its copies that is correct, weighted as in the mean."""


@dataclass(frozen=True)
class Scored:
    """Scores, and the bits that they are computed from, as text (`pack_bits`)."""

    scores: Scores
    bits: str


def kept_scores(
    scored: Scored, tested: Scored | None, curve: Mapping[float, Scored] | None = None
) -> dict[str, Any]:
    """What is stored in addition to the scores of a network (`Report.kept`).

    Args:
        tested: on the test images, in a confirmation.
        curve: the other networks between baseline and finetuned weights, by alpha.
    """
    bits = {"val": scored.bits}
    bits |= {bits_name(alpha): one.bits for alpha, one in (curve or {}).items()}
    if tested is None:
        return {"outcomes": bits}
    return {"outcomes": {**bits, "test": tested.bits}, "test": tested.scores.to_json()}


@dataclass(frozen=True)
class ImageBits:
    """Correctness of several networks on one split, all scored on the same copies.

    Attributes:
        clean: bool `[networks, n]`.
        types: type -> bool `[networks, severity, n_corrupted]`, in the order of the scores.
        weights: of sparse scores, type -> float64 `[severity, n_corrupted]`: what the bit of an
            image weighs in the sum over images, 0 where it was not scored; empty: all were. Then
            clean and corrupted images are in the order in which they were dealt cells, first
            those that are corrupted.
    """

    clean: Bits
    types: Mapping[str, Bits]
    weights: Mapping[str, Shares] = field(default_factory=dict)

    def of_cell(self, kind: str, place: int) -> Bits:
        """Of the images that were scored under a type at one of its severities, `[networks, m]`."""
        found = self.types[kind][:, place]
        return found[:, self.weights[kind][place] > 0] if self.weights else found


def pack_bits(outcomes: SetOutcomes) -> str:
    """Pack the bits into text: the clean images, then each copy in the order of the set.

    Returns:
        `numpy.packbits` of all bits in one row, as base64.
    """
    assert outcomes.clean is not None
    rows = [outcomes.clean.correct, *(cell.correct for cell in outcomes.cells.values())]
    return pack_row(np.concatenate(rows))


def pack_row(bits: Bits) -> str:
    """One row of bits as text."""
    return base64.b64encode(np.packbits(bits).tobytes()).decode("ascii")


def unpack_bits(texts: Sequence[str], scores: Scores) -> ImageBits:
    """Unpack the texts of several networks, with the layout given by the scores of one of them.

    Raises:
        ValueError: if a text has another number of images or copies.
    """
    n, corrupted = scores.n_images, scores.n_corrupted or scores.n_images
    shape = scores.n_cells, corrupted
    scored = scored_cells(corrupted, scores.n_cells, scores.cell_share, scores.cell_seed)
    count = n + int(scored.sum())
    whole = np.frombuffer(b"".join(map(base64.b64decode, texts)), dtype=np.uint8)
    packed = whole.reshape(len(texts), (count + 7) // 8)
    flat = np.unpackbits(packed, axis=1, count=count).view(np.bool_)
    ends = np.cumsum([len(by_severity) for by_severity in scores.accuracies.values()])[:-1]
    if scores.cell_share == 1:
        cells = np.split(flat[:, n:].reshape(len(texts), *shape), ends, axis=1)
        return ImageBits(flat[:, :n], dict(zip(scores.accuracies, cells, strict=True)))
    filled = np.zeros((len(texts), *shape), dtype=np.bool_)
    filled[:, scored] = flat[:, n:]
    cells = np.split(filled, ends, axis=1)
    weights = np.split(scored * (corrupted / scored.sum(axis=1, keepdims=True)), ends)
    return ImageBits(
        flat[:, :n],
        dict(zip(scores.accuracies, cells, strict=True)),
        dict(zip(scores.accuracies, weights, strict=True)),
    )


def image_shares(
    bits: ImageBits, scores: Scores, metric: str, among: Sequence[str] = ()
) -> Shares | None:
    """Contribution of each image to a metric; the metric of a network is their mean.

    Of sparse scores an image contributes the metric itself, and for each cell that it was scored
    under how far its bit is from the metric, as the cell weighs: which cells it happened to get
    adds next to nothing.

    Args:
        scores: of one of the networks: what was scored, in which families, and what the means are
            over; its accuracies are not read, since they are of that network alone.
        metric: a name of `Scores.metrics`.
        among: metrics whose contributions are to be added to these.

    Returns:
        float64 `[networks, n]` of the clean images, `[networks, n_corrupted]` of any other, of
        sparse scores without the images that have no cell of the metric, or of those in `among`;
        None if the metric is not an accuracy, or is a mean over nothing.
    """
    if metric.partition("_")[2] == "clean_accuracy":
        return bits.clean.astype(np.float64)
    if not bits.weights:
        return _means(bits.types, scores, metric)
    weighted = {kind: right * bits.weights[kind] for kind, right in bits.types.items()}
    sums = _means(weighted, scores, metric)
    if sums is None:
        return None
    ones = {kind: weights[None] for kind, weights in bits.weights.items()}
    cells = [_means(ones, scores, name) for name in (metric, *among)]
    # Any image is one of clean accuracy, which has no cells.
    is_scored = np.asarray(sum(1.0 if one is None else one[0] for one in cells)) > 0
    mean = sums.mean(axis=1, keepdims=True)
    assert cells[0] is not None
    shares: Shares = mean + (sums - mean * cells[0])[:, is_scored] * is_scored.mean()
    return shares


def _means(types: Mapping[str, Any], scores: Scores, metric: str) -> Shares | None:
    """The mean that a metric is, image by image: `[networks, n_corrupted]`."""
    name = metric.partition("_")[2]
    if name == "robust_accuracy" and scores.mean_over == "families":
        means = (_mean_of_types(types, kinds) for kinds in scores.families.values())
        return _mean([one for one in means if one is not None])
    kind, _, severity = name.removeprefix("accuracy.").partition(".")
    if severity and kind in types:
        place = list(scores.accuracies[kind]).index(severity)
        severe: Shares = types[kind][:, place].astype(np.float64)
        return severe
    return _mean_of_types(types, _types_of(name, scores))


def _types_of(name: str, scores: Scores) -> Sequence[str]:
    """The types that a metric is the mean of; empty if it is not such a mean."""
    if name == "robust_accuracy":
        return list(scores.accuracies)
    for exposed in EXPOSURES:
        if name == f"robust_accuracy_{exposed}":
            return scores.exposed_types(exposed)
    part = name.removeprefix("accuracy.")
    if not name.startswith("accuracy."):
        return []
    return scores.families.get(part, [part] if part in scores.accuracies else [])


def _mean_of_types(types: Mapping[str, Any], kinds: Sequence[str]) -> Shares | None:
    """Severities are few, so that bits are counted in bytes, which is faster."""
    if kinds and types[kinds[0]].dtype != np.bool_:
        return _mean([types[kind].mean(axis=1) for kind in kinds])
    counts = [types[kind].view(np.uint8).sum(axis=1, dtype=np.uint8) for kind in kinds]
    return _mean([count / types[kind].shape[1] for kind, count in zip(kinds, counts, strict=True)])


def _mean(parts: Sequence[Shares]) -> Shares | None:
    return np.asarray(sum(parts) / len(parts)) if parts else None


# -- The answers of a network for each image of a set, and the numbers that follow from them -


Cell = tuple[str, int]
"""A corruption and its severity."""


@dataclass(frozen=True)
class Outcomes:
    """The answers of a network for n images.

    Attributes:
        correct: bool `[n]`, whether the most likely class is the label.
        correct_top5: bool `[n]`, whether the label is one of the five most likely; None where
            there are five classes or fewer.
        confidence: float32 `[n]`, the probability of the most likely class.
        log_probability: float32 `[n]`, natural logarithm of the probability of the label.
    """

    correct: np.ndarray
    correct_top5: np.ndarray | None
    confidence: np.ndarray
    log_probability: np.ndarray

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    @property
    def negative_log_likelihood(self) -> float:
        """Mean over the images of the negative logarithm of the label's probability, in nats."""
        return -float(self.log_probability.mean(dtype=np.float64))

    def take(self, places: np.ndarray) -> Outcomes:
        """The answers for the images at these places."""
        top5 = self.correct_top5
        top5 = None if top5 is None else top5[places]
        likely, label = self.confidence[places], self.log_probability[places]
        return Outcomes(self.correct[places], top5, likely, label)


@dataclass(frozen=True)
class SetOutcomes:
    """Outcomes on a clean split and on its corrupted copies.

    Attributes:
        clean: None if the clean images were not scored.
        cells: in the order of the set: type by type, severity by severity.
    """

    clean: Outcomes | None
    cells: Mapping[Cell, Outcomes]
