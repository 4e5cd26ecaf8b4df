"""The study file as frozen data: its keys, units, ranges and defaults.

Plain data only.  Names of data sets, models, losses and so on are strings here; the packages that
define them list the known names (`ablate.lifecycle.known_names`).  The text below a key is its
description in the JSON Schema (`ablate schema`).
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ablate.errors import LONGEST_NAME, ParameterError, did_you_mean
from ablate.errors.masking import has_secret
from ablate.study.displayed import Displayed
from ablate.study.document import show
from ablate.study.json_data import STORED
from ablate.study.scores import AT_CLEAN_LOSS, Bound
from ablate.study.yaml_source import write_yaml

T = TypeVar("T")


def _each_once(items: T) -> T:
    """A list that names each thing once; other values as they are."""
    if isinstance(items, tuple):
        for item in items:
            if items.count(item) > 1:
                raise ValueError(f"given twice, got {show(item)}. Remove one.")
    return items


Listed = Annotated[tuple[T, ...], Field(strict=False)]
Distinct = Annotated[tuple[T, ...], Field(strict=False), AfterValidator(_each_once)]
NonEmptyDistinct = Annotated[
    tuple[T, ...], Field(min_length=1, strict=False), AfterValidator(_each_once)
]

SEEDS = 2**32  # as far as every sampler tells them apart
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]  # [0, 1]
PositiveShare = Annotated[float, Field(gt=0, le=1)]  # (0, 1]
ShareBelow1 = Annotated[float, Field(ge=0, lt=1)]  # [0, 1)
Fraction = Annotated[float, Field(gt=0, lt=1)]  # (0, 1)


def total_of(ratios: Mapping[str, float]) -> float:
    """Sum of ratios; infinity if it is beyond the largest float."""
    try:
        return math.fsum(ratios.values())
    except OverflowError:
        return math.inf


def _with_a_sum(ratios: dict[str, float]) -> dict[str, float]:
    total = total_of(ratios)
    if total == 0:
        raise ValueError(f"needs a ratio above 0, got {show(ratios)}. Raise one.")
    if total == math.inf:
        raise ValueError(f"ratios must have a finite sum, got {show(ratios)}. Lower them.")
    return ratios


Ratios = Annotated[dict[str, Weight], AfterValidator(_with_a_sum)]


class Settings(BaseModel):
    """Base of every section: frozen, no unknown keys, no silent conversion, no NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )

    def rules(self) -> Iterator[str]:
        """What is wrong with keys that are right one by one, as `rule, got X. Fix.`: the first is
        reported."""
        yield from ()

    @model_validator(mode="after")
    def _keep_the_rules(self, info: ValidationInfo) -> Self:
        if info.context != STORED and (rule := next(iter(self.rules()), None)):
            raise ValueError(rule)
        return self


ADDED_KEYS: Mapping[str, Any] = {
    "dataset.skip_unreadable": False,
    "finetune.layer_decay": 1.0,
    "finetune.frozen": [],
    "finetune.probe_fraction": 0.0,
    "finetune.probe_learning_rate": None,
    "finetune.lora.rank": 0,
    "finetune.lora.alpha": 16,
    "finetune.lora": {},
    "model.channels": "rgb",
    "model.value_range": 1,
    "baseline.layer_decay": 1.0,
    "baseline.frozen": [],
    "baseline.probe_fraction": 0.0,
    "baseline.probe_learning_rate": None,
    "baseline.lora.rank": 0,
    "baseline.lora.alpha": 16,
    "baseline.lora": {},
    "ablation.stop": None,
    "robustness.adapt_batch_norm": None,
    "robustness.cells": 1.0,
    "search.start": "random",
    "search.learn_from": [],
}
"""Keys that came later, with the value at which a study is what it was before them.  A new key of
any section goes here, or studies that began before it can be neither resumed nor verified."""


REPLICATE = "{replicate}"
"""In `baseline.checkpoint`: the number of the replicate, from 0."""
REPLICATE_SEEDS = 10_000
"""Training seeds of one replicate: of its tuning, its runs and its confirmation."""


# -- Sections `dataset` and `model` --------------------------------------------------------


LARGEST_IMAGE = 1024
"""Side of an image that a network takes, in pixels."""
LARGEST_RESIZE = 2048
"""Shorter side of an image before the crop, in pixels."""


class ValidationSettings(Settings):
    """Which images the search is scored on; the baseline never sees them."""

    fraction: Fraction = 0.1
    """Share of each class of the training images."""
    seed: Seed = 0
    """Seed of the stratified split."""
    path: str | None = None
    """Folder with CLASS/* that holds the validation split, relative to the study file; `fraction`
    is not used then."""


class DatasetSettings(Settings):
    name: str
    """`digits`, `cifar10`, `cifar100`, `image_folder`, or `package.module:callable`."""
    path: str | None = None
    """Folder of the data, relative to the study file.  `image_folder`: train/CLASS/* and
    test/CLASS/* or val/CLASS/*."""
    download: bool = False
    """Download published data if they are not in `path`."""
    image_size: Annotated[int, Field(ge=8, le=LARGEST_IMAGE)] | None = None
    """Input size in pixels; none: the network's own, else 32."""
    resize: Annotated[int, Field(ge=8, le=LARGEST_RESIZE)] | None = None
    """Shorter side before the centre crop to `image_size`; required for images of mixed sizes."""
    skip_unreadable: bool = False
    """Leave out image files that cannot be read, and say how many; otherwise they are refused."""
    loading: Literal["resident", "streamed"] = "resident"
    """`resident`: decoded once into a file, whose pages workers share; `streamed`: training images
    are decoded and cropped in each epoch, by worker processes."""
    loading_workers: Natural = 2
    """Processes that decode streamed images, at most one per core; 0: only the trial's own."""
    crop_scale: PositiveShare | None = None
    """Streamed images are random crops of at least this share of the area; none: the centre."""
    crop_padding: Annotated[int, Field(ge=0, le=16)] = 0
    """Training images are shifted by up to this many pixels; 0 turns it off."""
    horizontal_flip: bool = False
    """Mirror training images at random."""
    train_fraction: PositiveShare = 1.0
    """Share of each class of the training images that finetuning uses; the baseline uses all."""
    unlabeled: str | None = None
    """Folder of images without labels, at any depth: finetuned on instead of the training images,
    where no term needs a label."""
    validation: ValidationSettings = ValidationSettings()


def statistic_rule(name: str, value: float, most: int = 1) -> str | None:
    """What is wrong with a channel's `mean` or `std`, as `rule, got X. Fix.`; None if nothing.

    Args:
        most: value of a white pixel, `model.value_range`.
    """
    if 0 <= value <= most and (name == "mean" or value > 0):
        return None
    rule = f"must be from 0 to {most}" if name == "mean" else f"must be above 0, up to {most}"
    fix = "Divide it by 255." if most < value < math.inf else "Correct it."
    return f"{rule}, since images are in [0, {most}], got {value:g}. {fix}"


class NormalizationSettings(Settings):
    """Mean and deviation of each channel of images, in the order and range of the network."""

    mean: Listed[float]
    """Of each channel, in [0, 1], or [0, 255] with `model.value_range: 255`."""
    std: Listed[float]
    """Of each channel, as `mean`."""

    def rules(self) -> Iterator[str]:
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            rule = "must have a mean and a std for each channel, 3 or 1"
            fix = "Write {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}."
            yield f"{rule}, got {len(self.mean)} and {len(self.std)}. {fix}"


class ModelSettings(Settings):
    name: str
    """`resnet8`, `resnet20`, `resnet32`, `resnet56`, `wrn-16-2`, `wrn-28-10`, `wrn-40-2`,
    `torchvision:NAME`, `timm:NAME`, or `package.module:callable`."""
    normalization: Literal["auto", "dataset", "imagenet", "none"] | NormalizationSettings = "auto"
    """Mean and deviation that images are normalised by: of the training images, ImageNet's, none,
    or `{mean: [...], std: [...]}`; `auto`: the network's own, else the training images'.  Required
    with a checkpoint that does not bring its own."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """Order in which the network gets the channels; `bgr`: as OpenCV reads images.  `mean` and
    `std` are written in this order."""
    value_range: Literal[1, 255] = 1
    """Value of a white pixel for the network: images are multiplied by it, then `mean` is
    subtracted and the rest divided by `std`."""

    def rules(self) -> Iterator[str]:
        if isinstance(self.normalization, NormalizationSettings):
            for name in ("mean", "std"):
                values = getattr(self.normalization, name)
                wrong = (statistic_rule(name, value, self.value_range) for value in values)
                yield from (f"normalization.{name} {rule}" for rule in wrong if rule)


# -- Sections `baseline` and `finetune`: how networks are trained ---------------------------


DEFAULT_EPOCHS = 4
"""Of a budget that names no unit."""

UNITS_BUT_EPOCHS = ("images", "flops", "seconds")
UNITS = ("epochs", *UNITS_BUT_EPOCHS)
"""Of a finetuning's budget."""


class LoRASettings(Settings):
    """Low-rank adapters.  Source: Hu et al. 2021, arXiv:2106.09685, in the package peft."""

    rank: Natural = 0
    """Of the changes that linear layers and convolutions learn in place of their weights; the head
    learns whole, all else stays, with batch norm's statistics; 0: all weights learn."""
    alpha: Count = 16
    """A change is multiplied by alpha / rank."""


class TrainingSettings(Settings):
    """An optimiser, a schedule of its learning rate, and what steadies them."""

    batch_size: Count = 64
    """Clean images per step."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """`sgd`: with Nesterov momentum; `adamw`: betas 0.9 and 0.999."""
    learning_rate: Positive = 0.01
    """Highest learning rate of the schedule."""
    momentum: ShareBelow1 = 0.9
    """Of `sgd`."""
    weight_decay: Weight = 5e-4
    """For matrices and filters, not norms, biases, position embeddings and tokens."""
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    """`cosine`: falls to 0; `one_cycle`: rises over 30 % of the budget from a 25th, then falls to
    0; `constant`."""
    warmup_fraction: ShareBelow1 = 0.0
    """Share of the budget over which the rate first rises from a 25th; `one_cycle` has its own."""
    gradient_clipping: Positive | None = None
    """Highest norm of the whole gradient; none: not clipped."""
    accumulation_steps: Count = 1
    """Number of parts that a batch is split into, to save memory."""
    ema_decay: Fraction | None = None
    """Decay per step of an average of the weights, which is then scored; none: no average."""
    seed: Seed = 0
    """Seed of new weights, image order and distortions."""
    layer_decay: PositiveShare = 1.0
    """Factor of the learning rate for each tap below the head: the head has the rate itself, the
    last tap `layer_decay` times it, the one before that its square; 1: one rate for all."""
    frozen: Distinct[str] = ()
    """What does not learn: taps (each with what lies between it and the tap before), module paths,
    or patterns of parameters' names, such as `blocks.[0-5].*`; its batch norm keeps its
    statistics."""
    probe_fraction: ShareBelow1 = 0.0
    """Share of the budget in which only the head, the last linear layer, learns; then everything
    does.  Each part has the whole schedule, and starts without momentum."""
    probe_learning_rate: Positive | None = None
    """Highest learning rate of that share; none: `learning_rate`."""
    lora: LoRASettings = LoRASettings()


BACKBONE_DEFAULTS: Mapping[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 1e-4,
    "weight_decay": 0.05,
    "warmup_fraction": 0.1,
    "layer_decay": 0.75,
    "probe_fraction": 0.4,
    "probe_learning_rate": 3e-3,
}
"""Defaults of `baseline` with a `backbone`, in place of those of a training from random weights."""


class BaselineSettings(TrainingSettings):
    """The network to finetune: trained by ablate, from random weights or a backbone, or loaded from
    a checkpoint."""

    epochs: Count = 10
    learning_rate: Positive = 0.1
    """Highest learning rate of the schedule."""
    backbone: str | None = None
    """Pretrained weights of `model.name`, of which all but the head are used: a new one for these
    classes is probed, then the whole is finetuned.  `timm:NAME` or `torchvision:NAME` of that
    network, a file, relative to the study file, or `package.module:callable`, which returns a
    network or a state dict.  With it the default optimizer is adamw, learning_rate 1e-4,
    weight_decay 0.05, warmup_fraction 0.1, layer_decay 0.75, probe_fraction 0.4 and
    probe_learning_rate 3e-3."""
    checkpoint: str | None = None
    """Weights to start from instead of training: a .safetensors file or a state dict, relative to
    the study file; or `torchvision:WEIGHTS`, `timm:pretrained`, or `ablate:resnet8_digits`, which
    comes with ablate.  `{replicate}` in it is the number of the replicate, from 0."""
    saw_validation: bool | None = None
    """Whether the checkpoint was trained on the validation images; required with a checkpoint."""
    expected_accuracy: PositiveShare | None = None
    """Clean validation accuracy that it has; more than 4 standard errors below is refused."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_backbone(cls, data: Any) -> Any:
        has_one = isinstance(data, Mapping) and data.get("backbone") is not None
        return {**BACKBONE_DEFAULTS, **data} if has_one else data

    def rules(self) -> Iterator[str]:
        if self.checkpoint is not None and self.backbone is not None:
            rule = "starts from a checkpoint, a whole network, or from a backbone, got both"
            yield f"{rule}. Remove one."
        if self.checkpoint is not None and self.saw_validation is None:
            rule = f"a checkpoint needs saw_validation, got none with {self.checkpoint}. Write"
            fix = "saw_validation: false if it was not trained on the validation images, else true."
            yield f"{rule} {fix}"
        if self.checkpoint is None and self.saw_validation is not None:
            rule = "saw_validation applies only to a checkpoint, got it without one. Remove it; a"
            yield f"{rule} baseline trained by ablate never sees the validation images."


class BudgetSettings(Settings):
    """How long a finetuning is: one of four."""

    epochs: Natural | None = None
    """Passes over the training images in full batches; 4 by default.  0 (in ablations only): the
    baseline, not finetuned."""
    images: Count | None = None
    """Images through the student, copies included: equal for every loss.  A teacher's forward
    passes are not counted; `flops` counts them."""
    flops: Positive | None = None
    """Floating point operations of student and teachers, as torch counts them: equal for every
    loss, teacher and network."""
    seconds: Positive | None = None
    """Training time in seconds; results depend on the machine."""

    @property
    def in_epochs(self) -> int | None:
        """Epochs; None for a budget in another unit."""
        if any(getattr(self, unit) is not None for unit in UNITS_BUT_EPOCHS):
            return None
        return DEFAULT_EPOCHS if self.epochs is None else self.epochs

    def rules(self) -> Iterator[str]:
        given = [name for name in UNITS if getattr(self, name) is not None]
        if len(given) > 1:
            fix = "Keep one, such as budget: {images: 9000}."
            yield f"takes one unit, got {' and '.join(given)}. {fix}"


class InterpolationSettings(Settings):
    """Networks between the baseline and the finetuned one.

    Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT).  Differs: batch-norm statistics are
    interpolated too.
    """

    alphas: NonEmptyDistinct[PositiveShare] = (0.25, 0.5, 0.75, 1.0)
    """Weights of the finetuned network that are scored after the last epoch: between 0, the
    baseline, and 1, which must be among them; 10: tenths."""
    alpha: PositiveShare | None = None
    """Score each trial at this weight alone, as `ablate confirm` does; none: the whole curve."""

    @field_validator("alphas", mode="before")
    @classmethod
    def _evenly(cls, alphas: Any) -> Any:
        """A number of them, evenly spread."""
        is_count = isinstance(alphas, int) and not isinstance(alphas, bool) and 0 < alphas <= 100
        return [place / alphas for place in range(1, alphas + 1)] if is_count else alphas

    @field_validator("alphas")
    @classmethod
    def _ascending(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if 1 not in alphas:
            raise ValueError(f"must contain 1, the finetuned network, got {list(alphas)}. Add 1.")
        return tuple(sorted(alphas))


class FinetuneSettings(TrainingSettings):
    budget: BudgetSettings = BudgetSettings()
    batch_norm: Literal["joint", "separate", "frozen"] = "joint"
    """`joint`: clean images and copies in one batch; `separate`: one batch each; `frozen`: use the
    baseline's statistics."""
    interpolation: InterpolationSettings | None = None
    """Score networks between baseline and finetuned weights too, and let a trial be the best of
    them (see `answer`); none: the finetuned network alone."""

    @property
    def curve_alphas(self) -> tuple[float, ...]:
        """Ascending, to 1: of the networks that are scored; empty where only one is."""
        settings = self.interpolation
        return () if settings is None or settings.alpha is not None else settings.alphas

    @property
    def result_alpha(self) -> float:
        """Of the network that the training ends with."""
        settings = self.interpolation
        return 1.0 if settings is None or settings.alpha is None else settings.alpha


# -- Section `loss`: the terms of the objective and their variants ---------------------------


Anchor = Literal["both", "clean", "pretrained", "ema"]


class CleanSettings(Settings):
    weight: Weight = 1.0
    """Weight of cross-entropy on the clean images."""


class DASettings(Settings):
    weight: Weight = 1.0
    """Weight of cross-entropy on the augmented images."""


class STSettings(Settings):
    weight: Weight = 1.0
    """Weight of the stability term."""
    form: str = "cross_entropy"
    """Distance of the predictions."""
    anchor: Anchor = "both"
    """What the copies are compared with: `both`, the clean branch, with gradient; `clean`, without
    gradient; `pretrained`, the network before finetuning; `ema`, an average of its weights."""
    temperature: Positive = 1.0
    """The logits are divided by it; the term is multiplied by its square."""


class FMASettings(Settings):
    weight: Weight = 1.0
    """Weight of the feature-map term.  At 1 its gradient is about as large as that of the
    cross-entropy on the augmented images, for each distance."""
    scale: Literal["value", "gradient"] = "value"
    """`value`: the weight multiplies the distance and its constant; `gradient`: it is the ratio of
    the term's gradient norm to that of the cross-entropy on the augmented images in the first
    step."""
    layers: NonEmptyDistinct[str] | Literal["taps", "last"] = "taps"
    """Taps (`ablate layers MODEL`) or module paths; `taps`: all taps, `last`: the last one."""
    layer_weights: Ratios | Literal["uniform", "linear", "geometric"] = "uniform"
    """By layer, scaled to sum 1; `linear` and `geometric` grow with depth, by 1 and twofold."""
    distance: str = "relative"
    """Distance of two feature maps."""
    anchor: Anchor = "pretrained"
    """What the copies are compared with: `both`, the clean branch, with gradient; `clean`, without
    gradient; `pretrained`, the network before finetuning; `ema`, an average of its weights."""
    activation: Literal["after", "before"] = "after"
    """Whether maps are read after or before a layer's last activation."""


class LossSettings(Settings):
    terms: str = "clean+fma"
    """Terms joined by +: clean, da, st, fma."""
    teacher_decay: Fraction = 0.99
    """Decay per step of the weight average used by the anchor `ema`."""
    clean: CleanSettings = CleanSettings()
    da: DASettings = DASettings()
    st: STSettings = STSettings()
    fma: FMASettings = FMASettings()

    @property
    def term_names(self) -> tuple[str, ...]:
        return tuple(self.terms.split("+"))


# -- Section `augment`: how the augmented copies are made ----------------------------------


Range = PositiveShare | Annotated[tuple[Share, Share], Field(strict=False)]
"""Strengths of a type: the highest, or the lowest and the highest."""


class AugMixSettings(Settings):
    """Mixing of chains of operators.  Source: Hendrycks et al. 2020, arXiv:1912.02781."""

    chains: Count = 3
    """Number of chains that are mixed."""
    depth: Annotated[int, Field(ge=0, le=10)] = 0
    """Operators per chain; 0: 1 to 3, drawn for each chain."""
    severity: Annotated[float, Field(gt=0, le=10)] = 3.0
    """Strength of the operators, out of 10."""
    dirichlet: Positive = 1.0
    """Concentration of the chains' weights (Dirichlet)."""
    beta: Positive = 1.0
    """Both parameters of the clean image's weight (Beta)."""
    operators: Literal["disjoint", "all"] = "disjoint"
    """`disjoint`: operators that overlap no test corruption; `all`: also colour, contrast,
    brightness and sharpness."""


class AugmentSettings(Settings):
    """Combined augmentations: which distortions make the augmented copies."""

    method: Literal["per_sample", "per_batch", "all", "composed", "augmix"] = "per_sample"
    """`per_sample`: one type drawn for each image; `per_batch`: one for a batch; `all`: a copy per
    type; `composed`: several types in turn on one image; `augmix`."""
    families: NonEmptyDistinct[str] = ("noise", "blur", "photometric")
    """Families of distortion to draw from, each by its core types, and functions of your own."""
    types: NonEmptyDistinct[str] | None = None
    """Single types, or functions of your own, to draw from instead of families."""
    mix: Ratios | None = None
    """Ratio by family, or by type if `types` is given, scaled to sum 1; none: uniform."""
    strength: PositiveShare = 1.0
    """Strengths are drawn uniformly from 0 to this; 1 is the strongest."""
    strengths: dict[str, Range] = Field(default_factory=dict)
    """By type, the highest strength, or the lowest and the highest, in place of `strength`."""
    clean_fraction: ShareBelow1 = 0.0
    """Share of the copies that are left undistorted."""
    copies: Annotated[int, Field(ge=1, le=8)] = 1
    """Copies of each image, each drawn independently; not with `all`."""
    depth: Annotated[int, Field(ge=1, le=8)] = 3
    """`composed`: largest number of types per image; 1 to this many are drawn."""
    augmix: AugMixSettings = AugMixSettings()

    @field_validator("strengths")
    @classmethod
    def _ascending(cls, strengths: dict[str, Any]) -> dict[str, Any]:
        for kind, limits in strengths.items():
            if isinstance(limits, tuple) and not (limits[0] <= limits[1] and limits[1] > 0):
                rule = "the lowest strength must not be above the highest, which must be above 0"
                raise ValueError(f"{rule}, got {kind}: {list(limits)}. Correct them.")
        return strengths


# -- Sections `objectives`, `constraints`, `answer` and `search` -----------------------------


class ObjectiveSettings(Settings):
    metric: str
    direction: Literal["maximize", "minimize"] = "maximize"


_OF_BASELINE = re.compile(r"baseline(?: *[+-] *\d+\.?\d*(?:e-?\d+)?)?", re.IGNORECASE)


def _number_or_baseline(limit: float | str) -> float | str:
    if isinstance(limit, str) and _OF_BASELINE.fullmatch(limit) is None:
        rule = f"must be a number, or baseline plus or less one, got {limit!r}"
        raise ValueError(f"{rule}. Write 0.9, or baseline - 0.01.")
    return limit


Limit = Annotated[float | str, AfterValidator(_number_or_baseline)]


class Side(NamedTuple):
    """The least or the largest value of a constraint; where it `is_relative`, `number` is what is
    added to the baseline's."""

    name: Literal["min", "max"]
    written: float | str
    is_relative: bool
    number: float


def _side(name: Literal["min", "max"], written: float | str) -> Side:
    if not isinstance(written, str):
        return Side(name, written, is_relative=False, number=written)
    added = written[len("baseline") :].replace(" ", "")
    return Side(name, written, is_relative=True, number=float(added or 0))


class ConstraintSettings(Settings):
    """The values of a metric with which a trial counts; others are not on the front."""

    metric: str
    min: Limit | None = None
    """The least value: a number, or `baseline - 0.01`, of the same metric."""
    max: Limit | None = None
    """The largest value: a number, or `baseline + 0.01`, of the same metric."""

    def rules(self) -> Iterator[str]:
        if not self.sides:
            yield "needs min or max, got neither. Add one, such as max: 300."
        elif len(self.sides) == 2:
            least, most = self.sides
            if least.is_relative == most.is_relative and least.number > most.number:
                rule = f"min must be at most max, got {least.written} and {most.written}"
                yield f"{rule}: no value keeps both. Swap them."

    @property
    def sides(self) -> tuple[Side, ...]:
        """Those that are written, min first."""
        least = () if self.min is None else (_side("min", self.min),)
        return least if self.max is None else (*least, _side("max", self.max))

    @property
    def reads_baseline(self) -> bool:
        """Whether a side is relative to the baseline."""
        return any(side.is_relative for side in self.sides)

    def bounds(self, baseline: Mapping[str, float] | None) -> tuple[Bound, ...]:
        """Its one or two sides in numbers.

        Args:
            baseline: its metrics; None: not scored, and sides relative to it are left out.
        """
        bounds = []
        for side in self.sides:
            is_least = side.name == "min"
            if not side.is_relative:
                bounds.append(Bound(self.metric, side.number, is_least))
            elif baseline is not None:
                bounds.append(Bound(self.metric, baseline[self.metric] + side.number, is_least))
        return tuple(bounds)


class AnswerSettings(Settings):
    """What counts as an answer to the study's question."""

    clean_margin: Share = 0.01
    """Clean accuracy, as a fraction, that may be lost to the baseline by the points that the report
    of a search names, and, with `finetune.interpolation`, by the network of each trial; the stated
    loss of metrics at a clean loss."""
    mixtures: bool = True
    """Whether, after its last trial, a search scores averages of its trials' weights, and networks
    between these and the baseline, and puts the best on its front."""


class SearchBudgetSettings(Settings):
    """Limits of a search: when one is reached, no further trial starts."""

    trials: Count | None = None
    """Same as `search.trials`."""
    gpu_hours: Positive | None = None
    """GPU hours of all attempts, including lost ones."""
    seconds: Positive | None = None
    """Run time in seconds, without pauses."""


class PrunerSettings(Settings):
    """Stops trials that are behind.  Source: Li et al. 2020, arXiv:1810.05934 (ASHA); on several
    metrics by Pareto rank, Schmucker et al. 2021, arXiv:2106.12639."""

    kind: Literal["pareto_asha", "asha"] = "pareto_asha"
    """pareto_asha: compares all of `metrics` by Pareto rank; asha: compares `metric`.  Without it:
    asha if `metric` is given."""
    metric: str | None = None
    """Of asha: compared at each rung, in the direction of its objective."""
    metrics: Distinct[str] = ()
    """Of pareto_asha: compared at each rung; none: all objectives."""
    min_epochs: Count = 1
    """Epochs of the first rung."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """At each rung, one of this many trials continues; ratio of successive rungs."""
    images: Count | None = None
    """Validation images that a trial is scored on at a rung; none: all, as after the last epoch."""

    @model_validator(mode="before")
    @classmethod
    def _kind_of_metric(cls, data: Any) -> Any:
        is_asha = isinstance(data, dict) and data.get("metric") is not None
        return {"kind": "asha", **data} if is_asha else data

    def rules(self) -> Iterator[str]:
        if self.kind == "pareto_asha" and self.metric is not None:
            fix = f"Write kind: asha, or metrics: [{self.metric}]."
            yield f"pareto_asha compares metrics, got metric: {self.metric}. {fix}"
        if self.kind == "asha" and self.metrics:
            fix = "Write kind: pareto_asha, or metric."
            yield f"asha compares one metric, got a list in metrics. {fix}"
        if self.kind == "asha" and self.metric is None:
            yield "asha needs a metric, got none. Add metric, or use kind: pareto_asha."

    def compared(self, objectives: Iterable[ObjectiveSettings]) -> tuple[str, ...]:
        """The metrics that trials are compared by, in a study with these objectives."""
        if self.metric is not None:
            return (self.metric,)
        return self.metrics or tuple(objective.metric for objective in objectives)

    def is_rung(self, epoch: int) -> bool:
        """Whether trials are compared after this epoch: min_epochs times a power of the factor."""
        rung = self.min_epochs
        while rung < epoch:
            rung *= self.reduction_factor
        return rung == epoch

    def check_images(self, n_validation: int) -> None:
        """Refuse more images at a rung than there are validation images.

        Raises:
            ParameterError: if they are more.
        """
        if self.images is not None and self.images > n_validation:
            rule = f"must be at most the {n_validation:,} validation images, got {self.images}"
            fix = "Lower it, or remove it to score all of them."
            raise ParameterError(f"search.pruner.images: {rule}. {fix}")


class SearchSettings(Settings):
    trials: Count = 16
    """Number of trials."""
    budget: SearchBudgetSettings = SearchBudgetSettings()
    sampler: str = "auto"
    """auto: gp for the first 256 trials, then tpe."""
    start: Literal["methods", "random"] = "methods"
    """Of the sampler auto, after `enqueue`.  `methods`: each measured set of loss terms of the
    space at two learning rates, then gp; `random`: ten random trials, then gp."""
    seed: Seed = 0
    """Seed of the sampler; each trial also uses its number."""
    enqueue: Listed[dict[str, Any]] = ()
    """Parameter sets to run first; parameters you leave out are sampled."""
    learn_from: Distinct[str] = ()
    """Searches, or their archives, whose trials auto, gp and tpe know; none of them counts."""
    pruner: PrunerSettings | None = None
    """None: every trial runs to its full budget."""
    reference_point: Listed[float] | None = None
    """Reference point of the hypervolume, one value per objective; none: the baseline's clean
    accuracy - 0.10 and its robust accuracy."""

    @model_validator(mode="before")
    @classmethod
    def _budget_of_trials(cls, data: Any) -> Any:
        """Read `budget.trials` as `trials`; an invalid value is kept, and refused there."""
        budget = data.get("budget") if isinstance(data, dict) else None
        budget = dict(budget) if isinstance(budget, SearchBudgetSettings | dict) else {}
        asked = budget.get("trials")
        if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
            return data
        if data.get("trials", asked) != asked:
            rule = "trials and budget.trials set the same number"
            raise ValueError(f"{rule}, got {data['trials']} and {asked}. Keep one.")
        others = {name: value for name, value in budget.items() if name != "trials"}
        return {**data, "trials": asked, "budget": others}


# -- Section `run`: how a study is carried out ---------------------------------------------


class TensorBoardSettings(Settings):
    folder: str | None = None
    """Relative to the study file; none: tensorboard/ in the run's folder."""


class MLflowSettings(Settings):
    uri: str | None = None
    """Of the server; none: MLFLOW_TRACKING_URI."""
    experiment: str | None = None
    """None: the name of the study."""

    @field_validator("uri")
    @classmethod
    def _without_password(cls, uri: str | None) -> str | None:
        if uri is not None and has_secret(uri):
            rule = "must hold no password, got one. Put it in the environment:"
            names = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or"
            raise ValueError(f"{rule} {names} MLFLOW_TRACKING_TOKEN.")
        return uri


class WandbSettings(Settings):
    project: str = "ablate"
    entity: str | None = None
    """None: the default of the account."""
    mode: Literal["offline", "online"] = "offline"
    """offline: files for `wandb sync`; online: synced when the study ends, with WANDB_API_KEY."""
    folder: str | None = None
    """Relative to the study file; none: wandb/ in the run's folder."""


class TrackerSettings(Settings):
    """One tracker: its name, or its name with settings, `{mlflow: {uri: http://...}}`."""

    tensorboard: TensorBoardSettings | None = None
    mlflow: MLflowSettings | None = None
    wandb: WandbSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_a_name(cls, data: Any) -> Any:
        data = {data: {}} if isinstance(data, str) else data
        if not isinstance(data, dict):
            return data
        if cls.model_fields.keys() <= data.keys():  # a study that was read has the others as None
            data = {name: settings for name, settings in data.items() if settings is not None}
        if len(data) != 1 or not data.keys() <= cls.model_fields.keys():
            raise ValueError(cls._not_one_tracker([*data]))
        return {name: {} if settings is None else settings for name, settings in data.items()}

    @classmethod
    def _not_one_tracker(cls, given: list[str]) -> str:
        names, got = [*cls.model_fields], " and ".join(map(show, given)) or "nothing"
        fix = "Write an item for each." if given else "Write a name."
        fix = did_you_mean(given[0], names) if len(given) == 1 else fix
        return f"must be one of {', '.join(names)}, got {got}. {fix}"

    @property
    def name(self) -> str:
        """Of the tracker."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)


def _allow_names(schema: dict[str, Any]) -> None:
    """In the schema for editors, an item may be the name of a tracker alone."""
    names = {"enum": list(TrackerSettings.model_fields)}
    schema["items"] = {"anyOf": [names, schema["items"]]}


class RunSettings(Settings):
    """How it is run: only `precision`, `compile` and `cpus_per_trial` change a score's digits."""

    parallel: Count | Literal["auto"] = "auto"
    """Trials in parallel; `auto`: as many as CPUs and GPUs allow."""
    cpus_per_trial: Count = 1
    """Also torch's threads."""
    gpus_per_trial: Weight | Literal["auto"] = "auto"
    """1, or a fraction below 1; a trainable may use several GPUs; `auto`: 1 if Ray sees a GPU, else
    0."""
    gpu_memory_fraction: PositiveShare | None = None
    """Share of a GPU's memory that a trial may use; none: no limit.  If gpus_per_trial is a
    fraction, set the same fraction here to share the memory fairly."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """`auto`: bf16 if the hardware supports it, else fp32."""
    compile: Literal[False, "default", "reduce-overhead"] = False
    """Mode of torch.compile for training steps; `false`: not compiled."""
    max_failures: Natural = 0
    """Retries of a trial that raised an error (not if its loss is not finite)."""
    max_failed_fraction: Share = 0.5
    """If more trials fail, the study stops with exit code 1."""
    checkpoints: str | None = None
    """Folder or fsspec URI (s3://...) of the training states, relative to the study file; every
    node must reach it.  None: checkpoints/ in the run's folder."""
    checkpoint_seconds: Positive = 300.0
    """A training state is saved after each epoch, and within an epoch this many seconds after the
    last one (or 100 times the time to save it, if that is longer)."""
    epoch_timeout_seconds: Positive | None = None
    """An epoch that takes longer, including loading and scoring, is stopped with its worker, and
    its trial fails (see max_failures).  Needs Ray.  None: no limit."""
    keep_checkpoints: Count | Literal["all"] = 50
    """Keep the weights of this many complete trials: those of the front first, then the newest."""
    grace_seconds: Positive = 60.0
    """After Ctrl-C, SIGTERM or SIGUSR1, running epochs have this long to finish and be saved."""
    runtime_env: dict[str, Any] = Field(default_factory=dict)
    """Ray's runtime environment of the workers, such as {env_vars: {NAME: value}, py_modules:
    [folder]}.  It is stored with the study: no secrets.  Without Ray it has no effect."""

    trackers: Listed[TrackerSettings] = Field((), json_schema_extra=_allow_names)
    """Where the study is shown too: tensorboard, mlflow, wandb, each with its settings, as
    [tensorboard, {mlflow: {uri: http://localhost:5000}}]."""

    @field_validator("gpus_per_trial")
    @classmethod
    def _whole_or_fraction(cls, gpus: float | str) -> float | str:
        if isinstance(gpus, float) and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"must be a whole number above 1, got {gpus:g}. Write {int(gpus)}.")
        return gpus


# -- Section `ablation`: what is left out or varied, over which seeds, with which claims -----


DesignName = Literal[
    "leave_one_out",
    "one_at_a_time",
    "factorial",
    "fractional",
    "shapley",
    "add_one",
    "arms",
    "leave_family_out",
]

READS: dict[str, tuple[str, ...]] = {
    "leave_one_out": ("components",),
    "add_one": ("components",),
    "one_at_a_time": ("factors",),
    "factorial": ("factors", "components"),
    "fractional": ("factors", "components", "resolution", "interactions"),
    "shapley": ("components", "permutations"),
    "arms": ("arms", "tune", "compare_to"),
    "leave_family_out": ("families",),
}
"""Keys that a design reads, in addition to the common ones."""

_NEEDED = {
    **dict.fromkeys(("leave_one_out", "add_one", "shapley"), "components"),
    "one_at_a_time": "factors",
    "arms": "arms",
}


class ContrastSettings(Settings):
    """Two cells or arms, or an effect."""

    compare: str
    """A cell or arm, or an effect of a factorial or Shapley design: `fma`, `fma * st`."""
    to: str | None = None
    """The cell or arm that it is compared with; none: the reference."""


class ClaimSettings(ContrastSettings):
    """A contrast declared before the first run, which can support a claim."""

    metric: str = "val_robust_accuracy"
    """Metric to compare."""
    # Not written where it is off, here and below, so that fingerprints are those of before.
    equivalent_within: Positive | None = Field(None, exclude_if=operator.not_)
    """Claim that the two differ by less than this, in the metric's unit; none: that they differ.
    For both claims the contrast is given twice, once with and once without it."""


class NonInferiorSettings(Settings):
    """The non-inferiority criterion."""

    metric: str = "val_clean_accuracy"
    """Metric that must be kept."""
    margin: Positive
    """Largest loss allowed, in the metric's unit."""


class TuneSettings(Settings):
    """A separate search for each arm, all with the same budget."""

    trials: Count
    """Number of trials of each arm's search."""
    sampler: str = "random"
    """`random` alone gives independent samples, which allow an estimate of the best score at
    smaller budgets."""
    seed: Seed = 0
    """Seed of each arm's search."""
    pick: str = "best val_robust_accuracy"
    """The trial whose parameters the arm uses, as in `reference`."""
    enqueue: Listed[dict[str, Any]] = Field((), exclude_if=operator.not_)
    """Parameter sets that each arm's search runs first, as in `search.enqueue`; an arm leaves out
    the parameters that it does not search."""

    def rules(self) -> Iterator[str]:
        if len(self.enqueue) > self.trials:
            rule = f"enqueue must have at most {self.trials} points, got {len(self.enqueue)}"
            yield f"{rule}. Remove some, or raise trials."


class PlanSettings(Settings):
    """Power of the primary contrasts, and designs by hours, before the study is run; affects no
    result."""

    pilot: str | NonEmptyDistinct[str]
    """An ablation on the same data that has run, as a study file, run folder, archive or URL#NAME:
    the variance of its contrasts is used.  Several of the same arms, each from another baseline,
    also say how replicates vary."""
    difference: Positive = 0.01
    """True difference that should be shown, in the metric's unit."""
    hours: Positive | None = None
    """Hours of one worker that a design may take; none: as many as power 80 % takes."""
    ratio: Weight | None = None
    """With one pilot, which says nothing of replicates: their standard deviation is assumed to be
    this multiple of that of seeds."""

    @property
    def pilots(self) -> tuple[str, ...]:
        return (self.pilot,) if isinstance(self.pilot, str) else self.pilot

    def rules(self) -> Iterator[str]:
        if self.ratio is not None and len(self.pilots) > 1:
            rule = f"several pilots say how replicates vary, got also ratio: {self.ratio:g}"
            yield f"{rule}. Remove it."


class ConfirmSettings(Settings):
    """How the replicates of a look are confirmed."""

    seeds: Count = 2
    """Runs of each cell in each replicate, with seeds of their own."""
    suite: str | NonEmptyDistinct[str] | None = None
    """As robustness.suite, which it is if none is given."""
    severities: NonEmptyDistinct[Annotated[int, Field(ge=1, le=5)]] | None = None
    """None: robustness.severities."""


class StopSettings(Settings):
    """Looks at the primary contrasts between replicates: what is decided stops.  The order of
    `weights` and of `transitions` is that of `primary`."""

    looks: Annotated[Listed[Count], Field(min_length=1)]
    """Numbers of replicates, ascending, after which there is a look; the last is that of all."""
    spending: Literal["quadratic", "cubic", "quartic"] = "quartic"
    """Until a look, a contrast may spend its level times this power of the share of replicates."""
    weights: Listed[Share] = ()
    """Share of the level that each primary contrast starts with; none: equal."""
    transitions: Listed[Listed[Share]] = ()
    """A line for each primary contrast: shares of its weight that the others get when it is
    decided; none: equal, which with equal weights is Holm's test."""
    confirm: ConfirmSettings | None = None
    """Each look is at the test images, for which the replicates of the look are confirmed; none: at
    the validation images."""

    def rules(self) -> Iterator[str]:
        if list(self.looks) != sorted({*self.looks}):
            yield f"looks must ascend, got {show(list(self.looks))}. Sort them, each once."
        elif self.looks[0] < 3:
            yield f"a claim needs three replicates, got a look at {self.looks[0]}. Remove it."
        for name, shares in [
            ("weights", self.weights),
            *((f"line {at} of transitions", line) for at, line in enumerate(self.transitions, 1)),
        ]:
            if (total := sum(shares)) > 1 + 1e-9:
                yield f"{name} may be 1 in sum at most, got {total:g}. Lower them."
        for at, line in enumerate(self.transitions):
            if at < len(line) and line[at]:
                rule = f"a contrast gives itself nothing, got {line[at]:g} in line {at + 1}"
                yield f"{rule} of transitions. Write 0 there."


class AblationSettings(Settings):
    """An ablation: cells, each run with the same seeds."""

    design: DesignName
    """Which cells to run, and which to compare."""
    reference: dict[str, Any] = Field(default_factory=dict)
    """Values by dotted key on top of the study's own; or of a search: {study: STUDY, pick: knee |
    best METRIC | trial N}."""
    components: Listed[str] | dict[str, dict[str, Any] | None] | None = None
    """Parts that can be left out: loss terms, families, types, `layer:NAME`,
    `combined_augmentations`; or names of your own, each with the values that hold without it."""
    factors: dict[str, list[Any] | dict[str, dict[str, Any]]] | None = None
    """Dotted key -> levels; or a name of your own -> level -> values by dotted key."""
    arms: dict[str, dict[str, Any]] | None = None
    """Name -> values by dotted key; `augment.types: each` is a model for each type."""
    compare_to: str | None = None
    """The arm that others are compared with; none: `plain` where there is one, else the first."""
    families: NonEmptyDistinct[str] | None = None
    """`leave_family_out`: families to leave out in turn; none: all."""
    resolution: Annotated[int, Field(ge=3, le=5)] = 4
    """`fractional`: 3, 4 or 5; higher means more runs and fewer aliases."""
    interactions: Listed[str] = ()
    """`fractional`: interactions of interest, such as `fma * st`; they must not be aliased."""
    permutations: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """`shapley`: number of random orders of the components to average over, each drawn one with its
    reverse, so that only the subsets that they visit are run; none: all subsets."""
    seeds: Count | NonEmptyDistinct[Seed] = 8
    """Runs of each cell, with the seeds after finetune.seed; or a list of seeds for all cells."""
    baseline_seeds: Literal["one", "each"] = "one"
    """`one`: all runs start from the study's baseline; `each`: every seed trains its own baseline,
    the same for all cells."""
    replicates: Annotated[int, Field(ge=2, le=1000)] | None = None
    """The whole ablation so many times, each from a baseline of its own (`baseline.seed` + r, or
    `baseline.checkpoint` with `{replicate}`), with its own tuning and seeds; read as one."""
    primary: Listed[ClaimSettings] = ()
    """Contrasts that support claims; p values are adjusted over them (Holm)."""
    contrasts: Listed[ContrastSettings] = ()
    """Further contrasts to show, on every metric; they support no claim."""
    noninferior: NonInferiorSettings | None = None
    """Defines when a metric counts as kept."""
    tune: TuneSettings | None = None
    """`arms`: each arm is tuned in the study's `space` before its seeds are run."""
    stop: StopSettings | None = None
    """Of replicates: looks at the primary contrasts, which are decided at one of them or not at
    all."""
    plan: PlanSettings | None = None
    """`check` and `--dry-run` report the power of primary contrasts, and warn below 20 %."""
    max_runs: Count = 500
    """A design with more runs is rejected."""

    def rules(self) -> Iterator[str]:
        reads, design = READS[self.design], self.design
        for key in dict.fromkeys(key for keys in READS.values() for key in keys):
            default = type(self).model_fields[key].default
            if key not in reads and getattr(self, key) != default:
                others = " or ".join(name for name, keys in READS.items() if key in keys)
                rule = f"{key} belongs to design {others}, got it with {design}"
                yield f"{rule}. Remove it, or change the design."
        needed = _NEEDED.get(design)
        if needed is not None and not getattr(self, needed):
            yield f"design {design} needs {needed}, got none. Add {needed}."
        if design in ("factorial", "fractional") and not (self.factors or self.components):
            yield f"design {design} needs factors or components, got none. Add some."
        if self.replicates is not None and not isinstance(self.seeds, int):
            rule = f"replicates have seeds of their own, got seeds {list(self.seeds)}"
            yield f"{rule}. Write their number, such as seeds: {self.seed_count}."
        if self.stop is not None:
            yield from self._stop_rules(self.stop)

    def _stop_rules(self, stop: StopSettings) -> Iterator[str]:
        claims = len(self.primary)
        if self.replicates is None:
            yield f"stop needs replicates, got none. Write replicates: {stop.looks[-1]}."
        elif self.replicates != stop.looks[-1]:
            rule = f"the last look of stop is at all replicates, got {stop.looks[-1]}"
            yield f"{rule} of {self.replicates} replicates. Change one."
        if not claims:
            yield "stop decides primary contrasts, got none. Declare some."
        if stop.weights and len(stop.weights) != claims:
            rule = f"stop.weights has a number for each of {claims} primary contrasts, got"
            yield f"{rule} {len(stop.weights)}. Write one for each."
        if stop.transitions and {len(stop.transitions), *map(len, stop.transitions)} != {claims}:
            rule = (
                f"stop.transitions has {claims} lines of {claims} numbers, one a primary contrast"
            )
            yield f"{rule}, got {show(stop.transitions)}. Write them so."
        if self.noninferior is not None:
            rule = "looks decide primary contrasts alone, got stop with noninferior"
            yield f"{rule}. Remove it, or declare equivalent_within."
        if self.tune is not None and stop.confirm is None:
            rule = "on images that arms were tuned on nothing is decided, got stop and tune"
            yield f"{rule} without stop.confirm. Add stop.confirm: {{}}."

    @property
    def seed_count(self) -> int:
        """K: runs of each cell, in each replicate."""
        return self.seeds if isinstance(self.seeds, int) else len(self.seeds)


# -- Section `robustness`, and the whole study -----------------------------------------------


class RobustnessSettings(Settings):
    suite: str | NonEmptyDistinct[str] = "families"
    """A suite, or a list of corruptions and of functions of your own."""
    severities: NonEmptyDistinct[Annotated[int, Field(ge=1, le=5)]] = (1, 3, 5)
    images: Count | None = None
    """Images in each corrupted copy, balanced over classes; None: the whole validation split. Clean
    accuracy always uses the whole split."""
    cells: PositiveShare = 1.0
    """Share of the cells, type by severity, that each validation image is scored under: a balanced
    random choice by `seed`, the same for all networks.  Test images are scored under all."""
    frost_images: str | None = None
    """Folder with photographs of frost; None: a generated texture, which every result notes."""
    stored_gb: Weight = 4.0
    """A set of corrupted copies up to this size is kept in the cache; a larger one is generated
    again for each trial, with the same bytes."""
    seed: Seed = 0
    """Seed of the corrupted evaluation sets."""
    adapt_batch_norm: Natural | None = None
    """Also score the baseline with batch norm adapted at test time, as a reference; its own
    statistics count as this many images."""


class Study(Displayed, Settings):
    """A study: its question, data, model and search.

    With a `trainable`, the function has its own data and model; the sections about them contain
    unused placeholders.
    """

    version: Literal[1]
    name: str = Field(
        max_length=100, pattern=r"^[^/\\\x00-\x1f\x7f-\x9f.#-][^/\\\x00-\x1f\x7f-\x9f#]*$"
    )
    """Also the name of its folder in runs/; without ~."""
    question: str = ""
    trainable: str | None = None
    """Your own training loop, `package.module:function`, or `module:function` in a file next to the
    study file; instead of data set, model and robustness finetuning."""
    dataset: DatasetSettings
    model: ModelSettings
    baseline: BaselineSettings = BaselineSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    loss: LossSettings = LossSettings()
    augment: AugmentSettings = AugmentSettings()
    space: dict[str, Any] | str = Field(default_factory=dict)
    """A search space, or the file that holds it."""
    objectives: Annotated[Listed[ObjectiveSettings], Field(min_length=1)] = (
        ObjectiveSettings(metric="val_clean_accuracy"),
        ObjectiveSettings(metric="val_robust_accuracy"),
    )
    constraints: Listed[ConstraintSettings] = ()
    answer: AnswerSettings = AnswerSettings()
    search: SearchSettings = SearchSettings()
    ablation: AblationSettings | None = None
    """Instead of `search`: cells that are run over paired seeds."""
    robustness: RobustnessSettings = RobustnessSettings()
    run: RunSettings = RunSettings()
    storage: str | None = Field(None, repr=False)
    """Optuna storage URL; ${VARIABLE} is filled in. None: runs/NAME/study.db."""

    @field_validator("name")
    @classmethod
    def _short_enough(cls, name: str) -> str:
        size = len(name.encode(errors="surrogatepass"))
        if size > LONGEST_NAME:
            raise ValueError(f"must have at most {LONGEST_NAME} bytes, got {size}. Shorten it.")
        return name

    @model_validator(mode="before")
    @classmethod
    def _no_data_of_a_trainable(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("trainable") is None:
            return data
        return {"dataset": {"name": "none"}, "model": {"name": "none"}, **data}

    @property
    def marks(self) -> tuple[str, ...]:
        """Caveats to be shown with every result of the study."""
        seen = self.baseline.saw_validation
        return ("validation seen by the baseline",) if seen else ()

    @property
    def judged_metrics(self) -> tuple[str, ...]:
        """The metrics of objectives, then those of constraints, each once."""
        metrics = [objective.metric for objective in self.objectives]
        return tuple(
            dict.fromkeys([*metrics, *(constraint.metric for constraint in self.constraints)])
        )

    @property
    def asks_at_clean_loss(self) -> bool:
        """Whether an objective, a constraint or a claim is of the network at the stated clean
        loss."""
        metrics = [*self.judged_metrics]
        if self.ablation is not None:
            metrics += [claim.metric for claim in self.ablation.primary]
            margin = self.ablation.noninferior
            metrics += [] if margin is None else [margin.metric]
        return any(metric.endswith(AT_CLEAN_LOSS) for metric in metrics)

    def bounds(self, baseline: Mapping[str, float] | None) -> tuple[Bound, ...]:
        """The sides of all constraints, in numbers (`ConstraintSettings.bounds`)."""
        return tuple(
            bound for constraint in self.constraints for bound in constraint.bounds(baseline)
        )

    @property
    def ablation_section(self) -> AblationSettings:
        """`ablation`, of a study that is one."""
        assert self.ablation is not None
        return self.ablation

    @property
    def tune_section(self) -> TuneSettings:
        """`ablation.tune`, of a study that has one."""
        assert self.ablation_section.tune is not None
        return self.ablation_section.tune

    def written(self) -> dict[str, Any]:
        """The study as a file would write it: without keys that have their default."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        if self.baseline.backbone is not None:  # whose defaults are others
            data["baseline"] |= {key: getattr(self.baseline, key) for key in BACKBONE_DEFAULTS}
        unused = ("dataset", "model") if self.trainable is not None else ()
        return {key: value for key, value in data.items() if key not in unused}

    def to_yaml(self) -> str:
        """The text of a study file that is this study and has its fingerprint.

        Paths in it stay as they are, so write it into the folder that they are relative to.  A
        function that no module holds stays a name with a digest: the file can be read only where
        that function was given, and a study of it is resumed from Python.
        """
        return write_yaml(self.written())

    def with_values(self, values: dict[str, Any]) -> Study:
        """This study with dotted keys replaced, validated again.

        Args:
            values: resolved parameters, as `{"loss.fma.weight": 2.0}`.

        Raises:
            pydantic.ValidationError: if a value is outside its key's domain.
        """
        data = self.model_dump(mode="json")
        for key, value in values.items():
            *path, last = key.split(".")
            node = data
            for part in path:
                node = node[part]
            node[last] = value
        return Study.model_validate(data)


def path_from(base: Path, written: str | Path) -> Path:
    """Resolve a path of a study file, relative to the file's folder; `~` is the home folder.

    After a link, `..` is the parent of the link's target, as in the operating system; without links
    the path is only normalised.
    """
    path = base / os.path.expanduser(written)  # noqa: PTH111 (~NAME of no user stays as it is)
    short = Path(os.path.normpath(path))
    whole = os.path.realpath(path)
    return short if os.path.realpath(short) == whole else Path(whole)
