"""`ablate corrupt` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ablate.cli.evaluate import corrupt
from ablate.errors import AblateError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(corrupt, [str(argument) for argument in arguments])


def raised(*arguments: object) -> str:
    error = run(*arguments).exception
    assert isinstance(error, AblateError), error
    return str(error)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        image = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / name / "a.png")
    return root


@pytest.mark.slow
def test_a_folder(folder: Path, work: Path) -> None:
    result = run(folder, "out", "--types", "frost, fog", "--severities", "1,5", "--seed", 3)
    assert result.exit_code == 0, result.output
    assert result.stdout == "out\n"
    assert result.stderr == "ablate: frost: procedural texture, approximate\n"
    manifest = json.loads((work / "out" / "manifest.json").read_text())
    assert manifest["seed"] == 3
    assert manifest["types"] == ["frost", "fog"]
    assert (work / "out" / "fog" / "5" / "dog" / "a.png").is_file()


def test_a_corruption_of_our_own_is_named_without_a_suite(folder: Path, work: Path) -> None:
    result = run(folder, "out", "--types", "vignette", "--severities", "1")
    assert result.exit_code == 0, result.output
    manifest = json.loads((work / "out" / "manifest.json").read_text())
    assert (manifest["suite"], manifest["types"]) == ("custom", ["vignette"])
    assert manifest["parameters"] == {"cifar": {"vignette": [[0.2]]}}
    clean = np.asarray(Image.open(folder / "dog" / "a.png"))
    made = np.asarray(Image.open(work / "out" / "vignette" / "1" / "dog" / "a.png"))
    assert np.allclose(made[0, 0], clean[0, 0] * 0.8, atol=1)
    text = raised(folder, "more", "--suite", "all", "--types", "vignette")
    assert text.startswith("`types`: must be of the suite all, got 'vignette'. ")


def test_wrong_use(folder: Path, work: Path) -> None:
    assert "Missing argument 'OUTPUT'" in run(folder).output
    assert "Invalid value for '--seed'" in run(folder, "out", "--seed", "-1").output
    too_large = "`image_size`: must be at most 1024, got 1025. Lower it."
    assert raised(folder, "out", "--image-size", 1025) == too_large
    too_large = "`resize`: must be at most 2048, got 2049. Lower it."
    assert raised(folder, "out", "--image-size", 32, "--resize", 2049) == too_large
    result = run(folder, "out", "--severities", "one")
    assert result.exit_code == 2
    assert "must be whole numbers separated by commas, got 'one'." in result.output
    assert list(work.iterdir()) == []


def test_a_stopped_run_says_so(folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ablate.robustness.corrupt.corrupt_files", interrupted)
    result = run(folder, "out")
    assert result.exit_code == 130
    assert result.stderr == "ablate: stopped; out is incomplete: delete it\n"
