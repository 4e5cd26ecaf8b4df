"""The guide "Add your own loss in one file" works when it is followed word by word."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ablate

PACKAGE = Path(ablate.__file__).parent
TESTS = Path(__file__).parent
README = (TESTS.parents[1] / "docs/reference/losses.md").read_text()
GUIDE = README.partition("## Add your own loss in one file\n")[2].partition("\n## ")[0]

HEAD = """
version: 1
name: guide
dataset: {name: digits}
model: {name: resnet8}
"""

READ = """
from pathlib import Path

from ablate.lifecycle.study_file import read_study
from ablate.lifecycle.known_names import names_for

study = read_study(Path("study.yaml"), names=names_for)
assert study.loss.fma.distance == "huber"
assert study.loss.logit_mse.weight == 1
print(list(study.space))
"""

TRAIN = """
import torch

from ablate.finetune.loss.objective import build_loss
from ablate.finetune.loss.term import View, Views
from ablate.model.taps import FeatureMaps, LayerNames
from ablate.study.settings import LossSettings

fma = {"distance": "huber", "anchor": "clean"}
settings = {"terms": "fma+logit_mse", "fma": fma, "logit_mse": {"weight": 0.5}}
loss = build_loss(LossSettings.model_validate(settings), LayerNames({"body": "body"}, ("body",)))
torch.manual_seed(0)
body, head = torch.nn.Linear(4, 6), torch.nn.Linear(6, 3)
optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.1)
images = torch.rand(8, 4)


def view(batch: torch.Tensor) -> View:
    features = body(batch)
    return View(head(features.relu()), FeatureMaps({"body": features}))


for _ in range(3):
    views = Views(torch.full((8,), -1), view(images), (view(images + 0.5),), (1.0,))
    value = loss(views)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    print(value.item())
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package and of the suites that the guide names."""
    shutil.copytree(PACKAGE, tmp_path / "ablate")  # with the bytecode, which stays valid
    (tmp_path / "tests/finetune").mkdir(parents=True)
    for file in TESTS.parent.glob("*.py"):  # conftest.py, and the modules that it imports
        if not file.name.startswith("test_"):
            shutil.copy(file, tmp_path / "tests")
    for name in ("test_distance_contract.py", "test_loss_contract.py"):
        shutil.copy(TESTS / name, tmp_path / "tests/finetune")
    return tmp_path


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def run_contract(checkout: Path, choice: str) -> subprocess.CompletedProcess[str]:
    command = re.findall(r"`python (-m pytest tests/[^`]+)`", GUIDE)
    assert len(command) == 1
    return run(checkout, *command[0].split(), "-q", "-p", "no:cacheprovider", "-k", choice)


def write_files(checkout: Path) -> None:
    """Steps 1 and 3: the function and the file, each the block that follows its place."""
    blocks = r"(Append to|Write) `([^`]+)`.*?```python\n(.*?)```"
    found = re.findall(blocks, GUIDE, flags=re.DOTALL)
    assert [verb for verb, _, _ in found] == ["Append to", "Write"]
    for verb, path, text in found:
        assert (checkout / path).exists() == (verb == "Append to")
        with (checkout / path).open("a") as file:
            file.write(text)


def add_lines(checkout: Path) -> None:
    """Steps 2 and 4: a line each in a table."""
    found = re.findall(r"`(\w+)` in `([^`]+)` gains the line `([^`]+)`", GUIDE)
    assert len(found) == 2
    for name, path, line in found:
        text = (checkout / path).read_text()
        changed, places = re.subn(rf"(?m)^{name} = [({{]$", rf"\g<0>\n    {line}", text)
        assert places == 1
        (checkout / path).write_text(changed)


def add_section(checkout: Path) -> None:
    """Step 5: a class in the study's schema and its field."""
    pattern = (
        r"`([^`]+)` gains this class above `([^`]+)`.*?the line `([^`]+)`.*?```python\n(.*?)```"
    )
    ((path, above, line, block),) = re.findall(pattern, GUIDE, flags=re.DOTALL)
    text = (checkout / path).read_text()
    before, heading, after = text.partition(f"{above}(Settings):\n")
    assert heading
    (checkout / path).write_text(f"{before}{block}\n\n{heading}    {line}\n{after}")


@pytest.mark.long
def test_followed_word_by_word(checkout: Path) -> None:
    write_files(checkout)
    refused = run_contract(checkout, "registered")
    assert refused.returncode == 1, refused.stdout
    assert "2 failed" in refused.stdout
    assert "huber" in refused.stdout
    assert "logit_mse" in refused.stdout

    add_lines(checkout)
    add_section(checkout)
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.DOTALL)
    (checkout / "study.yaml").write_text(f"{HEAD}{block}")
    done = run(checkout, "-c", f"{READ}\n{TRAIN}")
    assert done.returncode == 0, done.stderr
    searched, *losses = done.stdout.split()
    assert searched == "['loss.logit_mse.weight']"
    values = [*map(float, losses)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 3

    passed = run_contract(checkout, "registered or huber or logit_mse")
    assert passed.returncode == 0, passed.stdout
    # Every promise to both, not only that they are registered.
    assert int(re.findall(r"(\d+) passed", passed.stdout)[0]) > 30
