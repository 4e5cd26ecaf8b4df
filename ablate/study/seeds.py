"""Seeds: everything random is derived from them, nothing is carried.

A draw's generator is made from (seed, purpose, where in the run), so a resumed trial needs no
generator state, and two trials with one seed see the same order and the same draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ablate.study.json_data import JsonData
from ablate.study.keys import value_at
from ablate.study.settings import Study


@dataclass(frozen=True)
class Seeds(JsonData):
    """The seeds of a trial, each for one purpose."""

    split: int
    train: int
    evaluation: int


def derive_seed(seed: int, *where: str | int) -> int:
    """A seed for one purpose and place, independent of every other one.

    Args:
        seed: the seed of the study, the trial or the evaluation.
        where: purpose, then place, such as `("noise", epoch, step)`.

    Returns:
        An int in [0, 2**63), the same on every machine and Python.
    """
    text = "\x1f".join(str(part) for part in (seed, *where))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def seeded_study(study: Study, values: Mapping[str, Any], seeds: Seeds) -> Study:
    """The study of one trial: with its parameters and its seeds."""
    seeded = {
        "dataset.validation.seed": seeds.split,
        "finetune.seed": seeds.train,
        "robustness.seed": seeds.evaluation,
    }
    # All cells of a pair have its seed.
    return study.with_values(
        {**seeded, **values} if study.ablation is None else {**values, **seeded}
    )


# -- A point of the search space, and the plain finetune ------------------------------------


@dataclass(frozen=True)
class Params:
    """A point of the search space.

    Attributes:
        values: resolved, by dotted key of the study, as `{"loss.fma.layers": ["stem"]}`; plain
            JSON types.
        raw: as the sampler drew them, by the encoding's names, as
            `{"loss.fma.layers[stem]": True}`.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)


PLAIN: Mapping[str, Any] = {"loss.terms": "clean"}
"""Values of the plain finetune: the clean images alone, at the study's own budget."""

UNTRAINED: Mapping[str, Any] = {
    "finetune.budget.epochs": 0,
    "finetune.budget.images": None,
    "finetune.budget.flops": None,
    "finetune.budget.seconds": None,
}
"""Values of a row that trains nothing."""


def needs_plain(study: Study, parent: str | None = None) -> bool:
    """Whether a plain finetune is run in addition to the rows: not in an ablation, where it can
    only be a cell, nor in the search that tunes an arm of its parent."""
    return study.trainable is None and study.ablation is None and parent is None


def is_plain(study: Study, params: Mapping[str, Any]) -> bool:
    """Whether a row with these parameters is a plain finetune of the study's own baseline."""
    if study.trainable is not None or params.get("finetune.budget.epochs") == 0:
        return False
    if params.get("loss.terms", study.loss.terms) != PLAIN["loss.terms"]:
        return False
    own = study.model_dump(mode="json", include={"model", "baseline"})
    changed = {key: params[key] for key in params if key.partition(".")[0] in own}
    return all(value == value_at(own, key) for key, value in changed.items())
