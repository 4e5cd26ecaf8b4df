"""The callback for loops that Lightning runs, with Lightning itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_study import write_own_study

import ablate
from ablate.errors import MissingDependencyError, StoppedError

pytest.importorskip("lightning", reason="the extra `lightning` is not installed")

LOOP = """
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch.utils.data import DataLoader, TensorDataset

from ablate.trial.lightning import ReportCallback


class Line(LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.line, self.rate = torch.nn.Linear(2, 1), rate

    def training_step(self, batch, _):
        return ((self.line(batch[0]) - batch[1]) ** 2).mean()

    def validation_step(self, batch, _):
        self.log("error", ((self.line(batch[0]) - batch[1]) ** 2).mean())
        self.log("size", self.line.weight.abs().sum())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.rate)


def train(trial):
    seed_everything(trial.seed, verbose=False)
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(x, x.sum(dim=1, keepdim=True))
    report = ReportCallback(trial, ["error", "size"])
    trainer = Trainer(
        max_epochs=trial.epochs, callbacks=[report], accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    batches = DataLoader(data, 16), DataLoader(data, 64)
    trainer.fit(Line(trial.params["lr"]), *batches, ckpt_path=report.state)
"""


@pytest.fixture
def write(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.syspath_prepend(str(work))

    def write(name: str, loop: str = LOOP, **keys: Any) -> Path:
        study = {
            "finetune": {"budget": {"epochs": 4}},
            "space": {"lr": {"float": [0.01, 0.3], "log": True}},
            "objectives": [{"metric": "error", "direction": "minimize"}, {"metric": "size"}],
            "search": {"trials": 2, "sampler": "random"},
        }
        return write_own_study(work, name, loop, **{**study, **keys})

    return write


def run(file: Path, **options: Any) -> ablate.StudyRecord:
    return ablate.launch(file, resume=True, executor="inline", progress=False, **options)


@pytest.mark.slow
def test_an_interrupted_trial_goes_on_with_the_same_numbers(write: Callable[..., Path]) -> None:
    whole = run(write("whole"))
    assert [row.state for row in whole.rows] == ["COMPLETE"] * 2
    assert [entry["epoch"] for entry in whole.rows[0].curve] == [1, 2, 3, 4]
    # The first attempt dies in its third epoch, before it is reported.
    dying = LOOP.replace(
        "    def validation_step(self, batch, _):\n",
        "    def validation_step(self, batch, _):\n"
        "        if self.current_epoch == 2 and self.first:\n"
        "            raise OSError('gone')\n",
    ).replace("    trainer.fit(Line(", "    Line.first = trial.attempt == 1\n    trainer.fit(Line(")
    again = run(write("dying", dying, run={"max_failures": 1}))
    assert [len(row.attempts) for row in again.rows] == [2, 2]
    for one, other in zip(whole.rows, again.rows, strict=True):
        assert one.params == other.params
        assert one.values == other.values
        assert [entry["epoch"] for entry in other.curve] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_stopped_trial_ends_and_a_metric_that_is_not_logged_is_named(
    write: Callable[..., Path],
) -> None:
    def stop(row: Any) -> None:
        raise ablate.StopStudy

    assert run(write("stopped"), on_trial_end=stop).count("COMPLETE") >= 1
    assert run(write("stopped")).count("COMPLETE") == 2
    wrong = LOOP.replace('"error", "size"]', '"eror", "size"]')
    said = r"metrics: Line must log eror in each epoch, got none\. Did you mean error\?"
    with pytest.raises(StoppedError, match=said):
        run(write("wrong", wrong, run={"max_failed_fraction": 1.0}))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "ablate.trial.lightning", raising=False)
    with pytest.raises(MissingDependencyError, match=r"needs lightning.*\[lightning\]"):
        importlib.import_module("ablate.trial.lightning")
