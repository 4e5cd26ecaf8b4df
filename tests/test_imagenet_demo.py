"""The demonstration on ImageNet, on made-up images of few pixels: its split, its weights, and every
number of its table recomputed from the stored bits."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).parents[1] / "studies" / "paper"))

import imagenet_demo

CLASSES, IMAGES = 20, 40


def test_the_choice_knows_only_training_images() -> None:
    training, held_out = imagenet_demo.split_rows(1000, None, is_choice=False)
    assert (len(training), len(held_out)) == (700, 300)
    assert sorted([*training.tolist(), *held_out.tolist()]) == list(range(1000))
    parts = imagenet_demo.split_rows(1000, None, is_choice=True)
    assert sorted(torch.cat(parts).tolist()) == training.tolist()
    some = imagenet_demo.split_rows(1000, 280, is_choice=True)
    assert (len(some[0]), len(some[1])) == (196, 84)
    assert set(torch.cat(some).tolist()) <= set(training.tolist())


def unpack(text: str, n: int) -> np.ndarray:
    """Whether each image is correct: clean, then by corruption, `[6, n]`."""
    packed = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(packed, count=6 * n).reshape(6, n)


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of a run in `tmp_path`, whose weights have other names, in timm's order."""
    import timm

    random = np.random.default_rng(0)
    for number in range(IMAGES):
        file = tmp_path / "images" / f"n{number % CLASSES:03d}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (36, 44, 3), dtype=np.uint8)).save(file)
    torch.manual_seed(0)
    state = timm.create_model("tf_efficientnet_lite0", num_classes=CLASSES).state_dict()
    named = {f"{i}.{name.split('.')[-1]}": one for i, (name, one) in enumerate(state.items())}
    torch.save(named, tmp_path / "lite0.pth")
    monkeypatch.chdir(tmp_path)
    return [
        *("--images", "images", "--weights", "lite0.pth", "--out", "results"),
        *("--size", "32", "--passes", "1", "--name", "tiny"),
    ]


@pytest.mark.slow
def test_a_run_of_few_images(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["imagenet_demo.py", *options, "--plan"])
    imagenet_demo.main()
    planned = capsys.readouterr().out
    assert "4 finetuned networks, 1 passes over 28 images" in planned
    assert "112 images trained\n432 images scored\n60 images corrupted\n0.01 core-hours" in planned
    assert not Path("runs").exists()

    monkeypatch.setattr(sys, "argv", ["imagenet_demo.py", *options])
    imagenet_demo.main()
    given = torch.load("lite0.pth").values()
    written = load_file("runs/tiny/lite0.safetensors")
    assert all(any(torch.equal(one, other) for other in written.values()) for one in given)

    found = json.loads(Path("results/imagenet_demo.json").read_text())
    table = Path("results/imagenet_demo.md").read_text()
    assert capsys.readouterr().out == table
    n = 12
    assert (found["images"], found["training_images"]) == (n, IMAGES - n)
    rows = list(found["accuracy"])
    assert rows == [
        "clean",
        "gaussian_noise (seen type)",
        "defocus_blur (seen family)",
        "fog (unseen)",
        "contrast (seen family)",
        "pixelate (unseen)",
        "mean of all",
        "mean of those not trained on",
    ]
    shares = {
        name: [unpack(text, n).mean(axis=1) for text in texts]
        for name, texts in found["bits"].items()
    }
    assert [len(one) for one in shares.values()] == [1, 1, 2, 2]
    for name, networks in shares.items():
        for seed, one in enumerate(networks):
            gained = one - shares["pretrained"][0]
            expected = [*gained, gained[1:].mean(), gained[2:].mean()]
            kept = [found["accuracy"][row][name]["by_seed"][seed] for row in rows]
            assert kept == pytest.approx(expected)
    for row in rows:
        for name, one in found["accuracy"][row].items():
            assert one["difference"] == pytest.approx(np.mean(one["by_seed"]))
            assert one["low"] <= one["difference"] <= one["high"]
            networks = shares[name]
            if row == "clean":
                assert one["accuracy"] == pytest.approx(np.mean([bits[0] for bits in networks]))
            assert f"{100 * one['accuracy']:.1f}" in table

    imagenet_demo.main()  # finished: nothing is trained again
    again = json.loads(Path("results/imagenet_demo.json").read_text())
    assert again["accuracy"] == found["accuracy"]
    assert again["cpu_seconds_of_this_call"] < found["cpu_seconds_of_this_call"]
