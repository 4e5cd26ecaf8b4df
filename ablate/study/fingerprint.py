"""The fingerprint of a study: the keys whose change on resume is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, Protocol

from ablate.study.document import show
from ablate.study.keys import leaves, value_at, written_parameters
from ablate.study.settings import ADDED_KEYS, Study

METHOD = 2
"""Version of what the settings of a study mean, stored when it starts.

1: `loss.fma.weight` multiplies the bare distance; with `scale: gradient` it is a ratio to the
gradient of the other terms.  Studies without a version are of this one (ablate 0.1).
2: it multiplies the distance and its constant (`ablate.finetune.loss.Distance.gradient_scale`);
with `scale: gradient` it is a ratio to the gradient of the cross-entropy on the copies.
"""

SECTIONS = (
    "trainable",
    "dataset",
    "model",
    "baseline",
    "finetune",
    "loss",
    "augment",
    "objectives",
    "constraints",
    "robustness",
    "answer",
    "space",
    "ablation",
)
"""A study has either `trainable`, or the sections of a robustness finetuning.  Another key is noted
when it changes, and nothing more."""

OF_FILES = {
    "classes": "names of classes",
    "contents": "contents of image files",
    "backbone": "weights in baseline.backbone",
}
"""Sections about the user's own data and weights, with what they are in words.  A study that an
earlier version started has none of them, and is compared without."""

_OF_A_TRAINABLE = ("trainable", "finetune", "objectives", "constraints", "space", "ablation")
_NOT_IN_SECTIONS = (
    "dataset.path",
    "dataset.download",
    "dataset.loading_workers",
    "dataset.unlabeled",
    "dataset.validation.path",
    "baseline.checkpoint",
    "baseline.backbone",
    "baseline.expected_accuracy",
    "robustness.frost_images",
    "robustness.stored_gb",
    "ablation.seeds",
    "ablation.replicates",
    "ablation.max_runs",
    "ablation.plan",
    "answer.mixtures",
)
"""Where data and weights lie, and how they get here: their content is compared instead; what is
only checked; how many seeds and replicates there are, which may be extended; and what is made of
rows that have ended."""


class Resolved(Protocol):
    """A resolved search space that can be converted to plain data (`ablate.space.space.Space`)."""

    def to_json(self) -> dict[str, Any]: ...


def study_fingerprint(
    study: Study,
    space: Resolved,
    data_digest: str,
    added_types: Sequence[str] = (),
    files: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, str]:
    """A digest of each section of a study that affects scores.

    Args:
        study: the part that it names.  Its space is ignored; `space` is used, which is independent
            of blocks, files and order.
        space: resolved.
        data_digest: of images and labels, so that their path does not matter; empty for a
            trainable, which loads its own data.
        added_types: types that the suite of `robustness.suite` has gained since fingerprints
            exist; they change its mean.
        files: the sections of `OF_FILES` that the data set has.

    Returns:
        Section -> sha256 in hex; the sections of `SECTIONS` that the study has, `data`, those in
        `files`, and `method`, of `METHOD`.
    """
    data, finetune = study.model_dump(mode="json"), study.finetune
    left_out = {"trainable"} if study.trainable is None else {*SECTIONS} - {*_OF_A_TRAINABLE}
    # Sections and keys that are absent are as in studies that were started before they existed.
    if finetune.interpolation is None or study.trainable is not None:
        left_out.add("answer")
    if not study.constraints:
        left_out.add("constraints")
    if study.ablation is None:
        left_out.add("ablation")
    elif study.ablation.permutations is None:
        del data["ablation"]["permutations"]
    # Which network of a trial is scored is no part of its training.
    data["answer"]["interpolation"] = data["finetune"].pop("interpolation")
    for key in (*ADDED_KEYS, *_NOT_IN_SECTIONS):
        if key.partition(".")[0] in left_out:
            continue
        if key not in ADDED_KEYS or value_at(data, key) == ADDED_KEYS[key]:
            delete_at(data, key)
    if study.trainable is not None:
        data["finetune"] = {"epochs": finetune.budget.in_epochs, "seed": finetune.seed}
    if added_types:
        data["robustness"]["added_types"] = sorted(added_types)
    resolved = space.to_json()
    resolved["parameters"] = sorted(resolved["parameters"], key=lambda entry: str(entry["key"]))
    parts = {section: data[section] for section in SECTIONS if section not in left_out} | {
        "space": resolved,
        "data": data_digest,
        "method": METHOD,
        **files,
    }
    return {section: digest_of(part) for section, part in parts.items()}


def delete_at(data: Mapping[str, Any], key: str) -> None:
    """Take the value of a dotted key out of nested plain data, in place."""
    section, _, name = key.rpartition(".")
    del value_at(data, section)[name]


def fingerprint(sections: Mapping[str, str]) -> str:
    """One short name of all sections: 16 hex digits."""
    return digest_of(dict(sections))[:16]


def digest_of(part: Any) -> str:
    """sha256 in hex of plain data, whatever the order of its keys."""
    text = json.dumps(part, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Keys of the fingerprint that differ, as `loss.fma.weight: 1 -> 2`.

    Args:
        old, new: `model_dump(mode="json")` of two studies, their spaces inline.
    """
    return [line for key, line in _changes(old, new) if _matters(key, old, new)]


def noted_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Keys outside the fingerprint that differ; a resume reports them and continues."""
    return [line for key, line in _changes(old, new) if not _matters(key, old, new)]


def _matters(key: str, *dumps: Mapping[str, Any]) -> bool:
    if key.startswith("answer.") and not any(dump["finetune"]["interpolation"] for dump in dumps):
        return False  # read by reports alone
    is_left_out = any(f"{key}.".startswith(f"{left_out}.") for left_out in _NOT_IN_SECTIONS)
    return not is_left_out and key.partition(".")[0] in SECTIONS


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    before, after = dict(_flatten(old)), dict(_flatten(new))
    for key in dict.fromkeys([*before, *after]):
        was, now = before.get(key, ADDED_KEYS.get(key)), after.get(key, ADDED_KEYS.get(key))
        parts: list[tuple[str, Any, Any]] = [("", was, now)]
        if key == "search.pruner" and was and now:  # whole settings: only what differs
            parts = [(f".{name}", was[name], now[name]) for name in was]
        elif key in ("objectives", "constraints"):
            pairs = enumerate(zip_longest(was or (), now or ()))
            parts = [(f"[{at}]", *pair) for at, pair in pairs]
        for part, old_part, new_part in parts:
            if old_part != new_part:
                yield key, f"{key}{part}: {show(old_part)} -> {show(new_part)}"


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        key = prefix + name
        if key == "space":
            for parameter in written_parameters(value):
                when = {"when": [*parameter.when.values()]} if parameter.when else {}
                yield f"space.{parameter.key}", {**parameter.entry, **when}
        elif isinstance(value, dict) and (key not in leaves() or key == "ablation"):
            yield from _flatten(value, f"{key}.")
        else:
            yield key, value
