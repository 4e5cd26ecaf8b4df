"""The sections of a study as mappings with known keys, for editors and type checkers.

Made from `ablate.study.settings` by `python tests/study/test_typed_sections.py`; do not edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal, Required, TypedDict

Text = str | PurePath


class ValidationKeys(TypedDict, total=False):
    fraction: float
    seed: int
    path: Text | None


class DatasetKeys(TypedDict, total=False):
    name: Required[Text | Callable[..., object]]
    path: Text | None
    download: bool
    image_size: int | None
    resize: int | None
    skip_unreadable: bool
    loading: Literal["resident", "streamed"]
    loading_workers: int
    crop_scale: float | None
    crop_padding: int
    horizontal_flip: bool
    train_fraction: float
    unlabeled: Text | None
    validation: ValidationKeys


class NormalizationKeys(TypedDict, total=False):
    mean: Required[Sequence[float]]
    std: Required[Sequence[float]]


class ModelKeys(TypedDict, total=False):
    name: Required[Text | Callable[..., object]]
    normalization: Literal["auto", "dataset", "imagenet", "none"] | NormalizationKeys


class BaselineKeys(TypedDict, total=False):
    batch_size: int
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    momentum: float
    weight_decay: float
    schedule: Literal["cosine", "one_cycle", "constant"]
    warmup_fraction: float
    gradient_clipping: float | None
    accumulation_steps: int
    ema_decay: float | None
    seed: int
    epochs: int
    checkpoint: Text | None
    saw_validation: bool | None
    expected_accuracy: float | None


class BudgetKeys(TypedDict, total=False):
    epochs: int | None
    images: int | None
    flops: float | None
    seconds: float | None


class InterpolationKeys(TypedDict, total=False):
    alphas: Sequence[float]
    alpha: float | None


class FinetuneKeys(TypedDict, total=False):
    batch_size: int
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    momentum: float
    weight_decay: float
    schedule: Literal["cosine", "one_cycle", "constant"]
    warmup_fraction: float
    gradient_clipping: float | None
    accumulation_steps: int
    ema_decay: float | None
    seed: int
    budget: BudgetKeys
    batch_norm: Literal["joint", "separate", "frozen"]
    layer_decay: float
    frozen: Sequence[Text]
    probe_fraction: float
    interpolation: InterpolationKeys | None


class CleanKeys(TypedDict, total=False):
    weight: float


class DAKeys(TypedDict, total=False):
    weight: float


class STKeys(TypedDict, total=False):
    weight: float
    form: Text
    anchor: Literal["both", "clean", "pretrained", "ema"]
    temperature: float


class FMAKeys(TypedDict, total=False):
    weight: float
    scale: Literal["value", "gradient"]
    layers: Sequence[Text] | Literal["taps", "last"]
    layer_weights: Mapping[str, float] | Literal["uniform", "linear", "geometric"]
    distance: Text
    anchor: Literal["both", "clean", "pretrained", "ema"]
    activation: Literal["after", "before"]


class LossKeys(TypedDict, total=False):
    terms: Text
    teacher_decay: float
    clean: CleanKeys
    da: DAKeys
    st: STKeys
    fma: FMAKeys


class AugMixKeys(TypedDict, total=False):
    chains: int
    depth: int
    severity: float
    dirichlet: float
    beta: float
    operators: Literal["disjoint", "all"]


class AugmentKeys(TypedDict, total=False):
    method: Literal["per_sample", "per_batch", "all", "composed", "augmix"]
    families: Sequence[Text]
    types: Sequence[Text] | None
    mix: Mapping[str, float] | None
    strength: float
    strengths: Mapping[str, float | Sequence[float]]
    clean_fraction: float
    copies: int
    depth: int
    augmix: AugMixKeys


class ObjectiveKeys(TypedDict, total=False):
    metric: Required[Text]
    direction: Literal["maximize", "minimize"]


class ConstraintKeys(TypedDict, total=False):
    metric: Required[Text]
    min: float | Text | None
    max: float | Text | None


class AnswerKeys(TypedDict, total=False):
    clean_margin: float


class SearchBudgetKeys(TypedDict, total=False):
    trials: int | None
    gpu_hours: float | None
    seconds: float | None


class PrunerKeys(TypedDict, total=False):
    kind: Literal["pareto_asha", "asha"]
    metric: Text | None
    metrics: Sequence[Text]
    min_epochs: int
    reduction_factor: int
    images: int | None


class SearchKeys(TypedDict, total=False):
    trials: int
    budget: SearchBudgetKeys
    sampler: Text
    seed: int
    enqueue: Sequence[Mapping[str, Any]]
    pruner: PrunerKeys | None
    reference_point: Sequence[float] | None


class ClaimKeys(TypedDict, total=False):
    compare: Required[Text]
    to: Text | None
    metric: Text


class ContrastKeys(TypedDict, total=False):
    compare: Required[Text]
    to: Text | None


class NonInferiorKeys(TypedDict, total=False):
    metric: Text
    margin: Required[float]


class TuneKeys(TypedDict, total=False):
    trials: Required[int]
    sampler: Text
    seed: int
    pick: Text


class PlanKeys(TypedDict, total=False):
    pilot: Required[Text]
    difference: float


class AblationKeys(TypedDict, total=False):
    design: Required[
        Literal[
            "leave_one_out",
            "one_at_a_time",
            "factorial",
            "fractional",
            "shapley",
            "add_one",
            "arms",
            "leave_family_out",
        ]
    ]
    reference: Mapping[str, Any]
    components: Sequence[Text] | Mapping[str, Mapping[str, Any] | None] | None
    factors: Mapping[str, Sequence[Any] | Mapping[str, Mapping[str, Any]]] | None
    arms: Mapping[str, Mapping[str, Any]] | None
    compare_to: Text | None
    families: Sequence[Text] | None
    resolution: int
    interactions: Sequence[Text]
    permutations: int | None
    seeds: int | Sequence[int]
    baseline_seeds: Literal["one", "each"]
    primary: Sequence[ClaimKeys]
    contrasts: Sequence[ContrastKeys]
    noninferior: NonInferiorKeys | None
    tune: TuneKeys | None
    plan: PlanKeys | None
    max_runs: int


class RobustnessKeys(TypedDict, total=False):
    suite: Text | Sequence[Text]
    severities: Sequence[int]
    images: int | None
    frost_images: Text | None
    stored_gb: float
    seed: int
    adapt_batch_norm: int | None


class TensorBoardKeys(TypedDict, total=False):
    folder: Text | None


class MLflowKeys(TypedDict, total=False):
    uri: Text | None
    experiment: Text | None


class WandbKeys(TypedDict, total=False):
    project: Text
    entity: Text | None
    mode: Literal["offline", "online"]
    folder: Text | None


class TrackerKeys(TypedDict, total=False):
    tensorboard: TensorBoardKeys | None
    mlflow: MLflowKeys | None
    wandb: WandbKeys | None


class RunKeys(TypedDict, total=False):
    parallel: int | Literal["auto"]
    cpus_per_trial: int
    gpus_per_trial: float | Literal["auto"]
    gpu_memory_fraction: float | None
    precision: Literal["auto", "bf16", "fp16", "fp32"]
    compile: Literal[False, "default", "reduce-overhead"]
    max_failures: int
    max_failed_fraction: float
    checkpoints: Text | None
    checkpoint_seconds: float
    epoch_timeout_seconds: float | None
    keep_checkpoints: int | Literal["all"]
    grace_seconds: float
    trackers: Sequence[Literal["tensorboard", "mlflow", "wandb"] | TrackerKeys]
