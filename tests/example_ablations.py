"""Small ablations written by hand, for the tests of what prints them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo, ArmInfo, Transfer
from ablate.ablation.intervals import NONE, OVER_SEEDS, OVER_SEEDS_AND_IMAGES, Estimate
from ablate.ablation.significance import NonInferiority
from ablate.study.scores import COSTS

CLEAN, ROBUST = "val_clean_accuracy", "val_robust_accuracy"
NOISE, BLUR = "val_accuracy.noise", "val_accuracy.blur"
SCORED = (CLEAN, ROBUST, NOISE, BLUR)
NOTHING = Estimate(math.nan, math.nan, math.nan, math.nan, 0, NONE)


def estimate(
    mean: float,
    half: float | None = 0.01,
    *,
    sd: float = 0.004,
    n: int = 8,
    method: str = OVER_SEEDS,
) -> Estimate:
    """A mean with an interval of `half` to either side; of None a single number."""
    if half is None:
        return Estimate(mean, math.nan, math.nan, math.nan, 1, NONE)
    return Estimate(mean, sd, mean - half, mean + half, n, method)


def example_arm(
    name: str, estimates: Mapping[str, Estimate], *failed: str, is_one_network: bool = False
) -> ArmInfo:
    costs = dict.fromkeys(COSTS, 20.0) | {"train_flops": math.nan}
    return ArmInfo(name, (name,), estimates, costs, failed, is_one_network)


def scored_arm(name: str, clean: float, robust: float, *failed: str, n: int = 8) -> ArmInfo:
    """Noise lies 0.1 below its robust accuracy, blur 0.1 above."""
    means = dict(zip(SCORED, (clean, robust, robust - 0.1, robust + 0.1), strict=True))
    found = {metric: estimate(mean, n=n) for metric, mean in means.items()}
    return example_arm(name, found, *failed)


def example_effect(
    contrast: str,
    mean: float,
    half: float | None = 0.02,
    *,
    metric: str = ROBUST,
    n: int = 8,
    p: float = 0.0078125,
    **fields: Any,
) -> Effect:
    """Over seeds and images; of a claim with the least p that sign flips over n seeds give."""
    least = 2 / 2**n if "p_adjusted" in fields else None
    return Effect(
        contrast=contrast,
        kind=fields.pop("kind", "difference"),
        metric=metric,
        estimate=estimate(mean, half, n=n, method=fields.pop("method", OVER_SEEDS_AND_IMAGES)),
        p=p,
        p_seeds=fields.pop("p_seeds", least),
        **fields,
    )


def kept(low: float = -0.005, *, margin: float = 0.02, p: float = 0.00390625) -> NonInferiority:
    return NonInferiority(margin, low > -margin, p, low)


def example_ablation(**changes: Any) -> AblationInfo:
    """Baseline, plain, DA and FMA at 8 seeds; FMA is better than plain, and DA not shown to be.

    On clean images FMA is tied with plain, the best.
    """
    baseline = {
        metric: estimate(mean, None)
        for metric, mean in zip(SCORED, (0.95, 0.60, 0.50, 0.70), strict=True)
    }
    arms = (
        example_arm("baseline", baseline, is_one_network=True),
        scored_arm("plain", 0.960, 0.610),
        scored_arm("DA", 0.935, 0.755),
        scored_arm("FMA", 0.955, 0.773),
    )
    effects = (
        example_effect("baseline - plain", -0.01),
        example_effect("baseline - plain", -0.01, metric=CLEAN),
        example_effect("DA - plain", 0.145, p=0.0625, p_adjusted=0.0625, verdict="not shown"),
        example_effect("DA - plain", -0.02, metric=CLEAN, kept=kept(-0.03, p=0.4)),
        example_effect("FMA - plain", 0.163, p_adjusted=0.015625, verdict="better"),
        example_effect("FMA - plain", -0.005, metric=CLEAN, kept=kept()),
        example_effect("FMA - plain", 0.163, metric=NOISE),
    )
    fields: dict[str, Any] = {
        "study": "example",
        "question": "Which term earns its keep?",
        "subject": "digits, resnet8",
        "fingerprint": "abc123def456789",
        "design": "arms",
        "reference": "plain",
        "metrics": SCORED,
        "families": ("noise", "blur"),
        "minimized": (),
        "arms": arms,
        "effects": effects,
        "best": {
            CLEAN: (
                "plain",
                "FMA",
            ),
            **dict.fromkeys((ROBUST, NOISE, BLUR), ("FMA",)),
        },
        "rank_metric": ROBUST,
        "transfers": (),
        "tuning": (),
        "seeds": 8,
        "runs": 24,
        "ended": 24,
        "split": "validation",
        "n_images": 359,
        "n_corrupted": 100,
        "cell_share": 1.0,
        "mean_over": "families",
        "aliases": (),
        "marks": ("conditional on the one baseline that all runs start from",),
        "failures": (),
    }
    return AblationInfo(**{**fields, **changes})


def single_models_ablation(**changes: Any) -> AblationInfo:
    """Two methods with a model for each of two types, tested on three."""
    tested = ("gaussian_noise", "gaussian_blur", "contrast")
    own, others = ((0.3, 0.2, math.nan), (-0.2, -0.1, 0.05))
    transfers = tuple(
        Transfer(arm, tested, tuple(map(estimate, own)), tuple(map(estimate, others)))
        for arm in ("DA single", "ST single")
    )
    return example_ablation(transfers=transfers, **changes)


def own_loop_ablation(**changes: Any) -> AblationInfo:
    """A custom training loop: a loss, to be minimised, and a speed."""
    arms = (
        example_arm("a", {"loss": estimate(0.4312, 0.002), "images/s": estimate(1250.0, 30.0)}),
        example_arm("b", {"loss": estimate(0.4325, 0.002), "images/s": estimate(1300.0, 10.0)}),
        example_arm("c", {"loss": estimate(0.51, 0.01), "images/s": NOTHING}),
    )
    effects = (
        example_effect("b - a", 0.0013, 0.003, metric="loss", p=0.4, method=OVER_SEEDS),
        example_effect("c - a", 0.0788, 0.01, metric="loss", method=OVER_SEEDS),
        example_effect("b - a", 50.0, 20.0, metric="images/s", method=OVER_SEEDS),
    )
    own: dict[str, Any] = {
        "subject": "loops:train",
        "reference": "a",
        "metrics": ("loss", "images/s"),
        "families": (),
        "minimized": ("loss",),
        "arms": arms,
        "effects": effects,
        "best": {
            "loss": (
                "a",
                "b",
            ),
            "images/s": ("b",),
        },
        "rank_metric": "loss",
        "n_images": None,
        "n_corrupted": None,
        "cell_share": None,
        "mean_over": None,
        "marks": (),
    }
    return example_ablation(**{**own, **changes})


def factorial_ablation(**changes: Any) -> AblationInfo:
    """Two factors at two levels; no arm is a reference."""
    names = ("without fma, without st", "without fma, with st", "with fma, without st", "with both")
    arms = tuple(scored_arm(name, 0.95, 0.6 + 0.05 * at) for at, name in enumerate(names))
    effects = (
        example_effect("with both - with fma, without st", 0.05, metric=CLEAN),
        example_effect("fma", 0.1, kind="main effect", p_adjusted=0.0234375, verdict="better"),
        example_effect("st", 0.05, kind="main effect", p_adjusted=0.0234375, verdict="better"),
        example_effect(
            "fma * st", -0.03, kind="interaction", p_adjusted=0.0234375, verdict="worse"
        ),
        example_effect("fma", 0.0, kind="main effect", metric=CLEAN),
    )
    own: dict[str, Any] = {
        "design": "factorial",
        "reference": "",
        "arms": arms,
        "effects": effects,
        "best": dict.fromkeys((ROBUST, NOISE, BLUR), (names[-1],)),
        "marks": ("effects are half-sums over cells",),
    }
    return example_ablation(**{**own, **changes})
