"""Seeds: everything random is derived from them, nothing is carried.

A draw's generator is made from (seed, purpose, where in the run), so a resumed trial needs no
generator state, and two trials with one seed see the same order and the same draws.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Seeds:
    """The seeds of a trial, each for one purpose."""

    split: int
    train: int
    evaluation: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Seeds:
        return cls(**data)


def derive_seed(seed: int, *where: str | int) -> int:
    """A seed for one purpose and place, independent of every other one.

    Args:
        seed: the seed of the study, the trial or the evaluation.
        where: purpose, then place, such as `("noise", epoch, step)`.

    Returns:
        An int in [0, 2**63), the same on every machine and Python.
    """
    text = "\x1f".join(str(part) for part in (seed, *where))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
