"""Section `loss`: the terms of the objective and their variants."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ablate.study.sections.base import Names, Positive, Settings, Weight

Anchor = Literal["both", "clean", "pretrained", "ema"]
_ANCHOR = (
    "What the copies are compared with.  `both`: the clean branch, which learns too; `clean`: the "
    "clean branch as a target without gradient; `pretrained`: the network before finetuning; "
    "`ema`: an average of the network's weights."
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
        1.0, description="Logits are divided by it; the term is multiplied by its square."
    )


class FMASettings(Settings):
    weight: Weight = Field(1.0, description="Weight of the feature-map term.")
    scale: Literal["value", "gradient"] = Field(
        "value",
        description="`value`: the weight multiplies the term; `gradient`: it is the ratio of the "
        "term's gradient norm to that of the other terms in the first step.",
    )
    layers: Names | Literal["taps"] = Field(
        "taps",
        description="Taps of the model (`ablate layers MODEL`) or module paths; `taps` is all "
        "taps.",
    )
    layer_weights: dict[str, Weight] | Literal["uniform", "linear", "geometric"] = Field(
        "uniform",
        description="Weight by layer, scaled to sum 1; `linear` and `geometric` grow with depth, "
        "by 1 and by a factor of 2 a layer.",
    )
    distance: str = Field("relative", description="Distance of two feature maps.")
    anchor: Anchor = Field("clean", description=_ANCHOR)
    activation: Literal["after", "before"] = Field(
        "after", description="Whether maps are read after or before a layer's last activation."
    )


class LossSettings(Settings):
    terms: str = Field("clean+fma", description="Terms joined by +: clean, da, st, fma.")
    teacher_decay: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.99, description="Decay a step of the average that the anchor `ema` is."
    )
    clean: CleanSettings = CleanSettings()
    da: DASettings = DASettings()
    st: STSettings = STSettings()
    fma: FMASettings = FMASettings()

    @property
    def term_names(self) -> tuple[str, ...]:
        return tuple(self.terms.split("+"))
