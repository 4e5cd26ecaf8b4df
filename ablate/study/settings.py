"""The study file as frozen data: what may be written, its units, ranges and defaults.

Plain data only.  Names of data sets, models, losses and so on are strings here: the packages
that own them say which exist (`ablate.vocabulary`), so that this module knows none of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Names = Annotated[tuple[str, ...], Field(min_length=1, strict=False)]


class Settings(BaseModel):
    """Base of every section: frozen, no unknown keys, no silent conversion, no NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )


class ValidationSettings(Settings):
    """Which images the search is scored on; the baseline never sees them."""

    fraction: Fraction = Field(0.1, description="Share of each class of the training images.")
    seed: Seed = Field(0, description="Seed of the stratified split.")


class DatasetSettings(Settings):
    name: str = Field(description="`digits`, or `image_folder` with a `path`.")
    path: str | None = Field(
        None, description="Folder with train/CLASS/* and test/CLASS/*, relative to the study file."
    )
    image_size: Annotated[int, Field(ge=8, le=1024)] = Field(
        32, description="Side in pixels; images of another size are resized."
    )
    crop_padding: Annotated[int, Field(ge=0, le=16)] = Field(
        0, description="Training images are shifted by up to this many pixels; 0 turns it off."
    )
    horizontal_flip: bool = Field(False, description="Mirror training images at random.")
    validation: ValidationSettings = ValidationSettings()


class ModelSettings(Settings):
    name: str = Field(description="`resnet8`, `resnet20`.")


class TrainingSettings(Settings):
    """SGD with Nesterov momentum; the learning rate falls to 0 along a cosine."""

    batch_size: Annotated[int, Field(ge=2)] = Field(64, description="Clean images a step.")
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Weight = 5e-4
    seed: Seed = Field(0, description="Seed of the weights, the order of images and all draws.")


class BaselineSettings(TrainingSettings):
    epochs: Annotated[int, Field(ge=1)] = 10
    learning_rate: Annotated[float, Field(gt=0)] = 0.1


class BudgetSettings(Settings):
    epochs: Annotated[int, Field(ge=1)] = Field(4, description="Passes over the training images.")


class FinetuneSettings(TrainingSettings):
    budget: BudgetSettings = BudgetSettings()


class CleanSettings(Settings):
    weight: Weight = Field(1.0, description="Weight of cross-entropy on the clean images.")


class DASettings(Settings):
    weight: Weight = Field(1.0, description="Weight of cross-entropy on the augmented images.")


class STSettings(Settings):
    weight: Weight = Field(1.0, description="Weight of the stability term.")
    form: str = Field("cross_entropy", description="Distance of the two predictions.")
    anchor: Literal["both", "clean"] = Field(
        "both",
        description="`both`: the gradient flows through both branches; `clean`: the clean branch "
        "is a target without gradient.",
    )


class FMASettings(Settings):
    weight: Weight = Field(1.0, description="Weight of the feature-map term.")
    layers: Names | Literal["taps"] = Field(
        "taps", description="Taps of the model (`ablate layers MODEL`); `taps` is all of them."
    )
    layer_weights: dict[str, Weight] | None = Field(
        None, description="Weight by layer, scaled to sum 1; none: uniform."
    )
    distance: str = Field("relative", description="Distance of two feature maps.")
    anchor: Literal["both", "clean"] = Field("clean", description="As `loss.st.anchor`.")


class LossSettings(Settings):
    terms: str = Field("clean+fma", description="Terms joined by +: clean, da, st, fma.")
    clean: CleanSettings = CleanSettings()
    da: DASettings = DASettings()
    st: STSettings = STSettings()
    fma: FMASettings = FMASettings()

    @property
    def term_names(self) -> tuple[str, ...]:
        return tuple(self.terms.split("+"))


class AugmentSettings(Settings):
    """Combined augmentations: which distortions make the augmented copy."""

    method: Literal["per_sample"] = Field(
        "per_sample", description="One distortion type drawn for each image."
    )
    families: Names = Field(
        ("noise", "blur", "photometric"), description="Families of distortion to draw from."
    )
    mix: dict[str, Weight] | None = Field(
        None, description="Ratio by family, scaled to sum 1 over `families`; none: uniform."
    )
    strength: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Strengths are drawn uniformly from 0 to this; 1 is the strongest."
    )


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
    """How it is run: nothing here but `precision` and `cpus_per_trial` changes a score."""

    parallel: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="Trials at once; `auto`: as many as the CPUs and GPUs carry."
    )
    cpus_per_trial: Annotated[int, Field(ge=1)] = Field(1, description="Also torch's threads.")
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="Whole or a fraction below 1; `auto`: one where Ray sees any, else 0."
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="`auto`: bf16 where the hardware has it."
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
