"""Corrupted copies of a split, the same for every trial: kept in the cache, or made when read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import write_array_header_1_0

from ablate import distortion
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import ByteImages, Labels
from ablate.finetune.cache import locked, publish_folder
from ablate.finetune.data.dataset import Split
from ablate.finetune.inventory import (
    ABOUT,
    bound_evaluation_sets,
    evaluation_bound,
    mark_used,
)
from ablate.robustness import corruption
from ablate.robustness.code_version import code_version
from ablate.robustness.corruption.frost_photographs import FrostPhotographs
from ablate.robustness.corruption.kind import scale_of
from ablate.robustness.suites import Suite, approximations
from ablate.study.seeds import derive_seed

_VERSION = 2
"""Counts the ways in which sets were put together; the code of the pixels has its own."""

_LARGEST_BLOCK = 512
_BLOCK_PIXELS = 2**19
_READ = 2048

_FILE = "images.npy"


@dataclass(frozen=True)
class EvaluationSet:
    """A split under every type of a suite at every severity.

    They are made on the CPU, so that every device is scored on the same bytes.  A copy is made
    when it is first read; of several processes that ask at once, one makes it and the others wait.

    Attributes:
        split: what is corrupted.
        suite: what is done to it.
        severities: each from 1 to 5.
        seed: of the draws; each type, severity and block of images has its own.
        cache: folder that holds `evaluation/`; None: nothing is kept, and every reading makes the
            same bytes anew.
        frost: photographs for `frost`; None: a texture stands for them.
    """

    split: Split
    suite: Suite
    severities: tuple[int, ...]
    seed: int
    cache: Path | None
    frost: FrostPhotographs | None = None

    @property
    def families(self) -> Mapping[str, tuple[str, ...]]:
        return self.suite.families

    @property
    def labels(self) -> Labels:
        return self.split.labels

    @property
    def marks(self) -> tuple[str, ...]:
        return approximations(self.suite, self.frost)

    @property
    def byte_count(self) -> int:
        """Of all copies."""
        return len(self.suite.types) * len(self.severities) * self.split.images.numel()

    @cached_property
    def identity(self) -> str:
        """See `CorruptedImages`."""
        cells = [self._made_from(kind, s) for kind in self.suite.types for s in self.severities]
        return _digest(cells)

    def blocks(self, kind: str, severity: int) -> Iterator[ByteImages]:
        """See `CorruptedImages`.

        Raises:
            UsageError: if the cache cannot be written.
            InfrastructureError: if its disk is full or broken.
        """
        if self.cache is None:
            yield from self._make(kind, severity)
            return
        images = self._stored(self.cache, kind, severity)
        for start in range(0, len(images), _READ):
            yield images[start : start + _READ]

    def _make(self, kind: str, severity: int) -> Iterator[ByteImages]:
        images = self.split.images
        size = block_size(*images.shape[2:])
        for start in range(0, len(images), size):
            yield corrupt_block(
                images[start : start + size],
                self.suite,
                kind,
                severity,
                seed=self.seed,
                start=start,
                frost=self.frost,
            )

    def _stored(self, cache: Path, kind: str, severity: int) -> ByteImages:
        entry = cache / "evaluation" / _digest(self._made_from(kind, severity))
        shape = tuple(self.split.images.shape)
        images = _open(entry, shape)
        if images is None:
            evaluation_bound()  # a wrong one is said before anything is made
            with locked(entry):
                images = _open(entry, shape)
                if images is None:
                    with publish_folder(entry) as temporary:
                        self._write(temporary, kind, severity)
                    images = torch.from_numpy(np.load(entry / _FILE, mmap_mode="c"))
                    bound_evaluation_sets(cache, keep=entry)
        return images

    def _write(self, folder: Path, kind: str, severity: int) -> None:
        shape = tuple(self.split.images.shape)
        # Not through a map: on a full disk that would be a bus error, without a word.
        with (folder / _FILE).open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            write_array_header_1_0(file, header)
            for block in self._make(kind, severity):
                file.write(block.contiguous().numpy().tobytes())
        about = {"set": self.identity, **self._made_from(kind, severity)}
        (folder / ABOUT).write_text(json.dumps(about))

    def _made_from(self, kind: str, severity: int) -> dict[str, Any]:
        """Everything that decides the bytes of a copy."""
        images, suite = self.split.images, self.suite
        made_from: dict[str, Any] = {
            "version": _VERSION,
            "code": code_version(),
            "data": self.split.digest,
            "shape": list(images.shape),
            "block": block_size(*images.shape[2:]),
            "made_by": suite.made_by,
            "type": kind,
            "severity": severity,
            "seed": self.seed,
        }
        if suite.made_by == "corruption":
            scale = suite.scale or scale_of(images)
            made_from["scale"] = scale
            made_from["parameters"] = corruption.load(kind).tables[scale][severity - 1]
        if kind == "frost":
            made_from["frost"] = self.frost.digest if self.frost else None
        return made_from


def block_size(height: int, width: int) -> int:
    """Images that share a generator, by their sides in pixels; part of what a set is."""
    return max(1, min(_LARGEST_BLOCK, _BLOCK_PIXELS // (height * width)))


def corrupt_block(
    images: ByteImages,
    suite: Suite,
    kind: str,
    severity: int,
    *,
    seed: int,
    start: int,
    frost: FrostPhotographs | None = None,
) -> ByteImages:
    """A block of a split under one type at one severity, as bytes.

    Args:
        images: uint8, on the CPU; `block_size` of them, the last block's the rest.
        suite: says what makes the type, and by whose table.
        severity: from 1 to 5.
        seed: of the set.
        start: place of the block's first image in the split.
        frost: photographs for `frost`.

    Raises:
        ParameterError: if the type is unknown.
    """
    if suite.made_by == "corruption":
        place = derive_seed(seed, "evaluation", "corruption", kind, severity, start)
        corrupt = corruption.load(kind)
        generator = make_generator(place, "cpu")
        return corrupt(images, severity, generator, scale=suite.scale, frost=frost)
    place = derive_seed(seed, "evaluation", kind, severity, start)
    strength = torch.full((len(images),), severity / len(corruption.SEVERITIES))
    distort = distortion.load(kind)
    distorted = distort(images.float() / 255, strength, make_generator(place, "cpu"))
    return (distorted * 255).round().to(torch.uint8)


def _open(entry: Path, shape: tuple[int, ...]) -> ByteImages | None:
    try:
        # Copy on write: torch wants an array that can be written, and nothing writes it.
        images = np.load(entry / _FILE, mmap_mode="c")
    except (OSError, ValueError, EOFError):
        return None
    if images.shape != shape or images.dtype != np.uint8:
        return None
    mark_used(entry)
    return torch.from_numpy(images)


def _digest(made_from: object) -> str:
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:32]
