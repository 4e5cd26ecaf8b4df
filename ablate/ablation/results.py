"""What the runs of an ablation scored: by cell, pair and metric, and image by image."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.interpolated import images_at_clean_loss, over_all_images, stated_loss
from ablate.analysis.drawn import FAR_SPREADS
from ablate.ledger.record import ADAPTED, NOT_FINETUNED, RowRecord, StudyRecord
from ablate.robustness.bits import Shares, image_shares, unpack_bits
from ablate.study.interpolation import LOSS_BITS
from ablate.study.scores import (
    AT_CLEAN_LOSS,
    COSTS,
    TOTALS,
    AnyScores,
    ExposedTypes,
    Scores,
    base_name,
)

SplitName = Literal["val", "test"]
Outcomes = Mapping[int, Mapping[str, str]]
"""Row number -> split -> bits as text (`ablate.robustness.bits`)."""
References = Mapping[str, Mapping[str, str]]
"""The same by the name of a network without a row."""

BASELINE = "baseline"

COLLAPSE = 0.05
"""Accuracy by which a collapsed run is below the median of the others of its cell, at the least."""


@dataclass(frozen=True)
class Replication:
    """An ablation that is read as one of several, each from a baseline of its own.

    Attributes:
        study: its name; seeds: at which all its cells have ended well, of so many planned.
    """

    study: str
    seeds: int
    planned: int


class Column(NamedTuple):
    """Values of one cell.

    Attributes:
        values: `[K]`, NaN if a run was not successful, or lacks the metric.
        places: indices of the pairs that have it, ascending.
        shares: `[places, n]`; None if a run has no bits, or the metric is not a mean over images.
    """

    values: NDArray[np.float64]
    places: NDArray[np.intp]
    shares: Shares | None

    def shares_at(self, places: NDArray[np.intp]) -> Shares | None:
        """At some of the pairs that have it."""
        if self.shares is None or len(places) == len(self.places):
            return self.shares
        some: Shares = self.shares[np.searchsorted(self.places, places)]
        return some


class Results:
    """The runs of an ablation by pair and cell.

    A common baseline, and the same adapted, count as cells that are the same at every seed.

    Args:
        record: with the rows of a design.
        outcomes: of its rows; rows without them are compared over seeds only.
        references: the same of networks without rows.
        split: of the scores.

    Attributes:
        pairs: indices of the seeds, ascending; a place is an index in them.
        replications: of `PooledResults`; empty of one ablation.
        stopped: cells that a look has stopped, each with a place at which it has no run.
        first: the scores of one run; None before one has ended well.
        clean_loss: stated, of metrics at a clean loss.
    """

    replications: tuple[Replication, ...] = ()
    stopped: frozenset[tuple[str, int]] = frozenset()

    def __init__(
        self,
        record: StudyRecord,
        outcomes: Outcomes,
        references: References,
        split: SplitName = "val",
    ) -> None:
        self._outcomes = outcomes
        self._split = split
        self._rows = [row for row in record.rows if row.cell is not None and row.pair is not None]
        self.pairs = sorted({row.pair for row in self._rows if row.pair is not None})
        self._runs: dict[str, dict[int, RowRecord]] = {}
        places = {pair: place for place, pair in enumerate(self.pairs)}
        for row in sorted(self._rows, key=lambda row: row.pair or 0):
            self._runs.setdefault(str(row.cell), {})[places[row.pair or 0]] = row
        scored = record.references if split == "val" else record.test_references
        self._fixed = {
            name: scored[name]
            for name in NOT_FINETUNED
            if name in scored and name not in self._runs
        }
        self._fixed_bits = {name: references.get(name, {}).get(split) for name in self._fixed}
        self._metrics: dict[int, Mapping[str, float]] = {}
        self._values: dict[tuple[str, str], NDArray[np.float64]] = {}
        self._minimized: Collection[str] | None = None  # where failed runs count as the worst
        self.clean_loss = stated_loss(record)
        self._tested_alphas: Mapping[str, float] = (record.test or {}).get("alphas", {})
        self.first = next((one for row in self._rows if (one := self._scores(row))), None)

    def _scores(self, row: RowRecord) -> AnyScores | None:
        """Of a complete row, on the split."""
        if row.state != "COMPLETE":
            return None
        return row.scores if self._split == "val" else row.test_scores

    def _metrics_of(self, row: RowRecord) -> Mapping[str, float]:
        if row.number not in self._metrics:
            scores = self._scores(row)
            self._metrics[row.number] = {} if scores is None else scores.metrics()
        return self._metrics[row.number]

    def _scored_runs(self, cell: str) -> dict[int, Scores]:
        """By place, the scores of the runs that have scores of images."""
        runs = self._runs.get(cell, {}).items()
        return {at: one for at, row in runs if isinstance(one := self._scores(row), Scores)}

    def is_fixed(self, cell: str) -> bool:
        """Whether a cell is a network without runs: the common baseline, or the same adapted."""
        return cell in self._fixed

    def pair_name(self, place: int) -> str:
        """What is paired, for a person: "seed 3"."""
        return f"seed {self.pairs[place] + 1}"

    # What can be compared

    def metrics(self) -> list[str]:
        """Accuracies but those of one severity; or what a loop reported; none without a value."""
        names: dict[str, None] = {}
        for row in self._rows:
            is_own_loop = not isinstance(self._scores(row), Scores)
            for name, value in self._metrics_of(row).items():
                is_one_severity = name.rpartition(".")[2].isdigit()
                is_compared = name not in COSTS and not is_one_severity
                if math.isfinite(value) and (is_compared or is_own_loop):
                    names[name] = None
        return [*names]

    def values(self, cell: str, metric: str) -> NDArray[np.float64]:
        """A metric of every pair, `[K]`: NaN if a run was not successful, or lacks the metric."""
        if (cell, metric) not in self._values:
            values = self._scored_values(cell, metric)
            for place, of in self._stand_ins(cell, metric).items():
                values[place] = values[of]
            self._values[cell, metric] = values
        return self._values[cell, metric]

    def _scored_values(self, cell: str, metric: str) -> NDArray[np.float64]:
        values = np.full(len(self.pairs), math.nan)
        if self.is_fixed(cell):
            if not self.lacks(cell, metric):
                values[:] = self._fixed[cell].metrics().get(base_name(metric), math.nan)
        elif metric.endswith(AT_CLEAN_LOSS):
            name = base_name(metric).partition("_")[2]
            for place, scores in self._scored_runs(cell).items():
                values[place] = scores.at_clean_loss.get(name, math.nan)
        else:
            for place, row in self._runs.get(cell, {}).items():
                values[place] = self._metrics_of(row).get(metric, math.nan)
        return values

    def lacks(self, cell: str, metric: str) -> bool:
        """Whether no network of a cell has a metric: an adapted baseline is on no line from the
        baseline to finetuned weights, so it has no stated clean loss."""
        return cell == ADAPTED and metric.endswith(AT_CLEAN_LOSS)

    def mean_values(self, cells: Sequence[str], metric: str) -> NDArray[np.float64]:
        """The mean over cells at each pair, `[K]`; NaN if one is missing."""
        return _mean([self.values(cell, metric) for cell in cells])

    def shares(
        self, cell: str, metric: str, places: Sequence[int], among: Sequence[str] = ()
    ) -> Shares | None:
        """Contribution of each image to a metric of a cell: `[places, n]`.

        Args:
            places: indices of pairs with the metric.
            among: as of `image_shares`.

        Returns:
            None without pairs, if a run has no bits, or if the metric is not a mean over images.
        """
        if self.is_fixed(cell):
            text = self._fixed_bits[cell]
            if text is None or not places:
                return None
            scores, names = self._fixed[cell], [base_name(metric), *map(base_name, among)]
            at_loss = metric.endswith(AT_CLEAN_LOSS) and self._split == "val"
            names += ["val_clean_accuracy"] if at_loss else []
            found = image_shares(unpack_bits([text], scores), scores, names[0], names[1:])
            if at_loss:
                paths = (row.path for of in self._runs.values() for row in of.values() if row.path)
                path = next(paths, None)
                found = None if path is None else over_all_images(found, scores, path)
            return None if found is None else found[[0] * len(places)]
        if stand_ins := self._stand_ins(cell, metric):
            places = [stand_ins.get(place, place) for place in places]
        if metric.endswith(AT_CLEAN_LOSS):
            return self._shares_at_loss(cell, metric, places)
        scored, texts = self._scored_runs(cell), dict[int, str]()
        for place in scored:
            kept = self._outcomes.get(self._runs[cell][place].number, {})
            if self._split in kept:
                texts[place] = kept[self._split]
        if not places or any(place not in texts for place in places):
            return None
        scores = scored[next(iter(texts))]
        found = image_shares(unpack_bits([*texts.values()], scores), scores, metric, among)
        lines = [[*texts].index(place) for place in places]
        return found if found is None or lines == list(range(len(found))) else found[lines]

    def _shares_at_loss(self, cell: str, metric: str, places: Sequence[int]) -> Shares | None:
        """Of the networks at the stated clean loss."""
        found, scored = list[Shares](), self._scored_runs(cell)
        for place in places:
            row, scores, shares = self._runs[cell][place], scored[place], None
            bits = self._outcomes.get(row.number, {})
            if self._split == "val" and row.path is not None:
                shares = images_at_clean_loss(row, bits, metric, self.clean_loss)
            elif self._split == "test" and LOSS_BITS in bits:
                of_one = image_shares(
                    unpack_bits([bits[LOSS_BITS]], scores), scores, base_name(metric)
                )
                shares = None if of_one is None else of_one[0]
            if shares is None:
                return None
            found.append(shares)
        return np.stack(found) if found else None

    def column(self, cell: str, metrics: Sequence[str]) -> Column:
        """The mean of some metrics of a cell."""
        values = _mean([self.values(cell, metric) for metric in metrics])
        places = np.flatnonzero(np.isfinite(values))
        shares = [self.shares(cell, metric, places.tolist(), metrics) for metric in metrics]
        known = [share for share in shares if share is not None]
        return Column(values, places, _mean(known) if len(known) == len(shares) else None)

    def alphas(self, cells: Sequence[str]) -> tuple[float, ...]:
        """At which runs of these cells have lost the stated clean accuracy, ascending; on test
        images those at which they are scored."""
        if self._split == "test":
            tested = [self._tested_alphas.get(cell) for cell in cells]
            return tuple(sorted(alpha for alpha in tested if alpha is not None))
        paths = [row.path for cell in cells for row in self._runs.get(cell, {}).values()]
        points = [(one.loss_point(self.clean_loss), one.alphas) for one in paths if one is not None]
        return tuple(sorted(point.mixed(alphas) for point, alphas in points))

    def exposed_types(self, cell: str, exposed: ExposedTypes) -> tuple[str, ...]:
        """The scored types of a name in `EXPOSURES` for a cell's networks; of one that was trained
        on none those of the others, where these agree: so it is compared with them over the same
        types."""
        scores = self._fixed.get(cell) or next(iter(self._scored_runs(cell).values()), None)
        if scores is None:
            return ()
        if scores.seen_types:
            return scores.exposed_types(exposed)
        firsts = [next(iter(self._scored_runs(one).values()), None) for one in self._runs]
        found = {one.exposed_types(exposed) for one in firsts if one is not None and one.seen_types}
        return found.pop() if len(found) == 1 else scores.exposed_types(exposed)

    def cost(self, cells: Sequence[str], cost: str) -> float:
        """Mean of what a run took, over the complete runs of these cells; NaN of none."""
        scored = [scores for cell in cells for scores in self._scored_runs(cell).values()]
        return float(np.mean([getattr(one, cost) for one in scored])) if scored else math.nan

    # Runs that failed or collapsed

    def failed(self, cells: Sequence[str]) -> list[str]:
        """The unsuccessful runs of these cells, as "seed 3 (not_finite)"."""
        return [
            f"{self.pair_name(place)} ({row.failure.kind})"
            for cell in cells
            for place, row in self._runs.get(cell, {}).items()
            if row.failure is not None
        ]

    def failures(self) -> list[str]:
        """All unsuccessful runs in order, as "seed 3 of FMA: raised: ValueError: no"."""
        return [
            f"seed {(row.pair or 0) + 1} of {row.cell}: {row.failure.kind}: {row.failure.reason}"
            for row in sorted(self._rows, key=lambda row: row.number)
            if row.failure is not None
        ]

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
            if not self.is_fixed(cell) and cell != BASELINE:
                values = [self._scored_values(cell, metric) for metric in (clean, robust)]
                places |= _far_below(values[0]) | _far_below(values[1])
                places |= {*np.flatnonzero(values[0] < least).tolist()}
        return [self.pair_name(place) for place in sorted(places)]

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
        if self._minimized is None or self.is_fixed(cell):
            return {}
        values = self._scored_values(cell, metric)
        if not np.isfinite(values).any():
            return {}
        worst = np.nanargmax(values) if metric in self._minimized else np.nanargmin(values)
        runs = self._runs.get(cell, {}).items()
        return {place: int(worst) for place, row in runs if row.failure is not None}

    def whole_pairs(self) -> list[int]:
        """Places of the pairs at which every cell has ended well, or counts as its worst run."""

        def counts(row: RowRecord | None) -> bool:
            is_worst = self._minimized is not None and row is not None and row.failure is not None
            return is_worst or (row is not None and self._scores(row) is not None)

        places = range(len(self.pairs))
        runs = self._runs.values()
        return [place for place in places if all(counts(of.get(place)) for of in runs)]


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
        self._places = [part.whole_pairs() for part in parts]
        self.pairs = list(range(len(parts)))
        self.first, self.clean_loss = parts[0].first, parts[0].clean_loss
        runs = [{*part._runs, *part._fixed} for part in parts]
        self.stopped = frozenset(
            (cell, place) for place, own in enumerate(runs) for cell in set().union(*runs) - own
        )
        self.replications = tuple(map(Replication, names, map(len, self._places), planned))

    def pair_name(self, place: int) -> str:
        return self.replications[place].study

    def with_failures_as_worst(self, minimized: Collection[str]) -> Results:
        parts = [part.with_failures_as_worst(minimized) for part in self._parts]
        names = [replication.study for replication in self.replications]
        return PooledResults(
            parts, names, [replication.planned for replication in self.replications]
        )

    def _texts(self, read: Callable[[Results], list[str]]) -> Iterator[tuple[str, str]]:
        """What there is of each run, and of which study."""
        for replication, part in zip(self.replications, self._parts, strict=True):
            yield from ((text, replication.study) for text in read(part))

    def collapsed(self, cells: Sequence[str]) -> list[str]:
        return [f"{text} of {study}" for text, study in self._texts(lambda of: of.collapsed(cells))]

    def failed(self, cells: Sequence[str]) -> list[str]:
        return [f"{text} of {study}" for text, study in self._texts(lambda of: of.failed(cells))]

    def failures(self) -> list[str]:
        return [f"{study}: {text}" for text, study in self._texts(lambda of: of.failures())]

    def metrics(self) -> list[str]:
        others = [set(part.metrics()) for part in self._parts[1:]]
        return [name for name in self._parts[0].metrics() if all(name in other for other in others)]

    def is_fixed(self, cell: str) -> bool:
        """Not where there are several: their baselines differ."""
        return len(self._parts) == 1 and self._parts[0].is_fixed(cell)

    def values(self, cell: str, metric: str) -> NDArray[np.float64]:
        both = zip(self._parts, self._places, strict=True)
        means = [
            one.values(cell, metric)[places].mean() if places else math.nan for one, places in both
        ]
        return np.array(means)

    def shares(
        self, cell: str, metric: str, places: Sequence[int], among: Sequence[str] = ()
    ) -> Shares | None:
        found = [self._parts[at].shares(cell, metric, self._places[at], among) for at in places]
        whole = [one.mean(axis=0) for one in found if one is not None]
        return np.stack(whole) if whole and len(whole) == len(found) else None

    def alphas(self, cells: Sequence[str]) -> tuple[float, ...]:
        return tuple(sorted({alpha for part in self._parts for alpha in part.alphas(cells)}))

    def exposed_types(self, cell: str, exposed: ExposedTypes) -> tuple[str, ...]:
        """Nothing where the ablations do not agree."""
        there = [part for part in self._parts if part.is_fixed(cell) or part._scored_runs(cell)]
        found = {part.exposed_types(cell, exposed) for part in there}
        return found.pop() if len(found) == 1 else ()

    def cost(self, cells: Sequence[str], cost: str) -> float:
        costs = np.array([part.cost(cells, cost) for part in self._parts])
        costs = costs[np.isfinite(costs)]
        return float(costs.mean()) if len(costs) else math.nan


def _mean(tables: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Of tables of one shape; one alone is not copied."""
    if len(tables) == 1:
        return tables[0]
    mean: NDArray[np.float64] = sum(tables[1:], start=tables[0]) / len(tables)
    return mean


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


def compared_metrics(scores: Scores) -> list[str]:
    """The metrics of a table: totals, families, types."""
    split = scores.split
    totals = [f"{split}_{name}" for name in TOTALS]
    parts = [*scores.families, *scores.accuracies]
    return [*totals, *dict.fromkeys(f"{split}_accuracy.{part}" for part in parts)]
