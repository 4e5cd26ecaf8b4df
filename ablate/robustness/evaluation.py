"""A network's answers on a split and its corrupted copies, all numbers computed from them, and
their files: JSON, which can be loaded again, and CSV with one row per cell.

Importing this does not load torch.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np

from ablate.errors import DataError
from ablate.files.cache import publish_file, writing
from ablate.files.regular import MOST_READ_BYTES, read_regular
from ablate.files.shown import show_name
from ablate.model.weights.export_metadata import network_name
from ablate.robustness.bits import Cell, Outcomes, pack_row
from ablate.robustness.corruption import BENCHMARK, SEVERITIES, Scale
from ablate.robustness.measures import (
    ALEXNET_CLEAN_ERROR,
    LEVEL,
    Errors,
    Interval,
    alexnet_errors,
    calibration_error,
    class_accuracies,
    class_measures,
    mean_corruption_error,
    mean_interval,
    mean_over_types,
    wilson_interval,
)
from ablate.robustness.suites import MeanOver
from ablate.study.displayed import Displayed
from ablate.study.json_data import JsonData, json_value
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
        parameters: number of trainable parameters; 0: not known, of an ONNX file.
        image_size: input size in pixels; None: the size of the images.
        mean, std: for normalising images in [0, 1]; None: contained in the file itself.
        training: as recorded in an export of a trial: study, trial, loss terms, types seen.
        adapt_batch_norm: images that its own batch-norm statistics counted as when they were mixed
            with those of each batch of a copy; None: they were used as they are.
        file_bytes: size of its file; None: it has none.
        latency_ms: median and 95th percentile of the time for one image; None: not measured.
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
    file_bytes: int | None = None
    latency_ms: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """Its name, with what distinguishes it from others of that name."""
        label = self.name
        if self.training:
            label = f"{self.name} ({self.training['study']}, {network_name(self.training)})"
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
        negative_log_likelihood: in nats; NaN in files of earlier versions.
    """

    correct: np.ndarray
    right_top5: int | None
    calibration_error: float
    negative_log_likelihood: float = math.nan

    @classmethod
    def of(cls, outcomes: Outcomes) -> CellScores:
        top5 = outcomes.correct_top5
        return cls(
            outcomes.correct,
            None if top5 is None else int(top5.sum()),
            calibration_error(outcomes.confidence, outcomes.correct),
            outcomes.negative_log_likelihood,
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


# -- The summary: each name states its convention -------------------------------------------


INCOMPARABLE = "not comparable with methods that hold these types out"
_IMAGENET_CLASSES = 1000
_FEW = 5  # number of missing types to list
_MEAN = "mean_corruption_accuracy_unnormalised"
_BINS = "15 bins of equal width"


@dataclass(frozen=True)
class SummaryLine:
    """One number.

    Attributes:
        name: states the convention.
        value: a fraction, a ratio to another network's, or in nats; NaN if it is not defined.
        over: what it is averaged over, and what it is divided by.
        interval: at 95 %, over the images; None for errors and ratios.
        unit: "fraction", "ratio" or "nats".
    """

    name: str
    value: float
    over: str
    interval: Interval | None = None
    unit: Literal["fraction", "ratio", "nats"] = "fraction"


def summarise(evaluation: Evaluation) -> list[SummaryLine]:
    """Compute the numbers that are defined for this evaluation, in a fixed order.

    If the suite has other types than the fifteen of the benchmark, such as the suite "all", the
    benchmark's means use only the fifteen, and the others have a separate mean.  AlexNet's errors
    are those on ImageNet: the mCE relative to them is given for 1,000 classes at ImageNet-C's
    scale, with all fifteen types and all five severities.
    """
    clean, suite, types = evaluation.clean, evaluation.suite, benchmark_types(evaluation)
    cells, errors = evaluation.cells_of(types), evaluation.errors(types)
    over, lines = _over(evaluation, types), list[SummaryLine]()

    def add(name: str, value: float, over: str, interval: Interval | None = None) -> None:
        lines.append(SummaryLine(name, value, over, interval))

    def add_mean(name: str, kinds: Sequence[str]) -> None:
        value, of = evaluation.accuracy(kinds), _over(evaluation, kinds)
        add(name, value, of, evaluation.interval(kinds))

    if clean is not None:
        add("clean_accuracy", clean.accuracy, f"{clean.n} images", clean.interval)
        if clean.top5_accuracy is not None:
            value = clean.top5_accuracy
            add("clean_top5_accuracy", value, f"{clean.n} images", clean.top5_interval)
    add_mean(_MEAN, types)
    add("mean_corruption_error_unnormalised", mean_over_types(errors), over)
    top5 = [cell.top5_accuracy for cell in cells if cell.top5_accuracy is not None]
    if len(top5) == len(cells):
        add("mean_corruption_top5_accuracy_unnormalised", fmean(top5), over)
    if others := [kind for kind in suite.types if kind not in types]:
        add_mean("mean_extra_corruption_accuracy_unnormalised", others)
    if suite.mean_over == "families":
        families = suite.families.values()
        shares = np.mean([evaluation.shares(kinds) for kinds in families], axis=0)
        add(
            "mean_accuracy_over_families_unnormalised",
            fmean(evaluation.accuracy(kinds) for kinds in families),
            _over(evaluation, types, f"{len(families)} families of their types"),
            mean_interval(shares),
        )
    for exposed in EXPOSURES:
        if kinds := evaluation.types_of(exposed):
            add_mean(f"{_MEAN}_{exposed}", kinds)
    lines += _normalised(evaluation, types, errors, over)
    if clean is not None:
        add("clean_expected_calibration_error", clean.calibration_error, _BINS)
    value = fmean(cell.calibration_error for cell in cells) if cells else math.nan
    add("mean_corruption_expected_calibration_error", value, f"{over}, {_BINS}")
    return [*lines, *_measured(evaluation, types, over)]


def _measured(evaluation: Evaluation, types: Sequence[str], over: str) -> Iterator[SummaryLine]:
    """The likelihood of the labels, and what a mean hides where classes, or types, are uneven."""
    labels, names = evaluation.labels, evaluation.data.classes
    clean, cells = evaluation.clean, evaluation.cells_of(types)
    parts = {} if clean is None else {"clean": (f"{clean.n} images", clean.correct, [clean])}
    if cells:
        parts["mean_corruption"] = over, evaluation.shares(types), cells
    for start, (of, shares, scored) in parts.items():
        value = fmean(one.negative_log_likelihood for one in scored)
        yield SummaryLine(f"{start}_negative_log_likelihood", value, of, unit="nats")
        for name, value in class_measures(shares, labels, len(names)).items():
            yield SummaryLine(f"{start}_{name}", value, of)
    if cells:
        value, kind = min((evaluation.accuracy([kind]), kind) for kind in types)
        yield SummaryLine("worst_type_accuracy", value, _over(evaluation, (kind,), kind))


def benchmark_types(evaluation: Evaluation) -> tuple[str, ...]:
    """The types of the benchmark's mean: those of its fifteen that were scored, or all types if
    none of them was, or one is the user's own."""
    types = evaluation.suite.types
    if evaluation.suite.made_by == "distortion" or any(":" in kind for kind in types):
        return types  # same names, but not part of the benchmark
    return tuple(kind for kind in types if kind in BENCHMARK) or types


def _normalised(
    evaluation: Evaluation, types: Sequence[str], errors: Errors, over: str
) -> Iterator[SummaryLine]:
    """The mCE relative to AlexNet, and to another network."""
    suite, n = evaluation.suite, evaluation.data.n
    clean_error = None if evaluation.clean is None else evaluation.clean.error
    plain, relative = "mean_corruption_error", "relative_mean_corruption_error"
    if (
        suite.scale == "imagenet"
        and suite.made_by != "distortion"
        and len(evaluation.data.classes) == _IMAGENET_CLASSES
        and suite.severities == SEVERITIES
        and set(BENCHMARK) <= set(suite.types)
    ):
        alexnet, of = alexnet_errors(), f"{over}, divided by AlexNet's; {n} images"
        yield SummaryLine(plain, mean_corruption_error(errors, alexnet), of, unit="ratio")
        if clean_error is not None:
            value = mean_corruption_error(errors, alexnet, clean_error, ALEXNET_CLEAN_ERROR)
            of += f", whose clean error is {ALEXNET_CLEAN_ERROR} as torchvision states it"
            yield SummaryLine(relative, value, of, unit="ratio")
    reference = evaluation.reference
    if reference is None:
        return
    of = f"{over}, divided by those of {reference.name}"
    theirs = {kind: reference.errors[kind] for kind in types}
    value = mean_corruption_error(errors, theirs)
    why = _undefined(theirs, 0.0, "makes no errors")
    yield SummaryLine(f"{plain}_relative_to", value, of + why, unit="ratio")
    if clean_error is not None and reference.clean_error is not None:
        value = mean_corruption_error(errors, theirs, clean_error, reference.clean_error)
        why = _undefined(theirs, reference.clean_error, "loses no accuracy")
        yield SummaryLine(f"{relative}_relative_to", value, of + why, unit="ratio")


def _undefined(reference: Errors, clean_error: float, why: str) -> str:
    """Why a ratio is NaN; empty if it is not."""
    kinds = [
        kind
        for kind, row in reference.items()
        if math.fsum(error - clean_error for error in row) <= 0
    ]
    if not kinds:
        return ""
    more = f" and {len(kinds) - 1} more" if len(kinds) > 1 else ""
    return f"; not defined, since that network {why} on {kinds[0]}{more}"


def _over(evaluation: Evaluation, types: Sequence[str], name: str = "") -> str:
    """Describe what a number is averaged over, and whether it includes types that others hold out.

    Args:
        name: of the types; empty: their count, or the name of a single one.
    """
    severities = evaluation.suite.severities
    over = name or (types[0] if len(types) == 1 else f"{len(types)} types")
    over += (
        f" x {len(severities)} severities"
        if len(severities) > 1
        else f" at severity {severities[0]}"
    )
    missing = [kind for kind in BENCHMARK if kind not in types]
    is_part = evaluation.suite.made_by != "distortion" and set(types) < set(BENCHMARK)
    if is_part and types == benchmark_types(evaluation) and len(missing) <= _FEW:
        over += f", of the benchmark's 15 without {', '.join(missing)}"
    if any(kind in evaluation.types_of("seen_type") for kind in types):
        over += f"; {INCOMPARABLE}"
    return over


# -- Files -------------------------------------------------------------------------------


FORMAT = "ablate evaluation"
VERSION = 1
_OF_PROBABILITIES = ("calibration_error", "negative_log_likelihood")


def to_json(evaluation: Evaluation, *, bits: bool = True) -> dict[str, Any]:
    """Convert to strict JSON data, with None for NaN.

    Args:
        bits: include each image's label and correctness, which loading requires; without them, only
            numbers for a reader.

    Bits are `numpy.packbits` in base64, the first image in the highest bit of the first byte;
    labels are unsigned of 32 bits, little endian, in base64.
    """
    suite, reference = evaluation.suite, evaluation.reference

    def mean(kinds: Sequence[str] | None, severity: int | None = None) -> dict[str, Any]:
        interval = evaluation.interval(kinds, severity)
        return {"accuracy": evaluation.accuracy(kinds, severity), "interval": interval}

    def cell(scores: CellScores) -> dict[str, Any]:
        found: dict[str, Any] = {
            name: getattr(scores, name)
            for name in ("n", "right", "accuracy", "error", "interval", *_OF_PROBABILITIES)
        }
        if scores.right_top5 is not None:
            top5 = ("right_top5", "top5_accuracy", "top5_interval")
            found |= {name: getattr(scores, name) for name in top5}
        return found | ({"correct": pack_row(scores.correct)} if bits else {})

    found = {
        "format": FORMAT,
        "version": VERSION,
        "model": evaluation.model.to_json(),
        "data": evaluation.data.to_json(),
        "suite": suite.to_json(),
        "seed": evaluation.seed,
        "marks": evaluation.marks,
        "notes": evaluation.notes,
        "summary": {
            line.name: {"value": line.value, "over": line.over, "unit": line.unit}
            | ({"interval": line.interval} if line.interval else {})
            for line in summarise(evaluation)
        },
        "types": {kind: mean((kind,)) for kind in suite.types},
        "families": {family: mean(kinds) for family, kinds in suite.families.items()},
        "severities": {str(severity): mean(None, severity) for severity in suite.severities},
        "clean": None if evaluation.clean is None else cell(evaluation.clean),
        "cells": [
            {"type": kind, "severity": severity, **cell(scores)}
            for (kind, severity), scores in evaluation.cells.items()
        ],
        "classes": {
            name: {"clean_accuracy": clean, "corrupted_accuracy": corrupted}
            for name, (clean, corrupted) in evaluation.class_accuracies.items()
        },
        "exposure": evaluation.exposure,
        "relative_to": None if reference is None else reference.to_json(),
        "interval_level": LEVEL,
        "environment": evaluation.environment,
        "versions": evaluation.versions,
        "seconds": evaluation.seconds,
    }
    if bits:
        labels = evaluation.labels.astype("<u4").tobytes()
        found["labels"] = base64.b64encode(labels).decode("ascii")
    return json_value(found)  # type: ignore[no-any-return]


def from_json(found: Any, where: str = "evaluation") -> Evaluation:
    """Read the output of `to_json`; derived numbers are computed again.

    Args:
        where: for error messages.

    Raises:
        DataError: if it is anything else, was written without bits, or is damaged.
    """
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        rule, got = "written by `ablate evaluate -o FILE.json`", "other JSON"
        fix = "Choose another file."
    elif found.get("version") != VERSION:
        rule, got = f"of version {VERSION}", f"version {found.get('version')}"
        fix = "Evaluate again with this version of ablate, or update ablate."
    elif "labels" not in found:
        rule, got = "with the bits of each image", "the output of --json"
        fix = "Write the file with -o."
    else:
        try:
            return _read_fields(found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{where}: must be complete scores, got damaged ones ({type(error).__name__}: "
                f"{error}). Evaluate again."
            ) from error
    raise DataError(f"{where}: must be scores {rule}, got {got}. {fix}")


def _read_fields(found: Mapping[str, Any]) -> Evaluation:
    data, suite = EvaluatedData.from_json(found["data"]), EvaluatedSuite.from_json(found["suite"])
    labels = np.frombuffer(base64.b64decode(found["labels"], validate=True), dtype="<u4")
    n = len(labels)
    if n != data.n:
        raise ValueError(f"{n} labels for {data.n} images")
    read = [((cell["type"], cell["severity"]), _read_cell(cell, n)) for cell in found["cells"]]
    if [cell for cell, _ in read] != list(product(suite.types, suite.severities)):
        raise ValueError("other cells than those of its suite")
    clean, reference = found["clean"], found["relative_to"]
    plain = ("seed", "exposure", "environment", "versions", "seconds")
    return Evaluation(
        model=EvaluatedModel.from_json(found["model"]),
        data=data,
        suite=suite,
        labels=labels.astype(np.int64),
        clean=None if clean is None else _read_cell(clean, n),
        cells=dict(read),
        reference=None if reference is None else Reference.from_json(reference),
        marks=tuple(found["marks"]),
        notes=tuple(found["notes"]),
        **{name: found[name] for name in plain},
    )


def _read_cell(found: Mapping[str, Any], n: int) -> CellScores:
    packed = np.frombuffer(base64.b64decode(found["correct"], validate=True), dtype=np.uint8)
    if len(packed) != math.ceil(n / 8):
        raise ValueError(f"{len(packed)} bytes of bits for {n} images")
    of_probabilities = (found.get(name) for name in _OF_PROBABILITIES)
    scores = CellScores(
        np.unpackbits(packed, count=n).astype(bool),
        found.get("right_top5"),
        *(math.nan if one is None else one for one in of_probabilities),
    )
    if scores.right != found["right"]:
        raise ValueError(f"{scores.right} bits set for {found['right']} right answers")
    return scores


def write_evaluation(evaluation: Evaluation, path: str | Path) -> None:
    """Write an evaluation as JSON.  The file is written completely or not at all.

    Raises:
        UsageError: if the folder is not writable.
        InfrastructureError: if the disk is full or broken.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> found = ablate.evaluate(
        ...     network, dataset="digits", types=["fog"], severities=[1], normalization="none"
        ... )
        >>> ablate.write_evaluation(found, "fog.json")
    """
    _publish(Path(path), json.dumps(to_json(evaluation), indent=1, allow_nan=False))


def check_place(path: Path) -> None:
    """Check that a file can be written there, before starting the work.

    Raises:
        UsageError: if its folder cannot be created or written.
        InfrastructureError: if the disk is full or broken.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()


def load_evaluation(path: str | Path) -> Evaluation:
    """Load an evaluation that `write_evaluation` or `ablate evaluate -o` wrote.

    Raises:
        DataError: if the file is missing, damaged or something else.

    Example:
        >>> found = ablate.load_evaluation("fog.json")
        >>> found.suite.types, found.clean.n
        (('fog',), 359)
    """
    where = show_name(path)
    try:
        found = json.loads(read_regular(Path(path), MOST_READ_BYTES))
    except OSError as error:
        raise DataError(
            f"{where}: must be a readable file, got {error.strerror}. Correct the path."
        ) from error
    except ValueError as error:
        raise DataError(
            f"{where}: must be scores written by `ablate evaluate -o FILE.json`, got a file that "
            "is not JSON. Choose another file."
        ) from error
    return from_json(found, where)


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write one row per cell, the clean images first with severity 0; completely or not at all.

    Each row has the network, images, seed and caveats (joined by semicolons), so that rows of
    several files can be combined in one table.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    data, families = evaluation.data, evaluation.suite.families
    family_of = {kind: family for family, kinds in families.items() for kind in kinds}
    clean = {} if evaluation.clean is None else {("clean", 0): evaluation.clean}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for (kind, severity), scores in {**clean, **evaluation.cells}.items():
        numbers = [scores.accuracy, *scores.interval, scores.error]
        probable = scores.calibration_error, scores.negative_log_likelihood
        top5 = (scores.top5_accuracy, *(scores.top5_interval or (None, None)))
        writer.writerow(
            [
                evaluation.model.label,
                f"{data.name} {data.split}".strip(),
                "" if evaluation.seed is None else evaluation.seed,
                kind,
                family_of.get(kind, ""),
                severity,
                (evaluation.exposure or {}).get(kind, ""),
                scores.n,
                scores.right,
                *(
                    "" if number is None or math.isnan(number) else f"{number:.6f}"
                    for number in (*numbers, *top5, *probable)
                ),
                "; ".join(evaluation.marks),
            ]
        )
    _publish(path, text.getvalue())


_COLUMNS = (
    *("model", "dataset", "seed", "type", "family", "severity", "exposure", "n", "right"),
    *("accuracy", "low", "high", "error", "top5_accuracy", "top5_low", "top5_high"),
    *(*_OF_PROBABILITIES, "marks"),
)


def _publish(path: Path, text: str) -> None:
    publish_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
