"""A network's answers on a split and its corrupted copies, and all numbers computed from them.

Plain data; importing this does not load torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ablate.errors import DataError
from ablate.robustness.bits import Cell, Outcomes
from ablate.robustness.corruption import Scale
from ablate.robustness.measures import (
    Interval,
    calibration_error,
    class_accuracies,
    mean_interval,
    wilson_interval,
)
from ablate.robustness.suites import MeanOver
from ablate.study.displayed import Displayed
from ablate.study.json_data import JsonData
from ablate.study.scores import EXPOSURES, ExposedTypes, Exposure

MadeBy = Literal["corruption", "distortion", "official files"]


@dataclass(frozen=True)
class EvaluatedModel(JsonData):
    """Which network was evaluated.

    Attributes:
        name: a value of `model.name`, or a file.
        checkpoint: source of the weights, as given; None: a network in memory.
        identity: identity of the weights: `sha256:...` of their file, or the address where they are
            published; for a network in memory, of its state dict.
        parameters: number of trainable parameters.
        image_size: input size in pixels; None: the size of the images.
        mean, std: for normalising images in [0, 1]; None: contained in the file itself.
        training: as recorded in an export of a trial: study, trial, loss terms, types seen.
        adapt_batch_norm: images that its own batch-norm statistics counted as when they were mixed
            with those of each batch of a copy; None: they were used as they are.
    """

    name: str
    checkpoint: str | None
    identity: str
    parameters: int
    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    adapt_batch_norm: int | None = None

    @property
    def label(self) -> str:
        """Its name, with what distinguishes it from others of that name."""
        label = self.name
        if self.training:
            trial = self.training["trial"]
            network = "plain finetune" if trial is None else f"trial {trial}"
            network += f" at alpha {self.training['alpha']:g}" if "alpha" in self.training else ""
            label = f"{self.name} ({self.training['study']}, {network})"
        elif self.checkpoint is not None:
            label = f"{self.name} ({Path(self.checkpoint).name})"
        return label if self.adapt_batch_norm is None else f"{label}, batch norm adapted"


@dataclass(frozen=True)
class EvaluatedData(JsonData):
    """Which images it was evaluated on.

    Attributes:
        name: name of the data set or of the folder.
        split: "test" or "val"; empty if only corrupted copies were read.
        n: images in each copy.
        classes: names, in the order of the labels.
        image_shape: channel, height, width when they were corrupted.
        clean_identity: identity of the clean images; None if they were not scored.
        corrupted_identity: identity of their copies; equal identities mean equal images.
    """

    name: str
    split: str
    n: int
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    clean_identity: str | None
    corrupted_identity: str


@dataclass(frozen=True)
class EvaluatedSuite(JsonData):
    """Under which corruptions; the fields of `Suite`, with the scale resolved.

    Attributes:
        made_by: what generated the copies: "corruption" and "distortion" are ablate's own.
    """

    name: str
    families: Mapping[str, tuple[str, ...]]
    severities: tuple[int, ...]
    made_by: MadeBy
    mean_over: MeanOver
    scale: Scale | None

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(kind for kinds in self.families.values() for kind in kinds)


@dataclass(frozen=True, eq=False)
class CellScores:
    """The stored answers on one copy.

    Attributes:
        correct: bool `[n]`, whether the most likely class is the label.
        right_top5: number of labels among the five most likely classes; None for five classes or
            fewer.
        calibration_error: expected calibration error with 15 bins of equal width.
    """

    correct: np.ndarray
    right_top5: int | None
    calibration_error: float

    @classmethod
    def of(cls, outcomes: Outcomes) -> CellScores:
        top5 = outcomes.correct_top5
        return cls(
            outcomes.correct,
            None if top5 is None else int(top5.sum()),
            calibration_error(outcomes.confidence, outcomes.correct),
        )

    @property
    def n(self) -> int:
        return len(self.correct)

    @property
    def right(self) -> int:
        return int(self.correct.sum())

    @property
    def accuracy(self) -> float:
        return self.right / self.n

    @property
    def error(self) -> float:
        return 1 - self.accuracy

    @property
    def interval(self) -> Interval:
        """Wilson interval of the accuracy, at 95 %."""
        return wilson_interval(self.right, self.n)

    @property
    def top5_accuracy(self) -> float | None:
        return None if self.right_top5 is None else self.right_top5 / self.n

    @property
    def top5_interval(self) -> Interval | None:
        return None if self.right_top5 is None else wilson_interval(self.right_top5, self.n)


@dataclass(frozen=True)
class Reference(JsonData):
    """Errors of another network on the same copies, for normalising mCE.

    Attributes:
        name: name of the network; identity: identity of its weights.
        clean_error: error on clean images; None if they were not scored.
        errors: type -> errors by severity.
    """

    name: str
    identity: str
    clean_error: float | None
    errors: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class Evaluation(Displayed):
    """A network's answers; accuracies and errors are fractions.

    Attributes:
        model, data, suite: what was evaluated, on which images, under which corruptions.
        seed: seed of the corruptions; None: existing files were read.
        labels: int `[n]`, class of each image of a copy.
        clean: answers on clean images; None: not scored.
        cells: by type and severity, in the suite's order.
        exposure: type -> what the network has seen of it; None: unknown.
        reference: another network for normalising mCE, in addition to AlexNet.
        marks: caveats to be shown with every number.
        notes: how the images were prepared for the network.
        environment: device, precision, threads, torch; `Environment.to_json`.
        versions: of `ablate`, and `code`: of the code that generates corruptions.
        seconds: wall time of corrupting and scoring.
    """

    model: EvaluatedModel
    data: EvaluatedData
    suite: EvaluatedSuite
    seed: int | None
    labels: np.ndarray
    clean: CellScores | None
    cells: Mapping[Cell, CellScores]
    exposure: Mapping[str, Exposure] | None = None
    reference: Reference | None = None
    marks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def cells_of(
        self, kinds: Sequence[str] | None = None, severity: int | None = None
    ) -> list[CellScores]:
        """Cells of these types at this severity; None: all."""
        return [
            scores
            for (kind, at), scores in self.cells.items()
            if (kinds is None or kind in kinds) and severity in (None, at)
        ]

    def accuracy(self, kinds: Sequence[str] | None = None, severity: int | None = None) -> float:
        """Mean over the cells of these types at this severity; NaN if there are none."""
        found = [scores.accuracy for scores in self.cells_of(kinds, severity)]
        return float(np.mean(found)) if found else float("nan")

    def shares(self, kinds: Sequence[str] | None = None, severity: int | None = None) -> np.ndarray:
        """For each image, the fraction of these copies that is correct, float `[n]`."""
        total = np.zeros(self.data.n)
        found = self.cells_of(kinds, severity)
        for scores in found:
            total += scores.correct
        return total / len(found)

    def interval(self, kinds: Sequence[str] | None = None, severity: int | None = None) -> Interval:
        """Interval of `accuracy` over the images, at 95 %: of a single cell, or as
        `mean_interval`."""
        found = self.cells_of(kinds, severity)
        return found[0].interval if len(found) == 1 else mean_interval(self.shares(kinds, severity))

    def errors(self, kinds: Sequence[str]) -> dict[str, tuple[float, ...]]:
        """Type -> errors by severity."""
        return {kind: tuple(one.error for one in self.cells_of([kind])) for kind in kinds}

    def types_of(self, exposed: ExposedTypes) -> tuple[str, ...]:
        """The types of a name in `EXPOSURES`; empty if the exposure is unknown."""
        known, among = self.exposure or {}, EXPOSURES[exposed]
        return tuple(kind for kind in self.suite.types if known.get(kind) in among)

    @cached_property
    def class_accuracies(self) -> dict[str, tuple[float | None, float]]:
        """Class -> accuracy on clean images, and over all corrupted copies.

        NaN for a class without images; None if clean images were not scored.
        """
        names, n = self.data.classes, len(self.data.classes)
        corrupted = class_accuracies(self.shares(), self.labels, n)
        if self.clean is None:
            return {name: (None, value) for name, value in zip(names, corrupted, strict=True)}
        clean = class_accuracies(self.clean.correct, self.labels, n)
        return dict(zip(names, zip(clean, corrupted, strict=True), strict=True))


def relate(evaluation: Evaluation, other: Evaluation) -> Evaluation:
    """The evaluation with another network as the reference of its mCE.

    Args:
        other: evaluation of the same images under the same types and severities.

    Raises:
        DataError: if images, types or severities differ.
    """
    mine, theirs = evaluation, other
    for what, one, two in (
        ("severities", mine.suite.severities, theirs.suite.severities),
        ("types", sorted(mine.suite.types), sorted(theirs.suite.types)),
        ("number of images", [mine.data.n], [theirs.data.n]),
        ("corrupted images", mine.data.corrupted_identity, theirs.data.corrupted_identity),
        ("clean images", mine.data.clean_identity, theirs.data.clean_identity),
    ):
        if None in (one, two) or one == two:  # clean images may not have been scored
            continue
        shown = [
            value[:12] if isinstance(value, str) else ", ".join(map(str, value or ()))
            for value in (two, one)
        ]
        raise DataError(
            f"`relative_to`: must be scores on the same {what}, got {shown[0]} for {shown[1]}. "
            f"Evaluate {other.model.label} with the same data, suite and seed."
        )
    reference = Reference(
        other.model.label,
        other.model.identity,
        None if other.clean is None else other.clean.error,
        other.errors(mine.suite.types),
    )
    return replace(evaluation, reference=reference)
