"""The study file as frozen data: what may be written, its units, ranges and defaults.

Plain data only.  Names of data sets, models, losses and so on are strings here: the packages
that own them say which exist (`ablate.vocabulary`), so that this module knows none of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ablate.study.sections.augment import AugmentSettings, AugMixSettings
from ablate.study.sections.base import Seed, Settings
from ablate.study.sections.data import DatasetSettings, ModelSettings, ValidationSettings
from ablate.study.sections.loss import (
    CleanSettings,
    DASettings,
    FMASettings,
    LossSettings,
    STSettings,
)
from ablate.study.sections.training import (
    BaselineSettings,
    BudgetSettings,
    FinetuneSettings,
    TrainingSettings,
)

__all__ = [
    "AugMixSettings",
    "AugmentSettings",
    "BaselineSettings",
    "BudgetSettings",
    "CleanSettings",
    "DASettings",
    "DatasetSettings",
    "FMASettings",
    "FinetuneSettings",
    "LossSettings",
    "ModelSettings",
    "ObjectiveSettings",
    "RobustnessSettings",
    "RunSettings",
    "STSettings",
    "SearchSettings",
    "Settings",
    "Study",
    "TrainingSettings",
    "ValidationSettings",
]


class ObjectiveSettings(Settings):
    metric: str
    direction: Literal["maximize", "minimize"] = "maximize"


class SearchSettings(Settings):
    trials: Annotated[int, Field(ge=1)] = Field(16, description="Rows the finished study has.")
    sampler: str = "tpe"
    seed: Seed = Field(0, description="Each ask draws from this seed and the trial's number.")
    reference_point: Annotated[tuple[float, ...], Field(strict=False)] | None = Field(
        None,
        description="Reference point of the hypervolume, one value an objective; none: the "
        "baseline's clean accuracy - 0.10 and its robust accuracy.",
    )


class RobustnessSettings(Settings):
    suite: str = "families"
    severities: Annotated[
        tuple[Annotated[int, Field(ge=1, le=5)], ...], Field(min_length=1, strict=False)
    ] = (1, 3, 5)
    seed: Seed = Field(0, description="Seed of the corrupted evaluation sets.")


class RunSettings(Settings):
    """How it is run: only `precision`, `compile` and `cpus_per_trial` change a score's digits."""

    parallel: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="Trials at once; `auto`: as many as the CPUs and GPUs carry."
    )
    cpus_per_trial: Annotated[int, Field(ge=1)] = Field(1, description="Also torch's threads.")
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="Whole or a fraction below 1; `auto`: one where Ray sees any, else 0."
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
    max_failed_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="More failed rows than this and the command ends with 1."
    )

    @field_validator("gpus_per_trial")
    @classmethod
    def _whole_or_fraction(cls, gpus: float | str) -> float | str:
        if isinstance(gpus, float) and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"must be whole above 1, got {gpus:g}. Write {int(gpus)}.")
        return gpus


DEFAULT_OBJECTIVES = (
    ObjectiveSettings(metric="val_clean_accuracy"),
    ObjectiveSettings(metric="val_robust_accuracy"),
)


class Study(Settings):
    """A study: one question, the data and model it is asked of, and how it is searched."""

    version: Literal[1]
    name: str = Field(
        max_length=100,
        pattern=r"^[^/\\\x00-\x1f.#][^/\\\x00-\x1f#]*$",
        description="Also the name of its folder in runs/.",
    )
    question: str = ""
    dataset: DatasetSettings
    model: ModelSettings
    baseline: BaselineSettings = BaselineSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    loss: LossSettings = LossSettings()
    augment: AugmentSettings = AugmentSettings()
    space: dict[str, Any] | str = Field(
        default_factory=dict, description="A search space, or the file that holds it."
    )
    objectives: Annotated[tuple[ObjectiveSettings, ...], Field(min_length=2, strict=False)] = (
        DEFAULT_OBJECTIVES
    )
    search: SearchSettings = SearchSettings()
    robustness: RobustnessSettings = RobustnessSettings()
    run: RunSettings = RunSettings()
    storage: str | None = Field(
        None, description="Optuna storage URL; ${VARIABLE} is filled in. None: runs/NAME/study.db."
    )

    @property
    def marks(self) -> tuple[str, ...]:
        """What every result of the study has to say beside its numbers."""
        seen = self.baseline.saw_validation
        return ("validation seen by the baseline",) if seen else ()

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
