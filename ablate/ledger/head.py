"""The head of a study in the ledger: what it was begun with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ablate.study.settings import Study

FORMAT = 2
"""Version of the ledger's attributes; a ledger of another one is refused."""


@dataclass(frozen=True)
class Head:
    """What a study was begun with: written at its first second, and completed when data and
    baseline are there.

    Attributes:
        identity: random, of this study alone: its training states go below it.
        study: the study, with its space inline and `--set` applied.
        text: of the study file, as it is kept (`ablate.lifecycle.study_file.kept_text`).
        space: the resolved space (`Space.to_json`).
        base: absolute folder that relative paths of the study are relative to.
        fingerprint: digest by section of what a score depends on.
        baseline_sha256: of the baseline's weights; empty where there is none.
        environment: what changes bits beside the fingerprint (device, precision, threads, torch),
            and `baseline_threads`, those that the baseline is trained with.
        reference_point: of the hypervolume; none where nothing gives one.
        design: of an ablation, as plain data; none: a search.
        test: what a confirmation scores on the test images (`Confirmation`); none: they stay shut.
        parent: name of the study whose arm this one tunes, or whose front it confirms.
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

    @property
    def is_prepared(self) -> bool:
        """Whether data and baseline were there: a study has rows only after that."""
        return bool(self.fingerprint)

    def to_json(self) -> dict[str, Any]:
        data = {one.name: getattr(self, one.name) for one in fields(self)}
        return {"format": FORMAT, **data, "study": self.study.model_dump(mode="json")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Head:
        fields = {key: value for key, value in data.items() if key != "format"}
        fields["study"] = Study.model_validate(fields["study"])
        point = fields["reference_point"]
        fields["reference_point"] = None if point is None else tuple(point)
        return cls(**fields)
