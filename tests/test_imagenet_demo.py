"""The demonstration on ImageNet: its split, and every number of its table recomputed from the bits
that are stored with it."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "studies" / "paper"))

import imagenet_demo

RESULTS = Path(imagenet_demo.__file__).parent / "results"


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


def test_the_published_numbers_are_those_of_the_bits() -> None:
    found = json.loads((RESULTS / "imagenet_demo.json").read_text())
    table = (RESULTS / "imagenet_demo.md").read_text()
    rows, n = list(found["accuracy"]), found["images"]
    assert rows[0] == "clean"
    assert rows[6:] == ["mean of all", "mean of those not trained on"]
    shares = {
        name: [unpack(text, n).mean(axis=1) for text in texts]
        for name, texts in found["bits"].items()
    }
    assert [len(networks) for networks in shares.values()] == [1, 1, 2, 2]
    lines = {line.split(" | ")[0].strip("| "): line for line in table.splitlines()}
    for name, networks in shares.items():
        values = np.array([[*one, one[1:].mean(), one[2:].mean()] for one in networks])
        baseline = shares["pretrained"][0]
        gained = values - [*baseline, baseline[1:].mean(), baseline[2:].mean()]
        for place, row in enumerate(rows):
            cell = found["accuracy"][row][name]
            by_seed = np.resize(gained[:, place], len(cell["by_seed"]))
            assert cell["by_seed"] == pytest.approx(by_seed.tolist())
            assert cell["accuracy"] == pytest.approx(values[:, place].mean())
            assert cell["difference"] == pytest.approx(gained[:, place].mean())
            assert cell["low"] <= cell["difference"] <= cell["high"]
            assert f"{100 * cell['accuracy']:.1f}" in lines[row]
