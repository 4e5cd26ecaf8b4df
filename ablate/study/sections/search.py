"""Sections `objectives` and `search`: what is looked for, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ablate.study.sections.base import Count, Positive, Seed, Settings, Share


class ObjectiveSettings(Settings):
    metric: str
    direction: Literal["maximize", "minimize"] = "maximize"


class SearchBudgetSettings(Settings):
    """What a search may cost: where one is spent, no further trial begins."""

    trials: Count | None = Field(None, description="Another spelling of `search.trials`.")
    gpu_hours: Positive | None = Field(None, description="Of all attempts, lost ones included.")
    seconds: Positive | None = Field(None, description="Of driving, pauses left out.")


class PrunerSettings(Settings):
    """Stops trials that are behind.  Source: Li et al. 2020, arXiv:1810.05934 (ASHA)."""

    metric: str = Field(description="Compared at each rung, in the direction of its objective.")
    min_epochs: Count = Field(1, description="Epochs of the first rung.")
    reduction_factor: Annotated[int, Field(ge=2)] = Field(
        3, description="Of this many trials at a rung one goes on; rungs are this far apart."
    )

    def is_rung(self, epoch: int) -> bool:
        """Whether trials are compared after this epoch: min_epochs times a power of the factor."""
        rung = self.min_epochs
        while rung < epoch:
            rung *= self.reduction_factor
        return rung == epoch


class SearchSettings(Settings):
    trials: Count = Field(16, description="Rows the finished study has.")
    budget: SearchBudgetSettings = SearchBudgetSettings()
    sampler: str = "tpe"
    seed: Seed = Field(0, description="Each ask draws from this seed and the trial's number.")
    enqueue: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] = Field(
        (), description="Parameter sets that are tried first; what one leaves out is drawn."
    )
    pruner: PrunerSettings | None = Field(
        None, description="None: every trial runs to its full budget."
    )
    reference_point: Annotated[tuple[float, ...], Field(strict=False)] | None = Field(
        None,
        description="Reference point of the hypervolume, one value an objective; none: the "
        "baseline's clean accuracy - 0.10 and its robust accuracy.",
    )

    @model_validator(mode="before")
    @classmethod
    def _budget_of_trials(cls, data: Any) -> Any:
        """Read `budget.trials` as `trials`; one that is no count stays, and is refused there."""
        budget = data.get("budget") if isinstance(data, dict) else None
        if isinstance(budget, SearchBudgetSettings):
            budget = dict(budget)
        if not isinstance(budget, dict):
            return data
        asked = budget.get("trials")
        if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
            return data
        if data.get("trials", asked) != asked:
            raise ValueError(
                f"trials and budget.trials are two spellings of one number, got {data['trials']} "
                f"and {asked}. Keep one."
            )
        others = {name: value for name, value in budget.items() if name != "trials"}
        return {**data, "trials": asked, "budget": others}


# -- Section `run`: how a study is carried out ---------------------------------------------


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
