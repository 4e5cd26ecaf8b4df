"""RobustBench's networks through `benchmarks/anchor.py`: files of the same layout, few images, and
logits that another forward pass computes from the same files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, linear, relu

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import anchor
from anchor import ANCHORS, judge

from ablate.model.build import build_model, build_skeleton
from ablate.model.weights.external_checkpoint import load_external, match_by_order
from ablate.robustness.corruption import BENCHMARK
from ablate.study.settings import ModelSettings

N = 3
State = dict[str, torch.Tensor]


def published_state(depth: int, widening: int, generator: torch.Generator | None = None) -> State:
    """Weights of a wide ResNet under RobustBench's names, in the order in which it saves them."""

    def drawn(*shape: int, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    def conv(width_in: int, width: int, side: int) -> torch.Tensor:
        bound = (6 / (width_in * side**2)) ** 0.5  # keeps the variance behind a ReLU
        return drawn(width, width_in, side, side, low=-bound, high=bound)

    def norm(width: int) -> Iterator[tuple[str, torch.Tensor]]:
        yield "weight", drawn(width, low=0.5, high=1.5)
        yield "bias", drawn(width)
        yield "running_mean", drawn(width)
        yield "running_var", drawn(width, low=0.5, high=2.0)
        yield "num_batches_tracked", torch.tensor(7)

    state = {"conv1.weight": conv(3, 16, 3)}
    width_in = 16
    for block, width in enumerate((16 * widening, 32 * widening, 64 * widening), start=1):
        for layer in range((depth - 4) // 6):
            path = f"block{block}.layer.{layer}"
            state |= {f"{path}.bn1.{key}": value for key, value in norm(width_in)}
            state[f"{path}.conv1.weight"] = conv(width_in, width, 3)
            state |= {f"{path}.bn2.{key}": value for key, value in norm(width)}
            state[f"{path}.conv2.weight"] = conv(width, width, 3)
            if width_in != width:
                state[f"{path}.convShortcut.weight"] = conv(width_in, width, 1)
            width_in = width
    state |= {f"bn1.{key}": value for key, value in norm(width_in)}
    return state | {"fc.weight": drawn(10, width_in), "fc.bias": drawn(10)}


def published_logits(state: Mapping[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """The network's forward pass by its names; images as the network takes them."""

    def active(x: torch.Tensor, path: str) -> torch.Tensor:
        of = {key: state[f"{path}.{key}"] for key in ("running_mean", "running_var")}
        return relu(batch_norm(x, **of, weight=state[f"{path}.weight"], bias=state[f"{path}.bias"]))

    x = conv2d(images, state["conv1.weight"], padding=1)
    for path in dict.fromkeys(key.rpartition(".bn1.")[0] for key in state if ".layer." in key):
        if not path:
            continue
        stride = 2 if path.endswith("layer.0") and not path.startswith("block1") else 1
        first = active(x, f"{path}.bn1")
        inner = conv2d(first, state[f"{path}.conv1.weight"], stride=stride, padding=1)
        inner = conv2d(active(inner, f"{path}.bn2"), state[f"{path}.conv2.weight"], padding=1)
        if f"{path}.convShortcut.weight" in state:
            x = conv2d(first, state[f"{path}.convShortcut.weight"], stride=stride)
        x = x + inner
    x = avg_pool2d(active(x, "bn1"), 8).flatten(1)
    return linear(x, state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize(
    ("option", "depth", "widening", "parameters"),
    [("standard", 28, 10, 36_479_194), ("augmix", 40, 2, 2_243_546)],
)
def test_the_published_networks_are_ours_in_order(
    option: str, depth: int, widening: int, parameters: int
) -> None:
    """36.5 and 2.2 million parameters, as Zagoruyko and Komodakis count them (table 4)."""
    model = build_skeleton(ModelSettings(name=ANCHORS[option].model))
    assert sum(one.numel() for one in model.parameters()) == parameters
    with torch.device("meta"):
        found = published_state(depth, widening)
    matched = match_by_order(model.state_dict(), found, "", "")
    weights = {key: tensor for key, tensor in found.items() if "num_batches" not in key}
    assert len(matched) == len(weights)
    for key, tensor in weights.items():
        assert matched[own_name(key)] is tensor


def own_name(key: str) -> str:
    """Our name of a tensor of RobustBench."""
    if ".layer" in key:
        for theirs, ours in (("block", "stage"), (".layer", ""), ("bn", "norm")):
            key = key.replace(theirs, ours)
        return key.replace("convShortcut", "shortcut")
    layer, _, tensor = key.partition(".")
    return f"{ {'conv1': 'stem', 'bn1': 'norm', 'fc': 'classifier'}[layer] }.{tensor}"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Of 75 copies and clean, uint8 `[76, N, 32, 32, 3]`."""
    coarse = np.random.default_rng(0).integers(0, 256, (76, N, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=2).repeat(8, axis=3)


def pixels_of(images: np.ndarray) -> torch.Tensor:
    """Float `[n, 3, 32, 32]` in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255


@pytest.fixture(scope="module")
def state(images: np.ndarray) -> State:
    """Random weights, and a bias with which each class is that of some images."""
    found = published_state(40, 2, torch.Generator().manual_seed(0))
    found["fc.bias"] -= published_logits(found, 2 * pixels_of(images[:20, 0]) - 1).mean(dim=0)
    return found


LAYOUTS: dict[str, Any] = {
    "RobustBench": dict,
    "AugMix": lambda state: {
        "epoch": 99,
        "model": "wrn",
        "state_dict": {f"module.{key}": value for key, value in state.items()},
        "best_acc": 0.95,
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
    },
    "with its normalisation": lambda state: {
        "mu": torch.full((1, 3, 1, 1), 0.5),
        "sigma": torch.full((1, 3, 1, 1), 0.5),
        **state,
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_of_either_layout_give_the_published_logits(
    layout: str, state: State, images: np.ndarray, tmp_path: Path
) -> None:
    file = tmp_path / "net.pt"
    # The format of the torch of that time.
    torch.save(LAYOUTS[layout](state), file, _use_new_zipfile_serialization=layout != "AugMix")
    own = ModelSettings(name="wrn-40-2")
    inside = layout == "with its normalisation"
    model = build_model(own, 10, *(((0.1,) * 3, (0.9,) * 3) if inside else ((0.5,) * 3,) * 2), 1)
    load_external(model, own, str(file), by_order=True)
    few = pixels_of(images[0])
    with torch.inference_mode():
        found, expected = model.eval()(few), published_logits(state, 2 * few - 1)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.long
def test_the_command_prints_what_the_logits_say(
    state: State,
    images: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with torch.inference_mode():
        pixels = pixels_of(images.reshape(76 * N, 32, 32, 3))
        answers = published_logits(state, 2 * pixels - 1).argmax(1).view(76, N)
    labels = answers.mode(dim=0).values
    labels[0] = answers[75, 0]
    corrupted, clean = (answers[:75] == labels), (answers[75] == labels)
    assert 0.05 < corrupted.float().mean() < 0.5
    assert 0 < clean.float().mean() < 1

    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    for kind, copies in zip(
        sorted(BENCHMARK), images[:75].reshape(15, 5 * N, 32, 32, 3), strict=True
    ):
        np.save(folder / f"{kind}.npy", copies)
    np.save(folder / "spatter.npy", images[:5].reshape(5 * N, 32, 32, 3))  # not of the fifteen
    np.save(folder / "labels.npy", np.tile(labels.numpy().astype(np.uint8), 5))
    np.savez(tmp_path / "clean.npz", images=images[75].transpose(0, 3, 1, 2), labels=labels.numpy())
    Path("few.py").write_text(FEW)
    torch.save(LAYOUTS["RobustBench"](state), "augmix.pt")
    arguments = ["--augmix", "augmix.pt", "--official", str(folder), "--dataset", "few:few"]
    monkeypatch.setattr(sys, "argv", ["anchor.py", *arguments, "--data", str(tmp_path)])
    anchor.main()
    found, expected = 100 * clean.double().mean(), 100 * corrupted.double().mean()
    few = "not comparable: needs 10,000 images"
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| Standard, WRN-28-10 | clean | | not run | 94.78 | | |",
        "| Standard, WRN-28-10 | CIFAR-10-C | | not run | 73.46 | | |",
        f"| AugMix, WRN-40-2 | clean | 3 | {found:.2f} | 95.08 | {found - 95.08:+.2f} | {few} |",
        f"| AugMix, WRN-40-2 | CIFAR-10-C | 3 x 75 | {expected:.2f} | 88.82 | "
        f"{expected - 88.82:+.2f} | {few} |",
    ]

    (folder / "fog.npy").unlink()
    with pytest.raises(SystemExit, match=r"CIFAR-10-C: must have fog, got only"):
        anchor.main()


FEW = """
import numpy as np

def few(image_size, path):
    with np.load(path / "clean.npz") as file:
        test = file["images"], file["labels"].astype(np.int64)
    train = np.zeros((10, 3, 32, 32), np.uint8), np.arange(10)
    return {"train": train, "test": test, "classes": tuple("0123456789")}
"""


@pytest.mark.parametrize(
    ("accuracy", "n", "expected"),
    [
        (73.46, 10_000, "within 0.2"),
        (73.26, 10_000, "within 0.2"),
        (73.66, 10_000, "within 0.2"),
        (73.25, 10_000, "not within 0.2"),
        (73.67, 10_000, "not within 0.2"),
        (73.46, 9_999, "not comparable: needs 10,000 images"),
    ],
)
def test_agreement_is_judged_on_all_images(accuracy: float, n: int, expected: str) -> None:
    assert judge(accuracy, ANCHORS["standard"].corrupted, n) == expected
