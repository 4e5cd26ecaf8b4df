"""Small ablations, made from what a study file would hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablate.ablation.cell import Design
from ablate.ablation.design import make_design
from ablate.ablation.draft import Draft
from ablate.lifecycle.known_names import names_for
from ablate.study.document import Path
from ablate.study.settings import Study

NAMES = names_for("resnet8")
TAPS = ["stem", "stage1", "stage2", "stage3"]


def ablation_study(ablation: Mapping[str, Any], **sections: Any) -> Study:
    """A study on digits, with whatever sections replace its own."""
    own = {"dataset": {"name": "digits"}, "model": {"name": "resnet8"}}
    if "trainable" in sections:
        own = {"objectives": [{"metric": "accuracy"}, {"metric": "seconds"}]}
    return Study.model_validate(
        {"version": 1, "name": "a", **own, **sections, "ablation": dict(ablation)}
    )


def design_of(design: str, ablation: Mapping[str, Any], **sections: Any) -> Design:
    """A design that must be right."""
    made, problems = plan(design, ablation, **sections)
    assert problems == []
    return made


def plan(
    design: str, ablation: Mapping[str, Any], **sections: Any
) -> tuple[Design, list[tuple[Path, str]]]:
    """A design, and what is wrong with it."""
    study = ablation_study({"design": design, **ablation}, **sections)
    assert study.ablation is not None
    return make_design(study, NAMES, study.ablation.reference)


def cells_of(design: Design) -> dict[str, dict[str, Any]]:
    """Name of each cell, in order -> its values."""
    return {cell.name: dict(cell.values) for cell in design.cells}


def weights_of(design: Design) -> dict[str, dict[str, float]]:
    """Name of each contrast, in order -> its weights."""
    return {contrast.name: dict(contrast.weights) for contrast in design.contrasts}


def draft_of(components: Any = ("fma",), **sections: Any) -> Draft:
    """What configurations of such a study stand on."""
    ablation = {"design": "leave_one_out", "components": components}
    return Draft(ablation_study(ablation, **sections), NAMES)
