"""Section `loss`: the terms of the objective and their variants."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ablate.study.sections import Count, Names, Positive, Ratios, Settings, Share, Weight

Anchor = Literal["both", "clean", "pretrained", "ema"]
_ANCHOR = (
    "What the copies are compared with.  `both`: the clean branch, with gradient; `clean`: the "
    "clean branch, without gradient; `pretrained`: the network before finetuning; `ema`: an "
    "average of the network's weights."
)


class CleanSettings(Settings):
    weight: Weight = Field(1.0, description="Weight of cross-entropy on the clean images.")


class DASettings(Settings):
    weight: Weight = Field(1.0, description="Weight of cross-entropy on the augmented images.")


class STSettings(Settings):
    weight: Weight = Field(1.0, description="Weight of the stability term.")
    form: str = Field("cross_entropy", description="Distance of the predictions.")
    anchor: Anchor = Field("both", description=_ANCHOR)
    temperature: Positive = Field(
        1.0, description="The logits are divided by it; the term is multiplied by its square."
    )


class FMASettings(Settings):
    weight: Weight = Field(
        1.0,
        description="Weight of the feature-map term.  At 1 its gradient is about as large as that "
        "of the cross-entropy on the augmented images, for each distance.",
    )
    scale: Literal["value", "gradient"] = Field(
        "value",
        description="`value`: the weight multiplies the distance and its constant; `gradient`: it "
        "is the ratio of the term's gradient norm to that of the cross-entropy on the augmented "
        "images in the first step.",
    )
    layers: Names | Literal["taps", "last"] = Field(
        "taps",
        description="Taps of the model (`ablate layers MODEL`) or module paths; `taps` is all "
        "taps, `last` the last one.",
    )
    layer_weights: Ratios | Literal["uniform", "linear", "geometric"] = Field(
        "uniform",
        description="Weight by layer, scaled to sum 1; `linear` and `geometric` grow with depth, "
        "by 1 and by a factor of 2 per layer.",
    )
    distance: str = Field("relative", description="Distance of two feature maps.")
    anchor: Anchor = Field("pretrained", description=_ANCHOR)
    activation: Literal["after", "before"] = Field(
        "after", description="Whether maps are read after or before a layer's last activation."
    )


class LossSettings(Settings):
    terms: str = Field("clean+fma", description="Terms joined by +: clean, da, st, fma.")
    teacher_decay: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.99, description="Decay per step of the weight average used by the anchor `ema`."
    )
    clean: CleanSettings = CleanSettings()
    da: DASettings = DASettings()
    st: STSettings = STSettings()
    fma: FMASettings = FMASettings()

    @property
    def term_names(self) -> tuple[str, ...]:
        return tuple(self.terms.split("+"))


# -- Section `augment`: how the augmented copies are made ----------------------------------


Range = Annotated[float, Field(gt=0, le=1)] | Annotated[tuple[Share, Share], Field(strict=False)]
"""Strengths of a type: the highest, or the lowest and the highest."""


class AugMixSettings(Settings):
    """Mixing of chains of operators.  Source: Hendrycks et al. 2020, arXiv:1912.02781."""

    chains: Count = Field(3, description="Number of chains that are mixed.")
    depth: Annotated[int, Field(ge=0, le=10)] = Field(
        0, description="Operators per chain; 0: 1 to 3, drawn for each chain."
    )
    severity: Annotated[float, Field(gt=0, le=10)] = Field(
        3.0, description="Strength of the operators, out of 10."
    )
    dirichlet: Positive = Field(
        1.0, description="Concentration of the chains' weights (Dirichlet)."
    )
    beta: Positive = Field(1.0, description="Both parameters of the clean image's weight (Beta).")
    operators: Literal["disjoint", "all"] = Field(
        "disjoint",
        description="`disjoint`: operators that overlap no test corruption; `all`: also colour, "
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
    types: Names | None = Field(None, description="Single types to draw from instead of families.")
    mix: Ratios | None = Field(
        None,
        description="Ratio by family, or by type if `types` is given, scaled to sum 1; none: "
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
        1, description="Copies of each image, each drawn independently; not with `all`."
    )
    depth: Annotated[int, Field(ge=1, le=8)] = Field(
        3, description="`composed`: largest number of types per image; 1 to this many are drawn."
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
