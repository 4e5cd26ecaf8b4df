"""Sections `dataset` and `model`: the data, and the network."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ablate.study.sections import Fraction, Seed, Settings

LARGEST_IMAGE = 1024
"""Side of an image that a network takes, in pixels."""
LARGEST_RESIZE = 2048
"""Shorter side of an image before the crop, in pixels."""


class ValidationSettings(Settings):
    """Which images the search is scored on; the baseline never sees them."""

    fraction: Fraction = Field(0.1, description="Share of each class of the training images.")
    seed: Seed = Field(0, description="Seed of the stratified split.")
    path: str | None = Field(
        None,
        description="Folder with CLASS/* that holds the validation split, relative to the "
        "study file; `fraction` is not used then.",
    )


class DatasetSettings(Settings):
    name: str = Field(
        description="`digits`, `cifar10`, `cifar100`, `svhn`, `fashion_mnist`, `image_folder`, or "
        "`package.module:callable`."
    )
    path: str | None = Field(
        None,
        description="Folder of the data, relative to the study file.  `image_folder`: "
        "train/CLASS/* and test/CLASS/* or val/CLASS/*.",
    )
    download: bool = Field(False, description="Download published data if they are not in `path`.")
    image_size: Annotated[int, Field(ge=8, le=LARGEST_IMAGE)] | None = Field(
        None,
        description="Input size in pixels; none: the network's own, else 32.",
    )
    resize: Annotated[int, Field(ge=8, le=LARGEST_RESIZE)] | None = Field(
        None,
        description="Shorter side in pixels before the centre crop to `image_size`; required for "
        "images of mixed sizes.",
    )
    skip_unreadable: bool = Field(
        False,
        description="Leave out image files that cannot be read, and say how many; otherwise they "
        "are refused.",
    )
    loading: Literal["resident", "streamed"] = Field(
        "resident",
        description="`resident`: decoded once, kept as bytes; `streamed`: training images are "
        "decoded and cropped in each epoch, by worker processes.",
    )
    loading_workers: Annotated[int, Field(ge=0)] = Field(
        2,
        description="Processes that decode streamed images, at most one per core; 0: only the "
        "trial's own.",
    )
    crop_scale: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Streamed training images are random crops of at least this share of the "
        "area, resized; none: the centre, as in validation.",
    )
    crop_padding: Annotated[int, Field(ge=0, le=16)] = Field(
        0, description="Training images are shifted by up to this many pixels; 0 turns it off."
    )
    horizontal_flip: bool = Field(False, description="Mirror training images at random.")
    train_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Share of each class of the training images that finetuning uses; the "
        "baseline uses all.",
    )
    unlabeled: str | None = Field(
        None,
        description="Folder of images without labels, at any depth: finetuned on instead of the "
        "training images, where no term needs a label.",
    )
    validation: ValidationSettings = ValidationSettings()


def statistic_rule(name: str, value: float) -> str | None:
    """What is wrong with a channel's `mean` or `std`, as `rule, got X. Fix.`; None if nothing."""
    if 0 <= value <= 1 and (name == "mean" or value > 0):
        return None
    rule = "must be from 0 to 1" if name == "mean" else "must be above 0, up to 1"
    fix = "Divide it by 255." if 1 < value < math.inf else "Correct it."
    return f"{rule}, since images are in [0, 1], got {value:g}. {fix}"


Channels = Annotated[tuple[float, ...], Field(strict=False)]


class NormalizationSettings(Settings):
    """Mean and deviation of each channel of images in [0, 1]."""

    mean: Channels = Field(description="Of each channel, in [0, 1].")
    std: Channels = Field(description="Of each channel, in [0, 1].")

    @field_validator("mean", "std")
    @classmethod
    def _in_range(cls, values: Channels, info: ValidationInfo) -> Channels:
        for value in values:
            if rule := statistic_rule(str(info.field_name), value):
                raise ValueError(rule)
        return values

    @model_validator(mode="after")
    def _of_each_channel(self) -> NormalizationSettings:
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise ValueError(
                "must have a mean and a std for each channel, 3 or 1, got "
                f"{len(self.mean)} and {len(self.std)}. Write {{mean: [0.5, 0.5, 0.5], std: [0.5, "
                "0.5, 0.5]}."
            )
        return self


class ModelSettings(Settings):
    name: str = Field(
        description="`resnet8`, `resnet20`, `resnet32`, `resnet56`, `wrn-16-2`, `wrn-28-10`, "
        "`wrn-40-2`, `torchvision:NAME`, `timm:NAME`, or `package.module:callable`."
    )
    normalization: Literal["auto", "dataset", "imagenet", "none"] | NormalizationSettings = Field(
        "auto",
        description="Mean and deviation that images are normalised by: of the training images, "
        "ImageNet's, none, or `{mean: [...], std: [...]}`; `auto`: the network's own, else the "
        "training images'.  Required with a checkpoint that does not bring its own.",
    )
