"""A reference that is a trial of a search: which one, and whether it may be one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ablate.analysis.pareto import ParetoPoint, pareto_info
from ablate.errors import FingerprintError, ParameterError, did_you_mean
from ablate.ledger.record import StudyRecord
from ablate.study.document import show
from ablate.study.fingerprint import changed_keys
from ablate.study.settings import Study

COMPARED = (
    "trainable",
    "dataset",
    "data",
    "model",
    "baseline",
    "finetune",
    "loss",
    "augment",
    "robustness",
)
"""Sections of the fingerprint in which an ablation and its search must agree."""

_PICK = "knee, best METRIC or trial N"


def pick_rule(pick: Any) -> str | None:
    """What is wrong with a pick as it is written, as `rule, got X. Fix.`; none if it is right."""
    words = pick.split() if isinstance(pick, str) else []
    if words == ["knee"] or (len(words) == 2 and words[0] == "best"):
        return None
    if len(words) == 2 and words[0] == "trial" and words[1].isdecimal():
        return None
    return f"must be {_PICK}, got {show(pick)}. Write pick: knee."


def best_of(metric: str, metrics: Sequence[str]) -> str | None:
    """The objective that `best METRIC` means: `val_` may be left out; none if there is no such."""
    return next((one for one in (metric, f"val_{metric}") if one in metrics), None)


def pick_trial(record: StudyRecord, pick: str, *, key: str = "ablation.reference") -> ParetoPoint:
    """The trial of a search that is meant.

    Args:
        record: of the search.
        pick: "knee", "best METRIC" (of an objective; `val_` may be left out) or "trial N".
        key: of the study file, for messages.

    Raises:
        ParameterError: if it is none of these, there is no such complete trial, or no such
            objective.
    """
    where = f"{key}: study {record.name}"
    rule = pick_rule(pick)
    if rule is not None:
        raise ParameterError(f"{key}.pick: {rule}")
    if record.design is not None:
        raise ParameterError(f"{where}: must be a search, got an ablation. Name a search.")
    info = pareto_info(record)
    word, argument = (*pick.split(), "")[:2]
    if word == "trial":
        number = int(argument)
        found = next((point for point in info.points if point.number == number), None)
        if found is not None:
            return found
        state = next((row.state for row in record.rows if row.number == number), None)
        got = f"trial {number}, which is {state}" if state else f"no trial {number}"
        raise ParameterError(
            f"{where}: must have that trial in state COMPLETE, got {got}. Pick another."
        )
    if info.picked is None:
        rows = f"{len(record.rows)} row{'s' * (len(record.rows) != 1)}"
        raise ParameterError(
            f"{where}: must have a complete trial, got none in {rows}. Finish the search, or see "
            "`ablate trials` for why its trials failed."
        )
    metrics = [objective.metric for objective in info.objectives]
    if word == "best":
        metric = best_of(argument, metrics)
        if metric is None:
            raise ParameterError(
                f"{where}: best needs one of its objectives, got {argument}. "
                f"{did_you_mean(argument, metrics)}"
            )
        place = metrics.index(metric)
        sign = 1 if info.objectives[place].direction == "maximize" else -1
        return max(info.front, key=lambda point: (sign * point.values[place], -point.number))
    return info.picked


def check_same_sections(study: Study, record: StudyRecord) -> None:
    """Refuse a search that was of other settings, before anything is run.

    Raises:
        FingerprintError: naming the keys that differ.
    """
    plain = [one.model_dump(mode="json") for one in (record.study, study)]
    changed = [
        line for line in changed_keys(*plain) if re.split(r"[.:]", line, maxsplit=1)[0] in COMPARED
    ]
    if changed:
        raise FingerprintError(
            f"study {study.name}: the ablation must use the same settings as the search of its "
            f"reference, got {'; '.join(changed)} (study {record.name} -> here). Copy these, or "
            "write the values of the reference."
        )


def check_reference(
    study: Study, fingerprint: Mapping[str, str], search: str, other: Mapping[str, str]
) -> None:
    """Refuse a search whose trials are of other data, network or training.

    Args:
        fingerprint: of the ablation, by section.
        search: name of the search; other: its fingerprint.

    Raises:
        FingerprintError: naming the sections that differ.
    """
    differ = [name for name in COMPARED if fingerprint.get(name) != other.get(name)]
    if differ:
        raise FingerprintError(
            f"study {study.name}: the ablation must use the same settings as the search of its "
            f"reference, got other {', '.join(differ)} than study {search}. Copy these sections, "
            "or write the values of the reference."
        )
