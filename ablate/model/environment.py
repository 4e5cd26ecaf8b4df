"""What changes the bits of a result without standing in the study: device, precision, threads."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ablate.errors import ResourceError
from ablate.study.json_data import JsonData
from ablate.study.provenance import usable_cores

if TYPE_CHECKING:
    from ablate.study.settings import RunSettings

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""

DeviceKind = Literal["cpu", "cuda"]
Precision = Literal["bf16", "fp16", "fp32"]
CompileMode = Literal[False, "default", "reduce-overhead"]


@dataclass(frozen=True)
class Environment(JsonData):
    """Device, precision and threads for training and scoring networks.

    Attributes:
        device: kind of device.
        precision: of the forward and backward pass; losses and scores are always fp32.
        threads: of torch on the CPU; sums depend on it, so 1 and 2 give different bits.
        torch: version.
        device_name: the GPU's, or the CPU's kind and vector instructions; shown if results differ;
            not part of any key.
        compile: mode of torch.compile for training steps, or False.
    """

    device: DeviceKind
    precision: Precision
    threads: int
    torch: str
    device_name: str
    compile: CompileMode = False

    def apply(self, *, same_bits: bool = False) -> None:
        """Set up torch in this process; call it before every trial, since it is global.

        Args:
            same_bits: whether a GPU uses only those of cuDNN's kernels that give the same bits
                each time; a CPU always gives the same.
        """
        import torch

        torch.set_num_threads(self.threads)
        if self.device == "cpu" and sys.platform == "linux":
            library = ctypes.CDLL(None)
            # glibc returns blocks of a feature map's size to the system at once; allocating them
            # again costs 15,000 page faults in a training step of ResNet-20, a tenth of its time.
            if hasattr(library, "mallopt"):
                library.mallopt(_M_MMAP_THRESHOLD, 2**30)
                library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = same_bits
        # fp32 by name is fp32 in convolutions too, which PyTorch rounds to TF32 otherwise.
        torch.backends.cudnn.allow_tf32 = self.precision != "fp32"
        # Some images of containers round matrices too; distortions and losses are fp32 throughout.
        torch.backends.cuda.matmul.allow_tf32 = False

    def autocast(self) -> AbstractContextManager[Any]:
        """The block in which a forward pass runs in this precision."""
        import torch

        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device, dtype=dtype, enabled=self.precision != "fp32")


def resolve_environment(
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto",
    *,
    threads: int,
    device: DeviceKind | None = None,
    compile_mode: CompileMode = False,
) -> Environment:
    """Determine the environment on this machine.

    Args:
        precision: "auto" is bf16 if the hardware supports it, else fp32.
        threads: of torch on the CPU, at least 1.
        device: None is the GPU if torch sees one, else the CPU.
        compile_mode: of torch.compile for training steps.

    Raises:
        ResourceError: if a GPU is requested and torch sees none, or fp16 on a CPU.
    """
    import torch

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        if not torch.cuda.is_available():
            raise ResourceError(
                "device: must be available, got cuda, but torch sees no GPU. Use cpu, or install a "
                "torch built for this GPU's driver."
            )
        has_bf16 = bool(torch.cuda.is_bf16_supported(including_emulation=False))
        name = torch.cuda.get_device_name()
    else:
        if precision == "fp16":
            raise ResourceError(
                "run.precision: fp16 needs a GPU, got a CPU. Use bf16 or fp32, or auto, which "
                "chooses by hardware."
            )
        # The questions have no public name, and not every version of torch has all.
        questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        has_bf16 = any(getattr(torch.cpu, question, bool)() for question in questions)
        name = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    if precision == "auto":
        precision = "bf16" if has_bf16 else "fp32"
    return Environment(device, precision, threads, torch.__version__, name, compile_mode)


def environment_of(run: RunSettings) -> Environment:
    """The environment of a study's trials on this machine: the CPU with `gpus_per_trial: 0`, a GPU
    with a number above 0, and with `auto` a GPU if torch sees one.

    Raises:
        ResourceError: if torch sees no GPU where one is asked for, or fp16 on a CPU.
    """
    gpus = run.gpus_per_trial
    environment = resolve_environment(
        run.precision,
        threads=run.cpus_per_trial,
        device="cpu" if gpus == 0 else None,
        compile_mode=run.compile,
    )
    if gpus != "auto" and gpus > 0 and environment.device == "cpu":
        raise ResourceError(
            f"run.gpus_per_trial: needs a torch that sees the GPU, got torch {environment.torch}, "
            f"which sees none of {gpus:g}. Install a torch that matches the GPU driver, or set "
            "run.gpus_per_trial: 0."
        )
    return environment


def preparation_cores() -> int:
    """Number of cores for preparing data, baseline and evaluation sets: all that this process may
    use, or fewer if OMP_NUM_THREADS is set, as for every program that uses OpenMP."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    cores = usable_cores()
    return min(cores, int(asked)) if asked.isdecimal() and int(asked) else cores


def gpu_count() -> int:
    """Number of GPUs that torch sees."""
    import torch

    return torch.cuda.device_count()


def limit_gpu_memory(fraction: float) -> None:
    """Limit the memory of this process on each GPU, before it first uses one.

    If it needs more, it gets an out-of-memory error, and other processes are not affected.

    Args:
        fraction: of the GPU's memory, above 0, at most 1.
    """
    import torch

    for device in range(torch.cuda.device_count()):
        torch.cuda.set_per_process_memory_fraction(fraction, device)
