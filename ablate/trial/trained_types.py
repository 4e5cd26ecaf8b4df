"""An image under the types that a training drew from, from weak to strong: to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ablate.distortion import FAMILIES
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import ByteImages
from ablate.finetune.augment.mixture import mixture_of
from ablate.study.seeds import derive_seed
from ablate.study.settings import AugmentSettings
from ablate.trial.examples import picture

STEPS = (1 / 3, 2 / 3, 1.0)
"""Of a type's range of strengths, where its tiles stand."""


@dataclass(frozen=True)
class TrainedType:
    """A type as a training drew it.

    Attributes:
        strengths: at `STEPS` of the range that was drawn from, in [0, 1].
        tiles: uint8 `[height, width, 3]`, one each.
    """

    family: str
    kind: str
    strengths: tuple[float, ...]
    tiles: tuple[np.ndarray, ...]


def trained_types(image: ByteImages, settings: AugmentSettings, seed: int) -> list[TrainedType]:
    """An image under every type of a training's mixture, from weak to strong.

    Args:
        image: `[1, channel, height, width]`.
        settings: of a method that draws from the mixture, which augmix does not.
    """
    family_of = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}
    found = []
    for one in mixture_of(settings):
        strengths = tuple(one.low + step * (one.high - one.low) for step in STEPS)
        floats = image.float() / 255
        tiles = []
        for strength in strengths:
            generator = make_generator(derive_seed(seed, "look", one.name), "cpu")
            made = one.distortion(floats, torch.full((1,), strength), generator)
            tiles.append(picture((made[0] * 255).round().to(torch.uint8)))
        found.append(TrainedType(family_of[one.name], one.name, strengths, tuple(tiles)))
    return found
