"""Section `ablation`: which parts are left out or varied, over which seeds, with which claims."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ablate.study.sections import Count, Names, Positive, Seed, Settings

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

_OWN = tuple(dict.fromkeys(key for keys in READS.values() for key in keys))
_NEEDED = {
    **dict.fromkeys(("leave_one_out", "add_one", "shapley"), "components"),
    "one_at_a_time": "factors",
    "arms": "arms",
}


class ContrastSettings(Settings):
    """Two cells or arms, or an effect."""

    compare: str = Field(
        description="A cell or arm, or an effect of a factorial or Shapley design: `fma`, "
        "`fma * st`."
    )
    to: str | None = Field(
        None, description="The cell or arm that it is compared with; none: the reference."
    )


class ClaimSettings(ContrastSettings):
    """A contrast declared before the first run, which can support a claim."""

    metric: str = Field("val_robust_accuracy", description="Metric to compare.")


class NonInferiorSettings(Settings):
    """The non-inferiority criterion."""

    metric: str = Field("val_clean_accuracy", description="Metric that must be kept.")
    margin: Positive = Field(description="Largest loss allowed, in the metric's unit.")


class TuneSettings(Settings):
    """A separate search for each arm, all with the same budget."""

    trials: Count = Field(description="Number of trials of each arm's search.")
    sampler: str = Field(
        "random",
        description="`random` alone gives independent samples, which allow an estimate of the best "
        "score at smaller budgets.",
    )
    seed: Seed = Field(0, description="Seed of each arm's search.")
    pick: str = Field(
        "best val_robust_accuracy",
        description="The trial whose parameters the arm uses, as in `reference`.",
    )


class PlanSettings(Settings):
    """Power of the primary contrasts before the study is run; affects no result."""

    pilot: str = Field(
        description="An ablation on the same data that has run, as a study file, run folder or "
        "URL#NAME: the variance of its contrasts is used."
    )
    difference: Positive = Field(
        0.01, description="True difference that should be shown, in the metric's unit."
    )


class AblationSettings(Settings):
    """An ablation: cells, each run with the same seeds."""

    design: DesignName = Field(description="Which cells to run, and which to compare.")
    reference: dict[str, Any] = Field(
        default_factory=dict,
        description="Values by dotted key on top of the study's own; or of a search: "
        "{study: STUDY, pick: knee | best METRIC | trial N}.",
    )
    components: (
        Annotated[tuple[str, ...], Field(strict=False)] | dict[str, dict[str, Any] | None] | None
    ) = Field(
        None,
        description="Parts that can be left out: loss terms, families, types, `layer:NAME`, "
        "`combined_augmentations`; or names of your own, each with the values that hold without "
        "it.",
    )
    factors: dict[str, list[Any] | dict[str, dict[str, Any]]] | None = Field(
        None,
        description="Dotted key -> levels; or a name of your own -> level -> values by dotted key.",
    )
    arms: dict[str, dict[str, Any]] | None = Field(
        None,
        description="Name -> values by dotted key; `augment.types: each` is a model for each type.",
    )
    compare_to: str | None = Field(
        None,
        description="The arm that the others are compared with; none: `plain` where there is one, "
        "else the first.",
    )
    families: Names | None = Field(
        None, description="`leave_family_out`: families to leave out in turn; none: all."
    )
    resolution: Annotated[int, Field(ge=3, le=5)] = Field(
        4, description="`fractional`: 3, 4 or 5; higher means more runs and fewer aliases."
    )
    interactions: tuple[str, ...] = Field(
        (),
        strict=False,
        description="`fractional`: interactions of interest, such as `fma * st`; they must not be "
        "aliased.",
    )
    permutations: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None,
        description="`shapley`: number of random orders of the components to average over, so that "
        "only the subsets that they visit are run; none: all subsets.",
    )
    seeds: Count | Annotated[tuple[Seed, ...], Field(min_length=1, strict=False)] = Field(
        8,
        description="Number of runs of each cell, with the seeds after finetune.seed; or a list of "
        "seeds.  The same for all cells.",
    )
    baseline_seeds: Literal["one", "each"] = Field(
        "one",
        description="`one`: all runs start from the study's baseline; `each`: every seed trains "
        "its own baseline, the same for all cells.",
    )
    primary: Annotated[tuple[ClaimSettings, ...], Field(strict=False)] = Field(
        (), description="Contrasts that support claims; p values are adjusted over them (Holm)."
    )
    contrasts: Annotated[tuple[ContrastSettings, ...], Field(strict=False)] = Field(
        (), description="Further contrasts to show, on every metric; they support no claim."
    )
    noninferior: NonInferiorSettings | None = Field(
        None, description="Defines when a metric counts as kept."
    )
    tune: TuneSettings | None = Field(
        None,
        description="`arms`: each arm is tuned in the study's `space` before its seeds are run.",
    )
    plan: PlanSettings | None = Field(
        None,
        description="`check` and `--dry-run` report the power of the primary contrasts, and warn "
        "of one below 20 %.",
    )
    max_runs: Count = Field(500, description="A design with more runs is rejected.")

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(seeds, tuple) and len(set(seeds)) < len(seeds):
            twice = next(seed for seed in seeds if seeds.count(seed) > 1)
            raise ValueError(f"must be distinct, got {twice} twice. Remove one.")
        return seeds

    @model_validator(mode="after")
    def _fits(self) -> AblationSettings:
        reads, design = READS[self.design], self.design
        for key in _OWN:
            default = type(self).model_fields[key].default
            if key not in reads and getattr(self, key) != default:
                others = " or ".join(name for name, keys in READS.items() if key in keys)
                raise ValueError(
                    f"{key} belongs to design {others}, got it with {design}. Remove it, or change "
                    "the design."
                )
        needed = _NEEDED.get(design)
        if needed is not None and not getattr(self, needed):
            raise ValueError(f"design {design} needs {needed}, got none. Add {needed}.")
        if design in ("factorial", "fractional") and not (self.factors or self.components):
            raise ValueError(f"design {design} needs factors or components, got none. Add some.")
        if self.seed_count == 1 and (self.primary or self.noninferior):
            raise ValueError(
                "a test needs at least two seeds, got seeds: 1 with primary or noninferior. Raise "
                "seeds; with 8 the smallest two-sided p is .0078."
            )
        return self

    @property
    def seed_count(self) -> int:
        """K: runs of each cell."""
        return self.seeds if isinstance(self.seeds, int) else len(self.seeds)
