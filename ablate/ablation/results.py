"""What the runs of an ablation scored: by cell, pair and metric, and image by image."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.interpolated import ON_CURVE, PickedNetworks, pick_networks
from ablate.analysis.drawn import FAR_SPREADS
from ablate.ledger.record import NOT_FINETUNED, RowRecord, StudyRecord
from ablate.robustness.bits import ImageBits, Shares, image_shares, unpack_bits
from ablate.study.scores import COSTS, EXPOSURES, AnyScores, ExposedTypes, Scores

SplitName = Literal["val", "test"]
Outcomes = Mapping[int, Mapping[str, str]]
"""Row number -> split -> bits as text (`ablate.robustness.bits`)."""
References = Mapping[str, Mapping[str, str]]
"""The same by the name of a network without a row."""

BASELINE = "baseline"

COLLAPSE = 0.05
"""Accuracy by which a collapsed run is below the median of the others of its cell, at the least."""

_KEPT_BITS = 400_000_000
"""Number of unpacked bits kept in memory; beyond it, bits are unpacked on request."""


@dataclass(frozen=True)
class Replication:
    """An ablation that is read as one of several, each from a baseline of its own.

    Attributes:
        study: its name; seeds: at which all its cells have ended well, of so many planned.
    """

    study: str
    seeds: int
    planned: int


@dataclass(frozen=True)
class _CellBits:
    """Bits of the runs of a cell that have them.

    Attributes:
        bits: of each run; scores: of one of them; lines: index of a pair -> its line in the bits.
    """

    bits: ImageBits
    scores: Scores
    lines: Mapping[int, int]


class Results:
    """The runs of an ablation by pair and cell.

    A common baseline, and the same adapted, count as cells that are the same at every seed.

    Args:
        record: with the rows of a design.
        outcomes: of its rows; rows without them are compared over seeds only.
        references: the same of networks without rows.
        split: of the scores.

    Attributes:
        pairs: indices of the seeds, ascending.
        replications: of `PooledResults`; empty of one ablation.
    """

    replications: tuple[Replication, ...] = ()

    def __init__(
        self,
        record: StudyRecord,
        outcomes: Outcomes,
        references: References,
        split: SplitName = "val",
    ) -> None:
        self._outcomes = outcomes
        self._split = split
        scored = record.references if split == "val" else record.test_references
        self._fixed = {name: scored[name] for name in NOT_FINETUNED if name in scored}
        self._fixed_bits = {name: references.get(name, {}).get(split) for name in self._fixed}
        self._rows: dict[tuple[str, int], RowRecord] = {
            (row.cell, row.pair): row
            for row in record.rows
            if row.cell is not None and row.pair is not None
        }
        self.pairs = sorted({pair for _, pair in self._rows})
        self._cells = {cell for cell, _ in self._rows}
        self._metrics: dict[int, dict[str, float]] = {}
        self._values: dict[tuple[str, str], NDArray[np.float64]] = {}
        self._bits: dict[str, _CellBits | None] = {}
        self._picked: dict[str, PickedNetworks | None] = {}
        self._minimized: Collection[str] | None = None  # where failed runs count as the worst
        self._clean_margin = record.study.answer.clean_margin
        first = next((scores for _, scores in self._scored()), None)
        images = 0
        if isinstance(first, Scores):
            copies = sum(map(len, first.accuracies.values()))
            images = first.n_images + (first.n_corrupted or first.n_images) * copies
        self._keeps_bits = images * len(self._rows) <= _KEPT_BITS
        self.first = first

    def scores_of(self, row: RowRecord) -> AnyScores | None:
        """Of a complete row, on the split."""
        if row.state != "COMPLETE":
            return None
        return row.scores if self._split == "val" else row.test_scores

    def with_failures_as_worst(self, minimized: Collection[str]) -> Results:
        """The same with failed runs that count, in each metric, as the worst run of their cell.

        Args:
            minimized: metrics for which less is better.
        """
        other = copy(self)
        other._minimized, other._values = minimized, {}
        return other

    def _stand_ins(self, cell: str, metric: str) -> dict[int, int]:
        """Places of the runs that count as those at other places; mostly none."""
        if self._minimized is None or self.is_fixed(cell) or metric in ON_CURVE:
            return {}
        found = self._scored_values(cell, metric)
        if not np.isfinite(found).any():
            return {}
        worst = np.nanargmax(found) if metric in self._minimized else np.nanargmin(found)
        return {
            place: int(worst)
            for place, pair in enumerate(self.pairs)
            if (row := self._rows.get((cell, pair))) is not None and row.failure is not None
        }

    def collapsed(self, cells: Sequence[str]) -> list[str]:
        """The runs of these cells that collapsed, as "seed 3": in clean or robust accuracy more
        than `COLLAPSE` below the median of the others of their cell and beyond their outer fence
        (Tukey 1977); or with less than half of the baseline's clean accuracy, which is near
        chance. Of fewer than three runs only the latter."""
        clean, robust = (f"{self._split}_{one}_accuracy" for one in ("clean", "robust"))
        of_baseline = self._scored_values(BASELINE, clean)
        of_baseline = of_baseline[np.isfinite(of_baseline)]
        least = float(of_baseline.mean()) / 2 if len(of_baseline) else -math.inf
        places: set[int] = set()
        for cell in cells:
            if self.is_fixed(cell) or cell == BASELINE:
                continue
            for metric in (clean, robust):
                places |= _far_below(self._scored_values(cell, metric))
            places |= {*np.flatnonzero(self._scored_values(cell, clean) < least).tolist()}
        return [self.pair_name(place) for place in sorted(places)]

    def pair_name(self, place: int) -> str:
        """What is paired, for a person: "seed 3"."""
        return f"seed {self.pairs[place] + 1}"

    def whole_pairs(self) -> list[int]:
        """Places of the pairs at which every cell has ended well."""
        return [
            place
            for place, pair in enumerate(self.pairs)
            if all(
                (row := self._rows.get((cell, pair))) is not None
                and (self.scores_of(row) is not None or self._counts_as_worst(row))
                for cell in self._cells
            )
        ]

    def _counts_as_worst(self, row: RowRecord) -> bool:
        return self._minimized is not None and row.failure is not None

    def failed(self, cells: Sequence[str]) -> list[str]:
        """The unsuccessful runs of these cells, as "seed 3 (not_finite)"."""
        return [
            f"seed {(row.pair or 0) + 1} ({row.failure.kind})"
            for cell in cells
            for row in self.rows(cell)
            if row.failure is not None
        ]

    def failures(self) -> list[str]:
        """All unsuccessful runs in order, as "seed 3 of FMA: raised: ValueError: no"."""
        return [
            f"seed {(row.pair or 0) + 1} of {row.cell}: {row.failure.kind}: {row.failure.reason}"
            for row in sorted(self._rows.values(), key=lambda row: row.number)
            if row.failure is not None
        ]

    def rows(self, cell: str) -> list[RowRecord]:
        """Of a cell, in order of its pairs."""
        found = (self._rows.get((cell, pair)) for pair in self.pairs)
        return [row for row in found if row is not None]

    def metrics(self) -> list[str]:
        """What can be compared: accuracies but those of one severity; or what a loop reported."""
        names: dict[str, None] = {}
        for row, scores in self._scored():
            for name, value in self._of(row, scores).items():
                if name in names or not math.isfinite(value):
                    continue
                if not isinstance(scores, Scores) or _is_compared(name):
                    names[name] = None
        has_curve = any(self.picked(cell) is not None for cell in self._cells)
        return [*names, *(ON_CURVE if has_curve else ())]

    def is_fixed(self, cell: str) -> bool:
        """Whether a cell is a network without runs: the common baseline, or the same adapted."""
        return cell in self._fixed and cell not in self._cells

    def values(self, cell: str, metric: str) -> NDArray[np.float64]:
        """A metric of every pair, `[K]`: NaN if a run was not successful, or lacks the metric."""
        if (cell, metric) not in self._values:
            found = self._scored_values(cell, metric)
            for place, of in self._stand_ins(cell, metric).items():
                found[place] = found[of]
            self._values[cell, metric] = found
        return self._values[cell, metric]

    def _scored_values(self, cell: str, metric: str) -> NDArray[np.float64]:
        found = np.full(len(self.pairs), math.nan)
        if self.is_fixed(cell):
            found[:] = self._fixed[cell].metrics().get(ON_CURVE.get(metric, metric), math.nan)
        elif metric in ON_CURVE:
            picked = self.picked(cell)
            if picked is not None:
                found[list(picked.places)] = picked.shares[metric].mean(axis=1)
        else:
            for place, pair in enumerate(self.pairs):
                row = self._rows.get((cell, pair))
                scores = None if row is None else self.scores_of(row)
                if row is not None and scores is not None:
                    found[place] = self._of(row, scores).get(metric, math.nan)
        return found

    def mean_values(self, cells: Sequence[str], metric: str) -> NDArray[np.float64]:
        """The mean over cells at each pair, `[K]`; NaN if one is missing."""
        found = [self.values(cell, metric) for cell in cells]
        mean: NDArray[np.float64] = sum(found[1:], start=found[0]) / len(found)
        return mean

    def shares(self, cell: str, metric: str, places: Sequence[int]) -> Shares | None:
        """Contribution of each image to a metric of a cell: `[places, n]`.

        Args:
            places: indices of pairs with the metric.

        Returns:
            None without pairs, if a run has no bits, or if the metric is not a mean over images.
        """
        if metric in ON_CURVE and self.is_fixed(cell):
            metric = ON_CURVE[metric]
        if metric in ON_CURVE:
            picked = self.picked(cell)
            if picked is None or not set(places) <= set(picked.places) or not places:
                return None
            return picked.shares[metric][[picked.places.index(place) for place in places]]
        if stand_ins := self._stand_ins(cell, metric):
            places = [stand_ins.get(place, place) for place in places]
        kept = self._bits_of(cell)
        if kept is None or not places or any(place not in kept.lines for place in places):
            return None
        found = image_shares(kept.bits, kept.scores, metric)
        lines = [kept.lines[place] for place in places]
        return found if found is None or lines == list(range(len(found))) else found[lines]

    def picked(self, cell: str) -> PickedNetworks | None:
        """The networks of a cell between baseline and finetuned weights; None without curves."""
        if cell not in self._picked:
            rows = {
                place: row
                for place, pair in enumerate(self.pairs)
                if (row := self._rows.get((cell, pair))) is not None
            }
            is_scored = self._split == "val" and not self.is_fixed(cell)
            self._picked[cell] = (
                pick_networks(rows, self._outcomes, self._clean_margin) if is_scored else None
            )
        return self._picked[cell]

    def alphas(self, cells: Sequence[str]) -> tuple[float, ...]:
        """Of the interpolated networks of these cells, each once, ascending."""
        picked = [networks for cell in cells if (networks := self.picked(cell)) is not None]
        return tuple(sorted({alpha for one in picked for alpha in one.alphas.flat}))

    def exposed_types(self, cell: str, exposed: ExposedTypes) -> tuple[str, ...]:
        """The scored types of a name in `EXPOSURES` for a cell's networks; a fixed one has seen
        none."""
        scored = [self.scores_of(row) for row in self.rows(cell)]
        first = next((one for one in scored if isinstance(one, Scores)), None)
        if self.is_fixed(cell):
            first = self._fixed[cell]
        return () if first is None else first.exposed_types(exposed)

    def cost(self, cells: Sequence[str], cost: str) -> float:
        """Mean of what a run took, over the complete runs of these cells; NaN of none."""
        rows = [row for cell in cells for row in self.rows(cell)]
        scored = [scores for row in rows if isinstance(scores := self.scores_of(row), Scores)]
        return float(np.mean([getattr(one, cost) for one in scored])) if scored else math.nan

    def _scored(self) -> Iterator[tuple[RowRecord, AnyScores]]:
        for row in self._rows.values():
            scores = self.scores_of(row)
            if scores is not None:
                yield row, scores

    def _of(self, row: RowRecord, scores: AnyScores) -> dict[str, float]:
        if row.number not in self._metrics:
            self._metrics[row.number] = scores.metrics()
        return self._metrics[row.number]

    def _bits_of(self, cell: str) -> _CellBits | None:
        if cell in self._bits:
            return self._bits[cell]
        found = self._unpack(cell)
        if self._keeps_bits:
            self._bits[cell] = found
        return found

    def _unpack(self, cell: str) -> _CellBits | None:
        if self.is_fixed(cell):
            fixed, kept = self._fixed[cell], self._fixed_bits[cell]
            if kept is None:
                return None
            bits = unpack_bits([kept], fixed)
            return _CellBits(bits, fixed, dict.fromkeys(range(len(self.pairs)), 0))
        texts: list[str] = []
        lines: dict[int, int] = {}
        first = None
        for place, pair in enumerate(self.pairs):
            row = self._rows.get((cell, pair))
            scores = None if row is None else self.scores_of(row)
            text = None if row is None else self._outcomes.get(row.number, {}).get(self._split)
            if isinstance(scores, Scores) and text is not None:
                first = first or scores
                lines[place] = len(texts)
                texts.append(text)
        return None if first is None else _CellBits(unpack_bits(texts, first), first, lines)


class PooledResults(Results):
    """Several ablations of the same cells, each from a baseline of its own, read as one.

    A pair is an ablation.  The value of a cell, and the share of each image, is the mean over the
    seeds at which all cells of that ablation have ended well, so that what is paired within it
    stays so.

    Args:
        parts: of one split and the same images.
        names: of their studies; planned: their numbers of seeds.
    """

    def __init__(
        self, parts: Sequence[Results], names: Sequence[str], planned: Sequence[int]
    ) -> None:
        self._parts = parts
        self._places = [one.whole_pairs() for one in parts]
        self.pairs = list(range(len(parts)))
        self.first = parts[0].first
        counts = map(len, self._places)
        self.replications = tuple(map(Replication, names, counts, planned))

    def pair_name(self, place: int) -> str:
        return self.replications[place].study

    def with_failures_as_worst(self, minimized: Collection[str]) -> Results:
        parts = [one.with_failures_as_worst(minimized) for one in self._parts]
        both = [(one.study, one.planned) for one in self.replications]
        return PooledResults(parts, [name for name, _ in both], [planned for _, planned in both])

    def collapsed(self, cells: Sequence[str]) -> list[str]:
        return [
            f"{text} of {replication.study}"
            for replication, one in zip(self.replications, self._parts, strict=True)
            for text in one.collapsed(cells)
        ]

    def failed(self, cells: Sequence[str]) -> list[str]:
        return [
            f"{text} of {replication.study}"
            for replication, one in zip(self.replications, self._parts, strict=True)
            for text in one.failed(cells)
        ]

    def failures(self) -> list[str]:
        return [
            f"{replication.study}: {text}"
            for replication, one in zip(self.replications, self._parts, strict=True)
            for text in one.failures()
        ]

    def rows(self, cell: str) -> list[RowRecord]:
        return [row for one in self._parts for row in one.rows(cell)]

    def metrics(self) -> list[str]:
        others = [set(one.metrics()) for one in self._parts[1:]]
        return [name for name in self._parts[0].metrics() if all(name in one for one in others)]

    def is_fixed(self, cell: str) -> bool:
        """Not where there are several: their baselines differ."""
        return len(self._parts) == 1 and self._parts[0].is_fixed(cell)

    def values(self, cell: str, metric: str) -> NDArray[np.float64]:
        return np.array(
            [
                one.values(cell, metric)[places].mean() if places else math.nan
                for one, places in zip(self._parts, self._places, strict=True)
            ]
        )

    def shares(self, cell: str, metric: str, places: Sequence[int]) -> Shares | None:
        found = [self._parts[at].shares(cell, metric, self._places[at]) for at in places]
        whole = [one.mean(axis=0) for one in found if one is not None]
        return np.stack(whole) if whole and len(whole) == len(found) else None

    def alphas(self, cells: Sequence[str]) -> tuple[float, ...]:
        return tuple(sorted({alpha for one in self._parts for alpha in one.alphas(cells)}))

    def exposed_types(self, cell: str, exposed: ExposedTypes) -> tuple[str, ...]:
        """Nothing where the ablations do not agree."""
        found = {one.exposed_types(cell, exposed) for one in self._parts}
        return found.pop() if len(found) == 1 else ()

    def cost(self, cells: Sequence[str], cost: str) -> float:
        return float(np.mean([one.cost(cells, cost) for one in self._parts]))


def _far_below(values: NDArray[np.float64]) -> set[int]:
    """Places of values far below the others, as of `Results.collapsed`."""
    found = set()
    finite = np.flatnonzero(np.isfinite(values)).tolist()
    for place in finite:
        others = values[[one for one in finite if one != place]]
        if len(others) < 2 or not values[place] < np.median(others) - COLLAPSE:
            continue
        quarter, three = np.quantile(others, (0.25, 0.75))
        if values[place] < quarter - FAR_SPREADS * (three - quarter):
            found.add(place)
    return found


def _is_compared(name: str) -> bool:
    if name in COSTS:
        return False
    return not name.rpartition(".")[2].isdigit()


def compared_metrics(scores: Scores) -> list[str]:
    """The metrics of a table: clean, robust, by exposure, families, types."""
    split = scores.split
    leading = [f"{split}_clean_accuracy", f"{split}_robust_accuracy"]
    by_exposure = [f"{split}_robust_accuracy_{exposed}" for exposed in EXPOSURES]
    parts = [*scores.families, *scores.accuracies]
    return [*leading, *by_exposure, *dict.fromkeys(f"{split}_accuracy.{part}" for part in parts)]
