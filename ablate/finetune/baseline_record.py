"""The record next to a baseline's weights in the cache, and the check that they are intact.

Importing this loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from ablate.files.cache import is_whole

WEIGHTS = "weights.safetensors"
RECORD = "baseline.json"


@dataclass(frozen=True)
class BaselineRecord:
    """Record of a baseline with intact weights.

    Attributes:
        sha256: of the file of the weights.
        train_seconds: wall time of its training, 0 for a checkpoint.
    """

    sha256: str
    train_seconds: float


def read_record(entry: Path) -> BaselineRecord | None:
    """The record of a baseline, its weights compared with it; None where one is missing or damaged.

    Args:
        entry: its folder in the cache.
    """
    try:
        record = json.loads((entry / RECORD).read_text())
        sha256 = record["sha256"]
        seconds = math.fsum(epoch["seconds"] for epoch in record["curve"])
        if not are_whole(entry / WEIGHTS, sha256):
            return None
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        return None  # damage can make any text of it
    return BaselineRecord(sha256, seconds)


def are_whole(weights: Path, sha256: str) -> bool:
    """Whether weights have this digest, checked once per process.

    Raises:
        OSError: if they are missing or cannot be read.
    """
    return is_whole((weights,), sha256, lambda: sha256_of(weights))


def sha256_of(file: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
