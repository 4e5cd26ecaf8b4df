"""A custom network, by `package.module:callable`."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from ablate.errors import ParameterError, error_text
from ablate.study.callables import import_callable, is_given

_WHERE = "model.name"


def build(spec: str, classes: int, base: Path | None) -> nn.Module:
    """Build the network that the callable returns.

    It is called as `callable(classes=10)` and returns a `torch.nn.Module` that takes normalised
    images (batch, channel, height, width) and returns logits (batch, classes). A dict `taps` of the
    network, name -> module path, first to last, names layers for `loss.fma.layers`; a dict
    `channel_axes`, name or module path -> axis, says where the channels are (see `channel_axis`).

    Args:
        spec: `package.module:callable`.
        classes: size of the output.
        base: folder that is searched in addition to installed packages.

    Raises:
        ParameterError: if it cannot be imported or called, or returns something else.
    """
    make = import_callable(_WHERE, spec, base)
    try:
        model = make(classes=classes)
    except (Exception, SystemExit) as error:
        text = error_text(error)
        raise ParameterError(
            f"{_WHERE}: {spec} must return a network when called with classes={classes}, "
            f"got {text}. Fix it."
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


def code_digest(spec: str, base: Path | None) -> str:
    """sha256 of the callable's source file; empty if there is none, or its name has a digest.

    Imported files are not included.

    Raises:
        ParameterError: if it cannot be imported.
    """
    if is_given(spec):
        return ""
    try:
        file = inspect.getsourcefile(inspect.unwrap(import_callable(_WHERE, spec, base)))
    except TypeError:
        return ""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
