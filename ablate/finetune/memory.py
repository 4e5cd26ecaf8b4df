"""Out of memory, said in the words of a study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ablate.errors import AblateError


class OutOfMemoryError(AblateError):
    """A training step needs more memory than there is."""


@contextmanager
def explained_memory(batch_size: int, pass_images: int) -> Iterator[None]:
    """Turn what torch raises when memory ends into one line.

    Args:
        batch_size: clean images a step.
        pass_images: images that go through the network at once, copies included.

    Raises:
        OutOfMemoryError: saying what to lower.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        raise OutOfMemoryError(
            f"finetune.batch_size: a step must fit into memory, got out of memory with batch size "
            f"{batch_size}, {pass_images} images at once. Raise finetune.accumulation_steps, "
            f"or lower finetune.batch_size or dataset.image_size."
        ) from error


def _is_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # A CPU's allocator raises a RuntimeError without a class of its own.
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
