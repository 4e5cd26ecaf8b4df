"""What the profile of an ablation is given, by values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from example_results import make_design, make_example, make_scores

from ablate.ablation.arm_profiles import arms_profile
from ablate.ablation.cell import Arm, Cell
from ablate.ablation.info import ablation_info


def of_terms() -> Any:
    """Arms of one cell, of two models with the same terms, and of two with different ones."""
    terms = {"DA a": "clean+da", "DA b": "clean+da", "FMA": "clean+fma"}
    design = replace(
        make_design(["plain", *terms]),
        cells=(
            Cell("plain"),
            *(Cell(name, {"loss.terms": value}) for name, value in terms.items()),
        ),
        arms=(
            Arm("baseline", ("baseline",)),
            Arm("plain", ("plain",)),
            Arm("DA", ("DA a", "DA b")),
            Arm("mixed", ("DA a", "FMA")),
        ),
        contrasts=(),
    )
    runs = {name: [make_scores(0.6, 0.9)] * 2 for name in ("plain", *terms)}
    example = make_example(
        runs,
        baseline=make_scores(0.4, 0.95),
        design=design,
        loss={"terms": "clean+st"},
    )
    return example.record, ablation_info(example.record, example.outcomes, example.references)


def test_the_profile_of_an_arm_is_the_mean_of_its_runs() -> None:
    record, ablation = of_terms()
    rows = [
        replace(row, scores=make_scores(0.6 + 0.1 * number, 0.9))
        for number, row in enumerate(row for row in record.rows if row.cell == "plain")
    ]
    others = [row for row in record.rows if row.cell != "plain"]
    info = arms_profile(replace(record, rows=(*rows, *others)), ablation)
    assert [one.name for one in info.profiles] == ["baseline", "plain", "DA", "mixed"]
    assert [one.loss_terms for one in info.profiles] == ["", "clean+st", "clean+da", ""]
    assert info.baseline is info.profiles[0]
    assert info.chosen == info.profiles[1:]
    plain, da = info.profiles[1:3]
    gains = [mine - its for mine, its in zip(plain.accuracies[0], da.accuracies[0], strict=True)]
    assert gains == pytest.approx([0.05] * len(gains)), "0.6 and 0.7, against twice 0.6"
    assert (info.seeds, info.split) == (2, "validation")
