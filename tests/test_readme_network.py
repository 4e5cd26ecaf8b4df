"""The README's network and its commands, to the letter, by someone at a terminal."""

from __future__ import annotations

import os
import pty
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ablate

README = (Path(__file__).parents[1] / "README.md").read_text()
COLOURS = {"birch": (0.6, 0.55, 0.45), "fern": (0.45, 0.6, 0.45), "moss": (0.5, 0.6, 0.35)}
ANSWERS = {"Which side in pixels": "32", "How were images normalised?": "imagenet"}
"""To what init asks; to any other question yes."""


def write_photos(folder: Path) -> None:
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(24):
            tint = np.array(colour) + random.normal(0, 0.05, 3)
            pixels = (tint + random.normal(0, 0.1, (32, 32, 3))).clip(0, 1)
            Image.fromarray((255 * pixels).astype(np.uint8)).save(folder / name / f"{number}.png")


def train(net: torch.nn.Module, folder: Path) -> None:
    """A training script of one's own, on images normalised as ImageNet's are."""
    folders = enumerate(folder / name for name in COLOURS)
    files = [(file, label) for label, one in folders for file in one.iterdir()]
    pixels = torch.from_numpy(np.stack([np.array(Image.open(file)) for file, _ in files]))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
    labels = torch.tensor([label for _, label in files])
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(12):
        for batch in torch.randperm(len(labels)).split(24):
            loss = torch.nn.functional.cross_entropy(net(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def run_in_terminal(command: str, folder: Path) -> tuple[int, str]:
    """Exit code, and what the terminal got."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        os.execvp("bash", ["bash", "-c", command])
    said, answered = "", 0
    try:
        while got := os.read(terminal, 65_536):
            said += got.decode(errors="replace")
            asked = said[answered:]
            if command.startswith("ablate init") and asked.endswith(": "):
                answer = next((ANSWERS[one] for one in ANSWERS if one in asked), "yes")
                os.write(terminal, f"{answer}\n".encode())
                answered = len(said)
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1500)
def test_its_network_goes_through_its_commands(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```bash\n(ablate init mine .*?)```", README, re.DOTALL)
    (nets,) = re.findall(r"```python\n(.*?nets\.py.*?)```", README, re.DOTALL)
    (work / "nets.py").write_text(nets)
    monkeypatch.syspath_prepend(work)
    from nets import build

    torch.manual_seed(0)
    net = build(len(COLOURS))
    write_photos(work / "photos")
    train(net, work / "photos")
    torch.save(net.state_dict(), work / "weights.pt")

    commands = [line.partition("#")[0].strip() for line in block.splitlines() if line.strip()]
    assert len(commands) == 6
    for command in commands:
        code, said = run_in_terminal(command, work)
        sys.stdout.write(f"$ {command}\n{said[-3000:]}\n")
        assert code == 0, f"{command}: {said[-3000:]}"
    record = ablate.read("runs/mine")
    assert record.study.loss.fma.layers
    assert record.complete
    assert (work / "better.safetensors").is_file()
    assert list((work / "runs/mine").glob("*.html"))
