"""A point of the search space: what was drawn and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ablate.study.settings import Study

PLAIN: Mapping[str, Any] = {"loss.terms": "clean"}
"""Values of the plain finetune: the clean images alone, at the study's own budget."""


def needs_plain(study: Study) -> bool:
    """Whether a plain finetune is run beside the rows; in an ablation it is a cell, if anything."""
    return study.trainable is None and study.ablation is None


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
