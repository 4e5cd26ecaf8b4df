"""Search and ablation for robustness finetuning (pip install ablate-robustness).

Everything public is here and loaded when it is first used: `import ablate` loads none of torch,
ray, optuna, pandas and plotly.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Read as torch is loaded, also by the workers: threads that wait give their core away.  Beside
# other work those that spin train at a fraction of the speed (docs/howto/problems.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from ablate import space
    from ablate.api import (
        check,
        confirm,
        dry_run,
        enqueue,
        launch,
        load_trials,
        plot_pareto,
        read,
        read_ablation,
        read_confirmation,
        resume,
    )
    from ablate.errors import AblateError
    from ablate.finetune.augment.augmentation import CombinedAugmentations
    from ablate.finetune.loss.fma import FMALoss
    from ablate.finetune.loss.st import StabilityLoss
    from ablate.lifecycle.export import load_model
    from ablate.lifecycle.python_study import Study
    from ablate.model.taps import FeatureTaps
    from ablate.report.archive import archive
    from ablate.report.draw import plot
    from ablate.report.page.page import write_report
    from ablate.report.tracked import track
    from ablate.report.verify import verify
    from ablate.robustness.corrupt import corrupt
    from ablate.robustness.evaluate import evaluate
    from ablate.robustness.evaluation import load_evaluation, write_evaluation
    from ablate.search.callbacks import StopStudy
    from ablate.trial.own_loop import TrialContext

_NAMES = {
    "api": "check confirm dry_run enqueue launch load_trials plot_pareto read read_ablation "
    "read_confirmation resume",
    "errors": "AblateError",
    "finetune.augment.augmentation": "CombinedAugmentations",
    "finetune.loss.fma": "FMALoss",
    "finetune.loss.st": "StabilityLoss",
    "lifecycle.export": "load_model",
    "lifecycle.python_study": "Study",
    "model.taps": "FeatureTaps",
    "report.archive": "archive",
    "report.draw": "plot",
    "report.page.page": "write_report",
    "report.tracked": "track",
    "report.verify": "verify",
    "robustness.corrupt": "corrupt",
    "robustness.evaluate": "evaluate",
    "robustness.evaluation": "load_evaluation write_evaluation",
    "search.callbacks": "StopStudy",
    "trial.own_loop": "TrialContext",
}
_HOMES = {name: f"ablate.{home}" for home, names in _NAMES.items() for name in names.split()}

__all__ = [
    "AblateError",
    "CombinedAugmentations",
    "FMALoss",
    "FeatureTaps",
    "StabilityLoss",
    "StopStudy",
    "Study",
    "TrialContext",
    "archive",
    "check",
    "confirm",
    "corrupt",
    "dry_run",
    "enqueue",
    "evaluate",
    "launch",
    "load_evaluation",
    "load_model",
    "load_trials",
    "plot",
    "plot_pareto",
    "read",
    "read_ablation",
    "read_confirmation",
    "resume",
    "space",
    "track",
    "verify",
    "write_evaluation",
    "write_report",
]


def _warn_of_another() -> None:
    """Warn if PyPI's `ablate` is installed into this folder too."""
    above = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 (pathlib takes milliseconds)
    try:
        names = os.listdir(above)  # noqa: PTH208
    except OSError:  # in an archive
        return
    if any(name.startswith("ablate-") and name.endswith(".dist-info") for name in names):
        from ablate_robustness import another_ablate

        if message := another_ablate([above]):
            import warnings

            warnings.warn(message, stacklevel=3)


_warn_of_another()


if "ipykernel" in sys.modules:
    # Without ipywidgets, optuna's import of tqdm warns of bars that ablate never shows.
    import warnings
    from contextlib import suppress

    with warnings.catch_warnings(), suppress(ImportError):
        warnings.filterwarnings("ignore", "IProgress not found")
        import_module("tqdm.auto")


def __getattr__(name: str) -> Any:
    if name == "space":
        return import_module("ablate.space")
    if name not in _HOMES:
        raise AttributeError(f"module 'ablate' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
