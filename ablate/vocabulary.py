"""The names that a study file may use, collected from the packages that own them.

`study` and `space` stand left of those packages and know none of their names; here both sides
meet.  No torch, ray or optuna is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ablate.distortion import FAMILIES
from ablate.finetune.data import DATASETS
from ablate.finetune.loss import DISTANCES, FORMS, TERMS
from ablate.finetune.model import MODELS, TAPS
from ablate.robustness.suites import SUITES, suite_families
from ablate.space import SAMPLERS
from ablate.study.scores import metric_names

SEVERITIES = (1, 2, 3, 4, 5)


def names_for(model: str | None) -> Mapping[str, Sequence[str]]:
    """Names by dotted key of the study.

    Args:
        model: decides which taps there are; none or unknown: no taps.
    """
    metrics = [
        metric
        for suite in SUITES
        for metric in metric_names(suite_families(suite), SEVERITIES)
        # NaN for a trial that has seen every type, or none: no objective.
        if not metric.endswith(("_seen", "_unseen"))
    ]
    return {
        "dataset.name": DATASETS,
        "model.name": MODELS,
        "loss.terms": TERMS,
        "loss.st.form": FORMS,
        "loss.fma.distance": DISTANCES,
        "loss.fma.layers": TAPS.get(model or "", ()),
        "augment.families": tuple(FAMILIES),
        "objectives.metric": tuple(dict.fromkeys(metrics)),
        "robustness.suite": SUITES,
        "search.sampler": SAMPLERS,
    }
