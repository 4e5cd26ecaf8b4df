"""A front with mixtures, confirmed: their trials are trained again, and averaged as recorded."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from forked_driver import ForkedDriver
from safetensors.torch import load_file
from test_mixture_study import launch, study_file

import ablate
from ablate.ablation.study_source import arm_terms
from ablate.analysis.pareto import pareto_info
from ablate.errors import NotFiniteError, UsageError
from ablate.files.cache import cache_folder
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.lifecycle.mixtures import keeper_of
from ablate.lifecycle.open_study import open_study
from ablate.lifecycle.rerun import draw_rows
from ablate.model.weights.export_metadata import network_name, read_metadata
from ablate.report.answer import study_answer
from ablate.report.figures.pareto import FrontsInfo, info_of
from ablate.study.mixture import Mixture
from ablate.study.scores import Scores
from ablate.trial.robustness import RobustnessTrial
from ablate.trial.workbench import Workbench
from tests.commands import run_here

pytestmark = pytest.mark.slow

SEEDS = 2
CONFIRM = ("confirm", "mixed.yaml", "--seeds", SEEDS, "--executor", "inline")


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a search whose front is confirmed, a copy of it before that beside it, and what
    the confirmation printed."""
    made = tmp_path_factory.mktemp("confirmed")
    study_file(made)
    launch(made)
    shutil.copytree(made, made.parent / "searched_with_mixtures")
    result = run_here(*CONFIRM, cwd=made)
    assert result.returncode == 0, result.stderr
    return made, result.stderr + result.stdout


@pytest.fixture
def searched(confirmed: tuple[Path, str], tmp_path: Path) -> Path:
    """A folder with that search, which was not confirmed."""
    return Path(shutil.copytree(confirmed[0].parent / "searched_with_mixtures", tmp_path / "own"))


def front_of(folder: Path) -> list[Mixture]:
    info = pareto_info(ablate.read(folder / "runs" / "mixed"))
    assert any(point.is_mixture for point in info.front)
    assert max(len(point.point.trials) for point in info.front) > 1
    return [point.point for point in info.front]


def rows_of(folder: Path) -> tuple[RowRecord, ...]:
    """Of its confirmation, in the storage of this folder, which may be a copy."""
    return ablate.read(f"sqlite:///{folder}/runs/mixed/study.db#mixed~confirm").rows


def lasting(rows: tuple[RowRecord, ...]) -> list[object]:
    """What of rows does not depend on how long they took, and how often they were begun."""
    found = list[object]()
    for row in rows:
        scores, tested = (
            replace(one, train_seconds=0.0) if isinstance(one, Scores) else None
            for one in (row.scores, row.test_scores)
        )
        found.append((row.number, row.cell, row.pair, row.state, row.params, row.seeds, scores))
        found.append((row.mixture, tested))
    return found


def averaged(trained: list[Path], start: dict[str, torch.Tensor], alpha: float) -> object:
    """Tensor by tensor, in fp32: whole numbers are those of the first; no variance is below 0."""
    own = [load_file(file) for file in trained]
    state = {}
    for name, tensor in start.items():
        mean = own[0][name]
        if tensor.is_floating_point():
            total = sum(each[name].double() for each in own)
            mean = (total / len(own)).float()  # type: ignore[union-attr, operator]
            mean = mean if alpha == 1 else tensor + alpha * (mean - tensor)
        state[name] = mean.clamp(min=0) if name.endswith("running_var") else mean
    return state


def test_its_trials_are_trained_again_and_averaged(
    confirmed: tuple[Path, str], tmp_path: Path
) -> None:
    folder, printed = confirmed
    run, front = folder / "runs" / "mixed" / "confirm", front_of(folder)
    record, search = ablate.read(run), ablate.read(run.parent)
    needed = sorted({number for point in front for number in point.trials})
    cells = ["plain", "DA combined", *(f"trial {number}" for number in needed)]
    assert f"{SEEDS * len(cells)} trainings for {len(front)} points: {', '.join(cells)}" in printed
    made = [point.name for point in front if point.name not in cells]
    assert f", each with {SEEDS} seeds; made of these: {', '.join(made)}" in " ".join(
        printed.split()
    )
    # Each is trained once a seed, whatever is made of it.
    once = Counter(dict.fromkeys([*cells, *made], SEEDS))
    assert Counter(row.cell for row in record.rows) == once
    assert {row.state for row in record.rows} == {"COMPLETE"}
    bench = Workbench.get(record.study, folder, cache_folder())
    by_cell = {(row.cell, row.pair): row for row in record.rows}
    for row in record.rows:
        assert row.seeds is not None
        assert row.seeds.train == 1 + (row.pair or 0)
        if row.cell not in made:
            assert (row.mixture, len(row.curve)) == (None, 1)
            continue
        assert row.curve == ()
        point = Mixture.of_name(row.cell)
        own = [by_cell[f"trial {number}", row.pair] for number in point.trials]
        assert row.mixture == Mixture(tuple(one.number for one in own), point.alpha)
        for one in own:  # as the search has trained it, but for the seed
            assert one.params == search.rows[int(str(one.cell).split()[1])].params
        files = [tmp_path / f"{one.number}.safetensors" for one in own]
        for one, file in zip(own, files, strict=True):
            ablate_export = run_here("export", run, "--trial", one.number, "-o", file)
            assert ablate_export.returncode == 0, ablate_export.stderr
        model = bench.build_baseline()
        model.load_state_dict(averaged(files, model.state_dict(), point.alpha))  # type: ignore[arg-type]
        assert isinstance(row.scores, Scores)
        assert row.test_scores is not None
        again = bench.score(model).scores
        assert (again.clean_accuracy, again.accuracies) == (
            row.scores.clean_accuracy,
            row.scores.accuracies,
        )
        tested = bench.score(model, test=record.test).scores
        assert (tested.clean_accuracy, tested.accuracies) == (
            row.test_scores.clean_accuracy,
            row.test_scores.accuracies,
        )
        costs = [one.scores.student_images for one in own if isinstance(one.scores, Scores)]
        assert row.scores.student_images == sum(costs) > 0
        exported = tmp_path / "mixed.safetensors"
        assert run_here("export", run, "--trial", row.number, "-o", exported).returncode == 0
        state, there = model.state_dict(), load_file(exported)
        assert all(torch.equal(there[name], tensor) for name, tensor in state.items())
        metadata = read_metadata(exported)
        assert metadata is not None
        assert network_name(metadata.training) == row.mixture.name


def test_it_is_shown_as_the_search_shows_it(confirmed: tuple[Path, str]) -> None:
    folder, printed = confirmed
    front, run = front_of(folder), folder / "runs" / "mixed"
    info = ablate.read_confirmation(run / "confirm")
    names = [point.name for point in front]
    assert [point.name for point in info.points] == names
    arms = ["baseline", "plain", "DA combined", *names]
    assert [arm.name for arm in info.test.arms] == arms
    # A trial that is only a part of a mixture is no arm, and has no claim.
    assert {effect.contrast for effect in info.test.primary} == {f"{one} - plain" for one in names}
    (opened,) = ablate.read(run).test_opened
    assert opened.what.startswith(f"confirm {len(front)} points of the front (")
    assert all(name in opened.what for name in names)
    source = open_study(run).source
    answer = study_answer(source)
    said = " ".join(answer.sentences)
    taken = next(one for one in front if f"Take {one.name} (" in said)
    assert answer.trial == f"{taken.numbers} --alpha {taken.alpha:g}"
    assert f"Take {taken.name}" in " ".join(printed.split())
    confirming = source.confirmed
    assert confirming is not None
    assert {arm_terms(confirming)[name] for name in names} == {source.record.study.loss.terms}
    shown = info_of([source], None)  # type: ignore[arg-type]
    assert isinstance(shown, FrontsInfo)
    table = shown.frame().set_index("name")
    assert {*names} <= {*table.index[table["mark"] == "mean"]}
    mixed = [one.name for one in front if len(one.trials) > 1]
    assert table.loc[mixed, "number"].isna().all()
    assert run_here("report", run, "--no-images", cwd=folder).returncode == 0


def test_a_rerun_trains_rows_and_no_mixture(confirmed: tuple[Path, str]) -> None:
    opened = open_study(confirmed[0] / "runs" / "mixed" / "confirm")
    ((_, rows),) = draw_rows([opened], 1000, 0)
    assert rows
    assert all(row.mixture is None for row in rows)
    assert len(rows) < len(opened.record.rows)


def test_weights_are_kept_until_they_are_averaged(confirmed: tuple[Path, str]) -> None:
    record: StudyRecord = ablate.read(confirmed[0] / "runs" / "mixed" / "confirm")
    one = record.study.run.model_copy(update={"keep_checkpoints": 1})
    record = replace(record, study=record.study.model_copy(update={"run": one}))
    assert keeper_of(record).resume(record.rows) == []
    trained = tuple(row for row in record.rows if row.mixture is None)
    assert keeper_of(replace(record, rows=trained)).resume(trained)


@pytest.mark.long
def test_a_driver_that_is_killed_goes_on_with_the_same_rows(
    confirmed: tuple[Path, str], searched: Path
) -> None:
    whole = lasting(rows_of(confirmed[0]))
    first = next(row.number for row in rows_of(confirmed[0]) if row.mixture is not None)
    # In the last training of the first seed; then within the second mixture of this seed.
    for point, call in (("before:tell", first), ("before:tell", 3)):
        program = ["--at", point, str(call), *map(str, CONFIRM)]
        driver = ForkedDriver(program, searched, os.environ)
        deadline = time.monotonic() + 600
        while driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        assert driver.returncode == -signal.SIGKILL, driver.communicate()[0]
        states = Counter(row.state for row in rows_of(searched))
        assert states["RUNNING"] == 1
        assert states["WAITING"]
    assert states["COMPLETE"] > first
    result = run_here(*CONFIRM, cwd=searched)
    assert result.returncode == 0, result.stderr
    assert lasting(rows_of(searched)) == whole


def test_a_trial_that_fails_fails_what_is_made_of_it(
    confirmed: tuple[Path, str], searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = front_of(searched)
    broken = max(front, key=lambda point: len(point.trials)).trials[0]
    train = RobustnessTrial.next_entry

    def next_entry(trial: RobustnessTrial, pause: object) -> object:
        if (trial._cell, trial._study.finetune.seed) == (f"trial {broken}", 1):
            raise NotFiniteError("the loss is not finite")
        return train(trial, pause)  # type: ignore[arg-type]

    monkeypatch.setattr(RobustnessTrial, "next_entry", next_entry)
    with contextlib.chdir(searched):
        info = ablate.confirm("mixed.yaml", seeds=SEEDS, executor="inline", progress=False)
    rows = rows_of(searched)
    failed = {row.cell: row.failure for row in rows if row.failure is not None}
    of_it = {point.name for point in front if broken in point.trials}
    assert {*failed} == of_it | {f"trial {broken}"}
    for name in of_it - {f"trial {broken}"}:
        failure = failed[name]
        assert failure is not None
        assert (failure.kind, failure.reason.partition(":")[0]) == (
            "not_finite",
            f"it averages trial {broken}, which failed with this seed",
        )
    others = [row.number for row in rows if row.failure is None]
    whole = rows_of(confirmed[0])
    assert lasting(tuple(rows[one] for one in others)) == lasting(
        tuple(whole[one] for one in others)
    )
    name = min(of_it - {f"trial {broken}"})
    reason = "it averages trial"
    assert any(
        text.startswith(f"seed 1 of {name}: not_finite: {reason}") for text in info.test.failures
    )


def test_named_trials_leave_mixtures_out(searched: Path) -> None:
    run = searched / "runs" / "mixed"
    alone = pareto_info(replace(ablate.read(run), mixtures=None)).front
    with contextlib.chdir(searched):
        numbers = [point.number for point in alone][:1]
        ablate.confirm("mixed.yaml", seeds=2, trials=numbers, executor="inline", progress=False)
        with pytest.raises(UsageError, match=rf"Add `trials=\[{numbers[0]}\]`, or finish it"):
            ablate.confirm("mixed.yaml", seeds=2, executor="inline")
    assert {row.cell for row in rows_of(searched)} == {
        *("plain", "DA combined", f"trial {numbers[0]}")
    }
    assert all(row.mixture is None for row in rows_of(searched))


def test_more_seeds_and_what_is_refused(confirmed: tuple[Path, str], tmp_path: Path) -> None:
    made = Path(shutil.copytree(confirmed[0], tmp_path / "own"))
    before = rows_of(made)
    alone = pareto_info(replace(ablate.read(made / "runs" / "mixed"), mixtures=None)).front
    refused = r"must confirm the same trials .*\. Finish it: ablate"
    with contextlib.chdir(made):
        with pytest.raises(UsageError, match=refused):
            ablate.confirm("mixed.yaml", seeds=2, trials=[alone[0].number], executor="inline")
        ablate.confirm("mixed.yaml", seeds=SEEDS + 1, executor="inline", progress=False)
    rows = rows_of(made)
    assert rows[: len(before)] == before
    assert len(rows) * SEEDS == len(before) * (SEEDS + 1)
    assert {row.state for row in rows} == {"COMPLETE"}
