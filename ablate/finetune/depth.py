"""Which parts of a network learn, and how fast, by their depth.

The taps of a network divide it into depth groups: a parameter belongs to the first tap whose output
is ready after it, and what comes after the last tap is the head.  A network without taps is divided
into the modules that it consists of.

Source: Howard and Ruder 2018, arXiv:1801.06146, sec. 3.2, for learning rates that fall from the
head down, here by one factor per group.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from torch import nn

from ablate.errors import ParameterError, did_you_mean
from ablate.model.modes import batch_norms
from ablate.model.taps import LayerNames, layer_names


def rate_factors(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """Factor of the learning rate of each parameter: 1 in the head, times `layer_decay` for each
    depth group below it.

    Args:
        layer_decay: in (0, 1].  Groups without parameters do not count.

    Returns:
        By the parameter's name in `model.named_parameters()`.
    """
    group = _Groups(layer_names(model))
    groups = {name: group.of(name.rpartition(".")[0]) for name, _ in model.named_parameters()}
    above = {one: place for place, one in enumerate(sorted({*groups.values()}, reverse=True))}
    return {name: layer_decay ** above[one] for name, one in groups.items()}


class LearningParts:
    """Keeps the frozen parts of a network as they are while the rest learns.

    Args:
        model: parameters that already have no gradient keep it so.
        frozen: taps, each with its depth group, or module paths.

    Raises:
        ParameterError: if a layer does not exist, or nothing is left to learn.
    """

    def __init__(self, model: nn.Module, frozen: Sequence[str] = ()) -> None:
        paths = frozenset(_frozen_paths(layer_names(model), frozen))
        modules = dict(model.named_modules())
        for path in paths:
            for parameter in modules[path].parameters(recurse=False):
                parameter.requires_grad_(False)
        frozen_modules = {modules[path] for path in paths}
        self._norms = [norm for norm in batch_norms(model) if norm in frozen_modules]
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ParameterError(
                f"finetune.frozen: must leave a layer that learns, got {list(frozen)}. Remove one."
            )

    def hold(self) -> None:
        """Let the batch norms of frozen parts keep their statistics; call it after
        `model.train()`."""
        for norm in self._norms:
            norm.eval()


class _Groups:
    """The depth groups of a network, numbered from 0, its first."""

    def __init__(self, names: LayerNames) -> None:
        tops = [path for path in names.modules if "." not in path]
        layers = names.taps or dict.fromkeys(tops)
        self._place = {path: place for place, path in enumerate(names.modules)}
        self._ends = sorted(names.ready(layer) for layer in layers)

    def of(self, path: str) -> int:
        """The group of a module; the network's own parameters, as a class token, are in group 0."""
        return bisect_left(self._ends, self._place.get(path, -1))


def _frozen_paths(names: LayerNames, frozen: Sequence[str]) -> Iterator[str]:
    """Paths of all frozen modules, "" where the network's own parameters are frozen."""
    groups = _Groups(names)
    for layer in frozen:
        known = [*names.taps, *names.modules]
        if layer not in known:
            raise ParameterError(
                f"finetune.frozen: must be taps or module paths of the model, got {layer!r}. "
                f"{did_you_mean(layer, known)}"
            )
        path = names.taps.get(layer, layer)
        yield from (one for one in names.modules if one == path or one.startswith(f"{path}."))
        if layer in names.taps:
            group = groups.of(names.modules[names.ready(layer)])
            yield from (one for one in ("", *names.modules) if groups.of(one) == group)
