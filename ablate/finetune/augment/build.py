"""The augmentation that a study's settings describe."""

from __future__ import annotations

from importlib import import_module

from ablate.finetune.augment import METHODS
from ablate.finetune.augment.augmentation import Augmentation
from ablate.study.settings import AugmentSettings


def build_augmentation(settings: AugmentSettings) -> Augmentation:
    """What makes the copies by `settings.method`.

    Settings that the method does not read are passed over, as a search over methods holds those
    of all: `depth` is read by `composed` alone, and `augmix` reads its own section,
    `clean_fraction` and `copies`.

    Raises:
        ParameterError: if the settings do not fit together; see `build_mixture` and the methods.
    """
    module = import_module(f"ablate.finetune.augment.{METHODS[settings.method]}")
    augmentation: Augmentation = module.build_method(settings)
    return augmentation
