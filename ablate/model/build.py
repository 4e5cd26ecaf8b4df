"""Builds a network by its name, and lists its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from ablate.data.dataset import Statistics
from ablate.distortion.shapes import Images
from ablate.errors import ParameterError, did_you_mean, error_text
from ablate.files.shown import count_text
from ablate.model import MODELS, SOURCES, is_external
from ablate.model.found_taps import find_taps, input_channels
from ablate.model.modes import kept_mode
from ablate.model.normalization import Published, reverse_channels, statistics_of
from ablate.model.resnet import ResNet, WideResNet
from ablate.model.taps import channel_axis, layer_names, map_in
from ablate.model.timm import listed_taps
from ablate.study.callables import import_callable
from ablate.study.settings import ModelSettings

_BUILDERS: dict[str, Callable[[int, Sequence[float], Sequence[float]], nn.Module]] = {
    "resnet8": partial(ResNet, 1),
    "resnet20": partial(ResNet, 3),
    "resnet32": partial(ResNet, 5),
    "resnet56": partial(ResNet, 9),
    "wrn-16-2": partial(WideResNet, 16, 2),
    "wrn-28-10": partial(WideResNet, 28, 10),
    "wrn-40-2": partial(WideResNet, 40, 2),
}
_OWN_IMAGE_SIZE = 32
_WHERE = "model.name"


def build_model(
    settings: ModelSettings,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    *,
    base: Path | None = None,
) -> nn.Module:
    """Build a network with random weights, on the CPU in channels_last, that takes images in [0,
    1].

    Args:
        settings: the study's `model` section.
        classes: size of the output.
        mean, std: of each channel of the training images, as fractions of 255; used if
            `normalization` requires them.
        seed: of the weights; torch's random state is not changed.
        base: folder of the study file, for a custom network.

    Raises:
        ParameterError: if the name is unknown, or a callable does not give a network.
        MissingDependencyError: if it needs a package that is not installed.
    """
    name = settings.name
    if not is_external(name) and name not in _BUILDERS:
        raise ParameterError(
            f"model.name: must be a known network, got {name!r}. {did_you_mean(name, MODELS)}"
        )
    own = own_statistics(settings)
    statistics = statistics_of(settings, Statistics(tuple(mean), tuple(std)), own)
    if len(statistics.mean) != len(mean) or (own is not None and len(mean) != 3):
        given = settings.normalization
        needed = 3 if own is not None else len(statistics.mean)
        fix = "Use normalization: dataset and a network with that many channels."
        if own is None and not isinstance(given, str) and len(mean) == 3:
            fix = "Write mean and std three times (grey images have three equal channels), and "
            fix += "give a network of one channel images[:, :1]."
        raise ParameterError(
            f"model: {name} with normalization {given if isinstance(given, str) else 'of its own'} "
            f"needs images of {count_text(needed, 'channel')}, got {len(mean)}. {fix}"
        )
    # The CPU's generator alone: `torch.manual_seed` would reseed every GPU too.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if is_external(name):
            source, network = _source(name)
            built = source.build(network, classes) if source else _build_own(name, classes, base)
            if not layer_names(built).taps:
                built.taps = find_taps(built, listed_taps(built))  # type: ignore[assignment]
            model = adapt(built, name, classes, statistics)
        else:
            model = _BUILDERS[name](classes, statistics.mean, statistics.std)
    if settings.channels == "bgr":
        reverse_channels(model)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim == 4:  # torch's `model.to` fails on weights of five dimensions
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return model


def build_skeleton(
    settings: ModelSettings, *, base: Path | None = None, classes: int = 10
) -> nn.Module:
    """`build_model`, without memory for its weights if possible."""
    try:
        with torch.device("meta"):
            model = _build_any(settings, base, classes)
        if layer_names(model).taps:
            return model
    except Exception:
        pass
    # Some networks compute with numbers while they are built (torchvision's RegNet) or run.
    return _build_any(settings, base, classes)


def _build_any(settings: ModelSettings, base: Path | None, classes: int = 10) -> nn.Module:
    """A network for images of any statistics, since only its layers matter."""
    return build_model(settings, classes, (0.5,) * 3, (0.5,) * 3, 0, base=base)


def published(settings: ModelSettings, weights: str = "") -> Published | None:
    """How a network's published weights were fed, which of torchvision's; None if it has none.

    Raises:
        ParameterError: if torchvision or timm has no such network.
        MissingDependencyError: if it needs a package that is not installed.
    """
    source, name = _source(settings.name)
    found: Published | None = source.published(name, weights) if source else None
    return found


def own_statistics(settings: ModelSettings) -> Statistics | None:
    """Mean and deviation that a network was trained with, if known; raises as `published`."""
    found = published(settings)
    return found.statistics if found else None


def own_image_size(settings: ModelSettings) -> int | None:
    """Input size in pixels that a network was trained with, if known; raises as `published`."""
    if not is_external(settings.name):
        return _OWN_IMAGE_SIZE
    found = published(settings)
    return found.image_size if found else None


def _source(name: str) -> tuple[Any, str]:
    """The module that knows the networks of this name's source, if one does, and the rest."""
    source, _, network = name.partition(":")
    if source not in SOURCES:
        return None, network
    if source == "torchvision":
        from ablate.model import torchvision as networks
    else:
        from ablate.model import timm as networks  # type: ignore[no-redef]
    return networks, network


# -- A network of the user's own, by `package.module:callable` ------------------------------


def _build_own(spec: str, classes: int, base: Path | None) -> nn.Module:
    """The network that `package.module:callable` returns, from installed packages or `base`.

    It is called as `callable(classes=10)` and returns a `torch.nn.Module` that takes normalised
    images (batch, channel, height, width) and returns logits (batch, classes). A dict `taps` of the
    network, name -> module path, first to last, names layers for `loss.fma.layers`; a dict
    `channel_axes`, name or module path -> axis, says where the channels are (see `channel_axis`).
    """
    make = import_callable(_WHERE, spec, base)
    try:
        model = make(classes=classes)
    except (Exception, SystemExit) as error:
        raise ParameterError(
            f"{_WHERE}: {spec} must return a network when called with classes={classes}, "
            f"got {error_text(error)}. Fix it."
        ) from error
    if not isinstance(model, nn.Module):
        raise ParameterError(
            f"{_WHERE}: {spec} must return a torch.nn.Module, got {type(model).__name__}. Return a "
            "new network in each call."
        )
    lazy = [name for name, weight in model.named_parameters() if is_lazy(weight)]
    if lazy:
        raise ParameterError(
            f"{_WHERE}: {spec} must return a network whose weights have shapes, got {lazy[0]} of a "
            "lazy layer. Give that layer its input size."
        )
    modules = {path for path, _ in model.named_modules() if path}
    taps, axes = getattr(model, "taps", {}), getattr(model, "channel_axes", {})
    if wrong := _wrong_item(taps, lambda _name, path: path in modules):
        raise ParameterError(
            f"{_WHERE}: the attribute taps of {spec} must be a dict of name -> module path of the "
            f"network, got {wrong}. Use paths from named_modules()."
        )
    known = {*taps, *modules}
    if wrong := _wrong_item(axes, lambda name, axis: name in known and type(axis) is int):
        raise ParameterError(
            f"{_WHERE}: the attribute channel_axes of {spec} must be a dict of tap or module path "
            f"-> axis of the channels, a whole number, got {wrong}. Count the batch as axis 0."
        )
    return model


def _wrong_item(items: object, is_right: Callable[[Any, Any], bool]) -> str:
    """The first wrong item of a dict, or what is there in place of one; empty if all are right."""
    if not isinstance(items, dict):
        return type(items).__name__
    wrong = (f"{key!r}: {value!r}" for key, value in items.items() if not is_right(key, value))
    return next(wrong, "")


# -- The layers of a network, and whether it takes images of a size ------------------------


@dataclass(frozen=True)
class LayerInfo:
    """A layer whose feature map can be tapped.

    Attributes:
        name: as in `loss.fma.layers`.
        module: path of the module in the network.
        shape: of one image's feature map, as the network has it: (channel, height, width),
            (token, channel), ...
        channel_axis: of the batch's map, where axis 0 is the image; None if it is not known.
        is_tap: whether the network names it; else it is a module that can be tapped.
    """

    name: str
    module: str
    shape: tuple[int, ...]
    channel_axis: int | None
    is_tap: bool = True


def describe_layers(
    settings: ModelSettings, image_size: int | None = None, *, base: Path | None = None
) -> list[LayerInfo]:
    """The named layers of a network and the shapes of their feature maps, first to last.

    Named layers that give no map (a list of them, or rows that are not images) are left out.  Of a
    network that has no others: its outermost modules that can be tapped.

    Args:
        settings: the study's `model` section.
        image_size: input size in pixels; None: the network's own, else 32.
        base: folder of the study file, where a network of the user's own may stand.

    Raises:
        ParameterError: if the name is unknown, a callable does not give a network, or the network
            does not take images of this size.
        MissingDependencyError: if it needs a package that is not installed.
    """
    side = image_size or own_image_size(settings) or _OWN_IMAGE_SIZE
    skeleton = build_skeleton(settings, base=base)
    try:
        return _read_layers(skeleton, settings.name, side)
    except ParameterError:
        # A network that creates tensors in its forward pass does not run without memory.
        return _read_layers(_build_any(settings, base), settings.name, side)


def _read_layers(model: nn.Module, name: str, side: int) -> list[LayerInfo]:
    """The usable taps, else the outermost modules that are usable; found with one image."""
    taps = layer_names(model).taps
    paths = {path: path for path, _ in model.named_modules() if path} | dict(taps)
    shapes: dict[str, torch.Size] = {}

    def note(layer: str, _module: nn.Module, _arguments: Any, output: Any) -> None:
        features = map_in(output)
        if isinstance(features, torch.Tensor) and features.ndim and len(features) == 1:
            shapes[layer] = features.shape

    for layer, path in paths.items():
        model.get_submodule(path).register_forward_hook(partial(note, layer))
    _show_image(model, name, side, 3)
    usable = [layer for layer in taps if layer in shapes] or [
        layer
        for layer in shapes
        if layer not in taps and not any(layer.startswith(f"{outer}.") for outer in shapes)
    ]
    return [
        LayerInfo(
            layer,
            paths[layer],
            tuple(shapes[layer][1:]),
            channel_axis(model, layer, paths[layer], shapes[layer]),
            is_tap=layer in taps,
        )
        for layer in usable
    ]


def check_image_size(model: nn.Module, name: str, side: int, channels: int = 3) -> None:
    """Run a network on black images, to check that it accepts the size and can be trained.

    It is not changed, nor are its buffers and torch's random state.

    Raises:
        ParameterError: if it does not take the size, does not return the logits as one tensor,
            has no weights to train, or fails in training mode.
    """
    _show_image(model, name, side, channels)
    weight = next((weight for weight in model.parameters() if weight.requires_grad), None)
    if weight is None:
        raise ParameterError(
            f"model.name: {name} must have trainable weights, got {type(model).__name__} without a "
            "parameter that requires a gradient. Add one, or choose another network."
        )
    images = torch.zeros(2, channels, side, side, device=weight.device)
    # Batch norm counts into copies.
    buffers = {path: buffer.clone() for path, buffer in model.named_buffers()}
    generators = [weight.device] if weight.is_cuda else []
    try:
        with kept_mode(model), torch.enable_grad(), torch.random.fork_rng(devices=generators):
            logits = functional_call(model.train(), buffers, (images,))
    except ParameterError:
        raise
    except (Exception, SystemExit) as error:
        raise ParameterError(
            f"model.name: {name} must run in training mode on 2 images of {side} x {side}, got "
            f"{error_text(error).rstrip('!.')}. Fix it, or name another network."
        ) from error
    if not logits.requires_grad:
        raise ParameterError(
            f"model.name: {name} must return differentiable logits, got logits without a gradient "
            "in training mode. Remove detach() and no_grad()."
        )


def _show_image(model: nn.Module, name: str, side: int, channels: int) -> None:
    """One, in eval mode."""
    weight = next(model.parameters(), torch.empty(0))
    try:
        # Not inference mode: what a network keeps of a pass could not be trained with.
        with kept_mode(model), torch.no_grad():
            model.eval()(torch.zeros(1, channels, side, side, device=weight.device))
    except ParameterError:
        raise
    except (Exception, SystemExit) as error:
        if (taken := input_channels(model)) not in (None, channels):
            raise ParameterError(
                f"model.name: {name} must take images of {count_text(channels, 'channel')} (grey "
                f"ones have three that are equal), got a first convolution that takes {taken}. "
                "Put a convolution from 3 channels before it, or give it images[:, :1]."
            ) from error
        raise ParameterError(
            f"dataset.image_size: {name} must take images of {side} x {side}, got "
            f"{error_text(error).rstrip('!.')}. Leave it out to use the network's own size."
        ) from error


# -- Make any network take images in [0, 1], without changing its module paths and keys
#
# Hooks and two buffers outside the state dict do it, not a wrapper: `layer3.2.conv1` stays the
# path of that layer, and checkpoints of the original network fit.


def adapt(model: nn.Module, name: str, classes: int, statistics: Statistics) -> nn.Module:
    """Make a network normalise its input, check its output, and return the logits alone.

    It is changed in place, and can still be copied, pickled and moved.  When it is run, it raises a
    ParameterError if it returns the logits of so many classes neither as one tensor nor as `logits`
    of what it returns.
    """
    if any(statistics.mean) or set(statistics.std) != {1.0}:
        for buffer, values in zip(("image_mean", "image_std"), statistics, strict=True):
            tensor = torch.tensor(values).view(1, -1, 1, 1)
            model.register_buffer(buffer, tensor, persistent=False)
        model.register_forward_pre_hook(_normalize)
    model.register_forward_hook(partial(_check_output, name, classes))
    return model


def _normalize(model: Any, arguments: tuple[Images]) -> tuple[Images]:
    return ((arguments[0] - model.image_mean) / model.image_std,)


def _check_output(
    name: str, classes: int, model: nn.Module, arguments: tuple[Images], output: Any
) -> torch.Tensor:
    logits = logits_of(output)
    if model.training and isinstance(logits, tuple) and logits:
        logits = logits[0]  # auxiliary logits follow
    # Not `len`, which would fix the batch of an exported network.
    expected = (arguments[0].shape[0], classes)
    got = type(logits).__name__
    if isinstance(logits, torch.Tensor):
        if logits.shape == expected:
            return logits
        got = f"shape {tuple(logits.shape)}"
    raise ParameterError(
        f"model.name: {name} must return logits of shape (images, classes) = {expected} as one "
        f"tensor, got {got} in {'training' if model.training else 'eval'} mode. Return only "
        "logits, or choose another network."
    )


def logits_of(output: Any) -> Any:
    """The logits in what a network returns: its entry or attribute `logits`, else all of it."""
    if isinstance(output, Mapping):
        return output.get("logits", output)
    return getattr(output, "logits", output)
