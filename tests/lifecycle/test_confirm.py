"""The front of a search, confirmed over fresh seeds on the test images."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import ablate
from ablate import api
from ablate.ablation.confirm import ConfirmInfo
from ablate.errors import ParameterError, UsageError
from ablate.ledger.ledger import Ledger
from ablate.lifecycle.open_study import open_study
from ablate.lifecycle.place import place_of_file

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
Ablate = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def confirmed(
    write_study_in: Write, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ConfirmInfo]:
    """A folder with a search of two trials, and its front confirmed over two seeds."""
    made = tmp_path_factory.mktemp("confirmed")
    file = write_study_in(
        made,
        "searched",
        space={"loss.terms": {"choice": ["clean+da", "clean+st"]}},
        finetune={"budget": {"epochs": 1}, "batch_size": 24},
        search={"trials": 2, "sampler": "random"},
        run={"gpus_per_trial": 0},
    )
    with contextlib.chdir(made):
        ablate.launch(file, executor="inline")
        assert ablate.read(file).test_opened == ()
        with pytest.MonkeyPatch.context() as elsewhere:  # where more cores are free
            elsewhere.setenv("OMP_NUM_THREADS", "2")
            return made, ablate.confirm(file, seeds=2, executor="inline")


@pytest.fixture
def searched(confirmed: tuple[Path, ConfirmInfo], work: Path) -> Path:
    """That study, a copy for one test."""
    shutil.copytree(confirmed[0], work, dirs_exist_ok=True)
    return work / "searched.yaml"


def front_of(study: Path) -> list[int]:
    from ablate.analysis.pareto import pareto_info

    return [point.number for point in pareto_info(ablate.read(study)).front]


def test_the_front_is_run_again_and_scored_on_the_test_images(
    confirmed: tuple[Path, ConfirmInfo], searched: Path
) -> None:
    info = confirmed[1]
    front = front_of(searched)
    assert [point.name for point in info.points] == [f"trial {number}" for number in front]
    arms = ["baseline", "plain", "DA combined", *(f"trial {number}" for number in front)]
    assert [arm.name for arm in info.test.arms] == arms
    assert info.test.split == "test"
    assert info.test.n_images == 12
    assert info.validation.n_images == 18
    check_luck(info, searched)

    record, search = ablate.read("runs/searched/confirm"), ablate.read(searched)
    assert record.parent == "searched"
    assert record.baseline_sha256 == search.baseline_sha256
    assert {one.environment["baseline_threads"] for one in (record, search)} == {1}
    assert {row.seeds.train for row in record.rows if row.seeds} == {1, 2}  # 0 was the search's
    (opened,) = ablate.read(searched).test_opened
    assert opened.study == "searched~confirm"
    assert opened.what.startswith(
        f"confirm {len(front)} trial{'s' * (len(front) > 1)} of the front"
    )
    assert "2 seeds, 'families' at severities [3]" in opened.what


def check_luck(info: ConfirmInfo, searched: Path) -> None:
    """Luck and gains against the rows themselves."""
    record = ablate.read("runs/searched/confirm")
    rows, baseline = record.rows, record.test_references["baseline"].robust_accuracy
    for point in info.points:
        number = int(point.name.split()[1])
        selected = ablate.read(searched).rows[number].scores
        own = [row for row in rows if row.cell == point.name]
        assert selected is not None
        fresh, tested = [], []
        for row in own:
            assert row.scores is not None
            assert row.test_scores is not None
            fresh.append(row.scores.metrics()["val_robust_accuracy"])
            tested.append(row.test_scores.metrics()["test_robust_accuracy"])
        mean = sum(fresh) / len(fresh)
        chosen = selected.metrics()["val_robust_accuracy"]
        assert point.luck["val_robust_accuracy"].mean == pytest.approx(chosen - mean)
        gain = point.gains["test_robust_accuracy"]
        assert gain.mean == pytest.approx(sum(tested) / len(tested) - baseline)
        over_both = "t over seeds and images"
        assert (gain.n, gain.method) == (2, over_both)
        assert point.luck["val_robust_accuracy"].method != over_both  # of these images alone


def test_it_goes_on_with_more_seeds_and_keeps_to_what_was_opened(searched: Path) -> None:
    rows = ablate.read("runs/searched/confirm").rows
    ends = []

    def enough(row: object) -> None:
        raise ablate.StopStudy("one run is enough")

    stopped = ablate.confirm(
        searched, seeds=3, executor="inline", on_trial_end=enough, on_study_end=ends.append
    )
    (end,) = ends
    assert len(rows) < end.count("COMPLETE") < end.trials
    assert [point.name for point in stopped.points] == [
        f"trial {one}" for one in front_of(searched)
    ]
    epochs = []
    more = ablate.confirm(searched, seeds=3, executor="inline", on_epoch=epochs.append)
    assert epochs
    assert ablate.read("runs/searched/confirm").rows[: len(rows)] == rows
    assert {row.seeds.train for row in rows if row.seeds} == {1, 2}
    assert more.test.seeds == 3
    assert len(ablate.read(searched).test_opened) == 3
    with pytest.raises(
        UsageError, match=r"score the test images as before .*'suite': 'families'|suite: 'fam"
    ):
        ablate.confirm(searched, seeds=3, suite="cifar10c", executor="inline")
    with pytest.raises(UsageError, match=r"got {suite: \['snow', 'fog'\]"):
        ablate.confirm(searched, seeds=3, suite=("snow", "fog"), executor="inline")
    ablate.resume(searched, add=1, executor="inline")
    front = front_of(searched)
    if len(front) > 1:
        with pytest.raises(UsageError, match=r"confirm the same trials as before .* Add `trials="):
            ablate.confirm(searched, seeds=3, trials=front[:1], executor="inline")


def test_one_that_was_never_prepared_begins_anew(searched: Path) -> None:
    """With other options too, as in `launch`."""
    place = place_of_file(searched).confirmation
    head = Ledger.open(place.url, place.name).head
    Ledger.remove(place.url, place.name)
    other = {"suite": "cifar10c", "severities": [1]}
    Ledger.create(place.url, replace(head, fingerprint={}, test=other), trials=0)
    info = ablate.confirm(searched, seeds=2, executor="inline")
    assert info.test.seeds == 2
    assert ablate.read("runs/searched/confirm").test == {"suite": "families", "severities": [3]}


def test_a_study_of_its_own_with_the_name_of_a_confirmation_stays_as_it_is(searched: Path) -> None:
    place = place_of_file(searched)
    with contextlib.closing(Ledger.open(place.url, "searched")) as ledger:
        head = ledger.head
    own = head.study.model_copy(update={"name": "searched~confirm"})
    Ledger.remove(place.url, "searched~confirm")
    Ledger.create(place.url, replace(head, study=own, identity="own"), 2).close()
    with pytest.raises(UsageError) as refused:
        ablate.confirm(searched, seeds=2, executor="inline")
    assert str(refused.value) == (
        "study searched~confirm: must belong to searched, got a study of its own with this name in "
        f"{place.shown}. It was not changed; launch searched in another `storage:`."
    )
    assert open_study(searched).source.confirmation is None
    assert ablate.read(f"{place.url}#searched~confirm").parent is None


def test_what_cannot_be_confirmed(searched: Path) -> None:
    with pytest.raises(UsageError, match=r"`seeds`: a confirmation needs at least two, got 1"):
        ablate.confirm(searched, seeds=1)
    with pytest.raises(ParameterError, match=r"`trials`: must name at least one, got none"):
        ablate.confirm(searched, trials=[], executor="inline")
    with pytest.raises(ParameterError, match=r"`trials`: must be on the front, got 9"):
        ablate.confirm(searched, trials=[9])
    with pytest.raises(ParameterError, match=r"`severities`: must be .* from 1 to 5, got 9"):
        ablate.confirm(searched, severities=[1, 9])
    with pytest.raises(ParameterError, match=r"`severities`: must be .* from 1 to 5, got none"):
        ablate.confirm(searched, severities=[])
    with pytest.raises(ParameterError, match=r"`seeds`: must be at most 1,000, got 1001"):
        ablate.confirm(searched, seeds=1001)
    with pytest.raises(UsageError, match="must score the test images as before"):
        ablate.confirm(searched, severities=[2])
    assert len(ablate.read(searched).test_opened) == 1, "a refused confirmation opens nothing"
    with pytest.raises(UsageError, match=r"a search or an ablation, got a confirmation. Name sea"):
        ablate.confirm("runs/searched/confirm")


def test_the_command_and_the_table(searched: Path, ablate: Ablate) -> None:
    done = ablate("confirm", searched, "--seeds", 2, "--executor", "inline")
    assert done.returncode == 0, done.stderr
    assert "DA combined" in done.stdout
    assert f"figure: {Path('runs/searched/confirm/effects.html').absolute()}" in done.stdout
    assert len(done.stdout.splitlines()) <= 25
    noted = ablate("confirm", searched, "--seeds", 2, "--executor", "inline", "--notes")
    assert "trained on the training images only" in " ".join(noted.stdout.split())
    again = ablate("confirm", searched, "--seeds", 2, "--executor", "inline", "--json")
    (found,) = json.loads(again.stdout)
    assert found["points"][0]["luck"]["val_robust_accuracy"]["n"] == 2
    assert found["points"][0]["gains"]["test_robust_accuracy"]["n"] == 2
    assert "test images used" in ablate("status", searched).stdout
    refused = ablate("table", searched, "--effects")
    assert (refused.returncode, "--effects needs an ablation" in refused.stderr) == (2, True)
    table = ablate("table", "runs/searched/confirm", "--format", "csv")
    assert "test_robust_accuracy" in table.stdout


def test_for_one_objective_the_best_trials_are_confirmed(
    write_study: Write, ablate: Ablate
) -> None:
    from ablate.analysis.pareto import pareto_info

    file = write_study(
        "single",
        objectives=[{"metric": "val_robust_accuracy"}],
        constraints=[{"metric": "val_clean_accuracy", "min": 0.0}],
        space={"loss.terms": {"choice": ["clean+da", "clean+st", "clean"]}},
        finetune={"budget": {"epochs": 1}, "batch_size": 24},
        search={"trials": 3, "sampler": "random"},
        run={"gpus_per_trial": 0},
    )
    record = api.launch(file, executor="inline")
    assert record.reference_point is None
    best = pareto_info(record).leading[0]
    info = api.confirm(file, seeds=2, executor="inline")
    names = [point.name for point in info.points]
    assert names[0] == best.name
    (opened,) = api.read(file).test_opened
    trials = f"{len(names)} trial{'s' * (len(names) > 1)}"
    assert opened.what.startswith(f"confirm {trials} for val_robust_accuracy")
    with pytest.raises(ParameterError, match=r"must be complete and keep the constraints, got 9"):
        api.confirm(file, trials=[9])
    shown = ablate("report", file, "--no-images")
    assert shown.returncode == 0, shown.stderr
    exported = ablate("export", file, "--trial", str(best.number), "-o", "best.safetensors")
    assert exported.returncode == 0, exported.stderr
    assert Path("best.safetensors").stat().st_size > 10_000
    drawn = ablate("plot", file)
    assert drawn.stdout.strip().endswith("history.html"), drawn.stderr
