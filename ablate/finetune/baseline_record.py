"""The record next to a baseline's weights in the cache, and the check that they are intact.

Importing this loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import NamedTuple

from ablate.files.cache import is_whole

WEIGHTS = "weights.safetensors"
RECORD = "baseline.json"


class BaselineRecord(NamedTuple):
    """Of a baseline with intact weights: the sha256 of their file, and the wall time of the
    training, 0 for a checkpoint."""

    sha256: str
    train_seconds: float


def read_record(entry: Path, sha256: str | None = None) -> BaselineRecord | None:
    """The record of a baseline, its weights compared with it; None where one is missing or damaged.

    Args:
        entry: its folder in the cache.
        sha256: of the weights that are wanted, so that no others are read; None: any.
    """
    try:
        record = json.loads((entry / RECORD).read_text())
        recorded = record["sha256"]
        if sha256 is not None and recorded != sha256:
            return None
        seconds = math.fsum(epoch["seconds"] for epoch in record["curve"])
        weights = entry / WEIGHTS
        if not is_whole((weights,), recorded, lambda: sha256_of(weights)):  # once per process
            return None
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        return None  # damage can make any text of it
    return BaselineRecord(recorded, seconds)


def sha256_of(file: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
