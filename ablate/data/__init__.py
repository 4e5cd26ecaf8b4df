"""Data sets, as plain data: importing this loads no torch."""

from __future__ import annotations

PUBLISHED = ("cifar10", "cifar100")
"""Those that torchvision can fetch."""

NAMED = ("digits", *PUBLISHED)
"""Those whose images a name alone tells."""

DATASETS = (*NAMED, "image_folder")
"""Values of `dataset.name`, in addition to `package.module:callable`."""

SIDES = {"digits": 8, "cifar10": 32, "cifar100": 32}
"""Height and width in pixels of their images as published."""

GREY = ("digits",)
"""Those whose images are grey, in three equal channels."""
