"""The process that drivers are forked from: it has driven a study, so they load and read little."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from pathlib import Path

from commands import run_here
from fast_databases import make_databases_fast
from mlflow_server import PYTHON
from own_study import write_own_study

import ablate.search.ray_tune
import ablate.trial.robustness  # noqa: F401

with contextlib.suppress(ImportError):
    import psycopg  # noqa: F401

if PYTHON in os.environ:  # drivers with trackers are tested
    import mlflow  # noqa: F401
    import tensorboard.plugins.hparams.metadata  # noqa: F401
    import wandb  # noqa: F401

make_databases_fast()
os.environ.pop("ABLATE_STORAGE", None)
with tempfile.TemporaryDirectory() as folder:
    study = write_own_study(Path(folder), "template")
    assert run_here("launch", study, "--executor", "inline", cwd=Path(folder)).returncode == 0

# No driver looks through what all of them share.
gc.collect()
gc.freeze()
