"""The networks between baseline and finetuned weights of a study: trials of a search, or arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ablate.ablation.answer import ReadBits, best_number
from ablate.ablation.cell import Arm, Design
from ablate.ablation.figure_infos import arm_terms
from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import Estimate, over_images, t_interval
from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.frame import typed_frame
from ablate.analysis.pareto import pareto_info
from ablate.analysis.profile import profile_info
from ablate.errors import NothingToDrawError
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.robustness.bits import image_shares, unpack_bits
from ablate.study.interpolation import CURVE_METRICS, FINETUNED_BITS
from ablate.study.scores import Scores

if TYPE_CHECKING:
    import pandas as pd


class AlphaPoint(NamedTuple):
    """A network, or the networks of an arm at one alpha.

    Attributes:
        alpha: weight of the finetuned network: 0 is the baseline.
        clean, robust: over seeds; of a trial a number without an interval.
        less_finetuned: of the network that stands for a trial: its clean and robust accuracy less
            those at alpha 1, over images; None where it is that one, or its bits are not known.
    """

    alpha: float
    clean: Estimate
    robust: Estimate
    less_finetuned: tuple[Estimate, Estimate] | None = None


@dataclass(frozen=True)
class AlphaCurve:
    """The curve of a trial, or the mean curve of an arm.

    Attributes:
        name: "trial 3", or of the arm; number: of the trial, None of an arm.
        loss_terms: in one order; of an arm as in `ArmsInfo`.
        points: by alpha, from 0 to 1.
        chosen: alphas: of the network that stands for the trial, or, ascending, those picked for
            the arm's interpolated networks.
        barrier: how far clean accuracy falls below both ends, as a fraction: of the trial, or the
            largest of the arm's runs.
        note: why the trial's network was not chosen from the curve.
        seeds: runs of each mean.
    """

    name: str
    number: int | None
    loss_terms: str
    points: tuple[AlphaPoint, ...]
    chosen: tuple[float, ...]
    barrier: float
    note: str
    seeds: int


@dataclass(frozen=True)
class AlphaCurvesInfo(Basis):
    """The curves of a study.

    Attributes:
        curves: of selected trials, or of all arms with a run; empty before the first run.
        on_front: number of trials on the front that these were selected from; 0 if they were given.
        is_search: whether the curves are of trials.
        clean_margin: of `answer`, by which alphas are chosen.
    """

    curves: tuple[AlphaCurve, ...]
    on_front: int
    is_search: bool
    clean_margin: float

    def frame(self) -> pd.DataFrame:
        """One row a curve and alpha.

        Columns: name, loss_terms (text); trial (Int64), missing of an arm; alpha (float64); clean,
        robust, each with .low and .high (float64), NaN without an interval; chosen (bool); barrier
        (float64); seeds (int64); clean_less_finetuned, robust_less_finetuned, each with .low and
        .high (float64), of the network that stands for a trial.
        """
        metrics = ["clean", "robust"]
        columns = [f"{metric}{end}" for metric in metrics for end in _ENDS]
        less = [f"{metric}_less_finetuned{end}" for metric in metrics for end in _ENDS]
        types = {"name": "string", "loss_terms": "string", "trial": "Int64"}
        types |= dict.fromkeys(["alpha", *columns], "float64")
        types |= {"chosen": "bool", "barrier": "float64", "seeds": "int64"}
        types |= dict.fromkeys(less, "float64")
        rows = [
            (
                *(curve.name, curve.loss_terms or None, curve.number, point.alpha),
                *_ends(point.clean),
                *_ends(point.robust),
                *(point.alpha in curve.chosen, curve.barrier, curve.seeds),
                *_less_columns(point),
            )
            for curve in self.curves
            for point in curve.points
        ]
        return typed_frame(types, rows)


_ENDS = ("", ".low", ".high")


def _ends(one: Estimate) -> tuple[float, float, float]:
    return one.mean, one.low, one.high


def _less_columns(point: AlphaPoint) -> tuple[float, ...]:
    if point.less_finetuned is None:
        return (math.nan,) * 2 * len(_ENDS)
    clean, robust = point.less_finetuned
    return *_ends(clean), *_ends(robust)


def alpha_curves(
    record: StudyRecord,
    ablation: AblationInfo | None,
    read_bits: ReadBits,
    trials: Sequence[int] = (),
) -> AlphaCurvesInfo:
    """The curves of a study with `finetune.interpolation`.

    Args:
        ablation: of an ablation; None: a search.
        read_bits: of a search.
        trials: numbers of complete trials of a search; empty: some of the front, as `profile_info`
            selects them.

    Raises:
        NothingToDrawError: if the study scores no curve.
        ParameterError: if a number is not that of a complete trial.
    """
    if not record.study.finetune.curve_alphas:
        raise NothingToDrawError(
            record.name,
            "curve",
            "needs networks between baseline and finetuned weights, got a study without "
            "finetune.interpolation",
            "Draw pareto or arms.",
        )
    on_front = 0
    if ablation is None:
        profiles = profile_info(record, trials, best_number(record, pareto_info(record)))
        on_front = profiles.on_front
        rows = {row.number: row for row in record.complete}
        chosen = [rows[one.number] for one in profiles.profiles if one.number is not None]
        bits, _ = read_bits(sorted(row.origin for row in chosen))
        curves = [_of_trial(record, row, bits.get(row.origin, {})) for row in chosen]
    else:
        assert record.design is not None
        design = Design.from_json(record.design)
        names = (arm.name for arm in ablation.arms)
        terms = dict(zip(names, arm_terms(record, ablation), strict=True))
        curves = [_of_arm(record, arm, ablation, terms[arm.name]) for arm in design.arms]
    return AlphaCurvesInfo(
        **vars(study_basis(record)),
        curves=tuple(curve for curve in curves if curve is not None),
        on_front=on_front,
        is_search=ablation is None,
        clean_margin=record.study.answer.clean_margin,
    )


def _of_trial(record: StudyRecord, row: RowRecord, bits: Mapping[str, str]) -> AlphaCurve | None:
    if row.path is None or not isinstance(row.scores, Scores):
        return None
    less = _less_finetuned(row.scores, bits) if FINETUNED_BITS in bits else None
    return AlphaCurve(
        name=f"trial {row.number}",
        number=row.number,
        loss_terms=record.loss_terms(row),
        points=tuple(
            point._replace(less_finetuned=less) if point.alpha == row.path.alpha else point
            for point in _points([[row]])
        ),
        chosen=(row.path.alpha,),
        barrier=row.path.barrier,
        note=row.path.note,
        seeds=1,
    )


def _less_finetuned(scores: Scores, bits: Mapping[str, str]) -> tuple[Estimate, Estimate]:
    both = unpack_bits([bits["val"], bits[FINETUNED_BITS]], scores)
    shares = (image_shares(both, scores, metric) for metric in CURVE_METRICS)
    differences = (one[0] - one[1] for one in shares if one is not None)
    clean, robust = (over_images(one).estimate() for one in differences)
    return clean, robust


def _of_arm(
    record: StudyRecord, arm: Arm, ablation: AblationInfo, loss_terms: str
) -> AlphaCurve | None:
    """None before a pair of the arm has ended, and of the baseline."""
    pairs: dict[int, list[RowRecord]] = {}
    for row in record.complete:
        if row.cell in arm.cells and row.pair is not None and row.path is not None:
            pairs.setdefault(row.pair, []).append(row)
    whole = [rows for _, rows in sorted(pairs.items()) if len(rows) == len(arm.cells)]
    if not whole:
        return None
    info = next(one for one in ablation.arms if one.name == arm.name)
    barriers = [row.path.barrier for rows in whole for row in rows if row.path is not None]
    return AlphaCurve(
        name=arm.name,
        number=None,
        loss_terms=loss_terms,
        points=_points(whole),
        chosen=info.alphas,
        barrier=max(barriers),
        note="",
        seeds=len(whole),
    )


def _points(runs: Sequence[Sequence[RowRecord]]) -> tuple[AlphaPoint, ...]:
    """Args: runs: of each seed, whose mean is one value."""
    tables = []
    alphas: tuple[float, ...] = ()
    for rows in runs:
        found = []
        for row in rows:
            assert row.path is not None
            assert isinstance(row.scores, Scores)
            alphas = row.path.alphas
            scores = row.path.all_scores(row.scores)
            found.append([(one.clean_accuracy, one.robust_accuracy) for one in scores])
        tables.append(np.mean(found, axis=0))
    values = np.array(tables)  # [seed, alpha, 2]
    return tuple(
        AlphaPoint(alpha, t_interval(values[:, place, 0]), t_interval(values[:, place, 1]))
        for place, alpha in enumerate(alphas)
    )


def has_interval(estimate: Estimate) -> bool:
    """Whether an estimate is of several seeds that differ."""
    return math.isfinite(estimate.low) and math.isfinite(estimate.high)
