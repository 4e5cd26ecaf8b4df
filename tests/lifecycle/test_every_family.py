"""Networks of torchvision and timm, given as callables that name no layer, from init to export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run_here
from PIL import Image
from torch.optim.swa_utils import update_bn

import ablate
from ablate.lifecycle.place import place_of_file

TORCHVISION = {
    "alexnet": (64, "alexnet(num_classes=classes)"),
    "convnext": (32, "convnext_tiny(num_classes=classes)"),
    "densenet": (32, "densenet121(num_classes=classes)"),
    "efficientnet": (32, "efficientnet_b0(num_classes=classes)"),
    "efficientnet_v2": (32, "efficientnet_v2_s(num_classes=classes)"),
    "googlenet": (32, "googlenet(num_classes=classes, aux_logits=False, init_weights=False)"),
    "googlenet_with_heads": (64, "googlenet(num_classes=classes, init_weights=False)"),
    "inception_v3": (
        96,
        "inception_v3(num_classes=classes, aux_logits=False, init_weights=False)",
    ),
    "maxvit": (
        64,
        "MaxVit((64, 64), 32, 2, [32, 64, 128, 256], [1, 1, 2, 1], 32, 0.2, num_classes=classes)",
    ),
    "mnasnet": (32, "mnasnet0_5(num_classes=classes)"),
    "mobilenet_v2": (32, "mobilenet_v2(num_classes=classes)"),
    "mobilenet_v3": (32, "mobilenet_v3_small(num_classes=classes)"),
    "regnet_x": (32, "regnet_x_400mf(num_classes=classes)"),
    "regnet_y": (32, "regnet_y_400mf(num_classes=classes)"),
    "resnet": (32, "resnet18(num_classes=classes)"),
    "resnext": (32, "resnext50_32x4d(num_classes=classes)"),
    "shufflenet": (32, "shufflenet_v2_x0_5(num_classes=classes)"),
    "squeezenet": (32, "squeezenet1_1(num_classes=classes)"),
    "swin": (32, "swin_t(num_classes=classes)"),
    "swin_v2": (64, "swin_v2_t(num_classes=classes)"),
    "vgg": (32, "vgg11(num_classes=classes)"),
    "vgg_bn": (32, "vgg11_bn(num_classes=classes)"),
    "vit": (32, "vit_b_16(image_size=32, num_classes=classes)"),
    "wide_resnet": (32, "wide_resnet50_2(num_classes=classes)"),
}
"""By family of `torchvision.models`: the side of the images in pixels, and a call."""

TIMM = {
    name: (size, f"timm.create_model({name!r}, num_classes=classes{options})")
    for name, size, options in [
        ("cait_xxs24_224", 32, ", img_size=32"),
        ("coat_lite_tiny", 64, ", img_size=64"),
        ("convit_tiny", 32, ", img_size=32"),
        ("convmixer_768_32", 64, ""),
        ("convnextv2_atto", 32, ""),
        ("cspresnet50", 32, ""),
        ("darknet53", 32, ""),
        ("deit_tiny_patch16_224", 32, ", img_size=32"),
        ("dla34", 32, ""),
        ("edgenext_xx_small", 64, ""),
        ("efficientvit_b0", 64, ""),
        ("eva02_tiny_patch14_224", 56, ", img_size=56"),
        ("fastvit_t8", 64, ""),
        ("ghostnet_050", 32, ""),
        ("hardcorenas_a", 32, ""),
        ("hrnet_w18_small", 64, ""),
        ("levit_128s", 64, ", img_size=64"),
        ("mixer_s32_224", 64, ", img_size=64"),
        ("mobilenetv4_conv_small", 32, ""),
        ("mobileone_s0", 32, ""),
        ("mobilevit_xxs", 64, ""),
        ("nf_resnet26", 32, ""),
        ("pit_ti_224", 64, ", img_size=64"),
        ("poolformer_s12", 32, ""),
        ("repvgg_a0", 32, ""),
        ("res2net50_14w_8s", 32, ""),
        ("rexnet_100", 32, ""),
        ("swin_tiny_patch4_window7_224", 64, ", img_size=64"),
        ("tinynet_e", 32, ""),
        ("xception41", 64, ""),
    ]
}
"""By name in timm, one of each kind of network: the side of the images in pixels, and a call."""

FEW = (
    "mobilenet_v3",
    "mnasnet",
    "squeezenet",
    "shufflenet",
    "ghostnet_050",
    "deit_tiny_patch16_224",
)
"""Those of the normal suite: small ones, with and without batch norm, convolutions and tokens; the
others with -m whole."""

COLOURS = {"blue": (0.45, 0.45, 0.6), "green": (0.45, 0.6, 0.45), "red": (0.6, 0.45, 0.45)}
NOISE = ["contrast", "gaussian_noise"]
SPACE = (
    "space={loss.terms: {choice: [clean+fma, clean+da+fma]}, "
    "loss.fma.weight: {float: [0.1, 10], log: true}}"
)


def write_photos(folder: Path, size: int) -> None:
    """Noisy images of about the colour of their class: about one in ten looks like another."""
    random = np.random.default_rng(0)
    for split, count in (("train", 32), ("val", 16), ("test", 4)):
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                tint = np.array(colour) + random.normal(0, 0.06, 3)
                pixels = tint + random.normal(0, 0.1, (size, size, 3))
                image = Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8))
                image.save(folder / split / name / f"{number}.png")


def train(net: torch.nn.Module, folder: Path, epochs: int = 10) -> None:
    """A few steps of a training script of one's own, on images in [-1, 1]."""
    images, labels = [], []
    for label, name in enumerate(COLOURS):
        for file in sorted((folder / "train" / name).iterdir()):
            pixels = torch.from_numpy(np.array(Image.open(file)))
            images.append(pixels.permute(2, 0, 1) / 127.5 - 1)
            labels.append(label)
    pixels, targets = torch.stack(images), torch.tensor(labels)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(targets)).split(16):
            output = net(pixels[batch])
            logits = output if isinstance(output, torch.Tensor) else output[0]
            loss = torch.nn.functional.cross_entropy(logits, targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    update_bn(pixels[torch.randperm(len(targets))].split(32), net)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FEW else pytest.mark.whole)
        for name in (*TORCHVISION, *TIMM)
    ],
)
def test_any_network_is_finetuned_with_fma_exported_and_scored_as_its_trial(
    name: str, work: Path
) -> None:
    size, call = {**TORCHVISION, **TIMM}[name]
    package = "torchvision.models" if name in TORCHVISION else "timm"
    call = call if name in TIMM else f"{package}.{call}"
    module = f"family_{name}"
    (work / f"{module}.py").write_text(
        f"import {package}\n\n\ndef build(classes):\n    return {call}\n"
    )
    write_photos(work / "photos", size)
    built: dict[str, object] = {}
    exec((work / f"{module}.py").read_text(), built)
    torch.manual_seed(0)
    net = built["build"](3)  # type: ignore[operator]
    train(net, work / "photos")
    torch.save(net.state_dict(), work / "weights.pt")

    fed = ("--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--image-size", size)
    files = ("--data", "photos", "--model", f"{module}:build", "--checkpoint", "weights.pt")
    said = run_here("init", "mine", *files, *fed, "--saw-validation", "no", "--yes", cwd=work)
    assert said.returncode == 0, said.stderr
    study = place_of_file(work / "mine.yaml").study
    assert study is not None
    assert study.loss.fma.layers

    record = ablate.launch(
        work / "mine.yaml",
        [
            "search.trials=2",
            SPACE,
            "finetune.budget={images: 128}",
            "finetune.learning_rate=0.0001",
            "run.precision=fp32",  # as ONNX is run
            f"robustness.suite=[{','.join(NOISE)}]",
            "robustness.severities=[4]",
        ],
        executor="inline",
        accept_baseline=True,
    )
    assert [row.failure for row in record.rows] == [None, None]
    run_here("export", "runs/mine", "--trial", 1, "-o", "net.onnx", cwd=work)

    import onnxruntime

    session = onnxruntime.InferenceSession(work / "net.onnx")
    for count in (1, 3):
        (logits,) = session.run(None, {"images": np.zeros((count, 3, size, size), np.float32)})
        assert logits.shape == (count, 3)
    asked = ("--types", ",".join(NOISE), "--severities", 4, "-o", "scores.json")
    run_here("evaluate", "net.onnx", "--dataset", "photos", "--split", "val", *asked, cwd=work)
    found = json.loads((work / "scores.json").read_text())
    scores = record.rows[1].scores
    assert scores is not None
    assert found["summary"]["clean_accuracy"]["value"] == scores.clean_accuracy
    assert {one: found["types"][one]["accuracy"] for one in NOISE} == {
        one: scores.accuracies[one]["4"] for one in NOISE
    }
