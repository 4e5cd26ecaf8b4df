"""Which modules are activations: what `activation: before` reads a feature map in front of."""

from __future__ import annotations

from torch import nn

_ACTIVATIONS = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,  # and ReLU6, which is one
    nn.LeakyReLU,
    nn.Mish,
    nn.PReLU,
    nn.ReLU,
    nn.RReLU,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
)


def is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation of torch, of timm, or of a subclass of torch's."""
    own = type(module).__module__
    return isinstance(module, _ACTIVATIONS) or own.startswith("timm.layers.activations")
