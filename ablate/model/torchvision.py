"""Classification networks of torchvision, by `torchvision:NAME`, with names for their stages.

Aliases, from the structure of the network: ResNet, ResNeXt and Wide ResNet: the first ReLU and
`layer1` to `layer4`; EfficientNet: each group of MBConv blocks; ConvNeXt: each group of blocks;
MobileNet: the last block at each resolution; DenseNet: the first ReLU and each dense block;
RegNet: its stem and each block of stages; Swin: the embedded patches and each group of blocks;
ViT: the embedded patches and every block.  The widening convolution before the classifier has no
alias.
"""

from __future__ import annotations

from functools import partial

import torchvision
from torch import nn
from torchvision.models import get_model, get_model_weights, list_models

from ablate.errors import DataError, ParameterError, did_you_mean
from ablate.model.normalization import IMAGENET, Published
from ablate.model.weights.external_checkpoint import CheckpointSource


def build(name: str, classes: int) -> nn.Module:
    """Build a network with random weights and, if its family is known, a dict `taps`.

    Raises:
        ParameterError: if torchvision has no such network for classification, or it returns
            more than the logits while it trains.
    """
    _check(name)
    if name in ("googlenet", "inception_v3"):
        raise ParameterError(
            "model.name: must be a network that returns only logits in training, got "
            f"'torchvision:{name}', which adds auxiliary logits. Choose another network, or a "
            "callable that builds it with aux_logits=False."
        )
    model: nn.Module = get_model(name, weights=None, num_classes=classes)
    taps = find_taps(name, model)
    if taps:
        model.taps = taps  # type: ignore[assignment]
    return model


def published(name: str, weights: str = "") -> Published:
    """How torchvision's weights of a network were fed.

    Args:
        weights: which, such as `IMAGENET1K_V2`; others than it has: those of the smallest size, as
            a network that accepts only one size is built for it.

    Raises:
        ParameterError: if torchvision has no such network.
    """
    _check(name)
    entries = get_model_weights(name).__members__
    transforms = [entry.transforms() for entry in entries.values()]
    smallest = min(int(transform.crop_size[0]) for transform in transforms)
    chosen = next(one for one in transforms if one.crop_size[0] == smallest)
    if weights in entries:
        chosen = entries[weights].transforms()
    resize, interpolation = int(chosen.resize_size[0]), chosen.interpolation.value
    return Published(IMAGENET, int(chosen.crop_size[0]), resize, interpolation)


def find_weights(name: str, weights: str) -> CheckpointSource:
    """torchvision's weights of a network, such as `DEFAULT`; nothing is downloaded.

    Raises:
        DataError: if it has no such weights.
    """
    known = get_model_weights(name)
    if weights not in known.__members__:
        full = [f"torchvision:{entry}" for entry in known.__members__]
        raise DataError(
            f"baseline.checkpoint: must be weights that torchvision has for {name}, got "
            f"'torchvision:{weights}'. {did_you_mean(f'torchvision:{weights}', full)}"
        )
    url = known[weights].url
    # Not `get_state_dict`: some files have keys of an older time, which the network renames.
    fetch = partial(get_model, name, weights=known[weights], progress=False)
    return CheckpointSource(f"torchvision:{url}", url=url, fetch=fetch)


def _check(name: str) -> None:
    known = list_models(module=torchvision.models)
    if name not in known:
        full = [f"torchvision:{network}" for network in known]
        raise ParameterError(
            f"model.name: must be a classification network of torchvision, got "
            f"'torchvision:{name}'. {did_you_mean(f'torchvision:{name}', full)}"
        )


def find_taps(name: str, model: nn.Module) -> dict[str, str]:
    """The stages of a network of torchvision: alias -> module path, first to last; empty if its
    family is not known."""
    if name.startswith(("resnet", "resnext", "wide_resnet")):
        return {"stem": "relu", **{f"stage{i}": f"layer{i}" for i in range(1, 5)}}
    if name.startswith("densenet"):
        blocks = {f"stage{i}": f"features.denseblock{i}" for i in range(1, 5)}
        return {"stem": "features.relu0", **blocks}
    if name.startswith("regnet_"):
        return {"stem": "stem", **{f"stage{i}": f"trunk_output.block{i}" for i in range(1, 5)}}
    if name.startswith("vit_"):
        prefix = "encoder.layers.encoder_layer_"
        count = sum(path.removeprefix(prefix).isdigit() for path, _ in model.named_modules())
        return {"stem": "conv_proj", **{f"stage{i + 1}": f"{prefix}{i}" for i in range(count)}}
    if not name.startswith(("efficientnet_", "convnext_", "mobilenet_", "swin_")):
        return {}
    features = list(model.get_submodule("features").children())
    last = len(features) - 1
    if name.startswith(("convnext_", "swin_")):
        # Downsampling layers stand between the stages.
        stages = list(range(1, last + 1, 2))
    elif name.startswith("efficientnet_"):
        stages = list(range(1, last))
    else:
        strided = [i for i, block in enumerate(features) if i > 1 and _shrinks(block)]
        stages = [*(i - 1 for i in strided), last - 1]
    return {"stem": "features.0"} | {
        f"stage{stage}": f"features.{i}" for stage, i in enumerate(stages, start=1)
    }


def _shrinks(block: nn.Module) -> bool:
    return any(
        isinstance(module, nn.Conv2d) and max(module.stride) > 1 for module in block.modules()
    )
