"""Small ablations written by hand, as a ledger gives them: cells, pairs, scores, bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import recompute

from ablate.ablation.cell import Arm, Cell, Claim, Contrast, Design, difference
from ablate.ablation.effects import Effect, all_effects
from ablate.ablation.results import Results, SplitName
from ablate.ledger.record import Failure, RowRecord, StudyRecord
from ablate.robustness.bits import Outcomes, Scored, SetOutcomes, pack_bits
from ablate.study.scores import AnyScores, ReportedScores, Scores
from ablate.study.settings import NonInferiorSettings, Study

NOISE, IMPULSE, BLUR = "gaussian_noise", "impulse_noise", "gaussian_blur"
FAMILIES = {"noise": (NOISE, IMPULSE), "blur": (BLUR,)}
ROBUST = "val_robust_accuracy"
DIED = Failure("raised", "ValueError: no")

Run = AnyScores | Scored | Failure | tuple[Scored, Scored] | None
"""Of a cell at a seed: what it scored, without or with bits, or on both splits; why it failed; or
None: it has not ended."""


def make_scores(
    robust: float = 0.5,
    clean: float = 0.9,
    *,
    split: str = "val",
    types: Mapping[str, float] | None = None,
    severities: Sequence[str] = ("1", "5"),
    **fields: Any,
) -> Scores:
    """Scores without bits: every type at `robust`, or as `types` says, at each severity."""
    means = {NOISE: robust, IMPULSE: robust, BLUR: robust, **(types or {})}
    accuracies = {kind: dict.fromkeys(severities, mean) for kind, mean in means.items()}
    return Scores(split, 100, clean, accuracies, FAMILIES, **fields)


def make_scored(
    random: np.random.Generator,
    rates: float | Mapping[str, float] = 0.5,
    *,
    clean: float = 0.9,
    n: int = 40,
    n_corrupted: int = 30,
    split: str = "val",
    severities: Sequence[str] = ("1", "5"),
    **fields: Any,
) -> Scored:
    """Drawn bits and the scores that they make.

    Args:
        rates: of right answers under a corruption, of all types or by type.
    """

    def draw(rate: float, count: int) -> Outcomes:
        return Outcomes(random.random(count) < rate, None, *2 * [np.zeros(count, np.float32)])

    kinds = [kind for kinds in FAMILIES.values() for kind in kinds]
    by_type = dict.fromkeys(kinds, rates) if isinstance(rates, float) else rates
    cells = {
        (kind, int(one)): draw(by_type[kind], n_corrupted) for kind in kinds for one in severities
    }
    return score_bits(SetOutcomes(draw(clean, n), cells), split=split, **fields)


def score_bits(outcomes: SetOutcomes, *, split: str = "val", **fields: Any) -> Scored:
    """As a workbench scores them."""
    assert outcomes.clean is not None
    accuracies: dict[str, dict[str, float]] = {}
    for (kind, severity), cell in outcomes.cells.items():
        accuracies.setdefault(kind, {})[str(severity)] = cell.accuracy
    n, corrupted = len(outcomes.clean.correct), len(next(iter(outcomes.cells.values())).correct)
    clean = outcomes.clean.accuracy
    scores = Scores(split, n, clean, accuracies, FAMILIES, n_corrupted=corrupted)
    return Scored(replace(scores, **fields), pack_bits(outcomes))


@dataclass(frozen=True)
class Example:
    """What `ablation_info` and `Results` take."""

    record: StudyRecord
    outcomes: Mapping[int, Mapping[str, str]]
    references: Mapping[str, Mapping[str, str]]

    def results(self, split: SplitName = "val") -> Results:
        return Results(self.record, self.outcomes, self.references, split)

    def effects(
        self,
        contrasts: Sequence[Contrast],
        metrics: Sequence[str] = (ROBUST,),
        claims: Sequence[Claim] = (),
        *,
        margin: NonInferiorSettings | None = None,
        minimized: Sequence[str] = (),
    ) -> tuple[Effect, ...]:
        return all_effects(
            self.results(), contrasts, metrics, claims, margin=margin, minimized=minimized
        )

    def effect(self, contrast: Contrast, metric: str = ROBUST) -> Effect:
        (found,) = self.effects([contrast], [metric])
        return found


def images_right(text: str, scores: Scores, metric: str) -> np.ndarray:
    """`[n]`, what a network got of each image, in a metric."""
    network = recompute.Network(scores.to_json(), text)
    here = f"{scores.split}_{metric.partition('_')[2]}"
    return np.asarray(network.metrics(lambda bits: bits)[here])


def minus(arm: str, reference: str = "plain") -> Contrast:
    """A cell less another one."""
    return difference(Arm(arm, (arm,)), Arm(reference, (reference,)))


def make_design(names: Sequence[str], *, reference: str = "plain", **fields: Any) -> Design:
    """An arm a cell, beside the baseline, each compared with the reference."""
    arms = [Arm("baseline", ("baseline",)), *(Arm(name, (name,)) for name in names)]
    made = Design(
        kind="arms",
        cells=tuple(Cell(name, {"loss.terms": "clean"}) for name in names),
        arms=tuple(arms),
        contrasts=tuple(minus(arm.name, reference) for arm in arms if arm.name != reference),
        reference=reference,
    )
    return replace(made, **fields)


def make_example(
    runs: Mapping[str, Sequence[Run]],
    *,
    baseline: Scored | Scores | tuple[Scored, Scored] | None = None,
    design: Design | None = None,
    settings: Mapping[str, Any] | None = None,
    **keys: Any,
) -> Example:
    """An ablation of these runs, cell by cell in order of the seeds.

    Args:
        baseline: one network that all runs start from.
        settings: of section `ablation`; keys: of the study.
    """
    seeds = max(map(len, runs.values()))
    rows: list[RowRecord] = []
    outcomes: dict[int, Mapping[str, str]] = {}
    for pair in range(seeds):
        for cell, of_cell in runs.items():
            if pair < len(of_cell):
                row, kept = _row(len(rows), cell, pair, of_cell[pair])
                rows.append(row)
                if kept:
                    outcomes[row.number] = kept
    study = make_study(list(runs), seeds, settings or {}, **keys)
    references, tested, bits = _baseline(baseline)
    record = StudyRecord(
        name=study.name,
        storage="sqlite:///runs/example/study.db",
        study=study,
        fingerprint="abc123",
        environment={"device": "cpu"},
        trials=len(rows),
        reference_point=None,
        references=references,
        rows=tuple(rows),
        design=(design or make_design(list(runs))).to_json(),
        test_references=tested,
        test={"suite": "families", "severities": [3]} if design and design.selected else None,
    )
    return Example(record, outcomes, {"baseline": bits})


def make_study(cells: Sequence[str], seeds: int, settings: Mapping[str, Any], **keys: Any) -> Study:
    own = {"dataset": {"name": "digits"}, "model": {"name": "resnet8"}}
    arms: dict[str, Any] = {name: {} for name in cells}
    return Study.model_validate(
        {
            "version": 1,
            "name": "example",
            "question": "Which part earned it?",
            **({} if "trainable" in keys else own),
            "ablation": {"design": "arms", "arms": arms, "seeds": seeds, **settings},
            **keys,
        }
    )


def _row(number: int, cell: str, pair: int, run: Run) -> tuple[RowRecord, dict[str, str]]:
    row = RowRecord(number, "WAITING", 0, {}, cell=cell, pair=pair)
    if run is None:
        return row, {}
    if isinstance(run, Failure):
        return replace(row, state="FAIL", attempt=1, failure=run), {}
    done = replace(row, state="COMPLETE", attempt=1, values=(0.0,))
    if isinstance(run, Scores | ReportedScores):
        return replace(done, scores=run), {}
    if isinstance(run, Scored):
        return replace(done, scores=run.scores), {"val": run.bits}
    validated, tested = run
    done = replace(done, scores=validated.scores, test_scores=tested.scores)
    return done, {"val": validated.bits, "test": tested.bits}


def _baseline(
    baseline: Scored | Scores | tuple[Scored, Scored] | None,
) -> tuple[dict[str, Scores], dict[str, Scores], dict[str, str]]:
    if baseline is None:
        return {}, {}, {}
    if isinstance(baseline, Scores):
        return {"baseline": baseline}, {}, {}
    if isinstance(baseline, Scored):
        return {"baseline": baseline.scores}, {}, {"val": baseline.bits}
    validated, tested = baseline
    bits = {"val": validated.bits, "test": tested.bits}
    return {"baseline": validated.scores}, {"baseline": tested.scores}, bits
