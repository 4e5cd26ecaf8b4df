"""The optimiser of a network: SGD with Nesterov momentum, or AdamW.

Source: Sutskever et al. 2013 for Nesterov momentum; Loshchilov and Hutter 2019, arXiv:1711.05101
for AdamW.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from inspect import unwrap
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ablate.distortion.shapes import Scalar
from ablate.errors import ParameterError
from ablate.finetune.depth import rate_factors
from ablate.finetune.loss.clean import NO_LABEL
from ablate.finetune.loss.da import copies_loss
from ablate.finetune.loss.objective import RobustLoss
from ablate.finetune.loss.term import Views
from ablate.study.settings import TrainingSettings


def build_optimizer(
    model: nn.Module,
    settings: TrainingSettings,
    *,
    may_skip_steps: bool = False,
) -> torch.optim.Optimizer:
    """The optimiser that the settings name; weight decay on matrices and filters alone.

    Norms and biases are left out of weight decay, since there it moves the network's scale and
    does not regularise it; so are the other parameters of `undecayed`.

    Args:
        model: all of its parameters are optimised.
        settings: optimiser, learning rate (per step), weight decay and, for `sgd`, momentum; a
            momentum of 0 is plain SGD.  `adamw` keeps torch's betas, 0.9 and 0.999.  `layer_decay`:
            see `rate_factors`; kept as `rate_factor` of each group, for `set_learning_rate`.
        may_skip_steps: because a gradient was infinite.  A fused SGD that leaves out its first
            step would go on with a momentum that was never written.
    """
    undecayed_names = undecayed(model)
    factors = rate_factors(model, settings.layer_decay)
    named = list(model.named_parameters())
    groups: list[dict[str, Any]] = []
    for factor in sorted({*factors.values()}, reverse=True):
        ours = [(name, parameter) for name, parameter in named if factors[name] == factor]
        decayed = [parameter for name, parameter in ours if name not in undecayed_names]
        others = [parameter for name, parameter in ours if name in undecayed_names]
        groups += [
            {"params": decayed, "rate_factor": factor},
            {"params": others, "rate_factor": factor, "weight_decay": 0},
        ]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adamw":
        return _uncompiled(torch.optim.AdamW)(groups, lr=rate, weight_decay=decay, fused=True)
    return _uncompiled(torch.optim.SGD)(
        groups,
        lr=rate,
        momentum=settings.momentum,
        weight_decay=decay,
        nesterov=settings.momentum > 0,
        fused=None if may_skip_steps else True,
    )


@cache
def _uncompiled(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """An optimiser that does not load torch's compiler, which takes as long to load as torch.

    torch wraps these methods to keep its compiler out of them, and loads it for that.  Only the
    network is ever compiled here.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")
    methods = {name: unwrap(getattr(kind, name)) for name in names}
    methods["step"] = torch.no_grad()(methods["step"])
    return type(kind.__name__, (kind,), methods)


_PLACE = r"(.*_)?pos(ition(al)?)?(_.*)?"
_UNDECAYED = re.compile(rf"{_PLACE}|(.*_)?tokens?(_.*)?|(.*_)?bias(es)?|logit_scale")
"""Last part of a parameter's name: `pos_embed`, `relative_position_bias_table`, `rel_pos_h`,
`class_token`, `attention_biases`."""


def undecayed(model: nn.Module) -> frozenset[str]:
    """Names of the parameters that weight decay leaves alone.

    Vectors and scalars; what the network's own `no_weight_decay()` names, as networks of timm do;
    and by their names position embeddings, learnt tokens, tables of relative positions with the
    network that makes them in Swin V2 (`cpb_mlp`), and scales of attention logits.

    Source: timm's rule; torchvision's references (`--transformer-embedding-decay 0`).
    """
    listed: Iterable[str] = getattr(model, "no_weight_decay", tuple)()
    embeddings = [name for name, one in model.named_modules() if isinstance(one, nn.Embedding)]
    places = {
        f"{name}.weight" for name in embeddings if re.fullmatch(_PLACE, name.rpartition(".")[2])
    }
    return frozenset(
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim <= 1
        or name in places
        or _UNDECAYED.fullmatch(name.rpartition(".")[2])
        or "cpb_mlp" in name.split(".")
        or any(fnmatchcase(name, pattern) for pattern in listed)
    )


# -- How the learning rate goes over the budget --------------------------------------------
#
# Source: Loshchilov and Hutter 2017, arXiv:1608.03983 for the cosine (without restarts); Smith and
# Topin 2018, arXiv:1708.07120 for one cycle, in the form of torch's `OneCycleLR`.  Differs: the
# momentum is not changed.


RISE_FRACTION = 0.3
"""Share of the budget over which one cycle rises."""

FIRST_DIVISOR = 25.0
"""One cycle, or a warm-up, starts at the highest rate divided by this, so that no step has a rate
of 0."""

LAST_DIVISOR = 1e4
"""One cycle ends at its first rate over this."""


def set_learning_rate(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, progress: float
) -> None:
    """Give each group of parameters its learning rate at a point of the budget."""
    rate = learning_rate(settings, progress)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]


def learning_rate(settings: TrainingSettings, progress: float) -> float:
    """The learning rate at a point of the budget.

    Args:
        settings: the highest rate, the schedule and its warm-up.
        progress: spent fraction of the budget, in [0, 1).  At 1 a cosine is 0.

    Returns:
        Between 0 and `settings.learning_rate`.  With a warm-up it first rises linearly from a 25th,
        and a cosine spans the rest; one cycle has its own warm-up.
    """
    highest, warmup = settings.learning_rate, settings.warmup_fraction
    first = highest / FIRST_DIVISOR
    if settings.schedule == "one_cycle":
        if progress < RISE_FRACTION:
            return _cosine(first, highest, progress / RISE_FRACTION)
        falling = (progress - RISE_FRACTION) / (1 - RISE_FRACTION)
        return _cosine(highest, first / LAST_DIVISOR, falling)
    if progress < warmup:
        return first + (highest - first) * progress / warmup
    if settings.schedule == "constant":
        return highest
    return _cosine(highest, 0.0, (progress - warmup) / (1 - warmup))


def _cosine(start: float, end: float, share: float) -> float:
    """Value between `start` and `end` on half a cosine at this fraction."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


# -- An exponential moving average (EMA) of a network's weights, step by step --------------
#
# Source: Polyak and Juditsky 1992 for averaging; the exponential form as in Tarvainen and Valpola
# 2017, arXiv:1703.01780, whose mean teacher the anchor `ema` is.


class RunningAverage(AveragedModel):
    """Torch's average of weights, with its bits and its stored state, without its waiting.

    Torch's own update copies the number of updates to the device each time.  Differs: whole
    numbers, such as batch norm's count of batches, are copied; torch averages them too, and rounds
    down.  Call `update_parameters(model)` after each step.

    Args:
        model: copied in its current state; the copy is in eval mode and has no gradient.
        decay: decay per step, in (0, 1).  Statistics of batch norm are averaged too.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        super().__init__(model, multi_avg_fn=self._follow, use_buffers=True)
        self.n_averaged += 1  # torch's first update copies the weights, which the copy has
        self.eval().requires_grad_(False)
        # Such modules (timm's levit) keep what they computed of their weights until they train.
        own = (
            module for module in self.module.modules() if type(module).train is not nn.Module.train
        )
        self._keeping = tuple(own)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move towards the model's weights and statistics by one step; copy whole numbers."""
        pairs: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        both = [chain(one.parameters(), one.buffers()) for one in (self.module, model)]
        for own, other in zip(*both, strict=True):
            averages, news = pairs.setdefault(own.dtype, ([], []))
            averages.append(own.detach())
            news.append(other.detach())
        for dtype, (averages, news) in pairs.items():
            if dtype.is_floating_point or dtype.is_complex:
                self._follow(averages, news, self.n_averaged)
            else:
                torch._foreach_copy_(averages, news)
        self.n_averaged += 1
        for one in self._keeping:
            one.train().eval()


# -- `scale: gradient`: state a term's weight as a ratio of gradient norms -----------------
#
# Source: own reading [O].  The idea, that terms are weighed by what they do to the weights and not
# by their values, is that of gradient normalisation (Chen et al. 2018, arXiv:1711.02257), done
# once.


def balance_gradients(
    loss: RobustLoss, views: Views, model: nn.Module, *, loss_scale: float = 1.0
) -> dict[str, float]:
    """Factors that give each `scale: gradient` term the gradient norm of the cross-entropy on the
    copies, whether or not `da` is a term.

    With its weight, such a term then starts with `weight` times that norm.  The other terms of the
    objective are no reference: a trained network's cross-entropy on clean images has nearly no
    gradient.

    Args:
        loss: with at least one such term.
        views: of the first batch; their graph is kept.  An image without a label counts with the
            class that is predicted for it when it is clean.
        model: whose gradient is measured.
        loss_scale: see `gradient_norm`.

    Returns:
        Name of the term -> factor.

    Raises:
        ParameterError: if the cross-entropy on the copies, or the term itself, has no gradient.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    values = loss.values(views)
    clean = next(iter(views.teachers.values())) if views.clean is None else views.clean
    labels = torch.where(views.labels == NO_LABEL, clean.logits.argmax(1), views.labels)
    reference = gradient_norm(copies_loss(views, labels), parameters, loss_scale=loss_scale)
    factors = {}
    for name in loss.gradient_scaled:
        own = gradient_norm(values[name], parameters, loss_scale=loss_scale)
        if not (reference > 0 and own > 0 and math.isfinite(reference / own)):
            raise ParameterError(
                f"loss.{name}.scale: gradient needs a gradient of this term and of the "
                f"cross-entropy on the copies, got norms {own:g} and {reference:g}. Write scale: "
                "value."
            )
        factors[name] = reference / own
    return factors


def gradient_norm(value: Scalar, parameters: Sequence[Tensor], *, loss_scale: float = 1.0) -> float:
    """Norm of a value's gradient over all parameters; the graph is kept.

    Args:
        value: 0 is returned if it has no gradient.
        parameters: of the network.
        loss_scale: factor during the backward pass, at least 1, that keeps small gradients of an
            fp16 network from becoming 0.  If it makes some infinite, a smaller one is tried.
    """
    if not value.requires_grad:
        return 0.0
    while True:
        scaled = torch.autograd.grad(
            value * loss_scale, parameters, retain_graph=True, allow_unused=True
        )
        norms = [torch.linalg.vector_norm(one.float()) for one in scaled if one is not None]
        norm = float(torch.stack(norms).norm())
        if math.isfinite(norm) or loss_scale <= 1:
            return norm / loss_scale
        loss_scale = max(1.0, loss_scale / 16)
