"""What a network scored, clean and distorted, and the names under which it is reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from statistics import fmean
from typing import Any, Literal

from ablate.study.json_data import JsonData

Exposure = Literal["seen_type", "seen_family", "unseen"]
"""What a network has seen of a type in its finetuning: the type, others of its family, or
neither."""

ExposedTypes = Literal["seen_type", "seen_family", "unseen", "untrained"]
AT_CLEAN_LOSS = "_at_clean_loss"
"""How the metrics of a network at the stated clean loss end."""
LOSS_OBJECTIVE = f"val_robust_accuracy{AT_CLEAN_LOSS}"
"""What a search with `finetune.interpolation` may ask for in addition to `metric_names`."""

EXPOSURES: Mapping[ExposedTypes, tuple[Exposure, ...]] = {
    "seen_type": ("seen_type",),
    "seen_family": ("seen_family",),
    "unseen": ("unseen",),
    "untrained": ("seen_family", "unseen"),
}
"""The exposures of the types that `robust_accuracy_NAME` is the mean over."""

COSTS = ("train_seconds", "train_flops", "student_images", "teacher_images")
"""The cost of a finetuning: metrics that are not accuracies; less is better."""

RESERVED = frozenset(
    (
        *("number", "trial", "state", "attempt", "attempts"),
        *("replicate", "cell", "pair", "train_seed"),
        *("alpha", "barrier", "violation", "rung_epoch", "rung_images", "rung_violation"),
        *("enqueued", "copy_of", "ended_trials"),
        *("failure_kind", "failure_reason", "worked_seconds", "lost_seconds", "gpu_hours"),
        *("peak_memory_bytes", "peak_gpu_bytes", "hosts"),
        *("started", "finished", "duration_seconds"),
    )
)
RESERVED_PREFIXES = ("param.", "rung.")
"""Columns of the trials (`ablate.analysis.columns`), and how others begin: no names of metrics."""


def scored_copies(n_images: int, n_cells: int, share: float) -> int:
    """How many corrupted images are scored, over all cells."""
    return round(share * n_cells * n_images)


@dataclass(frozen=True)
class Scores(JsonData):
    """What one network scored on one split; accuracies are fractions from 0 to 1.

    Attributes:
        split: "val" or "test"; the prefix of every accuracy's name.
        n_images: images in the split.
        clean_accuracy: on clean images.
        accuracies: type -> severity (as text, "1" to "5") -> accuracy.
        families: family -> its types, in the order of the suite.
        seen_types: training distortions that the network was finetuned on, scored or not.
        exposure: scored type -> what was seen of it; empty in studies of earlier versions.
        mean_over: what `robust_accuracy` is the mean of, "families" or "types".
        n_corrupted: images that are corrupted; 0: all of the split.
        cell_share: share of the cells, type by severity, that each of them is scored under; 1: all.
        cell_seed: of the choice of these (`ablate.robustness.sparse`).
        at_clean_loss: by name without split, the accuracies where the curve from the baseline to
            this network has lost `answer.clean_margin`; on test images those of the network at the
            alpha where the validation images say so; empty without a curve.
        measures: by name without split, those of `MEASURES`, of which the accuracies do not tell;
            without those that sparse scores cannot give; empty in studies of earlier versions.
        epochs: passes over the training images in this finetuning.
        student_images: number of images in forward and backward passes of the network.
        train_seconds: wall time of the finetuning, without scoring.
        teacher_images: number of images in forward passes of teachers.
        train_flops: floating point operations of both, as torch counts them; 0: not counted.
    """

    split: str
    n_images: int
    clean_accuracy: float
    accuracies: Mapping[str, Mapping[str, float]]
    families: Mapping[str, Sequence[str]]
    seen_types: Sequence[str] = ()
    epochs: int = 0
    student_images: int = 0
    train_seconds: float = 0.0
    teacher_images: int = 0
    train_flops: int = 0
    exposure: Mapping[str, Exposure] = field(default_factory=dict)
    mean_over: Literal["families", "types"] = "families"
    n_corrupted: int = 0
    cell_share: float = 1.0
    cell_seed: int = 0
    at_clean_loss: Mapping[str, float] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def n_cells(self) -> int:
        """Types by severities."""
        return sum(map(len, self.accuracies.values()))

    @property
    def n_scored(self) -> int:
        """Images that are scored under any cell."""
        n = self.n_corrupted or self.n_images
        return min(n, scored_copies(n, self.n_cells, self.cell_share))

    @property
    def robust_accuracy(self) -> float:
        """Mean over types, or over families of the mean over their types: `mean_over`."""
        if self.mean_over == "types":
            return self._mean(list(self.accuracies))
        return fmean([self._mean(kinds) for kinds in self.families.values()])

    @property
    def type_weights(self) -> dict[str, float]:
        """The weight of each type in `robust_accuracy`; they sum to 1."""
        if self.mean_over == "types":
            return dict.fromkeys(self.accuracies, 1 / len(self.accuracies))
        weights = dict.fromkeys(self.accuracies, 0.0)
        for kinds in self.families.values():
            share = 1 / (len(self.families) * len(kinds))
            weights |= {kind: weights[kind] + share for kind in kinds}
        return weights

    @property
    def worst_type_accuracy(self) -> float:
        """The lowest accuracy of a type, mean over its severities; NaN of sparse scores, whose
        types have few images each: the lowest of them is too low."""
        return min(self._type_accuracies.values()) if self.cell_share == 1 else math.nan

    def exposed_accuracy(self, exposed: ExposedTypes) -> float:
        """Mean over the scored types of that name; NaN if there are none."""
        return self._mean(self.exposed_types(exposed))

    def exposed_types(self, exposed: ExposedTypes) -> tuple[str, ...]:
        """The scored types of a name in `EXPOSURES`."""
        among = EXPOSURES[exposed]
        return tuple(kind for kind in self.accuracies if self.exposure_of(kind) in among)

    def exposure_of(self, kind: str) -> Exposure:
        """The exposure of a scored type."""
        unknown: Exposure = "seen_type" if kind in self.seen_types else "unseen"
        return self.exposure.get(kind, unknown)

    @property
    def overlaps(self) -> bool:
        """Whether `robust_accuracy` includes types that were trained on, so that it is not
        comparable with methods that hold them out."""
        return any(self.exposure_of(kind) == "seen_type" for kind in self.accuracies)

    @cached_property
    def _type_accuracies(self) -> Mapping[str, float]:
        return {kind: fmean(row.values()) for kind, row in self.accuracies.items()}

    def _mean(self, kinds: Sequence[str]) -> float:
        return fmean([self._type_accuracies[kind] for kind in kinds]) if kinds else math.nan

    def metrics(self) -> dict[str, float]:
        """Every number by its name, as an objective or a column may ask for it."""
        split = self.split
        totals = {name: total.value for name, total in TOTALS.items() if total.value is not None}
        named = {f"{split}_{name}": value(self) for name, value in totals.items()}
        named |= {f"{split}_{name}": value for name, value in self.measures.items()}
        for name in TOTALS:
            if name.endswith(AT_CLEAN_LOSS) and (of := base_name(name)) in self.at_clean_loss:
                named[f"{split}_{name}"] = self.at_clean_loss[of]
        for family, kinds in self.families.items():
            named[f"{split}_accuracy.{family}"] = self._mean(kinds)
        for kind, by_severity in self.accuracies.items():
            named[f"{split}_accuracy.{kind}"] = self._type_accuracies[kind]
            for severity, accuracy in by_severity.items():
                named[f"{split}_accuracy.{kind}.{severity}"] = accuracy
        return named | {cost: float(getattr(self, cost)) for cost in COSTS}


def base_name(metric: str) -> str:
    """What a metric at the stated clean loss is of one network; another metric is itself."""
    return metric.removesuffix(AT_CLEAN_LOSS)


@dataclass(frozen=True)
class Total:
    """A number of a whole network; metrics `val_NAME` and `test_NAME`.

    Attributes:
        short: what tables and options call it; label: figures and sentences.
        value: None if it is not computed from the accuracies of one network.
        is_objective: whether a search may ask for it, since no trial's is NaN.
        is_mean: whether it is a mean over images and types.
        is_loss: whether less is better; then it is no accuracy.
        needs_all_cells: whether sparse scores do not give it: what is nonlinear is biased where a
            cell has few images, and a class may have none there.
    """

    short: str
    label: str
    value: Callable[[Scores], float] | None = None
    is_objective: bool = False
    is_mean: bool = True
    is_loss: bool = False
    needs_all_cells: bool = False


def _measured(short: str, label: str, *, is_loss: bool = False) -> dict[str, Total]:
    """A measure of clean images, and the same of their corrupted copies."""
    name = short if is_loss else f"{short}_accuracy"
    clean = Total(short, label, is_objective=True, is_mean=False, is_loss=is_loss)
    label = f"Robust {label[0].lower()}{label[1:]}"
    robust = replace(clean, short=f"robust_{short}", label=label, needs_all_cells=short != "nll")
    return {name: clean, f"robust_{name}": robust}


def _exposed_total(exposed: ExposedTypes, label: str) -> Total:
    short, label = f"robust_{exposed}", f"Robust accuracy, {label}"
    return Total(short, label, lambda scores: scores.exposed_accuracy(exposed))


TOTALS: Mapping[str, Total] = {
    "clean_accuracy": Total("clean", "Clean accuracy", attrgetter("clean_accuracy"), True),
    "robust_accuracy": Total("robust", "Robust accuracy", attrgetter("robust_accuracy"), True),
    "robust_accuracy_seen_type": _exposed_total("seen_type", "types trained on"),
    "robust_accuracy_seen_family": _exposed_total(
        "seen_family", "other types of families trained on"
    ),
    "robust_accuracy_unseen": _exposed_total("unseen", "unseen families"),
    "robust_accuracy_untrained": _exposed_total("untrained", "types not trained on"),
    **_measured("balanced", "Balanced accuracy"),
    **_measured("worst_class", "Accuracy of the worst class"),
    "worst_type_accuracy": Total(
        "worst_type",
        "Robust accuracy of the worst type",
        attrgetter("worst_type_accuracy"),
        is_objective=True,
        is_mean=False,
        needs_all_cells=True,
    ),
    **_measured("ece", "Expected calibration error", is_loss=True),
    **_measured("nll", "Negative log-likelihood", is_loss=True),
    # Of networks between others: `ablate.study.interpolation.Curve.at_clean_loss`.
    "clean_accuracy_at_clean_loss": Total(
        "clean at clean loss", "Clean accuracy at the stated clean loss"
    ),
    "robust_accuracy_at_clean_loss": Total(
        "robust at clean loss", "Robust accuracy at the stated clean loss"
    ),
    "robust_accuracy_untrained_at_clean_loss": Total(
        "robust_untrained at clean loss",
        "Robust accuracy, types not trained on, at the stated clean loss",
    ),
}
"""By name, in the order of tables.  A further one is an entry here; with intervals, its share of
each image in `ablate.robustness.bits.image_shares`."""

MEASURES = tuple(
    name for name, total in TOTALS.items() if total.is_objective and total.value is None
)
"""What `ablate.robustness.measures.measure_network` computes, by its name without split."""


def total_of(metric: str) -> Total | None:
    """What a metric `val_NAME` or `test_NAME` is; None of any other."""
    split, _, name = metric.partition("_")
    return TOTALS.get(name) if split in ("val", "test") else None


def is_mean(metric: str) -> bool:
    """Whether a metric of a network is a mean over images and types, if it is an accuracy."""
    total = total_of(metric)
    return total is None or total.is_mean


def clean_metric(metric: str) -> str:
    """By what clean accuracy is judged where this one says how robust a network is:
    `val_balanced_accuracy` for `val_robust_balanced_accuracy`, that at the stated clean loss for
    one there, clean accuracy for any other."""
    split, _, name = metric.partition("_")
    if name.endswith(AT_CLEAN_LOSS):
        return f"{split}_clean_accuracy{AT_CLEAN_LOSS}"
    alike = name.removeprefix("robust_")
    is_accuracy = alike != name and alike in TOTALS and not TOTALS[alike].is_loss
    return f"{split}_{alike if is_accuracy else 'clean_accuracy'}"


def less_is_better(metric: str) -> bool:
    """Whether a metric is a cost of the finetuning, or a loss: else more is better."""
    total = total_of(metric)
    return metric in COSTS or (total is not None and total.is_loss)


@dataclass(frozen=True)
class ReportedScores:
    """The last report of a custom training loop: numbers by name."""

    values: Mapping[str, float]

    def metrics(self) -> dict[str, float]:
        """Every number by its name."""
        return dict(self.values)

    def to_json(self) -> dict[str, Any]:
        return {"reported": dict(self.values)}


AnyScores = Scores | ReportedScores


# -- Bounds on these numbers: the constraints of a study, once its baseline is scored ------------


_DIGITS = 9
"""Of an excess: less than one image of any data set, so that rounding violates nothing."""


@dataclass(frozen=True)
class Bound:
    """The least or the largest value of a metric with which a trial counts.

    Attributes:
        limit: in the metric's unit.
        is_least: whether it is the least value, else the largest.
    """

    metric: str
    limit: float
    is_least: bool

    def excess(self, metrics: Mapping[str, float]) -> float:
        """By how much the metric is beyond the limit, as a share of the limit (of 1 if that is 0).

        At most 0 if the bound is kept, so that it tells the distance to it too; NaN if the metric
        is not known.
        """
        value = metrics.get(self.metric, math.nan)
        beyond = self.limit - value if self.is_least else value - self.limit
        return round(beyond / (abs(self.limit) or 1.0), _DIGITS)


def violation(bounds: Sequence[Bound], metrics: Mapping[str, float]) -> float:
    """The sum of what is in excess of bounds; 0 if all are kept.  A metric that is not known, or
    NaN, is not judged."""
    return sum(excess for bound in bounds if (excess := bound.excess(metrics)) > 0)


def scores_from_json(data: Mapping[str, Any]) -> AnyScores:
    """The scores that `to_json` wrote, of either kind."""
    if "reported" in data:
        return ReportedScores(dict(data["reported"]))
    return Scores.from_json(data)


def metric_names(families: Mapping[str, Sequence[str]], severities: Sequence[int]) -> list[str]:
    """The possible objectives of a search, for a suite of these families."""
    accuracies = {
        kind: {str(severity): 0.0 for severity in severities}
        for kinds in families.values()
        for kind in kinds
    }
    measures = dict.fromkeys(MEASURES, 0.0)
    names = Scores("val", 0, 0.0, accuracies, families, measures=measures).metrics()
    others = {f"val_{name}" for name, total in TOTALS.items() if not total.is_objective}
    return [name for name in names if name not in others]
