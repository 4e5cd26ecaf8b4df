"""The log of a run as a person reads it: one line an event, in local time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ablate.report.numbers import json_value, param_text

_HEAD = ("time", "event", "trial", "plain", "attempt", "host")


def event_text(event: Mapping[str, Any]) -> str:
    """ "2026-03-01 13:00:05  trial 17, attempt 2  epoch: epoch 3, train_loss 0.41  (node7)".

    Args:
        event: `time` (seconds since 1970) and `event`; `trial`, `plain`, `attempt` and `host` as
            far as it has them; whatever else it has follows in its order.
    """
    moment = datetime.fromtimestamp(float(event["time"])).strftime("%Y-%m-%d %H:%M:%S")
    parts = [moment, _subject(event), _what(event)]
    if event.get("host"):
        parts.append(f"({event['host']})")
    return "  ".join(part for part in parts if part)


def _subject(event: Mapping[str, Any]) -> str:
    trial = event.get("trial")
    if trial is None and not event.get("plain"):
        return ""
    subject = "plain finetune" if trial is None else f"trial {trial}"
    return f"{subject}, attempt {event['attempt']}" if event.get("attempt") else subject


def _what(event: Mapping[str, Any]) -> str:
    details = ", ".join(
        f"{key} {' '.join(param_text(json_value(value)).split())}"
        for key, value in event.items()
        if key not in _HEAD and value is not None
    )
    name = str(event["event"]).replace("_", " ")
    return f"{name}: {details}" if details else name
