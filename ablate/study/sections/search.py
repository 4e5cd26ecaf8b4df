"""Sections `objectives` and `search`: what is looked for, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ablate.study.sections.base import Count, Positive, Seed, Settings


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
