"""The objective that a person names."""

from __future__ import annotations

import pytest
from example_records import example_record

from ablate.analysis.objectives import objective_place
from ablate.errors import ParameterError

OBJECTIVES = example_record().study.objectives


def test_the_second_objective_unless_one_is_named() -> None:
    assert objective_place("", OBJECTIVES) == 1
    assert objective_place("", OBJECTIVES[:1]) == 0
    assert objective_place("val_clean_accuracy", OBJECTIVES) == 0
    assert objective_place("clean", OBJECTIVES) == 0


def test_a_name_that_no_objective_has() -> None:
    with pytest.raises(
        ParameterError,
        match=r"^--objective: must be an objective of the study, got val_clean_acuracy\. "
        r"Did you mean val_clean_accuracy\?$",
    ):
        objective_place("val_clean_acuracy", OBJECTIVES)
