"""A study as input of figures and the report: its rows, ablation and confirmation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.finetune.loss import in_order
from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:  # the statistics of an ablation load SciPy, which a front does without
    from ablate.ablation.answer import KeptBits, ReadBits, SearchAnswer
    from ablate.ablation.confirm import ConfirmInfo
    from ablate.ablation.info import AblationInfo
    from ablate.lifecycle.place import Place


def no_bits(_numbers: Collection[int]) -> KeptBits:
    """Of a study that keeps none."""
    return {}, {}


@dataclass(frozen=True)
class StudySource:
    """A study in one snapshot.

    Attributes:
        ablation: for an ablation (`record.design`); None for a search.
        confirmation: of a search or ablation that was confirmed; confirming: its study.
        read_bits: of a search, which images its rows and references classified correctly.
        place: where its data and weights are found, for images; None: nowhere.
        tuning: the search that tunes an arm now, and how far it is; empty without.
    """

    record: StudyRecord
    ablation: AblationInfo | None = None
    confirmation: ConfirmInfo | None = None
    confirming: StudyRecord | None = None
    read_bits: ReadBits = no_bits
    place: Place | None = None
    tuning: str = ""

    @property
    def front(self) -> ParetoInfo:
        """The front of a search."""
        return pareto_info(self.record)

    @property
    def of_trials(self) -> StudySource:
        """The same without mixtures: what is shown of trials alone."""
        return replace(self, record=replace(self.record, mixtures=None))

    @cached_property
    def answer(self) -> SearchAnswer | None:
        """Of a search (`search_answer`)."""
        from ablate.ablation.answer import search_answer

        return search_answer(self.record, self.front, self.read_bits)

    @property
    def confirmed(self) -> StudySource | None:
        """The confirmation as a separate study, on the test images."""
        if self.confirmation is None or self.confirming is None:
            return None
        place = self.place and self.place.confirmation
        return StudySource(self.confirming, self.confirmation.test, place=place)

    @property
    def answering(self) -> StudySource:
        """What answers an ablation's question: its confirmation, once two runs of that can be
        compared; else the study itself."""
        confirmed = self.confirmed
        if self.ablation is None or confirmed is None or confirmed.ablation is None:
            return self
        has_pairs = any(effect.estimate.n for effect in confirmed.ablation.effects)
        return confirmed if has_pairs else self

    @property
    def decided(self) -> StudySource:
        """The confirmation, once a planned look has been taken at its test images; else the study
        itself."""
        return self.answering if self.record.looked_at_test else self

    @property
    def is_search(self) -> bool:
        return self.record.design is None


def arm_terms(source: StudySource) -> Mapping[str, str]:
    """The loss terms of each arm of an ablation; empty where they are not one set."""
    from ablate.ablation.cell import Design
    from ablate.ablation.results import BASELINE

    record, ablation = source.record, source.ablation
    if ablation is None:
        return {}
    if record.design is None or record.study.trainable is not None:
        return {arm.name: "" for arm in ablation.arms}
    design = Design.from_json(record.design)
    by_cell = {
        cell.name: in_order(str(cell.values.get("loss.terms", record.study.loss.terms)))
        for cell in design.cells
        if cell.name != BASELINE
    }
    trained = {cell.name: cell.trained for cell in design.cells}
    found = {
        arm.name: {by_cell.get(one, "") for cell in arm.cells for one in trained.get(cell, (cell,))}
        for arm in ablation.arms
    }
    return {name: terms.pop() if len(terms) == 1 else "" for name, terms in found.items()}
