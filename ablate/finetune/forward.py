"""One forward pass of a step: clean images, their copies and the teachers become `Views`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from ablate.distortion.shapes import ByteImages, Images, Labels
from ablate.errors import ParameterError
from ablate.finetune.loss.objective import RobustLoss
from ablate.finetune.loss.term import View, Views
from ablate.model.bundled import BundledPasses
from ablate.model.environment import Environment
from ablate.model.modes import freeze_batch_norm, kept_mode
from ablate.model.taps import FeatureTaps, split_copies

BatchNormMode = Literal["joint", "separate", "frozen"]


class Forward:
    """Runs only the networks and inputs that an objective reads.

    Args:
        model: the student, on its device.
        loss: defines which clean images, copies, layers and teachers are read.
        environment: precision, and whether the student is compiled.
        batch_norm: "joint": everything in one batch, for batch norm; "frozen": the same with the
            student's running statistics; "separate": clean images and each copy in separate
            batches.
        teachers: by anchor, networks of the student's kind; they see the clean images in eval
            mode, without gradient.
        still: modules of the student that stay in eval mode; those that they contain do not.

    Raises:
        ParameterError: if a layer does not exist, or "frozen" finds no batch norm.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: RobustLoss,
        environment: Environment,
        batch_norm: BatchNormMode,
        teachers: Mapping[str, nn.Module],
        *,
        still: Sequence[nn.Module] = (),
    ) -> None:
        self._model = model
        self._loss = loss
        self._environment = environment
        self._batch_norm = batch_norm
        self._teachers = teachers
        self._still = still
        self._student = model
        self._is_probed = not environment.compile
        if environment.compile:
            # As in a new process: after a few variants torch would go on without compiling, after
            # two sizes of batches for any size.
            torch.compiler.reset()
            self._student = torch.compile(model, mode=environment.compile, dynamic=False)  # type: ignore[assignment]
        networks = [model, *teachers.values()]
        self._taps = {one: FeatureTaps(one, loss.layers, loss.activation) for one in networks}
        # torch.compile makes one operation of many by itself, and would see them exchanged.
        eager = networks[1:] if environment.compile else networks
        self._passes = {one: BundledPasses(one, environment) for one in eager}
        self.prepare()

    @property
    def reads_clean(self) -> bool:
        """Whether the clean images go through the student."""
        return self._loss.needs_clean or not self._loss.needs_augmented

    def prepare(self) -> None:
        """Put the student into training mode; call it before every epoch."""
        self._model.train()
        if self._batch_norm == "frozen":
            freeze_batch_norm(self._model)
        for module in self._still:
            module.training = False

    def __call__(
        self,
        images: Images,
        copies: Sequence[Images],
        copy_weights: Sequence[float],
        labels: Labels,
    ) -> Views:
        """What the networks make of a batch.

        Args:
            images: clean, in [0, 1].
            copies: augmented, each of all images; none where the objective reads none.
            copy_weights: how much each counts.
            labels: of the images.
        """
        with torch.no_grad():
            teachers = {
                anchor: self._views(teacher, [images])[0]
                for anchor, teacher in self._teachers.items()
            }
        batches = [images, *copies] if self.reads_clean else list(copies)
        groups = [[batch] for batch in batches] if self._batch_norm == "separate" else [batches]
        views = [view for group in groups for view in self._views(self._student, group)]
        clean = views.pop(0) if self.reads_clean else None
        return Views(labels, clean, tuple(views), tuple(copy_weights), teachers)

    def _views(self, model: nn.Module, batches: Sequence[Images]) -> list[View]:
        """What a network makes of some batches, sent through it as one."""
        images = torch.cat(list(batches)).contiguous(memory_format=torch.channels_last)
        read = self._model if model is self._student else model  # not what wraps it compiled
        taps, bundled = self._taps[read], self._passes.get(read, self._environment.autocast)
        if model is self._student and not self._is_probed:
            # A compiled network hides whether a feature map is changed in place later.
            with kept_mode(self._model), torch.no_grad(), taps:
                self._model.eval()(images[:1])
            taps.split(1)
            taps.clear()
            self._is_probed = True
        with taps, bundled():
            logits: torch.Tensor = model(images)
        if taps.without_gradient and torch.is_grad_enabled():
            raise ParameterError(
                f"loss.fma.layers: {min(taps.without_gradient)} must run with a gradient to be "
                "trained by its maps, got a pass without one. Use checkpoint(..., "
                "use_reentrant=False) where the network saves memory so, remove no_grad() around "
                "it, or choose another layer."
            )
        views = zip(split_copies(logits, len(batches)), taps.split(len(batches)), strict=True)
        taps.clear()  # or the maps would be kept until the next step
        return [View(*both) for both in views]


# -- Shift and mirror training images: the usual augmentation that keeps the class ---------
#
# Not to be confused with the distortions, which make the augmented copy: both copies of an image
# are shifted and mirrored alike.


def shift_images(images: ByteImages, padding: int, generator: torch.Generator) -> ByteImages:
    """Shift each image by up to `padding` pixels both ways; black comes in at the edges.

    Args:
        images: uint8, on the generator's device.
        padding: in pixels, at least 1.
        generator: draws one shift for each image.
    """
    batch, channels, height, width = images.shape
    padded = functional.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    device = images.device
    down, right = torch.randint(
        2 * padding + 1, (2, batch), generator=generator, device=device
    ).unbind()
    shifted = windows[torch.arange(batch, device=device), :, down, right]
    return shifted.view(batch, channels, height, width)


def flip_images(images: ByteImages, generator: torch.Generator) -> ByteImages:
    """Mirror each image left to right, or leave it, with equal chance.

    Args:
        images: uint8, on the generator's device.
        generator: draws one coin for each image.
    """
    coin = torch.rand((len(images), 1, 1, 1), generator=generator, device=images.device)
    return torch.where(coin < 0.5, images.flip(-1), images)
