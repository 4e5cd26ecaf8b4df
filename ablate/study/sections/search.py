"""Sections `objectives`, `constraints` and `search`: the goals of the search, and its method."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ablate.errors import ParameterError, did_you_mean
from ablate.errors.masking import has_secret
from ablate.study.scores import Bound
from ablate.study.sections import Count, Positive, Seed, Settings, Share


class ObjectiveSettings(Settings):
    metric: str
    direction: Literal["maximize", "minimize"] = "maximize"


_OF_BASELINE = re.compile(r"baseline(?: *([+-]) *(\d+\.?\d*(?:e-?\d+)?))?", re.IGNORECASE)


class ConstraintSettings(Settings):
    """The values of a metric with which a trial counts; others are not on the front."""

    metric: str
    min: float | str | None = Field(
        None, description="The least value: a number, or `baseline - 0.01`, of the same metric."
    )
    max: float | str | None = Field(
        None, description="The largest value: a number, or `baseline + 0.01`, of the same metric."
    )

    @field_validator("min", "max")
    @classmethod
    def _number_or_baseline(cls, limit: float | str | None) -> float | str | None:
        if isinstance(limit, str) and _OF_BASELINE.fullmatch(limit) is None:
            raise ValueError(
                f"must be a number, or baseline plus or less one, got {limit!r}. Write 0.9, or "
                "baseline - 0.01."
            )
        return limit

    @model_validator(mode="after")
    def _has_a_side(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("needs min or max, got neither. Add one, such as max: 300.")
        (of_min, low), (of_max, high) = _parts(self.min), _parts(self.max)
        if None not in (self.min, self.max) and of_min == of_max and low > high:
            raise ValueError(
                f"min must be at most max, got {self.min} and {self.max}: no value keeps both. "
                "Swap them."
            )
        return self

    @property
    def reads_baseline(self) -> bool:
        """Whether a side is relative to the baseline."""
        return isinstance(self.min, str) or isinstance(self.max, str)

    def bounds(self, baseline: Mapping[str, float] | None) -> tuple[Bound, ...]:
        """Its one or two sides in numbers.

        Args:
            baseline: its metrics; None: not scored, and sides relative to it are left out.
        """
        found = []
        for limit, is_least in ((self.min, True), (self.max, False)):
            relative, value = _parts(limit)
            if limit is None or (relative and baseline is None):
                continue
            of_baseline = baseline[self.metric] if relative and baseline is not None else 0.0
            found.append(Bound(self.metric, of_baseline + value, is_least))
        return tuple(found)


def _parts(limit: float | str | None) -> tuple[bool, float]:
    """Whether a limit is relative to the baseline, and its number."""
    if not isinstance(limit, str):
        return False, limit or 0.0
    found = _OF_BASELINE.fullmatch(limit)
    assert found is not None
    return True, float(f"{found[1]}{found[2]}") if found[1] else 0.0


class AnswerSettings(Settings):
    """What counts as an answer to the study's question."""

    clean_margin: Share = Field(
        0.01,
        description="Clean accuracy, as a fraction, that may be lost to the baseline by the points "
        "that the report of a search names, and, with `finetune.interpolation`, by the network of "
        "each trial.",
    )


class SearchBudgetSettings(Settings):
    """Limits of a search: when one is reached, no further trial starts."""

    trials: Count | None = Field(None, description="Same as `search.trials`.")
    gpu_hours: Positive | None = Field(
        None, description="GPU hours of all attempts, including lost ones."
    )
    seconds: Positive | None = Field(None, description="Run time in seconds, without pauses.")


class PrunerSettings(Settings):
    """Stops trials that are behind.  Source: Li et al. 2020, arXiv:1810.05934 (ASHA); on several
    metrics by Pareto rank, Schmucker et al. 2021, arXiv:2106.12639."""

    kind: Literal["pareto_asha", "asha"] = Field(
        "pareto_asha",
        description="pareto_asha: compares all of `metrics` by Pareto rank; asha: compares "
        "`metric`.  Without it: asha if `metric` is given.",
    )
    metric: str | None = Field(
        None, description="Of asha: compared at each rung, in the direction of its objective."
    )
    metrics: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="Of pareto_asha: compared at each rung; none: all objectives."
    )
    min_epochs: Count = Field(1, description="Epochs of the first rung.")
    reduction_factor: Annotated[int, Field(ge=2)] = Field(
        3, description="At each rung, one of this many trials continues; ratio of successive rungs."
    )
    images: Count | None = Field(
        None,
        description="Validation images that a trial is scored on at a rung; none: all, as after "
        "the last epoch.",
    )

    @model_validator(mode="before")
    @classmethod
    def _kind_of_metric(cls, data: Any) -> Any:
        """Read a metric without a kind as asha; refuse keys of the other kind."""
        if not isinstance(data, dict):
            return data
        has_metric = data.get("metric") is not None
        if has_metric and data.get("metrics") and "kind" not in data:
            raise ValueError("give metric or metrics, got both. Leave one of them out.")
        kind = data.get("kind", "asha" if has_metric else "pareto_asha")
        if kind == "pareto_asha" and has_metric:
            raise ValueError(
                f"pareto_asha compares metrics, got metric: {data['metric']}. Write kind: asha, or "
                f"metrics: [{data['metric']}]."
            )
        if kind == "asha" and data.get("metrics"):
            raise ValueError(
                "asha compares one metric, got a list in metrics. Write kind: pareto_asha, or "
                "metric."
            )
        if kind == "asha" and not has_metric:
            raise ValueError("asha needs a metric, got none. Add metric, or use kind: pareto_asha.")
        return {**data, "kind": kind}

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
            raise ParameterError(
                f"search.pruner.images: must be at most the {n_validation:,} validation images, "
                f"got {self.images}. Lower it, or remove it to score all of them."
            )


class SearchSettings(Settings):
    trials: Count = Field(16, description="Number of trials.")
    budget: SearchBudgetSettings = SearchBudgetSettings()
    sampler: str = Field("auto", description="auto: gp for the first 256 trials, then tpe.")
    seed: Seed = Field(0, description="Seed of the sampler; each trial also uses its number.")
    enqueue: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] = Field(
        (), description="Parameter sets to run first; parameters you leave out are sampled."
    )
    pruner: PrunerSettings | None = Field(
        None, description="None: every trial runs to its full budget."
    )
    reference_point: Annotated[tuple[float, ...], Field(strict=False)] | None = Field(
        None,
        description="Reference point of the hypervolume, one value per objective; none: the "
        "baseline's clean accuracy - 0.10 and its robust accuracy.",
    )

    @model_validator(mode="before")
    @classmethod
    def _budget_of_trials(cls, data: Any) -> Any:
        """Read `budget.trials` as `trials`; an invalid value is kept, and refused there."""
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
                f"trials and budget.trials set the same number, got {data['trials']} and {asked}. "
                "Keep one."
            )
        others = {name: value for name, value in budget.items() if name != "trials"}
        return {**data, "trials": asked, "budget": others}


# -- Section `run`: how a study is carried out ---------------------------------------------


class TensorBoardSettings(Settings):
    folder: str | None = Field(
        None, description="Relative to the study file; none: tensorboard/ in the run's folder."
    )


class MLflowSettings(Settings):
    uri: str | None = Field(None, description="Of the server; none: MLFLOW_TRACKING_URI.")
    experiment: str | None = Field(None, description="None: the name of the study.")

    @field_validator("uri")
    @classmethod
    def _without_password(cls, uri: str | None) -> str | None:
        if uri is not None and has_secret(uri):
            raise ValueError(
                "must hold no password, got one. Put it in the environment: "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
            )
        return uri


class WandbSettings(Settings):
    project: str = "ablate"
    entity: str | None = Field(None, description="None: the default of the account.")
    mode: Literal["offline", "online"] = Field(
        "offline",
        description="offline: files for `wandb sync`; online: these are synced when the study "
        "ends, with the key in WANDB_API_KEY.",
    )
    folder: str | None = Field(
        None, description="Relative to the study file; none: wandb/ in the run's folder."
    )


class TrackerSettings(Settings):
    """One tracker: its name, or its name with settings, `{mlflow: {uri: http://...}}`."""

    tensorboard: TensorBoardSettings | None = None
    mlflow: MLflowSettings | None = None
    wandb: WandbSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_a_name(cls, data: Any) -> Any:
        names = list(cls.model_fields)
        if isinstance(data, str):
            if data not in names:
                raise ValueError(
                    f"must be one of {', '.join(names)}, got {data!r}. {did_you_mean(data, names)}"
                )
            return {data: {}}
        if isinstance(data, dict):
            if len(data) == 1 and None in data.values():
                return {key: {} for key in data}
            given = [name for name in names if name in data]
            # A study that was read has all names, those of other trackers as None.
            is_read = len(given) == len(names)
            if is_read and any(data[name] is not None for name in given):
                given = [name for name in given if data[name] is not None]
            if len(given) > 1:
                raise ValueError(
                    f"must be one tracker, got {' and '.join(given)}. Write an item for each."
                )
            if not data:
                raise ValueError(f"must name a tracker, got nothing. Known: {', '.join(names)}.")
        return data

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

    parallel: Count | Literal["auto"] = Field(
        "auto", description="Trials in parallel; `auto`: as many as CPUs and GPUs allow."
    )
    cpus_per_trial: Count = Field(1, description="Also torch's threads.")
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        description="1, or a fraction below 1; a trainable may use several GPUs; `auto`: 1 "
        "if Ray sees a GPU, else 0.",
    )
    gpu_memory_fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Share of a GPU's memory that a trial may use; none: no limit.  If "
        "gpus_per_trial is a fraction, set the same fraction here to share the memory fairly.",
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto", description="`auto`: bf16 if the hardware supports it, else fp32."
    )
    compile: Literal[False, "default", "reduce-overhead"] = Field(
        False, description="Mode of torch.compile for training steps; `false`: not compiled."
    )
    max_failures: Annotated[int, Field(ge=0)] = Field(
        0, description="Retries of a trial that raised an error (not if its loss is not finite)."
    )
    max_failed_fraction: Share = Field(
        0.5, description="If more trials fail, the study stops with exit code 1."
    )
    checkpoints: str | None = Field(
        None,
        description="Folder or fsspec URI (s3://...) of the training states, relative to the "
        "study file; every node must reach it.  None: checkpoints/ in the run's folder.",
    )
    checkpoint_seconds: Positive = Field(
        300.0,
        description="A training state is saved after each epoch, and within an epoch this many "
        "seconds after the last one (or 100 times the time to save it, if that is longer).",
    )
    epoch_timeout_seconds: Positive | None = Field(
        None,
        description="An epoch that takes longer, including loading and scoring, is stopped with "
        "its worker, and its trial fails (see max_failures).  Needs Ray.  None: no limit.",
    )
    keep_checkpoints: Count | Literal["all"] = Field(
        50,
        description="Keep the finetuned weights of this many complete trials: those of the front "
        "first, then the newest.",
    )
    grace_seconds: Positive = Field(
        60.0,
        description="After Ctrl-C, SIGTERM or SIGUSR1, running epochs have this many seconds to "
        "finish and be saved.",
    )

    trackers: Annotated[tuple[TrackerSettings, ...], Field(strict=False)] = Field(
        (),
        description="Where the study is shown too: tensorboard, mlflow, wandb, each with its "
        "settings, as [tensorboard, {mlflow: {uri: http://localhost:5000}}].",
        json_schema_extra=_allow_names,
    )

    @field_validator("gpus_per_trial")
    @classmethod
    def _whole_or_fraction(cls, gpus: float | str) -> float | str:
        if isinstance(gpus, float) and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"must be a whole number above 1, got {gpus:g}. Write {int(gpus)}.")
        return gpus
