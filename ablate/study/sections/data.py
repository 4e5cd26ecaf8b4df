"""Sections `dataset` and `model`: the data, and the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

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


class ModelSettings(Settings):
    name: str = Field(
        description="`resnet8`, `resnet20`, `resnet32`, `resnet56`, `wrn-16-2`, `wrn-28-10`, "
        "`wrn-40-2`, `torchvision:NAME`, `timm:NAME`, or `package.module:callable`."
    )
    normalization: Literal["auto", "dataset", "imagenet", "none"] = Field(
        "auto",
        description="Mean and deviation that images are normalised by: of the training images, "
        "ImageNet's, or none; `auto`: the network's own, else the training images'.",
    )
