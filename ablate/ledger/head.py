"""The head of a study in the ledger: what it was started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ablate.study.fingerprint import METHOD
from ablate.study.json_data import JsonData
from ablate.study.preparation import Preprocessing
from ablate.study.settings import Study

FORMAT = 2
"""Version of the ledger's attributes; other versions are refused."""


@dataclass(frozen=True)
class Head(JsonData):
    """What a study was started with: written at its start, and completed when data and baseline are
    ready.

    Attributes:
        identity: random and unique; the folder of its training states has this name.
        study: the study, with its space inline and `--set` applied.
        text: text of the study file, as stored (`ablate.lifecycle.study_file.kept_text`).
        space: the resolved space (`Space.to_json`).
        base: absolute folder for relative paths of the study.
        fingerprint: digest by section of everything that scores depend on.
        baseline_sha256: of the baseline's weights; empty without a baseline.
        environment: what else affects bits (device, precision, threads, torch), and
            `baseline_threads`, the number of threads for training the baseline.
        accepted_baseline: what plain finetuning gains, where that is suspiciously much and a person
            has accepted it; empty otherwise.
        preprocessing: of the baseline's images; None: without a baseline, or not recorded.
        reference_point: of the hypervolume; None if there is none.
        design: of an ablation, as plain data; none: a search.
        test: what a confirmation scores on the test images (`Confirmation`); None: they are not
            used.
        parent: name of the study whose arm this one tunes, or which it confirms.
        method: what its settings mean (`ablate.study.fingerprint.METHOD`); 1 where none is stored.
    """

    identity: str
    study: Study
    text: str
    space: Mapping[str, Any]
    base: str
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    baseline_sha256: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    reference_point: tuple[float, ...] | None = None
    design: Mapping[str, Any] | None = None
    test: Mapping[str, Any] | None = None
    parent: str | None = None
    method: int = METHOD
    preprocessing: Preprocessing | None = None
    accepted_baseline: str = ""

    @property
    def is_prepared(self) -> bool:
        """Whether data and baseline are ready; a study has rows only after that."""
        return bool(self.fingerprint)

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **super().to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        kept = {key: value for key, value in data.items() if key != "format"}
        return super().from_json({"method": 1, **kept})
