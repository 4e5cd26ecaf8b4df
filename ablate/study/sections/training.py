"""Sections `baseline` and `finetune`: how networks are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ablate.study.sections import Count, Positive, Seed, Settings, Weight

DEFAULT_EPOCHS = 4
"""Of a budget that names no unit."""

UNITS = ("epochs", "images", "flops", "seconds")
"""Of a finetuning's budget."""


class TrainingSettings(Settings):
    """An optimiser, a schedule of its learning rate, and what steadies them."""

    batch_size: Annotated[int, Field(ge=1)] = Field(64, description="Clean images per step.")
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="`sgd`: with Nesterov momentum; `adamw`: betas 0.9 and 0.999."
    )
    learning_rate: Positive = Field(0.01, description="Highest learning rate of the schedule.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Of `sgd`.")
    weight_decay: Weight = Field(
        5e-4,
        description="For matrices and filters, not norms, biases, position embeddings and tokens.",
    )
    schedule: Literal["cosine", "one_cycle", "constant"] = Field(
        "cosine",
        description="`cosine`: falls to 0; `one_cycle`: rises over 30 % of the budget from a 25th, "
        "then falls to 0; `constant`.",
    )
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="Share of the budget over which the learning rate first rises from a 25th; "
        "`one_cycle` has its own.",
    )
    gradient_clipping: Positive | None = Field(
        None, description="Highest norm of the whole gradient; none: not clipped."
    )
    accumulation_steps: Count = Field(
        1, description="Number of parts that a batch is split into, to save memory."
    )
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="Decay per step of an average of the weights, which is then scored; none: the "
        "weights are scored.",
    )
    seed: Seed = Field(0, description="Seed of new weights, image order and distortions.")


class BaselineSettings(TrainingSettings):
    """The network to finetune: trained by ablate, or loaded from a checkpoint."""

    epochs: Count = 10
    learning_rate: Positive = Field(0.1, description="Highest learning rate of the schedule.")
    checkpoint: str | None = Field(
        None,
        description="Weights to start from instead of training: a .safetensors file or a state "
        "dict, relative to the study file, or `torchvision:WEIGHTS` or `timm:pretrained`.",
    )
    saw_validation: bool | None = Field(
        None,
        description="Whether the checkpoint was trained on the validation images; required with "
        "a checkpoint.",
    )
    expected_accuracy: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Clean validation accuracy that the baseline is known to have; the study is "
        "refused where it is more than 4 standard errors below it.",
    )

    @model_validator(mode="after")
    def _said(self) -> BaselineSettings:
        if self.checkpoint is not None and self.saw_validation is None:
            raise ValueError(
                f"a checkpoint needs saw_validation, got none with {self.checkpoint}. Write "
                "saw_validation: false if it was not trained on the validation images, else true."
            )
        if self.checkpoint is None and self.saw_validation is not None:
            raise ValueError(
                "saw_validation applies only to a checkpoint, got it without one. Remove it; a "
                "baseline trained by ablate never sees the validation images."
            )
        return self


class BudgetSettings(Settings):
    """How long a finetuning is: one of four."""

    epochs: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Passes over the training images in full batches; 4 by default.  0 (in "
        "ablations only): the baseline, not finetuned.",
    )
    images: Count | None = Field(
        None,
        description="Images through the student, copies included: equal for every loss.  A "
        "teacher's forward passes are not counted; `flops` counts them.",
    )
    flops: Positive | None = Field(
        None,
        description="Floating point operations of student and teachers, as torch counts them: "
        "equal for every loss, teacher and network.",
    )
    seconds: Positive | None = Field(
        None, description="Training time in seconds; results depend on the machine."
    )

    @property
    def in_epochs(self) -> int | None:
        """Epochs; None for a budget in another unit."""
        if any(getattr(self, unit) is not None for unit in ("images", "flops", "seconds")):
            return None
        return DEFAULT_EPOCHS if self.epochs is None else self.epochs

    @model_validator(mode="after")
    def _one(self) -> BudgetSettings:
        given = [name for name in UNITS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(
                f"takes one unit, got {' and '.join(given)}. Keep one, such as budget: "
                f"{{images: 9000}}."
            )
        return self


class InterpolationSettings(Settings):
    """Networks between the baseline and the finetuned one.

    Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT).  Differs: batch-norm statistics are
    interpolated too.
    """

    alphas: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1, strict=False)
    ] = Field(
        (0.25, 0.5, 0.75, 1.0),
        description="Weights of the finetuned network that are scored after the last epoch: "
        "between 0, the baseline, and 1, which must be among them.",
    )
    alpha: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Score each trial at this weight alone, as `ablate confirm` does with the "
        "points of a front; none: the whole curve.",
    )

    @field_validator("alphas")
    @classmethod
    def _ascending(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if 1 not in alphas:
            raise ValueError(f"must contain 1, the finetuned network, got {list(alphas)}. Add 1.")
        if len(set(alphas)) < len(alphas):
            raise ValueError(f"must differ from each other, got {list(alphas)}. Remove one.")
        return tuple(sorted(alphas))


class FinetuneSettings(TrainingSettings):
    budget: BudgetSettings = BudgetSettings()
    batch_norm: Literal["joint", "separate", "frozen"] = Field(
        "joint",
        description="`joint`: clean images and copies in one batch; `separate`: one batch each; "
        "`frozen`: use the baseline's statistics.",
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Factor of the learning rate for each tap below the head: the head has the "
        "rate itself, the last tap `layer_decay` times it, the one before that its square; 1: one "
        "rate for all.",
    )
    frozen: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (),
        description="Taps (each with what lies between it and the tap before) or module paths "
        "that do not learn; their batch norm keeps its statistics.",
    )
    probe_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="Share of the budget in which only the last, linear layer learns; then "
        "everything does.  Each part has the whole schedule, and starts without momentum.",
    )
    interpolation: InterpolationSettings | None = Field(
        None,
        description="Score networks between baseline and finetuned weights too, and let a trial "
        "be the best of them (see `answer`); none: the finetuned network alone.",
    )

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
