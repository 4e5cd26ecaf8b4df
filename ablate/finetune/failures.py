"""What torch raises in a training step, as one line about the study.

Apart from the loop, since it is about torch's words and not about training.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ablate.errors import ParameterError
from ablate.errors.device import within_memory


@contextmanager
def explained_failures(batch_size: int, pass_images: int) -> Iterator[None]:
    """Turn what torch raises for want of memory, or of values to normalise, into one line.

    Args:
        batch_size: clean images a step.
        pass_images: images that go through the network at once, copies included.

    Raises:
        OutOfMemoryError: saying what to lower.
        ParameterError: if batch norm has one value a channel.
    """
    rule = (
        "finetune.batch_size: a step must fit into memory, ran out of memory with batch size "
        f"{batch_size}, {pass_images} images at once. Raise finetune.accumulation_steps, lower "
        "finetune.batch_size or dataset.image_size, or raise run.gpu_memory_fraction."
    )
    try:
        with within_memory(rule):
            yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ParameterError(
            "finetune.batch_size: batch norm needs more than one value per channel, got "
            f"{batch_size} for images this small. Raise it, lower finetune.accumulation_steps, or "
            "write finetune.batch_norm: frozen."
        ) from error
