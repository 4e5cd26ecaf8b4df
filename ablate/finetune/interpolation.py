"""Networks between two others, and averages of several, by their weights.

Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT), sec. 3, and arXiv:2203.05482 (model
soups).  Differs: batch-norm statistics are interpolated and averaged too; the networks there had
none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load, load_file
from torch import Tensor, nn

from ablate.model.weights.export_metadata import ExportMetadata, export_tensors, put_weights

State = Mapping[str, Tensor]
"""A network's parameters and buffers, by name."""


def interpolate_weights(baseline: State, finetuned: State, alpha: float) -> dict[str, Tensor]:
    """`baseline + alpha * (finetuned - baseline)`, tensor by tensor, on the CPU and in fp32.

    Args:
        baseline, finetuned: of two networks of one shape; not changed.
        alpha: from 0, the bits of the baseline, over 1, those of the finetuned network, to any
            number beyond.

    Returns:
        New tensors of the same types.  Whole numbers, such as batch norm's count of batches, are
        the finetuned network's at any alpha above 0; a variance beyond the networks is at least 0.

    Raises:
        ValueError: if names or shapes differ, or alpha is below 0 or no number.
    """
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha must be at least 0, got {alpha}")
    _check_alike(baseline, finetuned)
    state = {name: _between(baseline[name], finetuned[name], alpha) for name in finetuned}
    if alpha > 1:
        of_variance = (name for name in state if name.endswith("running_var"))
        state |= {name: state[name].clamp(min=0) for name in of_variance}
    return state


def average_weights(states: Iterable[State]) -> dict[str, Tensor]:
    """The mean of networks, tensor by tensor, on the CPU, summed in float64; of one its own bits.

    Args:
        states: of networks of one shape, at least one; read one after the other.

    Returns:
        New tensors of the same types; whole numbers are the first network's.

    Raises:
        ValueError: if names or shapes differ.
    """
    first, total, count = dict[str, Tensor](), dict[str, Tensor](), 0
    for state in states:
        own = {name: one.detach().cpu() for name, one in state.items()}
        first = first or own
        _check_alike(first, own)
        total = {name: one.double() + total.get(name, 0.0) for name, one in own.items()}
        count += 1
    return {
        name: (total[name] / count).to(one.dtype) if one.is_floating_point() else one.clone()
        for name, one in first.items()
    }


def _check_alike(*states: State) -> None:
    shapes = [{name: one.shape for name, one in state.items()} for state in states]
    if shapes[0] != shapes[1]:
        raise ValueError("networks must have the same tensors, got other names or shapes")


def move_towards(finetuned: nn.Module, baseline: nn.Module, alpha: float) -> None:
    """Put the network between two into the first, in place."""
    states = baseline.state_dict(), finetuned.state_dict()
    put_weights(finetuned, interpolate_weights(*states, alpha))


def _between(start: Tensor, end: Tensor, alpha: float) -> Tensor:
    start, end = start.detach().cpu(), end.detach().cpu()
    if alpha == 0:
        return start.clone()
    if alpha == 1 or not end.is_floating_point():
        return end.clone()
    first = start.float()
    return (first + alpha * (end.float() - first)).to(end.dtype)


def export_mixture(
    baseline: bytes | None,
    files: Sequence[Path],
    alpha: float,
    output: Path,
    metadata: ExportMetadata,
) -> None:
    """Write a network between a baseline and the average of others, completely or not at all.

    Args:
        baseline: content of a .safetensors file; None if alpha is 1.
        files: such files, of networks of the same shape.
        metadata: of the average; it gets this alpha.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    state = average_weights(map(load_file, files))
    if baseline is not None:
        state = interpolate_weights(load(baseline), state, alpha)
    export_tensors(state, output, replace(metadata, alpha=alpha))
