"""What a metric's name says: its split, and whether it is an accuracy."""

from __future__ import annotations

SPLITS = {"val": "validation", "test": "test"}


def is_accuracy(metric: str) -> bool:
    """Whether the metric is a fraction from 0 to 1 that a person reads in percent."""
    return "accuracy" in metric


def metric_split(metric: str) -> str | None:
    """ "validation" or "test"; None for a metric of the finetuning, such as `train_seconds`."""
    return SPLITS.get(metric.split("_", 1)[0])
