"""Weights copied out of a run, and what a run has on disk."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from safetensors.torch import load_file

import ablate
from ablate.errors import ParameterError, UsageError
from ablate.files.durable import save_blob
from ablate.finetune.baseline_record import sha256_of
from ablate.ledger.record import Failure, StudyRecord
from ablate.lifecycle.export import asked_trial, checkpoint_bytes, export_network, write_weights
from ablate.lifecycle.open_study import OpenStudy, open_study
from ablate.lifecycle.place import Place
from ablate.model.weights.export_metadata import ExportMetadata, export_tensors, read_metadata
from ablate.study.mixture import Mixture
from ablate.study.scores import ReportedScores
from ablate.trial.task import checkpoint_folder, weights_file
from tests.example_records import example_record, example_row, example_scores

ROWS = (
    example_row(0, (0.9, 0.6), scores=example_scores(0.9, 0.6)),
    example_row(1, (0.8, 0.5), scores=example_scores(0.8, 0.5)),
    example_row(2, None, state="FAIL", failure=Failure("raised", "ValueError: no images")),
    example_row(3, None, state="RUNNING"),
    example_row(4, (0.9, 0.6), scores=ReportedScores({"loss": 0.9})),
)


def weights_of(number: int | None) -> bytes:
    return save({"weight": np.full(2, -1 if number is None else number)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with the weights of the plain finetune and of trial 1."""
    for number in (None, 1):
        file = weights_file(tmp_path / "runs" / "example", number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(weights_of(number))
    return tmp_path / "runs" / "example"


def refusal(
    record: StudyRecord, folder: Path, number: int | None, output: str = "out.safetensors"
) -> str:
    """What is said; nothing is written."""
    file = folder / output
    with pytest.raises(UsageError) as error:
        write_weights(record, folder, number, file)
    assert not file.exists()
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(folder), "RUN")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("17", 17), (3, 3), ("plain", None), ("best clean_accuracy", 0), ("knee", 0)],
)
def test_a_trial_is_a_number_or_a_word(asked: int | str, expected: int | None) -> None:
    assert asked_trial(example_record(ROWS[:2]), asked) == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            "\N{ARABIC-INDIC DIGIT ONE}",
            "trial: must be a trial's number, plain, knee or best METRIC",
        ),
        (
            "0,\N{ARABIC-INDIC DIGIT ONE}",
            "trial: must be a trial's number, plain, knee or best METRIC",
        ),
        ("-1", "trial: must be a trial's number, plain, knee or best METRIC, got -1. "),
        ("kne", "trial: must be a trial's number, plain, knee or best METRIC, got kne. Did you"),
        ("best val_x", "trial: study example: best needs one of its objectives, got val_x. "),
    ],
)
def test_a_wrong_word_is_refused(asked: str, said: str) -> None:
    with pytest.raises(ParameterError) as error:
        asked_trial(example_record(ROWS[:2]), asked)
    assert str(error.value).startswith(said)


def test_weights_are_copied(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "folder" / "one.safetensors"
    assert write_weights(example_record(ROWS), folder, 1, output) == Mixture((1,))
    assert output.read_bytes() == weights_of(1)
    assert weights_file(folder, 1).exists()
    assert list(output.parent.iterdir()) == [output]


def test_a_confirmed_point_is_exported_at_its_own_alpha_alone(folder: Path, tmp_path: Path) -> None:
    """Its weights are those of the point, and no other network of the line can be made of them."""
    file, record = weights_file(folder, 1), example_record(ROWS)
    metadata = ExportMetadata(
        model="resnet8",
        classes=("0", "1"),
        mean=(0.5,),
        std=(0.5,),
        image_size=8,
        resize=None,
        dataset="digits",
        study="example",
        trial=1,
        loss_terms="clean+fma",
        seen_types=(),
        alpha=0.75,
    )
    export_tensors({"weight": torch.ones(2)}, file, metadata)
    for asked in (None, 0.75):
        output = tmp_path / "one.safetensors"
        assert write_weights(record, folder, 1, output, asked) == Mixture((1,), 0.75)
        assert output.read_bytes() == file.read_bytes()
    for alpha in (0.5, 1.0):
        with pytest.raises(UsageError) as error:
            write_weights(record, folder, 1, tmp_path / "other.safetensors", alpha)
        assert str(error.value) == (
            f"`alpha={alpha:g}`: needs the weights of the finetuned network, got those at 0.75. "
            "Leave it out."
        )
    assert not (tmp_path / "other.safetensors").exists()


def test_an_average_of_trials(folder: Path, tmp_path: Path) -> None:
    rows = [example_row(at, (0.9, 0.6), scores=example_scores(0.9, 0.6)) for at in range(3)]
    record, output = example_record(rows), tmp_path / "mean.safetensors"
    told: dict[str, Any] = {"mean": (0.5,), "std": (0.5,), "image_size": 8, "resize": None}
    told |= {"model": "resnet8", "classes": ("0", "1"), "dataset": "digits", "study": "example"}
    for number, terms in enumerate(("clean+da", "clean+fma", "clean+da")):
        own = {"trial": number, "loss_terms": terms, "seen_types": (f"type{number}",)}
        state = {"weight": torch.full((2,), float(number))}
        export_tensors(state, weights_file(folder, number), ExportMetadata(**told, **own))
    mean = Mixture((0, 1, 2))
    assert asked_trial(record, "0-2") == mean
    assert write_weights(record, folder, mean, output) == mean
    assert load_file(output)["weight"].tolist() == [1.0, 1.0]
    metadata = read_metadata(output)
    assert metadata is not None
    assert (metadata.trial, metadata.trials) == (None, (0, 1, 2))
    assert metadata.loss_terms == "clean+da, clean+fma"
    assert metadata.seen_types == ("type0", "type1", "type2")
    with pytest.raises(UsageError, match=r"average of trials 0-2 at alpha 0\.5: needs the "):
        write_weights(record, folder, mean, output, 0.5)
    other = ExportMetadata(**told, trial=2, loss_terms="da", seen_types=(), baseline_sha256="ff")
    export_tensors({"weight": torch.zeros(2)}, weights_file(folder, 2), other)
    with pytest.raises(UsageError) as error:
        write_weights(record, folder, mean, output)
    rule = "must be of trials of one network and baseline, got several. Name others."
    assert str(error.value) == f"average of trials 0-2: {rule}"


@pytest.mark.parametrize(("alpha", "got"), [(math.nan, "nan"), (2.5, "2.5"), ("0.5", "'0.5'")])
def test_an_alpha_out_of_range_is_refused(folder: Path, alpha: Any, got: str) -> None:
    with pytest.raises(UsageError, match=rf"`alpha`: must be above 0 and at most 2, got {got}\. W"):
        write_weights(example_record(ROWS), folder, 1, folder / "out.safetensors", alpha)


def test_plain_replaces_a_file_that_is_there(
    folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out.safetensors").write_bytes(b"older, and longer")
    assert write_weights(example_record(ROWS), folder, None, Path("out.safetensors")) is None
    assert (work / "out.safetensors").read_bytes() == weights_of(None)


NO_WEIGHTS = {
    5: "trial 5: must be a trial of example, got an unknown number. Its trials: 0 to 4.",
    2: "trial 2: must be COMPLETE, got FAIL (ValueError: no images). Only complete trials have "
    "weights: name another.",
    4: "trial 4: must be a finetuning by ablate, got a custom training loop. Its weights are where "
    "that loop wrote them.",
    None: "plain: must be the finished plain finetune of a search, got example, where it has no "
    "scores yet. Resume the study.",
}


@pytest.mark.parametrize("number", NO_WEIGHTS)
def test_what_has_no_weights(folder: Path, number: int | None) -> None:
    record = example_record(ROWS, references={"baseline": example_scores(0.95, 0.6)})
    assert refusal(record, folder, number) == NO_WEIGHTS[number]
    assert refusal(example_record(), folder, 0).endswith("Its trials: none.")


def test_weights_that_were_removed(folder: Path) -> None:
    record = example_record(ROWS, run={"keep_checkpoints": 1})
    assert refusal(record, folder, 0) == (
        "trial 0: must have its weights, got none: run.keep_checkpoints is 1, so they were "
        "deleted. To train it again, launch the study file with --set "
        'name=example_again --set search.trials=1 --set \'search.enqueue=[{"loss.terms": '
        '"clean+fma"}]\''
    )


def test_a_long_command_is_not_cut(folder: Path) -> None:
    params = {f"augment.strengths.a_long_name_{i}": i / 7 for i in range(20)}
    record = example_record(
        [example_row(0, (0.9, 0.5), params=params)], run={"keep_checkpoints": 1}
    )
    with pytest.raises(UsageError) as error:
        write_weights(record, folder, 0, folder / "out.safetensors")
    values = str(error.value).partition("search.enqueue=")[2].removesuffix("'")
    assert json.loads(values) == [params]


def test_weights_that_somebody_took(folder: Path) -> None:
    record = example_record(ROWS, run={"keep_checkpoints": "all"})
    assert refusal(record, folder, 0) == (
        "trial 0: must have its weights, got no file RUN/weights/00000.safetensors: it was "
        "moved or deleted. Restore it. To train it again, launch the study file with --set "
        'name=example_again --set search.trials=1 --set \'search.enqueue=[{"loss.terms": '
        '"clean+fma"}]\''
    )
    weights_file(folder, None).unlink()
    assert refusal(example_record(ROWS), folder, None).startswith("plain: must have its weights, ")


def test_weights_on_another_host(tmp_path: Path) -> None:
    assert refusal(example_record(ROWS), tmp_path / "runs" / "example", 1) == (
        "RUN/weights: must hold the weights of example, got no such folder. "
        "Run the command on the host and in the folder where the study was launched."
    )


def test_another_ending_is_refused(folder: Path) -> None:
    opened = OpenStudy(Place("example", "sqlite://", folder), example_record(ROWS))
    with pytest.raises(UsageError, match=r"must end in .safetensors, got '.pt'. Write .*/out.saf"):
        export_network(opened, 1, folder / "out.pt")


def test_bytes_on_disk(folder: Path) -> None:
    checkpoints = str(folder / "checkpoints")
    assert checkpoint_bytes(folder, checkpoints) == (0, 2 * len(weights_of(1)))
    for epoch in (1, 2, 3):
        save_blob(f"{checkpoint_folder(checkpoints, 3)}/attempt-1", epoch, bytes(1000))
    assert checkpoint_bytes(folder, checkpoints) == (3000, 2 * len(weights_of(1)))


def test_bytes_that_cannot_be_asked_for(folder: Path, tmp_path: Path) -> None:
    assert checkpoint_bytes(tmp_path / "elsewhere", str(folder)) is None
    for url in ("nosuchprotocol://bucket", f"memory:/{folder}/states", "ftp://evil.example/x"):
        assert checkpoint_bytes(folder, url) is None


def test_damaged_weights_are_not_copied(folder: Path) -> None:
    file = weights_file(folder, 1)
    file.write_bytes(file.read_bytes()[:-3])
    assert refusal(example_record(ROWS), folder, 1) == (
        "RUN/weights/00001.safetensors: must be the weights that trial 1 wrote, got a damaged "
        "file. Restore it from a backup, or run the same trial again."
    )


def test_the_file_of_another_trial_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a study that ran: with trial 1's file at its place, trial 0 would be exported with other
    scores."""
    study = ablate.Study(
        name="swapped",
        dataset={"name": "digits"},
        model={"name": "resnet8"},
        baseline={"checkpoint": "ablate:resnet8_digits", "saw_validation": False},
        robustness={"severities": [1]},
        finetune={"budget": {"images": 64}},
        space={"loss.fma.weight": {"float": [0.1, 1.0]}},
        search={"trials": 2, "sampler": "random", "start": "random"},
    )
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs/swapped"
    ablate.launch(study, executor="inline", progress=False)
    record = open_study(run).record
    digests = [row.weights_sha256 for row in record.rows]
    files = [weights_file(run, number) for number in (0, 1, None)]
    assert digests == [sha256_of(file) for file in files[:2]]
    shutil.copyfile(files[1], files[0])
    assert refusal(record, run, 0) == (
        "RUN/weights/00000.safetensors: must be the weights that trial 0 wrote, got another file, "
        "by its sha256. Restore it from a backup, or run the same trial again."
    )
    write_weights(record, run, 1, tmp_path / "one.safetensors")
    shutil.copyfile(files[1], files[2])
    assert "that plain wrote, got those of trial 1. Restore" in refusal(record, run, None)
