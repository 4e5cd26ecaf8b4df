"""Mixtures of a search: made after the last row, stored once, whatever died before."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from forked_driver import ForkedDriver
from safetensors.torch import load_file

import ablate
from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import continuation
from ablate.errors import DataError
from ablate.files.cache import cache_folder
from ablate.files.tar import read_tar, write_tar
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.archive import sha256
from ablate.lifecycle.mixtures import refusal
from ablate.lifecycle.open_study import open_ledger
from ablate.lifecycle.place import locate
from ablate.model.weights.export_metadata import network_name, read_metadata
from ablate.robustness.bits import unpack_bits
from ablate.study.mixture import Mixture
from ablate.trial.mixing import mixed_network
from ablate.trial.task import weights_file
from ablate.trial.workbench import Workbench
from tests.commands import run_here
from tests.example_records import example_record

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # of the driver that dies

STUDY = """
version: 1
name: mixed
dataset: {name: digits, image_size: 8, validation: {fraction: 0.75}}
model: {name: resnet8}
baseline: {epochs: 2}
finetune: {budget: {epochs: 1}}
augment: {families: [noise]}
space: {finetune.learning_rate: {float: [0.0001, 0.1], log: true}}
search: {trials: 3, sampler: random}
robustness: {suite: [gaussian_noise, contrast], severities: [3], images: 50}
run: {gpus_per_trial: 0, precision: fp32}
"""


def study_file(folder: Path, **changes: str) -> Path:
    text = STUDY
    for before, after in changes.items():
        text = text.replace(f"{before}:", f"{after}\n{before}:", 1)
    file = folder / "mixed.yaml"
    file.write_text(text)
    return file


def launch(folder: Path, *options: str) -> str:
    """What is printed to standard error."""
    given = ("--executor", "inline", "--accept-baseline", *options)
    result = run_here("launch", "mixed.yaml", *given, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stderr + result.stdout


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run's folder of the study, finished, and what was printed."""
    made = tmp_path_factory.mktemp("mixed")
    study_file(made)
    printed = launch(made)
    return made / "runs" / "mixed", printed


@pytest.mark.slow
def test_mixtures_are_made_after_the_last_row(searched: tuple[Path, str]) -> None:
    run, printed = searched
    record = ablate.read(run)
    assert record.mixtures is not None
    assert (record.mixtures.rows, record.lacks_mixtures) == (3, False)
    assert len(record.rows) == 3
    assert f"{len(record.mixtures.scored)} mixtures scored in " in printed
    # Each by weights that are averaged by hand, scored again.
    bench = Workbench.get(record.study, run.parents[1], cache_folder())
    files = {row.number: run / "weights" / f"{row.number:05d}.safetensors" for row in record.rows}
    for one in record.mixtures.scored:
        model = bench.build_baseline()
        start, own = model.state_dict(), [load_file(files[number]) for number in one.trials]
        state = {}
        for name, tensor in start.items():
            mean = sum(each[name].double() for each in own) / len(own)
            mixed = tensor.double() + one.alpha * (mean - tensor.double())
            state[name] = mixed.to(tensor.dtype)
        model.load_state_dict(state)
        again = bench.score(model).scores
        assert again.clean_accuracy == pytest.approx(one.scores.clean_accuracy, abs=0.003)
        assert again.robust_accuracy == pytest.approx(one.scores.robust_accuracy, abs=0.003)
        taken = [record.rows[number].scores for number in one.trials]
        assert one.scores.student_images == sum(each.student_images for each in taken)
    alone = pareto_info(replace(record, mixtures=None))
    whole = pareto_info(record)
    assert whole.hypervolume >= alone.hypervolume
    with_bits = [one for one in record.mixtures.scored if one.bits]
    on_front = {point.point for point in whole.mixtures if point.on_front}
    assert {one.mixture for one in with_bits} == on_front
    for one in with_bits:
        clean = unpack_bits([one.bits], one.scores).clean.mean()
        assert clean == pytest.approx(one.scores.clean_accuracy)


@pytest.mark.slow
def test_a_finished_study_is_not_touched_again(searched: tuple[Path, str]) -> None:
    run, _ = searched
    before = ablate.read(run)
    drives = len(before.drives)
    launch(run.parents[1], "--resume")
    after = ablate.read(run)
    assert after.mixtures == before.mixtures
    assert len(after.drives) == drives


@pytest.mark.long
def test_a_driver_that_is_killed_before_they_are_stored(
    searched: tuple[Path, str], tmp_path: Path
) -> None:
    study_file(tmp_path)
    program = ["--at", "before:mixtures", "1", "launch", "mixed.yaml"]
    program += ["--executor", "inline", "--accept-baseline"]
    driver = ForkedDriver(program, tmp_path, os.environ)
    deadline = time.monotonic() + 600
    while driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert driver.returncode == -signal.SIGKILL, driver.communicate()[0]
    run = tmp_path / "runs" / "mixed"
    left = ablate.read(run)
    assert left.ended == 3
    assert left.mixtures is not None
    assert (left.mixtures.scored, left.lacks_mixtures) == ((), True)
    assert pareto_info(left).mixtures == ()
    assert "mixtures are not scored yet: `ablate resume` scores them" in pareto_info(left).marks
    launch(tmp_path, "--resume")
    assert untimed(ablate.read(run)) == untimed(ablate.read(searched[0]))


@pytest.mark.slow
def test_a_mixture_is_exported_loaded_and_evaluated(
    searched: tuple[Path, str], tmp_path: Path
) -> None:
    run, _ = searched
    record, file = ablate.read(run), tmp_path / "mixed.safetensors"
    assert record.mixtures is not None
    bench = Workbench.get(record.study, run.parents[1], cache_folder())
    for one in record.mixtures.scored[:3]:
        asked = ("--trial", one.mixture.numbers, "--alpha", f"{one.alpha:g}", "-o", file, "--json")
        result = run_here("export", run, *asked)
        assert result.returncode == 0, result.stderr
        model = bench.build_baseline()
        model.load_state_dict(load_file(file))
        again = bench.score(model).scores
        assert again.clean_accuracy == one.scores.clean_accuracy
        assert again.accuracies == one.scores.accuracies
        loaded = ablate.load_model(run, one.mixture.numbers, alpha=one.alpha)
        state = loaded.network.state_dict()
        assert all(torch.equal(state[name], kept) for name, kept in load_file(file).items())
        metadata = read_metadata(file)
        assert metadata is not None
        several = one.trials if len(one.trials) > 1 else ()
        assert (metadata.trials, metadata.alpha) == (several, one.alpha)
        assert one.mixture.name in repr(loaded) or one.alpha != 1
        assert network_name(metadata.training) == one.mixture.name
    best = max(pareto_info(record).front, key=lambda point: point.values[1])
    word = ablate.load_model(run, "best val_robust_accuracy").provenance
    assert network_name(word.training) == best.name


@pytest.mark.slow
def test_an_archive_has_mixtures_and_a_changed_one_is_found(
    searched: tuple[Path, str], tmp_path: Path
) -> None:
    run, _ = searched
    made = tmp_path / "mixed.tar"
    ablate.archive(run, made)
    assert untimed(ablate.read(made)) == untimed(ablate.read(run))
    found = ablate.verify(made)
    assert found.holds, [check.text for check in found.checks if not check.holds]
    files = read_tar(made)
    study = json.loads(files["study.json"])
    kept = [one for one in study["attributes"]["ablate:mixtures"]["scored"] if one["bits"]]
    assert kept
    kept[0]["scores"]["clean_accuracy"] -= 0.01
    files["study.json"] = json.dumps(study).encode()
    manifest = json.loads(files["manifest.json"])
    manifest["files"]["study.json"]["sha256"] = sha256(files["study.json"])
    files["manifest.json"] = json.dumps(manifest).encode()
    write_tar(made, "mixed", files)
    said = [check.text for check in ablate.verify(made).checks if not check.holds]
    name = Mixture(tuple(kept[0]["trials"]), kept[0]["alpha"]).name
    assert any(f"{name}, val_clean_accuracy: archived " in text for text in said)


def untimed(record: StudyRecord) -> list[object]:
    assert record.mixtures is not None
    return [
        replace(one, scores=replace(one.scores, train_seconds=0.0))
        for one in record.mixtures.scored
    ]


@pytest.mark.slow
def test_more_trials_make_other_mixtures(searched: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(searched[0].parents[1], tmp_path, dirs_exist_ok=True)
    run = tmp_path / "runs" / "mixed"
    weights = run / "weights" / "00001.safetensors"
    kept = weights.read_bytes()
    result = run_here("resume", run, "--add", "1", "--executor", "inline", "--accept-baseline")
    assert result.returncode == 0, result.stderr
    more = ablate.read(run)
    assert more.mixtures is not None
    assert (more.mixtures.rows, len(more.rows)) == (4, 4)
    # Without their weights they are not made: one line says so, and nothing else fails.
    with_ledger = open_ledger(locate(run))
    with_ledger.set_mixtures(replace(more.mixtures, rows=3))
    with_ledger.close()
    weights.unlink()
    printed = launch(tmp_path, "--resume")
    assert "no mixtures: they need the weights of 4 trials, got no file of 1 in " in printed
    assert "Resume the study where they are, or set answer.mixtures: false." in printed
    assert continuation(ablate.read(run)) == "continue with ablate resume"
    weights.write_bytes(kept)
    launch(tmp_path, "--resume")
    assert continuation(ablate.read(run)) == ""
    assert untimed(ablate.read(run)) == untimed(more)


@pytest.mark.slow
def test_they_can_be_turned_off(tmp_path: Path) -> None:
    file = study_file(tmp_path, search="answer: {mixtures: false}")
    printed = launch(tmp_path)
    assert "mixture" not in printed
    run = tmp_path / "runs" / "mixed"
    assert ablate.read(run).lacks_mixtures
    assert pareto_info(ablate.read(run)).mixtures == ()
    study_file(tmp_path)
    assert "answer.mixtures: false -> true" in launch(tmp_path, "--resume")
    record = ablate.read(run)
    assert record.mixtures is not None
    assert record.mixtures.rows == 3
    study_file(tmp_path, search="answer: {mixtures: false}")
    assert "answer.mixtures: true -> false" in launch(tmp_path, "--resume")
    assert pareto_info(ablate.read(run)).mixtures == ()
    assert file.is_file()


@pytest.mark.slow
def test_after_an_edit_they_are_of_the_weights_that_were_kept_before(tmp_path: Path) -> None:
    file = study_file(tmp_path)
    file.write_text(file.read_text().replace("run: {", "run: {keep_checkpoints: 1, "))
    launch(tmp_path)
    run = tmp_path / "runs" / "mixed"
    kept = sorted(file.stem for file in (run / "weights").glob("0*"))
    file.write_text(file.read_text().replace("[0.0001, 0.1]", "[0.0001, 0.2]"))
    result = run_here(
        "resume", file, "--edit-space", "--executor", "inline", "--accept-baseline", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "no mixtures" not in result.stdout + result.stderr
    record = ablate.read(run)
    assert (record.lacks_mixtures, [len(edit["removed"]) for edit in record.edits]) == (False, [2])
    assert record.mixtures is not None
    assert {f"{number:05d}" for one in record.mixtures.scored for number in one.trials} <= {*kept}


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    bench: Any = SimpleNamespace(build_baseline=lambda: torch.nn.Linear(1, 1))
    file = weights_file(tmp_path, 3)
    file.parent.mkdir()
    for content in (None, b"damaged"):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(DataError, match=r"^trial 3: needs the weights that its trials wrote"):
            mixed_network(bench, tmp_path, Mixture((3,)))


def test_searches_that_can_have_none() -> None:
    assert refusal(example_record()) == ""
    space = {"model.name": {"choice": ["resnet8", "resnet20"]}}
    why = "need one network and one set of images, got model.name in the space"
    assert refusal(example_record(space=space)) == why
    space = {"dataset.train_fraction": {"float": [0.1, 1.0]}}
    assert refusal(example_record(space=space)) == ""
    fixed = {"interpolation": {"alpha": 0.5}}
    why = "need finetuned weights, got finetune.interpolation.alpha 0.5"
    assert refusal(example_record(finetune=fixed)) == why
    curves = {"interpolation": {"alphas": [0.5, 1]}}
    assert refusal(example_record(finetune=curves)) == ""
    objectives = [("val_robust_accuracy_at_clean_loss", "maximize")]
    why = f"need objectives of one network, got {objectives[0][0]}, which is of a curve"
    assert refusal(example_record(finetune=curves, objectives=objectives)) == why
