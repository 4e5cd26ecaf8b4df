"""Where an attempt runs, and what it takes there."""

from __future__ import annotations

import os
import resource
import socket
import sys
from functools import cache
from typing import Any


def current_place(*, uses_gpu: bool) -> dict[str, Any]:
    """This process and its peaks, as the `place` of a report.

    Args:
        uses_gpu: whether the trial was given any GPU.
    """
    return {
        "host": _host(),
        "pid": os.getpid(),
        "gpus": list(_visible_gpus()) if uses_gpu else [],
        "peak_memory_bytes": _peak_memory_bytes(),
        "peak_gpu_bytes": _peak_gpu_bytes(),
    }


def reset_gpu_peak() -> None:
    """Forget what an older trial took of the GPU."""
    for torch, device in _gpus_in_use():
        torch.cuda.reset_peak_memory_stats(device)


@cache
def _host() -> str:
    return socket.gethostname()


def _visible_gpus() -> tuple[str, ...]:
    ids = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return tuple(one.strip() for one in ids.split(",") if one.strip())


def _peak_memory_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_gpu_bytes() -> int:
    return max(
        (torch.cuda.max_memory_allocated(device) for torch, device in _gpus_in_use()), default=0
    )


def _gpus_in_use() -> list[tuple[Any, int]]:
    """Torch and each device; none where nothing has loaded torch or touched a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return []
    return [(torch, device) for device in range(torch.cuda.device_count())]
