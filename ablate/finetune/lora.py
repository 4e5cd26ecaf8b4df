"""Low-rank adapters (LoRA): beside a layer's fixed weights a product of two thin matrices learns.

Source: Hu et al. 2021, arXiv:2106.09685, by the package peft.  After training the product is added
to the weights, so that nothing else here knows of adapters.
"""

from __future__ import annotations

import copy
import re
from importlib.util import find_spec

import torch
from torch import nn

from ablate.errors import MissingDependencyError, ParameterError, pip_install
from ablate.model.taps import head_of
from ablate.study.settings import LoRASettings


def adaptable_layers(model: nn.Module) -> list[str]:
    """Module paths of the layers that get an adapter: linear ones and convolutions without groups
    below the head.

    Not their subclasses, which may use a weight in another way.
    """
    head = head_of(model)
    return [
        path
        for path, one in model.named_modules()
        if path not in head
        and (type(one) is nn.Linear or (type(one) is nn.Conv2d and one.groups == 1))
    ]


def check_adaptable(model: nn.Module, section: str) -> None:
    """Check that adapters can be added to a network; section: of the study.

    Raises:
        MissingDependencyError: if peft is not installed.
        ParameterError: if the network has no layer for one.
    """
    if find_spec("peft") is None:
        raise MissingDependencyError(
            f"{section}.lora.rank: needs peft, which is not installed. Run {pip_install('lora')}."
        )
    if not adaptable_layers(model):
        raise ParameterError(
            f"{section}.lora.rank: needs linear layers or convolutions without groups below the "
            f"head, got {type(model).__name__}, which has none. Write rank: 0."
        )


def add_adapters(model: nn.Module, settings: LoRASettings, seed: int, section: str) -> None:
    """Give each adaptable layer an adapter, and let these and the head alone learn; in place.

    The network's function is the same until the first step, since one of the two matrices is 0.

    Args:
        settings: a rank above 0.
        seed: of the other matrix.
        section: of the study, for errors.

    Raises:
        MissingDependencyError, ParameterError: see `check_adaptable`.
    """
    check_adaptable(model, section)
    from peft import LoraConfig, inject_adapter_in_model

    layers = "|".join(map(re.escape, adaptable_layers(model)))
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=layers)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(config, model)
    for path in head_of(model):
        model.get_submodule(path).requires_grad_()


def merged(model: nn.Module) -> nn.Module:
    """A copy of a network with adapters that has them in its weights, under its former names."""
    from peft.tuners.lora import LoraLayer

    plain = copy.deepcopy(model)
    for path, layer in [*plain.named_modules()]:
        if isinstance(layer, LoraLayer):
            layer.merge()
            plain.set_submodule(path, layer.get_base_layer())
    return plain
