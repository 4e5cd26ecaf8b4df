"""Classification networks of torchvision, by `torchvision:NAME`, with names for their stages.

Aliases, from the structure of the network: ResNet, ResNeXt and Wide ResNet: the first ReLU and
`layer1` to `layer4`; EfficientNet: each group of MBConv blocks; ConvNeXt: each group of blocks;
MobileNet: the last block at each resolution; DenseNet: the first ReLU and each dense block;
RegNet: its stem and each block of stages; Swin: the embedded patches and each group of blocks;
ViT: the embedded patches and every block.  The widening convolution before the classifier has no
alias.
"""

from __future__ import annotations

import torchvision
from torch import nn
from torchvision.models import get_model, get_model_weights, list_models

from ablate.data.dataset import Statistics
from ablate.errors import ParameterError, did_you_mean
from ablate.model.normalization import IMAGENET


def build(name: str, classes: int) -> nn.Module:
    """Build a network with random weights and, if its family is known, a dict `taps`.

    Args:
        name: as torchvision lists it, such as `resnet50`.
        classes: size of the output.

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
    taps = _find_taps(name, model)
    if taps:
        model.taps = taps  # type: ignore[assignment]
    return model


def own_statistics(name: str) -> Statistics:
    """Normalisation that torchvision's weights of this network were trained with.

    Raises:
        ParameterError: if torchvision has no such network.
    """
    _check(name)
    return IMAGENET


def own_image_size(name: str) -> int:
    """Input size in pixels that torchvision's weights of this network were trained with.

    The smallest if there are several: a network that accepts only one size is built for it.

    Raises:
        ParameterError: if torchvision has no such network.
    """
    _check(name)
    sizes = [int(weights.transforms().crop_size[0]) for weights in get_model_weights(name)]
    return min(sizes)


def _check(name: str) -> None:
    known = list_models(module=torchvision.models)
    if name not in known:
        full = [f"torchvision:{one}" for one in known]
        raise ParameterError(
            f"model.name: must be a classification network of torchvision, got "
            f"'torchvision:{name}'. {did_you_mean(f'torchvision:{name}', full)}"
        )


def _find_taps(name: str, model: nn.Module) -> dict[str, str]:
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
    features = dict(model.named_children())["features"]
    last = len(list(features.children())) - 1
    if name.startswith(("convnext_", "swin_")):
        # Downsampling layers stand between the stages.
        stages = list(range(1, last + 1, 2))
    elif name.startswith("efficientnet_"):
        stages = list(range(1, last))
    else:
        strided = [i for i, block in enumerate(features.children()) if i > 1 and _shrinks(block)]
        stages = [*(i - 1 for i in strided), last - 1]
    return {"stem": "features.0"} | {
        f"stage{stage}": f"features.{i}" for stage, i in enumerate(stages, start=1)
    }


def _shrinks(block: nn.Module) -> bool:
    return any(
        isinstance(module, nn.Conv2d) and max(module.stride) > 1 for module in block.modules()
    )
