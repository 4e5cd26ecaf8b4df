"""What a metric's name says: its split, and whether it is an accuracy of a scored network.

The names are those of `ablate.study.scores.Scores`; a training loop of the user's own may give its
numbers any other, and then nothing is read into them.
"""

from __future__ import annotations

import re

SPLITS = {"val": "validation", "test": "test"}
_ACCURACY = re.compile(
    r"(?:val|test)_(?:(?P<total>clean|robust)_accuracy(?P<types>_seen_type|_seen_family|_unseen)?"
    r"|accuracy\.(?P<kind>.+))"
)


def is_accuracy(metric: str) -> bool:
    """Whether the metric is a fraction from 0 to 1 that a person reads in percent."""
    return _ACCURACY.fullmatch(metric) is not None


def metric_split(metric: str) -> str | None:
    """ "validation" or "test"; None for a metric of the finetuning, such as `train_seconds`."""
    return SPLITS.get(metric.split("_", 1)[0]) if is_accuracy(metric) else None


def short_metric(metric: str) -> str:
    """ "robust" for `val_robust_accuracy`, "noise.3" for `val_accuracy.noise.3`; others whole."""
    found = _ACCURACY.fullmatch(metric)
    if found is None:
        return metric
    return found["kind"] or f"{found['total']}{found['types'] or ''}"
