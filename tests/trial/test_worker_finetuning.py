"""A robustness finetuning in a worker: rungs, resume, what is prepared and where it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from example_records import example_record

from ablate.files.durable import Checkpoint
from ablate.ledger.record import Row
from ablate.lifecycle.drive import rung_bounds
from ablate.study.preparation import PreparationStep
from ablate.study.seeds import Seeds
from ablate.study.settings import Study
from ablate.trial.task import Job, Report, weights_file
from ablate.trial.worker import Worker

STUDY = Study.model_validate(
    {
        "version": 1,
        "name": "tiny",
        "dataset": {"name": "digits", "image_size": 8, "validation": {"fraction": 0.5}},
        "model": {"name": "resnet8"},
        "baseline": {"epochs": 1},
        "finetune": {"budget": {"epochs": 3}},
        "robustness": {"severities": [3]},
        "run": {"precision": "fp32", "gpus_per_trial": 0},
    }
)
RUN = STUDY.run.model_dump(mode="json")
PRUNER = {"metric": "val_robust_accuracy", "min_epochs": 1, "reduction_factor": 2}
ROW = Row(7, 1, {"loss.terms": "clean+da"}, Seeds(split=0, train=0, evaluation=0))


def worker_of(study: Study, cache: Path, folder: Path) -> Worker:
    job = Job(study, str(folder), str(cache), str(folder / "run"), str(folder / "states"))
    return Worker(job)


def to_end(worker: Worker, row: Row) -> list[Report]:
    worker.begin(row)
    reports = [worker.step()]
    while not reports[-1].done:
        reports.append(worker.step())
    return reports


def untimed(scores: Any) -> dict[str, Any]:
    return {name: value for name, value in scores.items() if name != "train_seconds"}


@pytest.mark.slow
def test_rungs_and_resume_change_no_bit(session_cache: Path, tmp_path: Path) -> None:
    plain = to_end(worker_of(STUDY, session_cache, tmp_path / "a"), ROW)
    assert [report.rung for report in plain] == [None] * 3
    weights = weights_file(tmp_path / "a" / "run", 7).read_bytes()

    pruned = Study.model_validate({**STUDY.model_dump(mode="json"), "search": {"pruner": PRUNER}})
    worker = worker_of(pruned, session_cache, tmp_path / "b")
    whole = to_end(worker, ROW)
    assert [report.rung is None for report in whole] == [False, False, True]
    assert whole[0].rung is not None
    assert set(whole[0].rung) == {"scores"}
    assert list(whole[0].rung["scores"]) == ["val_robust_accuracy", "val_clean_accuracy"]
    assert 0 < whole[0].rung["scores"]["val_robust_accuracy"] < 1
    assert untimed(whole[-1].scores) == untimed(plain[-1].scores)

    kept = tuple(Checkpoint(**report.checkpoint) for report in whole if report.checkpoint)
    Path(kept[-1].uri).write_bytes(b"torn")
    resumed = to_end(worker, replace(ROW, attempt=2, checkpoints=kept))
    assert [report.entry["epoch"] for report in resumed if report.entry] == [2, 3]
    assert resumed[0].place is not None
    assert resumed[0].place["first_epoch"] == 1
    assert resumed[0].place["gpus"] == []
    assert "resumed from epoch 1: no checkpoint of epoch 2" in resumed[0].place["note"]
    assert untimed(resumed[-1].scores) == untimed(plain[-1].scores)
    assert weights_file(tmp_path / "b" / "run", 7).read_bytes() == weights


@pytest.mark.slow
def test_a_curve_is_scored_at_a_rung_on_fewer_images(session_cache: Path, tmp_path: Path) -> None:
    pruner = {"metrics": ["val_robust_accuracy", "train_flops"], "images": 100}
    study = Study.model_validate(
        {
            **STUDY.model_dump(mode="json"),
            "search": {"pruner": pruner},
            "finetune": {"budget": {"epochs": 2}, "interpolation": {"alphas": [0.25, 1]}},
            "constraints": [{"metric": "val_clean_accuracy", "min": "baseline"}],
        }
    )
    worker = worker_of(study, session_cache, tmp_path)
    prepared = worker.prepare()
    assert prepared.rung_scores is not None
    assert prepared.baseline_scores is not None
    assert (prepared.rung_scores.n_images, prepared.rung_scores.n_corrupted) == (100, 100)
    assert float(100 * prepared.rung_scores.clean_accuracy).is_integer()
    # A rung is judged by the baseline's score on the same images.
    (bound,) = rung_bounds(example_record(constraints=study.constraints), prepared)
    assert bound.limit == prepared.rung_scores.clean_accuracy
    assert bound.limit != prepared.baseline_scores.clean_accuracy
    worker.begin(ROW)
    rung = worker.step().rung
    assert rung is not None
    assert rung["images"] == 100
    assert set(rung["by_alpha"]) == {"0.5", "1"}
    assert rung["scores"] in rung["by_alpha"].values()
    for scores in (rung["scores"], *rung["by_alpha"].values()):
        assert set(scores) == {"val_clean_accuracy", "val_robust_accuracy", "train_flops"}
        assert scores["train_flops"] > 0
        assert float(100 * scores["val_clean_accuracy"]).is_integer()
        assert scores["val_clean_accuracy"] < 1
    final = worker.step().scores
    assert final is not None
    assert final["n_images"] > 100
    assert final["train_flops"] == rung["scores"]["train_flops"], "it is known beforehand"


@pytest.mark.slow
def test_a_state_amid_an_epoch_changes_no_bit(session_cache: Path, tmp_path: Path) -> None:
    """Of a budget that is less than an epoch, which has no other state at all."""
    part = {"finetune": {"budget": {"images": 64 * 2 * 4}}}
    study = Study.model_validate({**STUDY.model_dump(mode="json"), **part})
    plain = to_end(worker_of(study, session_cache, tmp_path / "a"), ROW)
    weights = weights_file(tmp_path / "a" / "run", 7).read_bytes()
    assert len(plain) == 1

    often = {**study.model_dump(mode="json"), "run": {**RUN, "checkpoint_seconds": 1e-9}}
    worker = worker_of(Study.model_validate(often), session_cache, tmp_path / "b")
    worker.begin(ROW)
    first = worker.step()
    assert (first.entry, first.done, first.rung) == (None, False, None)
    assert first.progress == (0, 1)
    assert first.checkpoint is not None
    assert first.checkpoint["uri"].endswith("attempt-1/epoch-000000-step-00000001.state")

    kept = Checkpoint(**first.checkpoint)
    resumed = to_end(worker, replace(ROW, attempt=2, checkpoints=(kept,)))
    place = resumed[0].place
    assert place is not None
    assert (place["first_epoch"], place["first_step"]) == (0, 1)
    assert place["first_seconds"] == kept.seconds > 0
    assert untimed(resumed[-1].scores) == untimed(plain[-1].scores)
    assert weights_file(tmp_path / "b" / "run", 7).read_bytes() == weights
    (one,), (other,) = ([r.entry for r in reports if r.entry] for reports in (plain, resumed))
    assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert other["seconds"] > kept.seconds


@pytest.mark.slow
def test_damage_between_two_trials_of_a_worker_changes_no_score(tmp_path: Path) -> None:
    """What it found once is on the disk, and looked at again."""
    budget = {"finetune": {"budget": {"epochs": 1}}}
    study = Study.model_validate({**STUDY.model_dump(mode="json"), **budget})
    cache = tmp_path / "cache"
    worker = worker_of(study, cache, tmp_path)
    told: list[PreparationStep] = []
    assert worker.prepare(told.append, cores=2).notes == ()
    assert PreparationStep("corrupting the validation images", 6, 6, "copies") in told
    before = to_end(worker, ROW)[-1]
    assert before.place is not None
    assert "note" not in before.place
    (weights,) = cache.glob("baselines/*/weights.safetensors")
    copies = sorted(cache.glob("evaluation/*/images.npy"))
    for file in (weights, *copies[:2]):
        content = bytearray(file.read_bytes())
        content[-1] ^= 255
        file.write_bytes(content)
    after = to_end(worker, ROW)[-1]
    assert untimed(after.scores) == untimed(before.scores)
    assert after.place is not None
    notes = after.place["note"].split("; regenerated")
    assert notes[0] == "cache: the baseline was damaged"
    assert [note[:18] for note in notes[1:]] == ["; cache: images of"] * 2 + [""]
    weights.unlink()
    again = to_end(worker, ROW)[-1]
    assert untimed(again.scores) == untimed(before.scores)


def test_states_that_cannot_be_written_lose_the_attempt(
    session_cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "states").write_text("a file in the way")
    last = to_end(worker_of(STUDY, session_cache, tmp_path), ROW)[-1]
    assert last.failure is None
    assert last.lost is not None
    assert "states" in last.lost
    assert "\n" not in last.lost


@pytest.mark.gpu
def test_a_share_of_the_gpu_is_all_that_a_trial_gets(tmp_path: Path) -> None:
    code = (
        "import torch\n"
        "def train(t):\n"
        "    total = torch.cuda.get_device_properties(0).total_memory\n"
        "    torch.empty(total // 4, dtype=torch.uint8, device='cuda')\n"
    )
    (tmp_path / "loop_share.py").write_text(code)
    study = Study.model_validate(
        {
            "version": 1,
            "name": "share",
            "trainable": "loop_share:train",
            "objectives": [{"metric": "a"}, {"metric": "b"}],
            "run": {"gpus_per_trial": 1, "gpu_memory_fraction": 0.1},
        }
    )
    failure = to_end(worker_of(study, tmp_path, tmp_path), ROW)[-1].failure
    assert failure is not None
    assert failure["kind"] == "out_of_memory"
    assert failure["reason"].endswith(
        "Lower finetune.batch_size, or raise run.gpu_memory_fraction."
    )
