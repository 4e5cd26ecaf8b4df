"""An ablation whose sides were tuned on the images that they are scored on claims nothing, wherever
it is shown; its numbers are those that it would have without tuning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_results import ROBUST, Example, make_design, make_example, make_scored

from ablate.ablation.cell import Claim, Tuning
from ablate.ablation.confirm import study_ablation
from ablate.ablation.info import AblationInfo
from ablate.ablation.pooled import pooled_info
from ablate.ablation.study_source import StudySource
from ablate.report.answer import study_answer
from ablate.report.formats import result_rows
from ablate.report.tables import arms_table, effects_table

WHY = (
    "exploratory until `ablate confirm`: arms were tuned on the validation images that results are "
    "of"
)
TUNED = Tuning("example~tune", 3, ROBUST, (0.5, 0.6))


def study(*, seed: int = 0, settings: Any = None, **fields: Any) -> Example:
    """FMA is far more robust than plain, and keeps clean accuracy."""
    random = np.random.default_rng(seed)

    def runs(rate: float) -> list[Any]:
        both = ({"split": split} for split in ("val", "test") for _ in range(4))
        scores = [make_scored(random, rate, clean=1.0, **split) for split in both]
        return list(zip(scores[:4], scores[4:], strict=True))

    design = make_design(["plain", "FMA"], claims=(Claim("FMA - plain", ROBUST),), **fields)
    return make_example(
        {"plain": runs(0.3), "FMA": runs(0.9)},
        design=design,
        settings={"noninferior": {"margin": 0.3}, "tune": {"trials": 2}, **(settings or {})},
    )


def info_of(example: Example) -> AblationInfo:
    return study_ablation(example.record, example.outcomes, example.references)


@pytest.mark.parametrize(
    ("fields", "settings", "why"),
    [
        ({"tuning": {"FMA": TUNED}}, {}, WHY),
        (
            {},
            {"reference": {"study": "runs/mine", "pick": "knee"}},
            WHY.replace("arms were tuned", "a search chose the values of the reference"),
        ),
    ],
)
def test_what_was_tuned_on_these_images_claims_nothing(
    fields: dict[str, Any], settings: dict[str, Any], why: str
) -> None:
    example, plain = study(settings=settings, **fields), info_of(study())
    info = info_of(example)
    assert (plain.primary[0].verdict, plain.tuned) == ("better", "")
    (claim,), (without,) = info.primary, plain.primary
    assert (claim.verdict, claim.tuned) == ("exploratory", True)
    assert (claim.estimate, claim.p_adjusted) == (without.estimate, without.p_adjusted)
    kept = info.effect("FMA - plain", "val_clean_accuracy").kept
    assert kept is not None
    assert kept.kept is None
    assert info.tuned == why == info.marks[0]
    # Tables, and what a program reads.
    table = effects_table(info)
    row = table.frame.iloc[0]
    assert (row["verdict"], row["kept"]) == ("exploratory",) * 2
    assert table.rows[0][-1].printed == "exploratory: tuned on these images"
    assert why in table.notes
    assert why in arms_table(info).notes
    (rows,) = result_rows(info)
    (shown,) = (one for one in rows["effects"] if one["primary"])
    assert (shown["verdict"], shown["tuned"], rows["tuned"]) == ("exploratory", True, why)
    source = StudySource(example.record, info)
    said = study_answer(source).sentences
    assert said[-1] == f"{why[:1].upper()}{why[1:]}."
    assert "No claim is supported: exploratory: tuned on these images" in " ".join(said)
    assert "better" not in " ".join(said)


def test_ablations_that_are_read_as_one_stay_tuned() -> None:
    examples = [
        replace(one, record=replace(one.record, name=f"own_{place}", baseline_sha256=str(place)))
        for place in range(3)
        for one in [study(seed=place, tuning={"FMA": TUNED})]
    ]
    info = pooled_info([(one.record, one.outcomes, one.references) for one in examples])
    assert (info.primary[0].verdict, info.tuning) == ("exploratory", ())
    assert WHY in info.marks


def test_its_confirmation_claims_and_so_does_a_contrast_of_sides_that_were_not_tuned() -> None:
    example = study(tuning={"FMA": TUNED})
    test = {"suite": "families", "severities": [1, 5]}
    info = info_of(replace(example, record=replace(example.record, test=test)))
    assert (info.split, info.primary[0].verdict, info.tuned) == ("test", "better", "")
    assert info_of(study(tuning={"baseline": TUNED})).primary[0].verdict == "better"
