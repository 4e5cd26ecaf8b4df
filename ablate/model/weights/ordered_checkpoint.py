"""Weights whose tensors are those of a network in the same order, under other names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ablate.errors import DataError
from ablate.files.shown import show_name

_WHERE = "--checkpoint-order"
_ROLES = frozenset({"weight", "bias", "running_mean", "running_var"})
# What some files leave out, and what says nothing of the trained network.
_UNORDERED = ("num_batches_tracked", "normalize.mean", "normalize.std")


def match_by_order(
    own: Mapping[str, Tensor], found: Mapping[str, Tensor], name: str, checkpoint: str
) -> dict[str, Tensor]:
    """The tensors of a file under the names of a network, the first for the first and so on.

    Counters of batch norm and ablate's own normalisation are left as the network has them.

    Args:
        own: of the network.
        found: of the file.
        name: of the network; checkpoint: of the file; for the messages.

    Raises:
        DataError: if the number of tensors, a shape, or what a tensor is for (weight, bias,
            running mean, running variance) differs, naming the first such pair.
    """
    mine = [key for key in own if not key.endswith(_UNORDERED)]
    theirs = [key for key in found if not key.endswith(_UNORDERED)]
    if len(mine) != len(theirs):
        raise DataError(
            f"{_WHERE}: {checkpoint!r} must have the {len(mine)} tensors of {name}, got "
            f"{len(theirs)}. Name the network that it is of."
        )
    for place, (key, other) in enumerate(zip(mine, theirs, strict=True), start=1):
        shapes = tuple(own[key].shape), tuple(found[other].shape)
        roles = key.rpartition(".")[2], other.rpartition(".")[2]
        if shapes[0] != shapes[1] or (roles[0] != roles[1] and _ROLES.issuperset(roles)):
            raise DataError(
                f"{_WHERE}: tensor {place} of {checkpoint!r} must fit {key} {shapes[0]} of "
                f"{name}, got {show_name(other)} {shapes[1]}. Name the network that it is of, or "
                "rename its keys."
            )
    return {key: found[other] for key, other in zip(mine, theirs, strict=True)}
