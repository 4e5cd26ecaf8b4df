"""The study file as frozen data: its keys, units, ranges and defaults.

Plain data only.  Names of data sets, models, losses and so on are strings here; the packages that
define them list the known names (`ablate.lifecycle.known_names`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ablate.errors import LONGEST_NAME
from ablate.study.displayed import Displayed
from ablate.study.scores import Bound
from ablate.study.sections import Seed, Settings
from ablate.study.sections.ablation import (
    AblationSettings,
    ClaimSettings,
    ContrastSettings,
    NonInferiorSettings,
    TuneSettings,
)
from ablate.study.sections.data import (
    DatasetSettings,
    ModelSettings,
    NormalizationSettings,
    ValidationSettings,
)
from ablate.study.sections.method import (
    AugmentSettings,
    AugMixSettings,
    CleanSettings,
    DASettings,
    FMASettings,
    LossSettings,
    STSettings,
)
from ablate.study.sections.search import (
    AnswerSettings,
    ConstraintSettings,
    ObjectiveSettings,
    PrunerSettings,
    RunSettings,
    SearchBudgetSettings,
    SearchSettings,
    TrackerSettings,
)
from ablate.study.sections.training import (
    BaselineSettings,
    BudgetSettings,
    FinetuneSettings,
    InterpolationSettings,
    TrainingSettings,
)
from ablate.study.yaml_source import write_yaml

__all__ = [
    "AblationSettings",
    "AnswerSettings",
    "AugMixSettings",
    "AugmentSettings",
    "BaselineSettings",
    "BudgetSettings",
    "ClaimSettings",
    "CleanSettings",
    "ConstraintSettings",
    "ContrastSettings",
    "DASettings",
    "DatasetSettings",
    "FMASettings",
    "FinetuneSettings",
    "InterpolationSettings",
    "LossSettings",
    "ModelSettings",
    "NonInferiorSettings",
    "NormalizationSettings",
    "ObjectiveSettings",
    "PrunerSettings",
    "RobustnessSettings",
    "RunSettings",
    "STSettings",
    "SearchBudgetSettings",
    "SearchSettings",
    "Settings",
    "Study",
    "TrackerSettings",
    "TrainingSettings",
    "TuneSettings",
    "ValidationSettings",
]


class RobustnessSettings(Settings):
    suite: str | Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = Field(
        "families", description="A suite, or a list of corruptions of the benchmark."
    )
    severities: Annotated[
        tuple[Annotated[int, Field(ge=1, le=5)], ...], Field(min_length=1, strict=False)
    ] = (1, 3, 5)
    images: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Images in each corrupted copy, balanced over classes; None: the whole "
        "validation split. Clean accuracy always uses the whole split.",
    )
    frost_images: str | None = Field(
        None,
        description="Folder with photographs of frost; None: a generated texture is used, and "
        "every result notes it.",
    )
    stored_gb: Annotated[float, Field(ge=0)] = Field(
        4.0,
        description="A set of corrupted copies up to this size is kept in the cache; a larger one "
        "is generated again for each trial, with the same bytes.",
    )
    seed: Seed = Field(0, description="Seed of the corrupted evaluation sets.")
    adapt_batch_norm: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Also score the baseline with batch norm adapted at test time, as a reference; "
        "its own statistics count as this many images.",
    )


DEFAULT_OBJECTIVES = (
    ObjectiveSettings(metric="val_clean_accuracy"),
    ObjectiveSettings(metric="val_robust_accuracy"),
)


class Study(Displayed, Settings):
    """A study: its question, data, model and search.

    With a `trainable`, the function has its own data and model; the sections about them contain
    unused placeholders.
    """

    version: Literal[1]
    name: str = Field(
        max_length=100,
        pattern=r"^[^/\\\x00-\x1f\x7f-\x9f.#][^/\\\x00-\x1f\x7f-\x9f#]*$",
        description="Also the name of its folder in runs/; without ~.",
    )
    question: str = ""
    trainable: str | None = Field(
        None,
        description="Your own training loop, `package.module:function`, or `module:function` in a "
        "file next to the study file; instead of data set, model and robustness finetuning.",
    )
    dataset: DatasetSettings
    model: ModelSettings
    baseline: BaselineSettings = BaselineSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    loss: LossSettings = LossSettings()
    augment: AugmentSettings = AugmentSettings()
    space: dict[str, Any] | str = Field(
        default_factory=dict, description="A search space, or the file that holds it."
    )
    objectives: Annotated[tuple[ObjectiveSettings, ...], Field(min_length=1, strict=False)] = (
        DEFAULT_OBJECTIVES
    )
    constraints: Annotated[tuple[ConstraintSettings, ...], Field(strict=False)] = ()
    answer: AnswerSettings = AnswerSettings()
    search: SearchSettings = SearchSettings()
    ablation: AblationSettings | None = Field(
        None, description="Instead of `search`: cells that are run over paired seeds."
    )
    robustness: RobustnessSettings = RobustnessSettings()
    run: RunSettings = RunSettings()
    storage: str | None = Field(
        None,
        repr=False,
        description="Optuna storage URL; ${VARIABLE} is filled in. None: runs/NAME/study.db.",
    )

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
        metrics = [one.metric for one in self.objectives]
        return tuple(dict.fromkeys([*metrics, *(one.metric for one in self.constraints)]))

    def bounds(self, baseline: Mapping[str, float] | None) -> tuple[Bound, ...]:
        """The sides of all constraints, in numbers (`ConstraintSettings.bounds`)."""
        return tuple(bound for one in self.constraints for bound in one.bounds(baseline))

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
