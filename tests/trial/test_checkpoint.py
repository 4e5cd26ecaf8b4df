"""Training states on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ablate.files.durable import Checkpoint, CheckpointError
from ablate.model.build import build_model
from ablate.model.weights.export_metadata import export_weights
from ablate.study.settings import ModelSettings
from ablate.trial.robustness import load_checkpoint, save_checkpoint

STATE = {"epoch": 3, "model": {"weight": torch.arange(6.0).view(2, 3)}, "seconds": 1.5}


def test_a_state_comes_back(tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path / "new", 3, STATE)
    assert saved.epoch == 3
    assert Path(saved.uri).is_absolute()
    state = load_checkpoint(saved)
    assert torch.equal(state["model"]["weight"], STATE["model"]["weight"])
    assert (state["epoch"], state["seconds"]) == (3, 1.5)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path, 3, STATE)
    path = Path(saved.uri)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(saved)
    assert str(error.value).startswith(f"{path}: sha256 must be {saved.sha256[:12]}, got ")
    assert str(error.value).endswith(". Continue from the previous one.")


def test_a_missing_state_is_refused(tmp_path: Path) -> None:
    saved = Checkpoint(3, str(tmp_path / "gone.pt"), "0" * 64)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(saved)
    assert str(error.value) == (
        f"{saved.uri}: the state of epoch 3 must be readable, got 'No such file or directory'. "
        "Continue from the previous one."
    )


def test_weights_are_exported_as_safetensors(tmp_path: Path) -> None:
    model = build_model(ModelSettings(name="resnet8"), 10, (0.5,) * 3, (0.5,) * 3, seed=0)
    export_weights(model, tmp_path / "new" / "weights.safetensors")
    weights = load_file(tmp_path / "new" / "weights.safetensors")
    assert weights.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(weights[name], tensor)
