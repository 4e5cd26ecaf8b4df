"""Rows of a search that are the same point: their trials would read the same values.

A trial is a function of what it reads, so a point that was run is not run again (`README.md`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from optuna.trial import TrialState

from ablate.finetune.reads import as_text, trained_identity, with_params
from ablate.model import taps_of
from ablate.study.keys import plain_values
from ablate.study.settings import Study

Params = Mapping[str, Any]
"""Resolved, by dotted key."""


class Preview(NamedTuple):
    """What will happen to a row that was enqueued.

    Attributes:
        drawn: parameters that were left out; active ones will be sampled.
        copy_of: the complete row with the same point, whose scores it will copy; None: it will be
            run.
    """

    drawn: tuple[str, ...]
    copy_of: int | None = None


class Twins:
    """The points that were started, and those that have scores.

    Args:
        study: with a trainable, every parameter is read.
    """

    def __init__(self, study: Study) -> None:
        self._fixed = None if study.trainable is not None else plain_values(study)
        self._taps = () if self._fixed is None else taps_of(study.model.name) or ()
        self._unread: list[tuple[int, Params, TrialState]] = []
        self._points: dict[int, bytes] = {}
        self._begun: set[bytes] = set()
        self._complete: dict[bytes, int] = {}

    def add(self, number: int, params: Params, state: TrialState) -> None:
        """Add a started row; what it reads is determined when first needed."""
        self._unread.append((number, params, state))

    def end(self, number: int, state: TrialState) -> None:
        """Note that an added row has ended."""
        self._read()
        if state == TrialState.COMPLETE and number in self._points:
            self._complete.setdefault(self._points[number], number)

    def is_begun(self, params: Params) -> bool:
        """Whether there is a row with this point, running or ended."""
        self._read()
        return self._point(params) in self._begun

    def complete(self, params: Params) -> int | None:
        """The first complete row with this point, if any."""
        self._read()
        return self._complete.get(self._point(params))

    def _read(self) -> None:
        for number, params, state in self._unread:
            point = self._points[number] = self._point(params)
            self._begun.add(point)
            if state == TrialState.COMPLETE:
                self._complete.setdefault(point, number)
        self._unread.clear()

    def _point(self, params: Params) -> bytes:
        if self._fixed is None:
            text = as_text(params)
        else:
            text = trained_identity(with_params(self._fixed, params), self._taps)
        return hashlib.blake2b(text.encode(), digest_size=16).digest()
