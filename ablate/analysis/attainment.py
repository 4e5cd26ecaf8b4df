"""Empirical attainment: which trade-offs repeated runs reach, in the best run, half of them, all.

Source: Grunert da Fonseca, Fonseca and Hall 2001; Fonseca et al. 2011, computed by moocore (exact).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.frame import typed_frame
from ablate.analysis.hypervolume import maximised
from ablate.analysis.objectives import check_several, shared_objectives
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.errors import NothingToDrawError
from ablate.ledger.record import TERMINAL, StudyRecord
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd

MOST_ARMS = 8
"""Drawn: as many as there are colours."""


@dataclass(frozen=True)
class AttainedSet:
    """The finite values of one run of an experiment, or of all runs of an arm.

    Attributes:
        name: of the study, or of the arm; loss_terms: of the arm, in one order; empty of a study,
            and for a custom training loop.
        numbers: of the trials, `[points]`; values: theirs, `[points, 2]`. Without points it attains
            nothing, but still counts.
    """

    name: str
    numbers: NDArray[np.int64]
    values: NDArray[np.float64]
    loss_terms: str = ""


@dataclass(frozen=True)
class Surface:
    """The border of what so many sets attain.

    Attributes:
        name: "best", "median" or "worst".
        attained_by: the least number of sets that attain every place on it.
        corners: `[corners, 2]`, no two of which dominate each other; without a row where fewer
            sets have any value.
        sets: their number; arm: whose runs they are, empty for studies.
    """

    name: Literal["best", "median", "worst"]
    attained_by: int
    corners: NDArray[np.float64]
    sets: int
    arm: str = ""


@dataclass(frozen=True)
class AttainmentInfo:
    """The attainment over several searches, or of each arm of one ablation over its seeds.

    Attributes:
        studies: at least one.
        over: what a set of `sets` is of.
        sets: in order; left_out: runs that have not ended.
        arms: of an ablation, drawn or not.
        surfaces: over studies, the best first; no median for two sets, because it would be the
            best; empty for fewer than two sets or without values. Of an ablation the median of each
            arm with two ended runs: what half of its seeds attain.
    """

    studies: tuple[ParetoInfo, ...]
    over: Literal["studies", "arms"]
    sets: tuple[AttainedSet, ...]
    left_out: int
    arms: int
    surfaces: tuple[Surface, ...]

    @property
    def objectives(self) -> tuple[ObjectiveSettings, ...]:
        return self.studies[0].objectives

    def frame(self) -> pd.DataFrame:
        """One row per corner of a surface, then one per trial.

        Columns: mark ("best", "median", "worst" or "trial"), attained_by (Int64; of surfaces), set
        (text; of trials and of an arm's surface), number (Int64; of trials), and a float64 column
        an objective.
        """
        metrics = [objective.metric for objective in self.objectives]
        types = {"mark": "string", "attained_by": "Int64", "set": "string", "number": "Int64"}
        corners = [
            (surface.name, surface.attained_by, surface.arm or None, None, *values)
            for surface in self.surfaces
            for values in surface.corners.tolist()
        ]
        trials = [
            ("trial", None, one.name, number, *values)
            for one in self.sets
            for number, values in zip(one.numbers.tolist(), one.values.tolist(), strict=True)
        ]
        return typed_frame(types | dict.fromkeys(metrics, "float64"), corners + trials)


def attainment_info(records: Sequence[StudyRecord]) -> AttainmentInfo:
    """Compute the attainment over these studies, or of the arms of one ablation.

    Each search is a set: all its complete trials.  For an ablation or a confirmation each ended run
    of an arm is a set of one point; a failed run attains nothing.

    Args:
        records: several searches, or one ablation.

    Raises:
        NothingToDrawError: for one search or one seed, other than two objectives, or an ablation
            among several studies.
        ParameterError: if the objectives differ.
    """
    objectives = shared_objectives(records)
    name = records[0].name
    check_several(records[0], "attainment")
    if len(objectives) > 2:
        raise NothingToDrawError(
            name,
            "attainment",
            f"needs two objectives, got {len(objectives)}",
            "Draw pareto.",
        )
    studies = tuple(pareto_info(record) for record in records)
    if len(records) == 1:
        if records[0].design is None:
            raise NothingToDrawError(
                name,
                "attainment",
                "needs several sets, got one search of one seed",
                "Name several searches, or ablate confirm it and draw its confirmation.",
            )
        return _of_arms(records[0], studies[0])
    for record in records:
        if record.design is not None:
            raise NothingToDrawError(
                record.name,
                "attainment",
                "of several studies needs searches, got an ablation",
                "Draw it alone, by its arms.",
            )
    sets = tuple(_set(info.study, info) for info in studies)
    return AttainmentInfo(studies, "studies", sets, 0, 0, surfaces(sets, objectives))


def surfaces(
    sets: Sequence[AttainedSet], objectives: Sequence[ObjectiveSettings]
) -> tuple[Surface, ...]:
    """Best, median and worst surface of sets in the plane of two objectives.

    The median is what at least half of the sets attain.
    """
    full = [one.values for one in sets if len(one.values)]
    if len(sets) < 2 or not full:
        return ()
    import moocore

    signs = np.where(maximised(objectives), -1.0, 1.0)
    points = np.concatenate(full) * signs
    owner = np.repeat(np.arange(len(full)), [len(values) for values in full])
    found = []
    levels = {"best": 1, "median": (len(sets) + 1) // 2, "worst": len(sets)}
    for name, level in levels.items():
        if name == "median" and level == 1:
            continue
        corners = np.empty((0, 2))
        if level <= len(full):
            percentile = 100.0 * level / len(full)
            corners = moocore.eaf(points, owner, percentiles=[percentile])[:, :2] * signs
        found.append(Surface(name, level, corners, len(sets)))  # type: ignore[arg-type]
    return tuple(found)


def _of_arms(record: StudyRecord, info: ParetoInfo) -> AttainmentInfo:
    if len({row.pair for row in record.rows}) == 1:
        raise NothingToDrawError(
            record.name, "attainment", "needs several seeds, got one", "Give the ablation more."
        )
    cells = list(dict.fromkeys(row.cell for row in record.rows if row.cell is not None))
    ended = [row for row in record.rows if row.state in TERMINAL]
    cell_of = {row.number: row.cell for row in ended}
    owner = np.array([cell_of[point.number] for point in info.points], dtype=object)
    arms, found = [], []
    for cell in cells[:MOST_ARMS]:
        arm = _set(cell, info, owner == cell)
        # The runs without a point have failed.
        runs = [
            AttainedSet(cell, arm.numbers[[at]], arm.values[[at]]) for at in range(len(arm.numbers))
        ]
        failed = sum(row.cell == cell for row in ended) - len(runs)
        runs += [AttainedSet(cell, arm.numbers[:0], arm.values[:0])] * failed
        terms = next(record.loss_terms(row) for row in record.rows if row.cell == cell)
        arms += [replace(arm, loss_terms=terms)] * bool(runs)
        half = (len(runs) + 1) // 2
        found += [
            replace(one, name="median", arm=cell)
            for one in surfaces(runs, info.objectives)
            if one.attained_by == half
        ][:1]
    left_out = len(record.rows) - len(ended)
    return AttainmentInfo((info,), "arms", tuple(arms), left_out, len(cells), tuple(found))


def _set(name: str, info: ParetoInfo, mask: NDArray[np.bool_] | bool = True) -> AttainedSet:
    numbers = np.array([point.number for point in info.points], dtype=np.int64)
    there = np.isfinite(info.counted).all(axis=1) & mask
    return AttainedSet(name, numbers[there], info.values[there])
