"""Evaluations as files: JSON, which can be loaded again, and CSV with one row per cell."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ablate.errors import DataError, UsageError
from ablate.files.cache import publish_file
from ablate.files.regular import MOST_READ_BYTES, read_regular
from ablate.files.shown import show_name
from ablate.robustness.evaluation.evaluation import (
    CellScores,
    EvaluatedData,
    EvaluatedModel,
    EvaluatedSuite,
    Evaluation,
    Reference,
)
from ablate.robustness.evaluation.summary import summarise
from ablate.robustness.measures import LEVEL
from ablate.study.json_data import json_value

FORMAT = "ablate evaluation"
VERSION = 1


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
            for name in ("n", "right", "accuracy", "error", "interval", "calibration_error")
        }
        if scores.right_top5 is not None:
            top5 = ("right_top5", "top5_accuracy", "top5_interval")
            found |= {name: getattr(scores, name) for name in top5}
        return found | ({"correct": _encode(np.packbits(scores.correct))} if bits else {})

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
        found["labels"] = _encode(evaluation.labels.astype("<u4"))
    return json_value(found)  # type: ignore[no-any-return]


def _encode(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


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
    error = found["calibration_error"]
    scores = CellScores(
        np.unpackbits(packed, count=n).astype(bool),
        found.get("right_top5"),
        math.nan if error is None else error,
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
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UsageError(
            f"{path}: must be in a writable folder, got {error.strerror!r}. Choose "
            "another folder or change its owner."
        ) from error


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
                    "" if number is None else f"{number:.6f}"
                    for number in (*numbers, *top5, scores.calibration_error)
                ),
                "; ".join(evaluation.marks),
            ]
        )
    _publish(path, text.getvalue())


_COLUMNS = (
    *("model", "dataset", "seed", "type", "family", "severity", "exposure", "n", "right"),
    *("accuracy", "low", "high", "error", "top5_accuracy", "top5_low", "top5_high"),
    *("calibration_error", "marks"),
)


def _publish(path: Path, text: str) -> None:
    publish_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
