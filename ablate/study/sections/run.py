"""Section `run`: how a study is carried out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ablate.study.sections.base import Count, Positive, Settings, Share


class RunSettings(Settings):
    """How it is run: only `precision`, `compile` and `cpus_per_trial` change a score's digits."""

    parallel: Count | Literal["auto"] = Field(
        "auto", description="Trials at once; `auto`: as many as the CPUs and GPUs carry."
    )
    cpus_per_trial: Count = Field(1, description="Also torch's threads.")
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        description="1, or a fraction below it; a trainable may take more, whole ones; `auto`: one "
        "where Ray sees any, else 0.",
    )
    gpu_memory_fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Share of a GPU's memory that a trial may take; none: what the GPU has.  With "
        "a fraction in gpus_per_trial, the same fraction keeps trials from each other's memory.",
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto", description="`auto`: bf16 where the hardware has it, else fp32."
    )
    compile: Literal[False, "default", "reduce-overhead"] = Field(
        False, description="Mode of torch.compile for training steps; `false`: not compiled."
    )
    max_failures: Annotated[int, Field(ge=0)] = Field(
        0, description="Retries of a trial that raised (none for a loss that is not finite)."
    )
    max_failed_fraction: Share = Field(
        0.5, description="As soon as more rows have failed, the study stops and ends with 1."
    )
    checkpoints: str | None = Field(
        None,
        description="Folder or fsspec URI (s3://...) of the training states, relative to the "
        "study file; every node must reach it.  None: checkpoints/ in the run's folder.",
    )
    checkpoint_seconds: Positive = Field(
        300.0,
        description="A training state is written after each epoch, and amid one where so many "
        "seconds have passed since the last (or 100 times what it took to write, if that is more).",
    )
    epoch_timeout_seconds: Positive | None = Field(
        None,
        description="An epoch that takes longer, loading and scoring included, is ended with its "
        "worker and is a failure of its trial (see max_failures).  Needs Ray.  None: any time.",
    )
    keep_checkpoints: Count | Literal["all"] = Field(
        50,
        description="Finetuned weights that stay on disk: of this many complete trials, those of "
        "the front first, then the newest.",
    )
    grace_seconds: Positive = Field(
        60.0,
        description="After Ctrl-C, SIGTERM or SIGUSR1 the epochs under way may take this many "
        "seconds to end and be kept.",
    )

    @field_validator("gpus_per_trial")
    @classmethod
    def _whole_or_fraction(cls, gpus: float | str) -> float | str:
        if isinstance(gpus, float) and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"must be whole above 1, got {gpus:g}. Write {int(gpus)}.")
        return gpus
