"""Distortions and corruptions of one's own: functions of bytes, `package.module:function`.

Such a function is called as `function(images, strength, generator)`, or, if it has a parameter
`severity`, as `function(images, severity, generator)`; then it can only be scored on.

    images: uint8 `[batch, 3, height, width]`; not to be changed.
    strength: float in [0, 1], `[batch]`; at 0 an image stays as it is.  As a corruption it is a
        fifth of the severity.  severity: a whole number from 1 to 5.
    generator: of all random draws, on the images' device.

It returns uint8 of the same shape on the same device.  `check_contract` is the border.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablate.distortion.kind import Distortion
from ablate.distortion.photometric import LUMA
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import ByteImages, Images, Strengths
from ablate.errors import ParameterError, error_text
from ablate.errors.device import is_lost_gpu, is_out_of_memory
from ablate.study.callables import import_callable, import_current, is_given

_CALLS = 100
"""Calls with one seed that must give the same bits; fewer if they take `_CALL_SECONDS` in all."""
_CALL_SECONDS = 20.0
_LIMIT = 60.0
"""Seconds that a check may take in a process of its own."""
_ALONE = RLock()

OwnFunction = Callable[[Tensor, Any, torch.Generator], Tensor]


def own_distortion(name: str, base: Path | None) -> Distortion:
    """The distortion that a function is; raises as `import_callable`.

    Its draw is a seed, from which the function draws when it is applied: what an image gets also
    depends on which others of the batch have this type.
    """
    where = "augment.types"
    function = named(where, name, import_callable(where, name, base))

    def apply(images: Images, strength: Strengths, seeds: Tensor) -> Images:
        if not len(images):
            return images.clone()
        generator = make_generator(int(seeds[0]), images.device)
        return apply_own(function, images, strength, generator)

    return Distortion(name, apply, _draw_seeds)


def _draw_seeds(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randint(2**62, shape[:1], generator=generator, device=generator.device)


def named(where: str, name: str, function: OwnFunction) -> OwnFunction:
    """Wrap a function, so that what it raises is one line, unless the machine is the cause, and
    what it draws from the global generators depends on the given one alone.

    Args:
        where: key or parameter that names it.
    """
    asked = _explained(where, name, function)

    def call(batch: ByteImages, level: Any, generator: torch.Generator) -> Tensor:
        with _seeded_globals(generator.initial_seed(), batch.device):
            return asked(batch, level, generator)

    return call


@contextmanager
def _seeded_globals(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators of Python, numpy and torch, and give them back as they were; one
    block at a time, since threads share them."""
    is_cuda = device.type == "cuda"
    with _ALONE, torch.random.fork_rng(devices=[device] if is_cuda else []):
        states = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        if is_cuda:
            torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def _explained(where: str, name: str, function: OwnFunction) -> OwnFunction:
    def call(batch: ByteImages, level: Any, generator: torch.Generator) -> Tensor:
        try:
            return function(batch, level, generator)
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error) or is_lost_gpu(error):
                raise
            what = f"uint8 {list(batch.shape)} on {batch.device.type}"
            second = "a strength of each" if isinstance(level, Tensor) else f"severity {level}"
            rule = f"must take {what}, {second} and a generator, got {error_text(error)}"
            raise ParameterError(f"{where}: {name} {rule}. Fix it.") from error

    return call


def apply_own(
    function: OwnFunction, images: Images, level: Any, generator: torch.Generator
) -> Images:
    """Apply a function to images in [0, 1]; of grey ones the luma of the result is taken."""
    levels = (images.float() * 255).round_().to(torch.uint8)
    coloured = levels.expand(-1, 3, -1, -1).contiguous()
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        made = function(coloured, level, generator).float().div_(255)
        if images.shape[1] == 1:
            luma = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
            made = (made * luma).sum(1, keepdim=True).clamp_(0, 1)
    return made.to(images.dtype)


def takes_severity(function: OwnFunction) -> bool:
    """Whether it is called with a severity, not with a strength for each image."""
    return "severity" in signature(function).parameters


def check_on_noise(where: str, name: str, base: Path | None, side: int) -> None:
    """`check_contract` on images of noise of this side, in pixels, in a process of its own, which a
    function may end or keep busy; raises also if it does."""
    import_current(where, name, base)
    if is_given(name):  # no other process could import it
        _check_noise(where, name, base, side)
        return
    with TemporaryDirectory(prefix="ablate-") as folder:
        result = Path(folder, "error")
        given = json.dumps([where, name, str(base or ""), side, str(result)])
        code = "import sys, ablate.distortion.own as own; own.write_error(sys.argv[1])"
        path = os.pathsep.join([*filter(None, sys.path), str(Path.cwd())])
        began = f"{where}: {name} must return within {_LIMIT:.0f} s, got"
        try:
            process = subprocess.run(
                [sys.executable, "-c", code, given],
                stdin=subprocess.DEVNULL,
                timeout=_LIMIT,
                env=os.environ | {"PYTHONPATH": path},
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ParameterError(f"{began} no result. Make it faster.") from None
        if not result.is_file():
            ended = f"the end of its process with code {process.returncode}"
            raise ParameterError(f"{began} {ended}. Let it return, or raise an error.")
        if error := result.read_text():
            raise ParameterError(error)


def write_error(given: str) -> None:
    """In the process of a check: write what the function breaks, or nothing, into a file."""
    where, name, base, side, result = json.loads(given)
    error = ""
    try:
        _check_noise(where, name, Path(base) if base else None, side)
    except ParameterError as broken:
        error = str(broken)
    Path(result).write_text(error)


def _check_noise(where: str, name: str, base: Path | None, side: int) -> None:
    noise = torch.rand((4, 3, side, side), generator=make_generator(0, "cpu"))
    check_contract(where, name, base, (noise * 256).to(torch.uint8), calls=_CALLS)


def check_contract(
    where: str, name: str, base: Path | None, images: ByteImages, *, calls: int = 1
) -> None:
    """Refuse a function that breaks the contract on these images, on their device.

    Args:
        where: key or parameter that names it; those of `augment` need a strength.
        images: one or more; grey ones are shown in three channels.
        calls: with which a first result is compared.

    Raises:
        ParameterError: naming the rule that it broke.
        NotImportedError: if it may not be imported.
    """
    function: OwnFunction = import_current(where, name, base)
    asked = _explained(where, name, function)  # with the global generators as they are
    images = images.expand(-1, 3, -1, -1).contiguous()

    def broken(rule: str, got: str, fix: str) -> ParameterError:
        return ParameterError(f"{where}: {name} must {rule}, got {got}. {fix}")

    def call(batch: ByteImages, level: Any) -> ByteImages:
        given = batch.clone()
        what = f"uint8 {list(batch.shape)} on {batch.device.type}"
        made: object = asked(given, level, make_generator(1, batch.device))
        if not isinstance(made, Tensor):
            raise broken(f"return {what}", type(made).__name__, "Return a tensor.")
        got = f"{str(made.dtype).removeprefix('torch.')} {list(made.shape)} on {made.device.type}"
        if got != what:
            fix = "Return images of the type, shape and device that it was given."
            raise broken(f"return {what}", got, fix)
        if not torch.equal(given, batch):
            fix = "Begin with images.clone()."
            raise broken("leave the images that it is given alone", "them changed", fix)
        return made

    by_severity = takes_severity(function)
    if by_severity and where.startswith("augment"):
        fix = "Name it in robustness.suite alone, or give it a strength for each image."
        raise broken("take a strength to be trained on", "a function of a severity", fix)
    strengths = torch.ones(len(images), device=images.device)
    strengths[::2] = 0
    cases: list[tuple[ByteImages, Any]] = [(images, strengths), (images[:1], strengths[:1] + 0.5)]
    if by_severity:
        cases = [(images, 5), *((images[:1], severity) for severity in range(1, 5))]
    for batch, level in cases:
        made, began = call(batch, level), time.monotonic()
        for number in range(calls):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(number)
                again = call(batch, level)
            if (count := int((made != again).sum())) > 0:
                got, fix = f"{count} other values", "Draw only from the generator that it is given."
                raise broken("give the same bits for the same seed of the generator", got, fix)
            if time.monotonic() - began > _CALL_SECONDS / len(cases):
                break
        if isinstance(level, Tensor):
            change = (made.int() - batch.int()).abs()[level == 0]
            if change.numel() and (most := int(change.max())) > 1:
                got = f"a change of {most}"
                fix = "Scale what it does by the strength of each image."
                raise broken("leave images at strength 0 within 1 grey level", got, fix)
