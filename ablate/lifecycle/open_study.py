"""Opens a study once per command: from the user's reference to its rows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.ablation.study_source import StudySource
from ablate.errors import AblateError, StudyNotFoundError, UsageError
from ablate.ledger.lease import rescued_copy
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Head, StudyRecord, whole_record
from ablate.ledger.storage import sqlite_url
from ablate.lifecycle.place import Place, StudyReference, locate, place_of_folder, shown_folder

if TYPE_CHECKING:  # the statistics of an ablation load SciPy, which a front does without
    from ablate.ablation.confirm import ConfirmInfo
    from ablate.ablation.info import AblationInfo
    from ablate.ablation.looks import Look
    from ablate.ablation.results import Outcomes, References, SplitName


@dataclass(frozen=True)
class OpenStudy:
    """A study as read by one command.

    Attributes:
        place: where it is; record: its rows when it was opened.
    """

    place: Place
    record: StudyRecord

    @cached_property
    def head(self) -> Head:
        """What it was started with."""
        with closing(open_ledger(self.place)) as ledger:
            return ledger.head

    @cached_property
    def replicates(self) -> tuple[OpenStudy, ...]:
        """Those that have begun, in order; empty of a study without replicates."""
        settings = self.record.study.ablation
        asked = 0 if settings is None else settings.replicates or 0
        parts = (self.place.replicate(number) for number in range(asked))
        return tuple(open_place(part) for part in parts if Ledger.exists(part.url, part.name))

    def owner(self, trial: int | None) -> tuple[OpenStudy, int | None]:
        """The study that has a trial as its own row, and its number there: one of the replicates,
        else this study."""
        first = 0
        for part in self.replicates:
            if trial is not None and first <= trial < first + len(part.record.rows):
                return part, trial - first
            first += len(part.record.rows)
        return self, trial

    @cached_property
    def ablation(self) -> AblationInfo:
        """The arms and effects of an ablation or a confirmation, so far.

        Raises:
            ParameterError: if the study is a search.
        """
        from ablate.ablation.confirm import study_ablation

        if is_replicated(self.record):
            return self._pooled()
        return study_ablation(self.record, *read_bits(self.place))

    def _pooled(self, split: SplitName | None = None) -> AblationInfo:
        """The replicates read as one: those of which a run is complete."""
        from ablate.ablation.pooled import pooled_info

        return pooled_info(self._sources(), self.record, split)

    def _sources(self, count: int | None = None) -> list[tuple[StudyRecord, Outcomes, References]]:
        """The first replicates of which a run is complete; the study itself if there is none."""
        parts = [one for one in self.replicates[:count] if one.record.complete]
        found = [(one.record, *read_bits(one.place)) for one in parts]
        return found or [(self.record, {}, {})]

    def look(self, number: int) -> Look:
        """A planned look, from 0, as the rows give it: also one that was taken."""
        from ablate.ablation.pooled import look_at

        stop = self.record.study.ablation_section.stop
        assert stop is not None
        return look_at(self._sources(stop.looks[number]), self.record, number)

    @cached_property
    def confirm_info(self) -> ConfirmInfo:
        """The results of a confirmation, so far.

        Raises:
            ParameterError: if the study is none.
        """
        from ablate.ablation.confirm import ConfirmInfo, confirm_info, is_confirmation

        if is_replicated(self.record) and is_confirmation(self.record):
            return ConfirmInfo(self.ablation, self._pooled("val"), ())
        return confirm_info(self.record, *read_bits(self.place))

    @cached_property
    def source(self) -> StudySource:
        """The study with its ablation or confirmation, for figures and the report."""
        source = StudySource(
            self.record,
            None if self.record.design is None else self.ablation,
            read_bits=partial(read_bits, self.place),
            place=None if is_replicated(self.record) else self.place,
            tuning=self.tuning,
        )
        place = self.place.confirmation
        if not Ledger.exists(place.url, place.name):
            return source
        confirmed = open_place(place)
        if confirmed.record.parent != self.place.name:  # a study of its own with that name
            return source
        return replace(source, confirmation=confirmed.confirm_info, confirming=confirmed.record)

    @property
    def decided(self) -> OpenStudy:
        """As `StudySource.decided`."""
        return open_place(self.place.confirmation) if self.record.looked_at_test else self

    @property
    def tuning(self) -> str:
        """The search that tunes an arm now, or goes on with that when it is resumed; empty if none
        does."""
        if self.record.design is None or self.record.is_over:
            return ""
        own = re.compile(re.escape(self.place.name) + r"(~r\d+)?~\d\d-")  # `tune_design`
        searches = [name for name in Ledger.names(self.place.url) if own.match(name)]
        if not searches:
            return ""
        record = open_place(replace(self.place, name=searches[-1])).record
        if record.is_over:
            return ""
        return f"{record.name}: {record.ended} of {record.trials} trials"

    @property
    def reference(self) -> str:
        """The study's name for a later command, quoted for a shell, without secrets."""
        folder = self.place.folder
        if self.place.archive is not None:
            return shlex.quote(str(self.place.archive))
        if folder.is_dir():
            return shown_folder(folder)
        return shlex.quote(f"{self.place.shown}#{self.place.name}")

    def events(self, trial: int | None = None) -> list[dict[str, Any]]:
        """Events of its runs, oldest first (`ablate.search.progress`).

        Args:
            trial: only events of this trial.
        """
        from ablate.search.progress import read_events

        return read_events(self.place.folder, trial)

    def output(self, trial: int) -> list[tuple[Path, str]]:
        """Output of the attempts of a trial: each file and its text."""
        folder = self.place.folder / "logs" / f"{trial:05d}"
        files = sorted(folder.glob("attempt-*.log"), key=lambda file: int(file.stem.split("-")[1]))
        return [(file, file.read_text(encoding="utf-8", errors="replace")) for file in files]


def read_ablations(studies: Sequence[OpenStudy]) -> AblationInfo:
    """An ablation, or several of the same arms read as one (`ablate.ablation.pooled`).

    Raises:
        ParameterError: if the one is a search.
        UsageError: if one of several is a search, or they do not match.
    """
    from ablate.ablation.pooled import pooled_info

    if len(studies) == 1:
        return studies[0].ablation
    parts = each_replicate(studies)
    return pooled_info([(study.record, *read_bits(study.place)) for study in parts])


def each_replicate(studies: Sequence[OpenStudy]) -> list[OpenStudy]:
    """These studies, and in place of one with replicates each of them."""
    return [part for study in studies for part in study.replicates or (study,)]


def is_replicated(record: StudyRecord | Head) -> bool:
    """Whether a study is an ablation with replicates, which has their rows and none of its own."""
    return record.study.ablation is not None and record.study.ablation.replicates is not None


def open_study(study: StudyReference) -> OpenStudy:
    """Find a study and read its rows.

    Args:
        study: a study file, a run folder, `URL#NAME`, `#NAME` with ABLATE_STORAGE, or a study from
            Python.

    Raises:
        StudyNotFoundError: if there is no such study.
    """
    return open_place(locate(study))


def open_place(place: Place) -> OpenStudy:
    """As `open_study`, for a known place."""
    with closing(open_ledger(place)) as ledger:
        record = ledger.read()
    if place.archive is not None:
        record = replace(record, storage=place.shown)
    opened = OpenStudy(place, record)
    if is_replicated(record):
        replicates = [one.record for one in opened.replicates]
        opened = OpenStudy(place, whole_record(record, replicates))
    return opened


def open_ledger(place: Place) -> Ledger:
    """Open the ledger of a study; the caller closes it.

    Raises:
        StudyNotFoundError: if there is no such study.
    """
    if (ledger := Ledger.find(place.url, place.name)) is not None:
        return ledger
    refuse_if_rescued(place)
    raise StudyNotFoundError(
        f"study {place.name}: must have been launched, got no such study in {place.shown}. "
        "Launch it first, or check name and storage."
    )


def open_part(part: Place, parent: str) -> Ledger | None:
    """Open the ledger of a study's confirmation, or of the search of one of its arms.

    Returns:
        None if it was not begun; the caller closes it.

    Raises:
        UsageError: if a study of its own has that name.
    """
    ledger = Ledger.find(part.url, part.name)
    if ledger is None or ledger.head.parent == parent:
        return ledger
    ledger.close()
    raise UsageError(
        f"study {part.name}: must belong to {parent}, got a study of its own with this name in "
        f"{part.shown}. It was not changed; launch {parent} in another `storage:`."
    )


def refuse_other_study(place: Place) -> None:
    """Refuse a run folder of another study, whose weights are named by their trials alone.

    Raises:
        UsageError: if there is one.
    """
    try:
        there = place_of_folder(place.folder)
        before = _identity(there)
        if before is None or before == _identity(place):
            return
    except AblateError:  # none is named, or its storage cannot be told or reached
        return
    raise UsageError(
        f"{shown_folder(place.folder)}: must be a run folder of study {place.name} in "
        f"{place.shown}, got that of {there.name} in {there.shown}, whose weights would be "
        "overwritten. Run the command in another folder, or give the study another `name:`."
    )


def _identity(place: Place) -> str | None:
    """Of the study at a place; None if there is none."""
    if not Ledger.exists(place.url, place.name):
        return None
    with closing(Ledger.open(place.url, place.name)) as ledger:
        return ledger.head.identity


def refuse_if_rescued(place: Place) -> None:
    """Refuse a study whose database was deleted while it ran, if its rows are in a copy.

    Raises:
        StudyNotFoundError: if there is such a copy.
    """
    copy = rescued_copy(place.url)
    if copy is not None and Ledger.exists(sqlite_url(copy), place.name):
        raise StudyNotFoundError(
            f"study {place.name}: must be in {place.shown}, got no file there; its rows were "
            f"copied to {copy} when it was deleted. Rename the copy to resume the study, or delete "
            "it to start again."
        )


def read_outcomes(place: Place) -> tuple[StudyRecord, Outcomes, References]:
    """A study, and which images its rows and references classified correctly."""
    record = open_place(place).record
    # Read after the rows: bits of a run that ends meanwhile are ignored.
    return record, *read_bits(place)


def read_bits(place: Place, numbers: Collection[int] | None = None) -> tuple[Outcomes, References]:
    """Which images the rows and references of a study classified correctly.

    Args:
        numbers: of the rows; None: all.
    """
    with closing(open_ledger(place)) as ledger:
        return ledger.outcomes(numbers)
