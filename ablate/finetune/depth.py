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
from collections.abc import Callable, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from ablate.errors import MissingDependencyError, ParameterError, UsageError, did_you_mean
from ablate.finetune.lora import check_adaptable
from ablate.model import chosen_layers
from ablate.model.build import build_skeleton
from ablate.model.modes import batch_norms
from ablate.model.taps import LayerNames, head_of, layer_names
from ablate.study.keys import searched
from ablate.study.settings import LossSettings, Study, TrainingSettings


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
        settings: `frozen`, and `probe_fraction`: whether the head is to learn alone at first.
        section: of the study that the settings are of.

    Raises:
        ParameterError: if a layer does not exist, nothing is left to learn, or the network to
            probe does not end in a linear layer that learns.
    """

    def __init__(
        self, model: nn.Module, settings: TrainingSettings, section: str = "finetune"
    ) -> None:
        self._section, self._frozen, self._model = section, settings.frozen, model
        frozen_modules = self._freeze()
        self._every_norm = batch_norms(model)
        is_kept = settings.lora.rank > 0
        self._norms = [norm for norm in self._every_norm if is_kept or norm in frozen_modules]
        self._learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not self._learning:
            raise ParameterError(
                f"{section}.frozen: must leave a layer that learns, got {list(self._frozen)}. "
                "Remove one."
            )
        self._last: set[nn.Parameter] = set()
        if settings.probe_fraction:
            head = [model.get_submodule(path) for path in head_of(model)]
            self._last = {one for layer in head for one in layer.parameters() if one.requires_grad}
            if not self._last:
                *_, last = (one for one in model.modules() if [*one.parameters(recurse=False)])
                frozen_last = ", which is frozen" if head else ""
                raise ParameterError(
                    f"{section}.probe_fraction: needs a network that ends in a linear layer that "
                    f"learns, got {type(last).__name__}{frozen_last}. Leave it out, or change "
                    f"{section}.frozen."
                )

    def _freeze(self) -> set[nn.Module]:
        """Take the gradient of what `frozen` names; returns the modules that have some of it."""
        names = layer_names(self._model)
        group, parameters = _depth_groups(names), dict(self._model.named_parameters())
        known = [*dict.fromkeys([*names.taps, *names.modules, *parameters])]
        paths, touched = set[str](), set[str]()
        for layer in self._frozen:
            path = names.taps.get(layer, layer)
            matched = [name for name in parameters if fnmatchcase(name, layer)]
            if not matched and layer not in known:
                raise ParameterError(
                    f"{self._section}.frozen: must be taps, module paths or patterns of parameters "
                    f"of the model, got {layer!r}. {did_you_mean(layer, known)}"
                )
            for name in matched:
                parameters[name].requires_grad_(False)
            touched |= {name.rpartition(".")[0] for name in matched}
            paths |= {one for one in names.modules if f"{one}.".startswith(f"{path}.")}
            if layer in names.taps:  # "": the network's own parameters
                number = group(names.modules[names.ready(layer)])
                paths |= {one for one in ("", *names.modules) if group(one) == number}
        for path in paths:
            for parameter in self._model.get_submodule(path).parameters(recurse=False):
                parameter.requires_grad_(False)
        return {self._model.get_submodule(path) for path in paths | touched}

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
            f"{self._section}.frozen: a term must reach a layer that learns, got "
            f"{list(self._frozen)}. Remove one, or change loss.terms or loss.fma.layers."
        )


def learning_problem(
    study: Study, section: str, frozen: Sequence[str], base: Path | None = None
) -> tuple[str, str] | None:
    """Why a training would have nothing to learn, or nothing to probe.

    Args:
        section: `finetune` or `baseline`.
        frozen: what of the study's network does not learn.
        base: folder of the study file, where a network of the user's own may stand.

    Returns:
        The key, and `rule, got X. Fix.`; None if there is something, or if that is not known before
        a trial.
    """
    settings = getattr(study, section).model_copy(update={"frozen": frozen})
    if not frozen and not settings.probe_fraction and not settings.lora.rank:
        return None
    with suppress(UsageError):  # a network that cannot be built is refused when it is
        model = build_skeleton(study.model, base=base)
        try:
            if settings.lora.rank:
                check_adaptable(model, section)
            parts = LearningParts(model, settings, section)
            fixed = not searched(study.space) & {"loss.terms", "loss.fma.layers"}
            if fixed and section == "finetune":
                parts.check_reached(study.loss)
        except (MissingDependencyError, ParameterError) as error:
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
