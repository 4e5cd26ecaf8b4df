"""Which parts of a network learn, and how fast, by their depth.

The taps of a network divide it into depth groups: a parameter belongs to the first tap whose output
is ready after it, and what comes after the last tap is the head.  A network without taps is divided
into the modules that it consists of.

Source: Howard and Ruder 2018, arXiv:1801.06146, sec. 3.2, for learning rates that fall from the
head down, here by one factor per group; Kumar et al. 2022, arXiv:2202.10054, for training the last
layer alone before the whole network.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from torch import nn

from ablate.errors import ParameterError, UsageError, did_you_mean
from ablate.model import chosen_layers
from ablate.model.build import build_skeleton
from ablate.model.modes import batch_norms
from ablate.model.taps import LayerNames, layer_names
from ablate.study.keys import searched
from ablate.study.settings import LossSettings, Study


def rate_factors(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """Factor of the learning rate of each parameter: 1 in the head, times `layer_decay` for each
    depth group below it.

    Args:
        layer_decay: in (0, 1].  Groups without parameters do not count.

    Returns:
        By the parameter's name in `model.named_parameters()`.
    """
    group = _depth_groups(layer_names(model))
    groups = {name: group(name.rpartition(".")[0]) for name, _ in model.named_parameters()}
    above = {one: place for place, one in enumerate(sorted({*groups.values()}, reverse=True))}
    return {name: layer_decay ** above[one] for name, one in groups.items()}


class LearningParts:
    """Keeps the frozen parts of a network as they are while the rest learns.

    Args:
        model: parameters that already have no gradient keep it so.
        frozen: taps, each with its depth group, or module paths.
        probes: whether the last layer is to learn alone at first.

    Raises:
        ParameterError: if a layer does not exist, nothing is left to learn, or the network to
            probe does not end in a linear layer that learns.
    """

    def __init__(
        self, model: nn.Module, frozen: Sequence[str] = (), *, probes: bool = False
    ) -> None:
        paths = frozenset(_frozen_paths(layer_names(model), frozen))
        modules = dict(model.named_modules())
        for path in paths:
            for parameter in modules[path].parameters(recurse=False):
                parameter.requires_grad_(False)
        frozen_modules = {modules[path] for path in paths}
        self._frozen = tuple(frozen)
        self._model = model
        self._every_norm = batch_norms(model)
        self._norms = [norm for norm in self._every_norm if norm in frozen_modules]
        self._learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not self._learning:
            raise ParameterError(
                f"finetune.frozen: must leave a layer that learns, got {list(frozen)}. Remove one."
            )
        self._last: set[nn.Parameter] = set()
        if probes:
            *_, last = (module for module in model.modules() if [*module.parameters(recurse=False)])
            self._last = {parameter for parameter in last.parameters() if parameter.requires_grad}
            if not (isinstance(last, nn.Linear) and self._last):
                frozen_last = ", which is frozen" if isinstance(last, nn.Linear) else ""
                raise ParameterError(
                    "finetune.probe_fraction: needs a network that ends in a linear layer that "
                    f"learns, got {type(last).__name__}{frozen_last}. Leave it out, or change "
                    "finetune.frozen."
                )

    def check_reached(self, loss: LossSettings) -> None:
        """Check that feature maps, if they are all that an objective reads, depend on what learns.

        Raises:
            ParameterError: if nothing learns up to the last layer whose map is compared.
        """
        if loss.term_names != ("fma",):
            return
        names = layer_names(self._model)
        layers = chosen_layers(loss.fma.layers, tuple(names.taps))
        end = max(map(names.ready, layers), default=-1)
        places = {path: place for place, path in enumerate(names.modules)}
        if not any(
            one.requires_grad and places.get(path.rpartition(".")[0], -1) <= end
            for path, one in self._model.named_parameters()
        ):
            raise self.unreached(probing=False)

    def set_learning(self, *, probing: bool = False) -> None:
        """Give a gradient to the parameters that learn and to no others, and let the batch norms
        of what does not learn keep their statistics; call it after `model.train()`.

        Args:
            probing: whether the last layer alone learns.
        """
        for parameter in self._learning:
            parameter.requires_grad_(not probing or parameter in self._last)
        for norm in self._every_norm if probing else self._norms:
            norm.eval()

    def unreached(self, *, probing: bool) -> ParameterError:
        """The error of an objective that has no gradient in what learns."""
        if probing:
            return ParameterError(
                "finetune.probe_fraction: a term must reach the last layer, got only fma. Leave it "
                "out, or add a term to loss.terms."
            )
        return ParameterError(
            f"finetune.frozen: a term must reach a layer that learns, got {list(self._frozen)}. "
            "Remove one, or change loss.terms or loss.fma.layers."
        )


def learning_problem(
    study: Study, frozen: Sequence[str], base: Path | None = None
) -> tuple[str, str] | None:
    """Why a finetuning would have nothing to learn, or nothing to probe.

    Args:
        frozen: layers of the study's network that do not learn.
        base: folder of the study file, where a network of the user's own may stand.

    Returns:
        The key, and `rule, got X. Fix.`; None if there is something, or if that is not known before
        a trial.
    """
    probes = study.finetune.probe_fraction > 0
    if not frozen and not probes:
        return None
    with suppress(UsageError):  # a network that cannot be built is refused when it is
        model = build_skeleton(study.model, base=base)
        try:
            parts = LearningParts(model, frozen, probes=probes)
            if not searched(study.space) & {"loss.terms", "loss.fma.layers"}:
                parts.check_reached(study.loss)
        except ParameterError as error:
            key, _, rule = str(error).partition(": ")
            return key, rule
    return None


def _depth_groups(names: LayerNames) -> Callable[[str], int]:
    """The number of a module's depth group, from 0, the first; the network's own parameters, as a
    class token, are in that."""
    layers = names.taps or [path for path in names.modules if "." not in path]
    places = {path: place for place, path in enumerate(names.modules)}
    ends = sorted(map(names.ready, layers))
    return lambda path: bisect_left(ends, places.get(path, -1))


def _frozen_paths(names: LayerNames, frozen: Sequence[str]) -> Iterator[str]:
    """Paths of all frozen modules, "" where the network's own parameters are frozen."""
    group, known = _depth_groups(names), [*names.taps, *names.modules]
    for layer in frozen:
        if layer not in known:
            raise ParameterError(
                f"finetune.frozen: must be taps or module paths of the model, got {layer!r}. "
                f"{did_you_mean(layer, known)}"
            )
        path = names.taps.get(layer, layer)
        yield from (
            module for module in names.modules if module == path or module.startswith(f"{path}.")
        )
        if layer in names.taps:
            number = group(names.modules[names.ready(layer)])
            yield from (one for one in ("", *names.modules) if group(one) == number)
