"""The mode that a network is in: training, scoring, or training with frozen batch norm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ablate.errors import ParameterError


@contextmanager
def kept_mode(model: nn.Module) -> Iterator[None]:
    """Give every module back the mode that it had, whatever the block sets."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """All batch norms of a network, first to last."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def adaptable_norms(model: nn.Module) -> list[_BatchNorm]:
    """Those of them that have statistics."""
    return [norm for norm in batch_norms(model) if norm.running_mean is not None]


def freeze_batch_norm(model: nn.Module) -> None:
    """Let every batch norm use its running statistics without updating them.

    Its scale and shift are still trained.  `model.train()` undoes it.

    Raises:
        ParameterError: if the network has none.
    """
    norms = batch_norms(model)
    if not norms:
        raise ParameterError(
            "finetune.batch_norm: frozen needs a network with batch norm, got "
            f"{type(model).__name__}, which has none. Write joint, which has no effect on it."
        )
    for norm in norms:
        norm.eval()


# -- What a network draws itself (dropout, stochastic depth), from torch's global generators
#
# They are seeded before each step, so that such a network too has the same bits as in a run without
# stopped, and given back as they were.  A finetuning has no such noise: in FMA and ST it would be
# part of the difference, and without it each objective was better (docs/measurements.md).


def drawing_modules(model: nn.Module, images: torch.Tensor) -> list[nn.Module]:
    """The modules that draw random numbers as a network runs in training mode, as dropout does.

    The network runs once; its modes, buffers and torch's generators are as before afterwards.

    Args:
        images: (batch, channel, height, width), two or more, on the network's device.
    """
    running: list[nn.Module] = []
    found: dict[nn.Module, None] = {}
    device = images.device.type

    def state() -> torch.Tensor:
        return torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()

    latest = state()

    def note() -> None:
        nonlocal latest
        if not torch.equal(now := state(), latest):
            latest = now
            if running:
                found[running[-1]] = None

    def begin(module: nn.Module, _inputs: object) -> None:
        note()
        running.append(module)

    def end(_module: nn.Module, _inputs: object, _output: object) -> None:
        note()
        running.pop()

    buffers = {buffer: buffer.clone() for buffer in model.buffers()}
    handles = [module.register_forward_pre_hook(begin) for module in model.modules()]
    handles += [module.register_forward_hook(end) for module in model.modules()]
    try:
        with own_generators(device), kept_mode(model), torch.no_grad():
            model.train()(images)
    finally:
        for buffer, before in buffers.items():
            buffer.copy_(before)
        for handle in handles:
            handle.remove()
    return list(found)


@contextmanager
def own_generators(device: str) -> Iterator[None]:
    """Give torch's global generators back, whatever the block does with them."""
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def seed_generators(seed: int, device: str) -> None:
    """Seed the generators that a network on this device draws from, in [0, 2**63)."""
    torch.default_generator.manual_seed(seed)
    if device == "cuda":
        torch.cuda.manual_seed(seed)
