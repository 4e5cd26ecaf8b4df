"""Corrupted copies of a split: made once, the same for every trial, memory-mapped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from ablate import distortion
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import ByteImages
from ablate.finetune.cache import locked, publish_folder
from ablate.finetune.data.dataset import Split
from ablate.study.seeds import derive_seed

SEVERITIES = 5
"""Severity s of 1 to 5 is strength s / 5."""

_VERSION = 1
"""Counts the ways in which sets were made, the distortions' strengths included; part of the key.
Raise it with every change that changes a pixel."""

_CHUNK = 512
"""Images that share a generator; part of what the set is."""

_FILE = "images.npy"


@dataclass(frozen=True)
class EvaluationSet:
    """A split under every distortion type at every severity.

    Attributes:
        types: first axis of `images`.
        severities: second axis, each from 1 to 5.
        images: uint8 `[type, severity, image, channel, height, width]`, mapped from the cache.
    """

    types: tuple[str, ...]
    severities: tuple[int, ...]
    images: torch.Tensor


def obtain_evaluation_set(
    split: Split, types: Sequence[str], severities: Sequence[int], seed: int, cache: Path
) -> EvaluationSet:
    """The corrupted copies of a split: from the cache, or made now.

    They are made on the CPU, so that every device is scored on the same bytes. Of several
    processes that ask at once, one makes them and the others wait for it.

    Args:
        split: what is corrupted.
        types: distortion types.
        severities: each from 1 to 5.
        seed: of the draws; each type, severity and chunk of images has its own.
        cache: folder that holds `evaluation/`.

    Raises:
        ParameterError: if a type is unknown.
        UsageError: if the cache cannot be written.
    """
    made_from = (_VERSION, _CHUNK, split.digest, tuple(types), tuple(severities), seed)
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]
    entry = cache / "evaluation" / key
    shape = (len(types), len(severities), *split.images.shape)
    images = _open(entry, shape)
    if images is None:
        with locked(entry):
            images = _open(entry, shape)
            if images is None:
                with publish_folder(entry) as temporary:
                    made = open_memmap(temporary / _FILE, mode="w+", dtype=np.uint8, shape=shape)
                    _fill(made, split, types, severities, seed)
                    made.flush()
                images = torch.from_numpy(np.load(entry / _FILE, mmap_mode="c"))
    return EvaluationSet(tuple(types), tuple(severities), images)


def corrupt_images(images: ByteImages, kind: str, severity: int, seed: int) -> ByteImages:
    """A chunk of images under one distortion type at one severity, rounded to bytes.

    Args:
        images: uint8, on the CPU.
        severity: from 1 to 5.
        seed: of this chunk's draws.
    """
    strength = torch.full((len(images),), severity / SEVERITIES)
    generator = make_generator(seed, "cpu")
    corrupted = distortion.load(kind)(images.float() / 255, strength, generator)
    return (corrupted * 255).round().to(torch.uint8)


def _open(entry: Path, shape: tuple[int, ...]) -> torch.Tensor | None:
    try:
        # Copy on write: torch wants an array that can be written, and nothing writes it.
        images = np.load(entry / _FILE, mmap_mode="c")
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(images) if images.shape == shape else None


def _fill(
    images: np.ndarray, split: Split, types: Sequence[str], severities: Sequence[int], seed: int
) -> None:
    for row, kind in enumerate(types):
        for column, severity in enumerate(severities):
            for start in range(0, len(split), _CHUNK):
                chunk = split.images[start : start + _CHUNK]
                place = derive_seed(seed, "evaluation", kind, severity, start)
                corrupted = corrupt_images(chunk, kind, severity, place)
                images[row, column, start : start + len(chunk)] = corrupted.numpy()
