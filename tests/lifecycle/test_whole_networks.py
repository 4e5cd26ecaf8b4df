"""A study of one trial for the smallest published member of each family of networks, in full size:
baseline, finetuning, scoring, export, and the exported file scored again.

Left out unless asked for, since it takes minutes and gigabytes: `python -m pytest -n 0 -m whole`.
`tests/finetune/test_architectures.py` finetunes the same families with few and narrow blocks.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ablate
from ablate.model.weights.export_metadata import read_metadata
from ablate.study.scores import Scores
from tests.commands import run_here

pytestmark = [pytest.mark.whole, pytest.mark.slow, pytest.mark.timeout(1800)]

SIDES = {
    "torchvision:vit_b_16": 224,
    "torchvision:swin_t": 64,
    "torchvision:densenet121": 64,
    "torchvision:regnet_y_400mf": 64,
    "torchvision:efficientnet_b0": 64,
    "torchvision:convnext_tiny": 64,
    "torchvision:mobilenet_v3_small": 64,
    "timm:vit_tiny_patch16_224": 224,
    "timm:swin_tiny_patch4_window7_224": 224,
    "timm:densenet121": 64,
    "timm:regnety_002": 64,
    "timm:efficientnet_lite0": 64,
    "timm:convnext_atto": 64,
    "timm:mobilenetv3_small_050": 64,
}
"""Side of the images in pixels, by network: 64, or what its positions are made for."""

STUDY = """
version: 1
name: whole
dataset: {{name: image_folder, path: images, image_size: {side}, resize: {side},
  validation: {{fraction: 0.25}}}}
model: {{name: "{model}"}}
baseline: {{epochs: 1, batch_size: 8}}
finetune: {{budget: {{images: 32}}, batch_size: 8, learning_rate: 0.001}}
loss: {{fma: {{distance: unit, anchor: clean}}}}
space: {{loss.fma.weight: {{float: [0.1, 10], log: true}}}}
search: {{trials: 1, sampler: random, seed: 0}}
robustness: {{suite: [gaussian_noise], severities: [3], images: 20}}
run: {{gpus_per_trial: 0}}
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes: noise that is red, and noise that is blue."""
    folder = tmp_path_factory.mktemp("whole") / "images"
    random = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 10)):
        for channel, name in ((0, "red"), (2, "blue")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 160, (72, 72, 3))
                pixels[:, :, channel] += 90
                image = Image.fromarray(pixels.astype(np.uint8))
                image.save(folder / split / name / f"{number}.png")
    return folder


@pytest.mark.parametrize("model", SIDES)
def test_a_study_of_one_trial(model: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(images)
    (tmp_path / "whole.yaml").write_text(STUDY.format(model=model, side=SIDES[model]))
    result = run_here(
        "launch", "whole.yaml", "--executor", "inline", "--accept-baseline", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    (row,) = ablate.read(tmp_path / "runs" / "whole").complete
    assert isinstance(row.scores, Scores)
    assert row.scores.student_images == 32
    assert math.isfinite(row.curve[-1]["train_loss"])

    file = tmp_path / "exported.safetensors"
    result = run_here("export", tmp_path / "runs" / "whole", "--trial", "0", "-o", file)
    assert result.returncode == 0, result.stderr
    metadata = read_metadata(file)
    assert metadata is not None
    assert metadata.model == model
    asked = ("--types", "gaussian_noise", "--severities", "3", "--json")
    result = run_here("evaluate", file, "--dataset", images, *asked)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)
