"""Section `augment`: how the augmented copies are made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ablate.study.sections.base import Count, Names, Positive, Settings, Share, Weight

Range = Annotated[float, Field(gt=0, le=1)] | Annotated[tuple[Share, Share], Field(strict=False)]
"""Strengths of a type: the highest, or the lowest and the highest."""


class AugMixSettings(Settings):
    """Mixing of chains of operators.  Source: Hendrycks et al. 2020, arXiv:1912.02781."""

    chains: Count = Field(3, description="Chains that are mixed.")
    depth: Annotated[int, Field(ge=0, le=10)] = Field(
        0, description="Operators a chain; 0: 1 to 3, drawn for each."
    )
    severity: Annotated[float, Field(gt=0, le=10)] = Field(
        3.0, description="Strength of the operators, of 10."
    )
    dirichlet: Positive = Field(1.0, description="Concentration of the chains' shares.")
    beta: Positive = Field(1.0, description="Both parameters of the share of the clean image.")
    operators: Literal["disjoint", "all"] = Field(
        "disjoint",
        description="`disjoint`: those that overlap no test corruption; `all`: with colour, "
        "contrast, brightness and sharpness.",
    )


class AugmentSettings(Settings):
    """Combined augmentations: which distortions make the augmented copies."""

    method: Literal["per_sample", "per_batch", "all", "composed", "augmix"] = Field(
        "per_sample",
        description="`per_sample`: one type drawn for each image; `per_batch`: one for a batch; "
        "`all`: a copy per type; `composed`: several types in turn on one image; `augmix`.",
    )
    families: Names = Field(
        ("noise", "blur", "photometric"),
        description="Families of distortion to draw from, each by its core types.",
    )
    types: Names | None = Field(
        None, description="Single types to draw from instead of whole families."
    )
    mix: dict[str, Weight] | None = Field(
        None,
        description="Ratio by family, or by type where `types` names them, scaled to sum 1; none: "
        "uniform.",
    )
    strength: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Strengths are drawn uniformly from 0 to this; 1 is the strongest."
    )
    strengths: dict[str, Range] = Field(
        default_factory=dict,
        description="By type, the highest strength, or the lowest and the highest, in place of "
        "`strength`.",
    )
    clean_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of the copies that are left undistorted."
    )
    copies: Annotated[int, Field(ge=1, le=8)] = Field(
        1, description="Copies of each image, each with draws of its own; not with `all`."
    )
    depth: Annotated[int, Field(ge=1, le=8)] = Field(
        3, description="`composed`: the most types on one image; 1 to this many are drawn."
    )
    augmix: AugMixSettings = AugMixSettings()

    @field_validator("strengths")
    @classmethod
    def _ascending(cls, strengths: dict[str, Any]) -> dict[str, Any]:
        for kind, limits in strengths.items():
            if isinstance(limits, tuple) and not (limits[0] <= limits[1] and limits[1] > 0):
                raise ValueError(
                    f"the lowest strength must not be above the highest, which must be above 0, "
                    f"got {kind}: {list(limits)}. Correct them."
                )
        return strengths
