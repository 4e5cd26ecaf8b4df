"""A driver that kills or stops itself at a named point: `python fault_driver.py POINT N ARGS...`

POINT is a function of the driver with the prefix `before:` or `after:`, and N is the call (from 1)
at which it dies by SIGKILL; with `stop:` it is stopped after the call, until a SIGCONT.

ARGS are arguments of `ablate`.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

POINTS = {
    "ask": ("ablate.ledger.driving", "Driving", "ask"),
    "suggest": ("optuna.trial", "Trial", "suggest_float"),
    "write_row": ("ablate.ledger.tables", None, "set_attributes"),
    "hand_out": ("ablate.search.run_context", "RunContext", "log"),
    "record_epoch": ("ablate.ledger.driving", "Driving", "record_epoch"),
    "prune": ("ablate.ledger.driving", "Driving", "prune"),
    "tell": ("ablate.ledger.driving", "Driving", "complete"),
    "end_row": ("ablate.ledger.tables", None, "end_row"),
    "replicate": ("ablate.lifecycle.launch", None, "_run_replicate"),
    "mixtures": ("ablate.ledger.ledger", "Ledger", "set_mixtures"),
    "create": ("ablate.ledger.tables", None, "insert_study"),
    "rename": ("ablate.files.cache", None, "_sync"),
    "tensorboard": ("ablate.trackers.tensorboard", "TensorBoard", "write"),
    "wandb": ("ablate.trackers.wandb", "Wandb", "_publish"),
    "mlflow_run": ("ablate.trackers.mlflow", "MLflow", "_create"),
    "mlflow_log": ("ablate.trackers.mlflow", "MLflow", "_log"),
    "mlflow_row": ("ablate.trackers.mlflow", "MLflow", "write"),
    "mlflow_delete": ("ablate.trackers.mlflow", "MLflow", "begin"),
}
NOWHERE = "nowhere"
EAGER = "ABLATE_FAULTS_EAGER"
"""Environment variable of a driver that is to pass rows on to trackers at once."""


def arm(point: str, call: int) -> None:
    """Make the process die, or stop, at the n-th call of a point."""
    if EAGER in os.environ:
        from ablate.trackers import feed

        feed._SHARE, feed._FIRST_SECONDS, feed._AGAIN_SECONDS = 100.0, 0.0, 0.5
    sys.modules.pop("fault_trial", None)  # of a benchmark that this process was forked from
    if point == NOWHERE:
        return
    when, _, name = point.partition(":")
    module, owner, function = POINTS[name]
    holder: Any = importlib.import_module(module)
    if owner is not None:
        holder = getattr(holder, owner)
    setattr(holder, function, _dying(getattr(holder, function), when, call))


def _dying(function: Callable[..., Any], when: str, call: int) -> Callable[..., Any]:
    calls = 0

    @functools.wraps(function)
    def dying(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if when == "before" and calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **keywords)
        if when in ("after", "stop") and calls == call:
            os.kill(os.getpid(), signal.SIGKILL if when == "after" else signal.SIGSTOP)
        return result

    return dying


if __name__ == "__main__":
    del sys.path[0]  # the study's own fault_trial is to be found, and not the one beside this file
    arm(sys.argv[1], int(sys.argv[2]))
    from ablate.cli.main import main

    sys.argv = ["ablate", *sys.argv[3:]]
    main()
