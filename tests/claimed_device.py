"""Tensors that claim to be on a GPU but live on the CPU, and a log of what would wait.

A GPU works behind the program's back, until something asks it for a value or sends it memory that
is not page-locked: then the program waits. `Watch` lists these places without a GPU:

- a *read*: `item`, `bool`, `tolist`, a copy to the CPU, or a result whose shape depends on values;
- a *copy*: from ordinary memory to the device;
- a *mixed* operation, of tensors of both devices, and a *generator* of the other device.

Copies that do not wait (page-locked, `non_blocking`) are *sent*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing

import ablate

# A module that is first loaded while `Watch` has exchanged `torch.Generator` would have the other
# class in its checked annotations for the rest of the process.
for _package in ("distortion", "finetune/augment", "finetune/loss", "robustness/corruption"):
    for _file in sorted((Path(ablate.__file__).parent / _package).rglob("*.py")):
        _parts = _file.relative_to(Path(ablate.__file__).parents[1]).with_suffix("").parts
        import_module(".".join(part for part in _parts if part != "__init__"))

DEVICE = torch.device("cuda:0")

_LOG: list[str] = []
_RealGenerator = torch.Generator
_group_by_device = torch._C._group_tensors_by_device_and_dtype  # type: ignore[attr-defined]

_VALUE_DEPENDENT = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
_INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
_CHECKS = ("aten::_linalg_check_errors",)


class Claimed(Tensor):
    """A tensor that claims to be on `DEVICE`; every operation on it runs on its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> Claimed:
        made: Claimed = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=values.device,
        )
        made.held = values
        return made

    def __init__(self, values: Tensor) -> None:
        pass

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return DEVICE

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Claimed({self.held})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, _types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        _note_operation(func, args, kwargs)
        inner = {name: _mapped(_held, one) for name, one in kwargs.items()}
        out = _mapped(_claim, func(*_mapped(_held, args), **inner))
        return return_and_correct_aliasing(func, args, kwargs, out)


def _note_operation(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    name = func._schema.name
    # A number on the CPU is passed to the kernel, and nothing waits.
    strangers = [
        one
        for one in _tensors((*args, *kwargs.values()))
        if not isinstance(one, Claimed) and one.ndim
    ]
    if name == "aten::copy_" and strangers:
        _LOG.append("read: copy_" if strangers[0] is args[0] else "copy: copy_")
    elif strangers:
        _LOG.append(f"mixed: {name}")
    if name in _INDEXED:
        if any(mask.dtype in (torch.bool, torch.uint8) for mask in _tensors(args[1])):
            _LOG.append(f"read: {name} by a mask")
    elif _VALUE_DEPENDENT.intersection(func.tags) or name in _CHECKS:
        _LOG.append(f"read: {name}")


def _tensors(given: Any) -> Iterator[Tensor]:
    for one in given:
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, list | tuple):
            yield from _tensors(one)


def _mapped(change: Callable[[Any], Any], given: Any) -> Any:
    if isinstance(given, list | tuple):
        return type(given)([_mapped(change, one) for one in given])
    return change(given)


def _held(one: Any) -> Any:
    return one.held if isinstance(one, Claimed) else one


def _claim(one: Any) -> Any:
    return Claimed(one) if isinstance(one, Tensor) and not isinstance(one, Claimed) else one


class _Generator(_RealGenerator):
    """A generator of `DEVICE`, or of the CPU."""

    claimed: bool

    def __new__(cls, device: torch.device | str = "cpu") -> _Generator:
        made = super().__new__(cls, "cpu")
        made.claimed = _is_claimed(device)
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return DEVICE if self.claimed else torch.device("cpu")


def _is_claimed(device: Any) -> bool:
    return isinstance(device, str | torch.device) and torch.device(device).type == DEVICE.type


def _group(lists: Any, with_indices: bool = False) -> Any:
    found = _group_by_device(lists, with_indices)
    return {
        (DEVICE if isinstance(group[0][0][0], Claimed) else device, dtype): group
        for (device, dtype), group in found.items()
    }


class Watch(TorchFunctionMode):
    """While it is entered, `DEVICE` can be used; `log` lists what a GPU would have waited for."""

    log = _LOG

    def __enter__(self) -> Watch:
        self.log.clear()
        torch.Generator = _Generator  # type: ignore[misc, assignment]
        # A parameter is replaced, since one of the CPU cannot hold what is elsewhere.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        torch._C._group_tensors_by_device_and_dtype = _group  # type: ignore[attr-defined]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *given: Any) -> None:
        super().__exit__(*given)  # type: ignore[no-untyped-call]
        torch.Generator = _RealGenerator  # type: ignore[misc]
        torch._C._group_tensors_by_device_and_dtype = _group_by_device  # type: ignore[attr-defined]
        torch.__future__.set_overwrite_module_params_on_conversion(False)

    def __torch_function__(
        self, func: Any, _types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        own = args[0] if args and isinstance(args[0], Tensor) else None
        name = getattr(func, "__name__", "")
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._move(func, own, args, kwargs)
        if func is Tensor.pin_memory:
            locked = own.clone()  # type: ignore[union-attr]
            locked.page_locked = True  # type: ignore[attr-defined]
            return locked
        if func in (Tensor.tolist, Tensor.numpy) and isinstance(own, Claimed):
            self.log.append(f"read: {name}")
            return func(own.held.detach(), *args[1:], **kwargs)
        there = isinstance(own, Claimed)
        made = "device" in kwargs and kwargs["device"] is not None
        if made:
            there = _is_claimed(kwargs["device"])
            kwargs["device"] = "cpu"
        generator = kwargs.get("generator")
        if isinstance(generator, _Generator) and generator.claimed != there:
            self.log.append(f"generator: {name}")
        out = func(*args, **kwargs)
        if not (made and there):
            return out
        if func in (torch.tensor, torch.as_tensor):
            self.log.append(f"copy: {name}")
        return _mapped(_claim, out)

    def _move(
        self, func: Callable[..., Tensor], own: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Tensor:
        """`Tensor.to`, `cpu` and `cuda`."""
        claimed, dtype = isinstance(own, Claimed), kwargs.get("dtype")
        target = {Tensor.cpu: False, Tensor.cuda: True}.get(func, claimed)
        for one in (*args[1:], kwargs.get("device"), kwargs.get("other")):
            if isinstance(one, Tensor):
                target, dtype = isinstance(one, Claimed), one.dtype
            elif isinstance(one, str | torch.device):
                target = _is_claimed(one)
            elif isinstance(one, torch.dtype):
                dtype = one
        given = {name: kwargs[name] for name in ("copy", "memory_format") if name in kwargs}
        if target == claimed:
            return own.to(dtype or own.dtype, **given)
        if claimed:
            self.log.append("read: to the CPU")
            return own.held.detach().to(dtype or own.dtype, **given)
        waits = not kwargs.get("non_blocking") or not hasattr(own, "page_locked")
        self.log.append("copy: to the device" if waits else "sent")
        return Claimed(own.detach().to(dtype or own.dtype, **given).clone())
