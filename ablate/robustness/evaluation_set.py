"""Corrupted copies of a split, the same for every trial: cached, or generated when read."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.lib.format import write_array_header_1_0
from torch import Tensor

from ablate import distortion
from ablate.data.dataset import Split
from ablate.distortion.own import check_contract
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import ByteImages, Labels
from ablate.errors import InfrastructureError
from ablate.files.cache import (
    ABOUT,
    GivenUpError,
    bound_evaluation_sets,
    evaluation_bound,
    locked,
    mark_used,
    publish_folder,
    say_made_again,
)
from ablate.robustness import corruption
from ablate.robustness.bits import Cell
from ablate.robustness.corruption.frost import FrostPhotographs
from ablate.robustness.corruption.kind import code_version
from ablate.robustness.suites import Suite, caveats
from ablate.study.callables import code_digest, is_callable_name
from ablate.study.seeds import derive_seed

_VERSION = 3
"""Version of the composition of sets; the code that generates pixels has its own version."""

_LARGEST_BLOCK = 512
_BLOCK_PIXELS = 2**19

_MOST_WRITINGS = 4
"""Number of attempts to write a copy that is repeatedly damaged."""


def corrupt_block(
    images: Tensor,
    kind: str,
    severity: int,
    suite: Suite,
    seed: int,
    *,
    start: int = 0,
    frost: FrostPhotographs | None = None,
) -> Tensor:
    """Corrupt images that share a generator: behind a study, `ablate evaluate` and `corrupt`.

    Args:
        images: as a corruption takes them, on any device; `block_size` of them, the last block's
            the rest.  Of a suite of distortions: bytes, on the CPU.
        severity: from 1 to 5.
        seed: each type, severity and block of images has its own of it.
        start: index of the block's first image.
        frost: photographs; None: a generated texture is used.

    Returns:
        New images of the same shape, dtype and device.

    Raises:
        ParameterError: if the type is unknown, or images or severity are invalid.
    """
    if suite.made_by == "corruption":
        own_seed = derive_seed(seed, "evaluation", "corruption", kind, severity, start)
        generator = make_generator(own_seed, images.device)
        corrupt = corruption.load(kind, suite.base)
        return corrupt(images, severity, generator, scale=suite.scale, frost=frost)
    generator = make_generator(derive_seed(seed, "evaluation", kind, severity, start), "cpu")
    strength = torch.full((len(images),), severity / len(corruption.SEVERITIES))
    distorted = distortion.load(kind)(images.float() / 255, strength, generator)
    return (distorted * 255).round().to(torch.uint8)


def check_own_types(suite: Suite, images: ByteImages) -> None:
    """Check the user's own functions among the types of a suite, on the first of these images;
    raises as `check_contract`."""
    for name in filter(is_callable_name, suite.types):
        check_contract("`types`", name, suite.base, images[:4])


def block_size(height: int, width: int) -> int:
    """Number of images that share a generator, by their size in pixels; part of the set's
    definition."""
    return max(1, min(_LARGEST_BLOCK, _BLOCK_PIXELS // (height * width)))


@contextmanager
def one_core_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that each compute on one core; waiting work is dropped if the block fails.

    Threads, because torch releases the interpreter's lock, and no process can be left behind.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # later threads start with one setting for all


@dataclass(frozen=True)
class EvaluationSet:
    """A split corrupted by every type of a suite at every severity.

    Copies are generated on the CPU, so that all devices are scored on the same bytes.  A copy is
    generated when it is first read; if several processes need it at once, one generates it and the
    others wait.

    Attributes:
        split: the images to corrupt.
        suite: the corruptions to apply.
        severities: each from 1 to 5.
        seed: seed of the random draws; each type, severity and block of images has its own.
        cache: folder that contains `evaluation/`; None: nothing is stored, and each read generates
            the same bytes again.
        frost: photographs for `frost`; None: a generated texture.
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
        return caveats(self.suite, self.frost)

    @property
    def byte_count(self) -> int:
        """Of all copies."""
        return len(self._cells) * self.split.images.numel()

    def stored_up_to(self, gigabytes: float) -> EvaluationSet:
        """This set, without the cache if its copies would take more."""
        return replace(self, cache=None) if self.byte_count > gigabytes * 1e9 else self

    @cached_property
    def identity(self) -> str:
        """See `CorruptedImages`."""
        return _digest([self._made_from(*cell) for cell in self._cells])

    @property
    def _cells(self) -> list[Cell]:
        return list(product(self.suite.types, self.severities))

    def blocks(self, kind: str, severity: int) -> Iterator[ByteImages]:
        """See `CorruptedImages`.

        Raises:
            UsageError: if the cache cannot be written.
            InfrastructureError: if its disk is full or broken.
        """
        if self.cache is None:
            yield from self._make(kind, severity)
            return
        copy, done = self._copy(self.cache, kind, severity), 0
        for _ in range(1 + _MOST_WRITINGS):
            try:
                for images in copy.read(done):
                    done += 1
                    yield images
                return
            except _DamagedError:
                # Everything up to here was intact: continue after it, with the same bytes.
                self._keep(copy)
        raise InfrastructureError(
            f"{copy.entry}: must contain the bytes that were written, got other bytes "
            f"{_MOST_WRITINGS} times in a row, each time directly after writing. Check the disk "
            "and the memory, set ABLATE_CACHE to another disk, and resume."
        )

    def make_all(self, workers: int, say: Callable[[int, int], None] | None = None) -> None:
        """Generate the copies that are missing or damaged in the cache, several at once.

        Each is generated by one thread, with the same bytes as when generated alone.  For a set
        that is not cached, nothing is done.

        Args:
            workers: number of threads, at least 1; each needs the memory of a block.
            say: called with the number of finished copies and the total, if any are generated.

        Raises:
            UsageError: if the cache cannot be written.
            InfrastructureError: if its disk is full or broken.
        """
        if self.cache is None:
            return
        copies = [self._copy(self.cache, *cell) for cell in self._cells]
        total = sum(not copy.is_there for copy in copies)
        made, stop = 0, threading.Event()

        def make(copy: KeptCopy) -> bool:
            return copy.state() != "whole" and self._keep(copy, stop)

        with one_core_each(min(workers, len(copies))) as pool:
            try:
                for done in as_completed([pool.submit(make, copy) for copy in copies]):
                    made += done.result()
                    total = max(total, made)
                    if say is not None and done.result():
                        say(made, total)
            finally:
                stop.set()

    def _make(
        self, kind: str, severity: int, stop: threading.Event | None = None
    ) -> Iterator[ByteImages]:
        images = self.split.images
        size = block_size(*images.shape[2:])
        for start in range(0, len(images), size):
            if stop is not None and stop.is_set():
                raise GivenUpError
            block = images[start : start + size]
            yield corrupt_block(
                block, kind, severity, self.suite, self.seed, start=start, frost=self.frost
            )

    def _copy(self, cache: Path, kind: str, severity: int) -> KeptCopy:
        made_from = self._made_from(kind, severity)
        return KeptCopy(cache / "evaluation" / _digest(made_from), made_from)

    def _keep(self, copy: KeptCopy, stop: threading.Event | None = None) -> bool:
        """Generate a copy that is missing or damaged; returns whether this process generated it.

        Args:
            stop: set by another thread to stop.
        """
        kind, severity = copy.made_from["type"], copy.made_from["severity"]
        evaluation_bound()  # errors are raised before anything is generated
        with locked(copy.entry, stop):
            state = copy.state()
            if state == "whole":
                return False
            if state == "damaged":
                say_made_again(f"images of {kind}, severity {severity} were")
            with publish_folder(copy.entry) as temporary:
                copy.write(temporary, self._make(kind, severity, stop))
            bound_evaluation_sets(copy.entry.parents[1], keep=copy.entry)
        return True

    def _made_from(self, kind: str, severity: int) -> dict[str, Any]:
        """Everything that determines the bytes of a copy."""
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
            scale = suite.scale or corruption.scale_for(min(images.shape[2:]))
            made_from["scale"] = scale
            made_from["parameters"] = corruption.load(kind, suite.base).tables[scale][severity - 1]
        if is_callable_name(kind):
            made_from["own_code"] = code_digest("robustness.suite", kind, suite.base)
        if kind == "frost":
            made_from["frost"] = self.frost.digest if self.frost else None
        return made_from


def _digest(made_from: object) -> str:
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:32]


# -- A corrupted copy on the disk: its bytes, and a CRC-32 of each block, checked at every read
#
# It is read into memory, not mapped: the checked bytes are the ones used, and a file that is
# truncated meanwhile is damage, not a bus error.  Processes still share its pages in the system's
# cache.

_FILE = "images.npy"
_CHECKSUMS = "crc32"


class _DamagedError(Exception):
    """A copy is missing or damaged."""


@dataclass(frozen=True)
class KeptCopy:
    """A copy in the cache, which may not exist yet.

    Attributes:
        entry: its folder.
        made_from: everything that determines its bytes.
    """

    entry: Path
    made_from: Mapping[str, Any]

    @cached_property
    def _header(self) -> bytes:
        header = io.BytesIO()
        shape = tuple(self.made_from["shape"])
        about = {"descr": "|u1", "fortran_order": False, "shape": shape}
        write_array_header_1_0(header, about)
        return header.getvalue()

    def write(self, folder: Path, blocks: Iterable[ByteImages]) -> None:
        """Write its blocks into a folder, and what they were made from."""
        checksums = []
        # Not through a memory map: on a full disk that would be a bus error without a message.
        with (folder / _FILE).open("wb") as file:
            file.write(self._header)
            for images in blocks:
                content = images.contiguous().numpy().tobytes()
                checksums.append(zlib.crc32(content))
                file.write(content)
        about = {**self.made_from, _CHECKSUMS: checksums}
        (folder / ABOUT).write_text(json.dumps(about))

    def read(self, start: int = 0) -> Iterator[ByteImages]:
        """Read its blocks from this one on, and check each.

        Raises:
            _DamagedError: at the first damaged block, or if the copy is missing or another one.
        """
        (n, *image), block = self.made_from["shape"], self.made_from["block"]
        try:
            with (self.entry / _FILE).open("rb") as file:
                about = json.loads((self.entry / ABOUT).read_text())
                is_this = {**about, **json.loads(json.dumps(self.made_from))} == about
                if not is_this or file.read(len(self._header)) != self._header:
                    raise ValueError
                mark_used(self.entry)
                file.seek(start * block * math.prod(image), io.SEEK_CUR)
                for row in range(start * block, n, block):
                    images = torch.empty((min(block, n - row), *image), dtype=torch.uint8)
                    content = images.numpy().data.cast("B")
                    is_complete = file.readinto(content) == content.nbytes
                    if not is_complete or zlib.crc32(content) != about[_CHECKSUMS][row // block]:
                        raise ValueError
                    yield images
        except (OSError, ValueError, RecursionError, TypeError, LookupError) as error:
            raise _DamagedError from error

    def state(self) -> Literal["missing", "damaged", "whole"]:
        """Its state on disk; every block is checked."""
        try:
            for _ in self.read():
                pass
        except _DamagedError:
            return "damaged" if self.is_there else "missing"
        return "whole"

    @property
    def is_there(self) -> bool:
        """Whether it exists, intact or not."""
        return os.path.lexists(self.entry)
