"""Which of some points is expected to add most to the front: a Gaussian process for each output.

A process is a sum of functions of one dimension each (Duvenaud et al. 2011, arXiv:1112.4394) and of
one of all dimensions together, whose shares are fitted.  With few trials such a sum learns what
each parameter does from all of them, where a process of all dimensions alone would know only what
is close to a point.  It is fitted to normal scores of the ranks, so that a collapsed training or a
scale changes nothing.

Points are coordinates from 0 to 1, one or more to a dimension of the space; `groups` says which
coordinates are of which dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtri
from scipy.stats import iqr, rankdata

Array = NDArray[np.float64]

MOST_ROWS = 256
"""That a process is fitted to: half are the best, the others are spread over the search."""
MOST_NUMBERS = 4_000_000
"""That are held at once for a prediction."""
SAMPLES = 64
"""Of the outputs at a point, to average its improvement over."""
CAUTION = 6
"""Power of the probability that the constraints are kept, by which what a point is expected to add
is multiplied again: of 64 rows in `benchmarks/pruning.py` 13.5 violated a limit with 3, 12.2 with
6, 10.2 with 12 (24 seeds; hypervolume +0.144, +0.150, +0.141 beside that of `tpe`)."""
LENGTH = 0.6
"""Distance, of coordinates from 0 to 1, over which a function changes."""
JITTER = 1e-6
"""Least variance of a value, so that equal points can be told apart."""

_NOISE = 0.05
"""Where its prior has its centre."""
_DEVIATION = 1.5
"""Of the logarithm of a share, in its prior."""
_BOUNDS = ((-9.0, 3.0), (np.log(1e-3), 0.0))
"""Of the logarithms of a share, and of the noise."""
_MOST_OFF = 1e3
"""Deviation of an expected output, beside that of all outputs, from which it says nothing."""
_ITERATIONS = 60


class Kernel:
    """Matern 5/2 of each dimension, and of all of them, of one space.

    Args:
        groups: `[coordinates]`, the dimension of each, from 0.
    """

    def __init__(self, groups: NDArray[np.intp]) -> None:
        self._groups = groups
        self._last: tuple[tuple[bytes, bytes], Array] | None = None

    def parts(self, points: Array, others: Array) -> Array:
        """`[dimensions + 1, points, others]`, not to be changed; kept for the process of the next
        output, which asks for the same."""
        asked = points.tobytes(), others.tobytes()
        if self._last is None or self._last[0] != asked:
            self._last = asked, self._parts(points, others)
        return self._last[1]

    def _parts(self, points: Array, others: Array) -> Array:
        count = int(self._groups.max()) + 1
        squares = np.zeros((count + 1, len(points), len(others)))
        for place, group in enumerate(self._groups):
            squares[group] += (points[:, place, None] - others[None, :, place]) ** 2
        squares[-1] = squares[:-1].sum(axis=0) * 4 / count
        scaled = np.sqrt(5 * squares) / LENGTH
        return (1 + scaled + scaled**2 / 3) * np.exp(-scaled)


class Process:
    """A Gaussian process, fitted to normal scores of one output.

    The logarithms of the shares of its functions and of the noise are at their most probable values
    (priors: normal, shares around 1 / dimensions with deviation 1.5, noise around 0.05 with 1).

    Args:
        points: `[n, coordinates]`, n of 2 or more.
        outputs: `[n]`, finite.
        kernel: of all processes of these points.
        deviations: `[n]`, how far an output may be off beside the noise; 0 if it is known.
    """

    def __init__(self, points: Array, outputs: Array, kernel: Kernel, deviations: Array) -> None:
        self._points, self._kernel = points, kernel
        self._back = _Scores(outputs)
        scores = self._back.scores(outputs)
        self._spread = float(scores.std()) or 1.0
        self._targets = scores / self._spread
        parts = kernel.parts(points, points)
        self._added = np.minimum(deviations / _deviation(outputs), _MOST_OFF) ** 2
        fitted = _fit(parts, self._targets, self._added)
        self._shares, self._noise = np.exp(fitted[:-1]), float(np.exp(fitted[-1]))
        self._condition(np.tensordot(self._shares, parts, 1))

    def believe(self, points: Array, running: NDArray[np.intp]) -> Array:
        """Take what is expected of points that are not finished as if it were known; no prediction
        changes by that, only how sure it is.

        Args:
            points: `[p, coordinates]`, others than the fitted ones.
            running: `[r]`, places of fitted ones that run.  The value that a row is expected to end
                with and what the process expects there are weighed by their precisions, so that
                the row has the precision of one that has ended, not of two.

        Returns:
            Expected outputs, `[r + p]`.
        """
        expected, _ = self._predict(np.vstack([self._points[running], points]))
        noise, added = self._noise + JITTER, self._added[running]
        weighed = (noise * self._targets[running] + added * expected[: len(running)]) / (
            noise + added
        )
        self._targets[running], self._added[running] = weighed, 0.0
        self._points = np.vstack([self._points, points])
        self._targets = np.concatenate([self._targets, expected[len(running) :]])
        self._added = np.concatenate([self._added, np.zeros(len(points))])
        parts = self._kernel.parts(self._points, self._points)
        self._condition(np.tensordot(self._shares, parts, 1))
        return self._back.outputs(expected * self._spread)

    def sample(self, points: Array, deviates: Array) -> Array:
        """Outputs at points, `[points, deviates]`, for standard normal deviates `[deviates]`."""
        mean, deviation = self._predict(points)
        return self._back.outputs(
            self._spread * (mean[:, None] + deviation[:, None] * deviates[None])
        )

    def _condition(self, covariance: Array) -> None:
        covariance[np.diag_indices(len(covariance))] += self._noise + JITTER + self._added
        self._factor = cholesky(covariance, lower=True)
        self._weights = cho_solve((self._factor, True), self._targets)

    def _predict(self, points: Array) -> tuple[Array, Array]:
        """Mean and deviation of the function, in scores: `[points]` each."""
        chunk = max(1, MOST_NUMBERS // (len(self._shares) * len(self._points)))
        covariance = np.vstack(
            [
                np.tensordot(
                    self._shares, self._kernel.parts(points[at : at + chunk], self._points), 1
                )
                for at in range(0, len(points), chunk)
            ]
        )
        explained = solve_triangular(self._factor, covariance.T, lower=True)
        variance = self._shares.sum() - (explained**2).sum(axis=0)
        return covariance @ self._weights, np.sqrt(np.maximum(variance, 1e-9))


def _deviation(outputs: Array) -> float:
    """Standard deviation, as the middle half of the outputs has it if they are normal."""
    return float(iqr(outputs, scale="normal")) or float(outputs.std()) or 1.0


def _fit(parts: Array, targets: Array, added: Array) -> Array:
    """Logarithms of the shares and of the noise: `[parts + 1]`.

    Args:
        added: `[n]`, variance of each target beside the noise.
    """
    count, size = parts.shape[:2]
    centre = np.log([*[1 / (count - 1)] * (count - 1), 0.3, _NOISE])
    spread = np.array([*[_DEVIATION] * count, 1.0])
    identity = np.eye(size)

    def loss(at: Array) -> tuple[float, Array]:
        """Negative logarithm of the posterior, and its gradient."""
        shares, noise = np.exp(at[:-1]), np.exp(at[-1])
        factor = cholesky(
            np.tensordot(shares, parts, 1) + np.diag(noise + JITTER + added),
            lower=True,
            check_finite=False,
        )
        weights = cho_solve((factor, True), targets, check_finite=False)
        inner = cho_solve((factor, True), identity, check_finite=False) - np.outer(weights, weights)
        off = (at - centre) / spread
        gradient = np.empty_like(at)
        gradient[:-1] = 0.5 * np.tensordot(parts, inner, 2) * shares
        gradient[-1] = 0.5 * np.trace(inner) * noise
        value = 0.5 * targets @ weights + np.log(np.diag(factor)).sum() + 0.5 * off @ off
        return float(value), gradient + off / spread

    optimum = minimize(
        loss,
        centre,
        jac=True,
        method="L-BFGS-B",
        bounds=[*[_BOUNDS[0]] * count, _BOUNDS[1]],
        options={"maxiter": _ITERATIONS},
    )
    return np.asarray(optimum.x, dtype=float)


class _Scores:
    """Normal scores of ranks, and back; beyond the ends a straight line through the last fifth."""

    def __init__(self, outputs: Array) -> None:
        self._outputs = np.sort(outputs)
        count = len(outputs)
        self._scores = ndtri((np.arange(count) + 0.5) / count)
        end = max(2, count // 5)
        self._slopes = tuple(
            float(np.polyfit(self._scores[part], self._outputs[part], 1)[0])
            for part in (slice(end), slice(-end, None))
        )

    def scores(self, outputs: Array) -> Array:
        return np.asarray(ndtri((rankdata(outputs) - 0.5) / len(outputs)))

    def outputs(self, scores: Array) -> Array:
        low, high = self._scores[0], self._scores[-1]
        inside = np.interp(scores, self._scores, self._outputs)
        below, above = np.minimum(scores - low, 0.0), np.maximum(scores - high, 0.0)
        return np.asarray(inside + below * self._slopes[0] + above * self._slopes[1])


@dataclass(frozen=True)
class Rows:
    """Finished rows.

    Attributes:
        points: `[rows, coordinates]`.
        values: `[rows, objectives]`, larger is better.
        excess: `[rows, constraints]`, at most 0 where a row keeps the constraint.
        deviations: `[rows, objectives + constraints]`, how far a value may be off that is only
            expected, because the row was stopped or runs; 0 if it is known.
        running: `[rows]`, whether a row runs, and has reached a rung.
    """

    points: Array
    values: Array
    excess: Array
    deviations: Array
    running: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.points)

    def with_failed(self, points: Array) -> Rows:
        """With the `[f, coordinates]` of rows that failed: nothing is known of their values, and
        they violate a constraint that all others keep, so that points like them are avoided."""
        if not len(points):
            return self
        count = len(points)
        values, excess = (
            np.vstack([known, np.tile(np.median(known, axis=0), (count, 1))])
            for known in (self.values, self.excess)
        )
        fails = np.concatenate([-np.ones(len(self)), np.ones(count)])[:, None]
        deviations = np.vstack(
            [self.deviations, np.full((count, self.deviations.shape[1]), np.inf)]
        )
        return Rows(
            points=np.vstack([self.points, points]),
            values=values,
            excess=np.hstack([excess, fails]),
            deviations=np.hstack([deviations, np.zeros_like(fails)]),
            running=np.concatenate([self.running, np.zeros(count, dtype=bool)]),
        )

    @property
    def best_first(self) -> NDArray[np.intp]:
        """Their places: those that violate constraints least first, then by Pareto rank."""
        violated = (np.maximum(self.excess, 0.0) / _ranges(self.excess)).sum(axis=1)
        if self.values.shape[1] == 1:
            ranks = rankdata(-self.values[:, 0])
        else:
            ranks = moocore.pareto_rank(-self.values)
        return np.lexsort((ranks, violated))


class Expectation:
    """How much a point is expected to add to the front of the finished rows.

    That is hypervolume, of two objectives; of one how much better than the best; of more how much
    better than the best by the worst of the objectives with random weights, drawn for each
    proposal (Knowles 2006, ParEGO).  A point that violates a constraint adds nothing; a row that
    was stopped is on no front.  Where no point adds anything, which is common if equal points would
    differ much, it is by how little one misses to add something, in ranges of the outputs.

    Args:
        rows: finished ones, two or more.
        pending: `[p, coordinates]`, rows that run and are no rows yet: what is expected of them
            counts as known, as it does of `rows.running`.
        groups: `[coordinates]`, the dimension of each.
        reference: `[objectives]`, only what is better counts; None: a tenth of the
            range below the worst values.
        random: to draw outputs, and weights.
    """

    def __init__(
        self,
        rows: Rows,
        pending: Array,
        groups: NDArray[np.intp],
        reference: Sequence[float] | None,
        random: np.random.Generator,
    ) -> None:
        running = np.flatnonzero(rows.running)
        kept = np.union1d(_spread(rows.best_first), running)
        outputs, deviations = np.hstack([rows.values, rows.excess]), rows.deviations.copy()
        self._count = rows.values.shape[1]
        kernel = Kernel(groups)
        self._processes = [
            Process(rows.points[kept], output, kernel, deviation)
            for output, deviation in zip(outputs[kept].T, deviations[kept].T, strict=True)
        ]
        if len(pending) or len(running):
            places = np.searchsorted(kept, running)
            believed = np.column_stack(
                [process.believe(pending, places) for process in self._processes]
            )
            outputs[running], deviations[running] = believed[: len(running)], 0.0
            outputs = np.vstack([outputs, believed[len(running) :]])
            deviations = np.vstack([deviations, np.zeros((len(pending), outputs.shape[1]))])
        self._deviates = random.standard_normal((len(self._processes), SAMPLES))
        values = outputs[:, : self._count]
        # A collapsed training is no measure of a range.
        middle, top = np.median(values, axis=0), values.max(axis=0)
        bounded = np.maximum(values, middle - 2 * (top - middle))
        ranges = _ranges(bounded)
        worst = bounded.min(axis=0) - 0.1 * ranges
        self._reference = worst if reference is None else np.array(reference, dtype=float)
        self._weights = None
        if self._count > 2:
            self._weights = 1 / (ranges * np.maximum(random.dirichlet(np.ones(self._count)), 0.02))
        excess, reduced = outputs[:, self._count :], self._reduced(values)
        self._scale = _ranges(excess)
        self._least, self._ranges = self._reduced(self._reference), _ranges(reduced)
        known = (deviations == 0).all(axis=1)
        self._front = _front(reduced[known & (excess <= 0).all(axis=1)])

    def best(self, candidates: Array) -> int:
        """The one of `[candidates, coordinates]` that is expected to add most, or to miss least."""
        drawn = [
            process.sample(candidates, deviates)
            for process, deviates in zip(self._processes, self._deviates, strict=True)
        ]
        values = self._reduced(np.stack(drawn[: self._count], axis=-1))
        excess = np.stack([*drawn[self._count :], np.zeros_like(drawn[0])], axis=-1)
        kept = (excess <= 0).all(axis=-1)
        means = (self._added(values) * kept).mean(axis=1) * kept.mean(axis=1) ** CAUTION
        if means.max() > 0:
            return int(means.argmax())
        violated = (np.maximum(excess[..., :-1], 0.0) / self._scale).sum(axis=-1)
        return int((violated + self._missing(values)).mean(axis=1).argmin())

    def _reduced(self, values: Array) -> Array:
        """`[..., objectives]` as one or two numbers to be compared, `[..., 1 or 2]`."""
        if self._weights is None:
            return values
        scaled = (values - self._reference) * self._weights
        return np.asarray(scaled.min(axis=-1) + 0.05 * scaled.sum(axis=-1))[..., None]

    def _added(self, values: Array) -> Array:
        """What points `[..., 1 or 2]` would add to the front."""
        if values.shape[-1] == 1:
            least = self._front[:, 0].max(initial=self._least[0])
            return np.asarray(np.maximum(values[..., 0] - least, 0.0))
        return _hypervolume_added(self._front, self._least, values)

    def _missing(self, values: Array) -> Array:
        """What points `[..., 1 or 2]` would need more of each value to add something, in ranges."""
        missing = ((self._least - values) / self._ranges).max(axis=-1)
        for best in self._front:
            missing = np.maximum(missing, ((best - values) / self._ranges).min(axis=-1))
        return np.asarray(np.maximum(missing, 0.0))


def _ranges(values: Array) -> Array:
    """Of each column of `[n, columns]`; 1 if all its values are equal."""
    ranges = np.ptp(values, axis=0)
    return np.asarray(np.where(ranges > 0, ranges, 1.0))


def _front(values: Array) -> Array:
    """The rows of `[n, 1 or 2]` that no other dominates."""
    if values.shape[1] == 1:
        return values[values[:, 0].argsort()[-1:]]
    return values[moocore.is_nondominated(values, maximise=True)] if len(values) else values


def _hypervolume_added(front: Array, reference: Array, points: Array) -> Array:
    """Hypervolume that each of `[..., 2]` points alone adds to a front `[n, 2]`, maximised."""
    front = front[(front > reference).all(axis=1)]
    front = front[np.argsort(front[:, 0], kind="stable")]
    lefts = [reference[0], *front[:, 0]]
    rights = [*front[:, 0], np.inf]
    heights = [*front[:, 1], reference[1]]
    added = np.zeros(points.shape[:-1])
    for left, right, height in zip(lefts, rights, heights, strict=True):
        width = np.clip(np.minimum(points[..., 0], right) - left, 0.0, None)
        added += width * np.clip(points[..., 1] - height, 0.0, None)
    return added


def _spread(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """At most `MOST_ROWS` of them: the best, and of the others some from all of the search."""
    if len(order) <= MOST_ROWS:
        return order
    half = MOST_ROWS // 2
    others = np.sort(order[half:])
    places = np.linspace(0, len(others) - 1, MOST_ROWS - half).round().astype(int)
    return np.concatenate([order[:half], others[places]])
