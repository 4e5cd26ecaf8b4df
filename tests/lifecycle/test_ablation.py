"""An ablation from its file to its table: the same digits however it was run, or stopped."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_here
from example_results import images_right
from recompute import Model, holm, simultaneous

import ablate
from ablate.ablation.info import AblationInfo
from ablate.ablation.power import planned_power
from ablate.errors import (
    FingerprintError,
    ParameterError,
    StudyFileError,
    StudyNotFoundError,
    UsageError,
)
from ablate.ledger.portable import portable_study
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.lifecycle.open_study import open_ledger, open_study, read_outcomes
from ablate.lifecycle.place import locate
from ablate.report.answer import study_answer
from ablate.report.formats import csv_text
from ablate.report.tables import study_table
from ablate.study.scores import Scores, is_mean

sys.path.append(str(Path(__file__).parents[2] / "studies" / "paper"))

import recompute

Write = Callable[..., Path]

ARMS = {
    "plain": {"loss.terms": "clean"},
    "DA single": {"loss.terms": "clean+da", "augment.types": "each"},
    "DA": {"loss.terms": "clean+da"},
    "FMA": {"loss.terms": "clean+fma", "loss.fma.layers": ["stage3"]},
}
ABLATION: dict[str, Any] = {
    "design": "arms",
    "arms": ARMS,
    "seeds": 2,
    "primary": [{"compare": "FMA", "to": "plain"}, {"compare": "DA", "to": "plain"}],
    "noninferior": {"metric": "val_clean_accuracy", "margin": 0.1},
}


@pytest.fixture(scope="module")
def write_ablation_in(write_study_in: Write) -> Write:
    """Writes an ablation of seconds; keywords replace keys of the section or of the file."""

    def write(
        folder: Path,
        name: str = "abl",
        *,
        of_file: dict[str, Any] | None = None,
        image_size: int = 8,
        **keys: Any,
    ) -> Path:
        file = write_study_in(
            folder,
            name,
            finetune={"budget": {"images": 96}, "batch_size": 24},
            augment={"types": ["gaussian_noise", "gaussian_blur"]},
            ablation={**ABLATION, **keys},
            run={"gpus_per_trial": 0, "parallel": 2},
            **(of_file or {}),
        )
        text = file.read_text().replace("image_size: 8", f"image_size: {image_size}")
        for section in ("space", "search"):  # those of a search
            if of_file is None or section not in of_file:
                text = without_section(text, section)
        file.write_text(text)
        return file

    return write


@pytest.fixture
def write_ablation(work: Path, write_ablation_in: Write) -> Write:
    return functools.partial(write_ablation_in, work)


@pytest.fixture(scope="module")
def launched(write_ablation_in: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ablation `abl`, run to its end."""
    folder = tmp_path_factory.mktemp("launched")
    file = write_ablation_in(folder)
    with contextlib.chdir(folder):
        ablate.launch(file, executor="inline")
    return folder


@pytest.fixture
def done(launched: Path, work: Path) -> StudyRecord:
    """A copy of it, for one test."""
    shutil.copytree(launched, work, dirs_exist_ok=True)
    return ablate.read("runs/abl")


def without_section(text: str, name: str) -> str:
    """YAML without one of its top-level keys."""
    lines, kept, skips = text.splitlines(keepends=True), [], False
    for line in lines:
        if not line.startswith((" ", "-")):
            skips = line.startswith(f"{name}:")
        if not skips:
            kept.append(line)
    return "".join(kept)


def csv(study: str | Path) -> str:
    return csv_text(study_table(open_study(study)))


def effects(study: str | Path) -> object:
    return ablate.read_ablation(study).effects


@pytest.mark.long
def test_the_same_digits_inline_and_after_a_killed_driver(
    done: StudyRecord, write_ablation: Write
) -> None:
    killed = write_ablation("killed")
    kill_amid(killed, 3)
    record = ablate.resume("runs/killed", executor="inline")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 10
    assert any(row.attempt > 1 for row in record.rows)
    assert csv("runs/abl") == csv("runs/killed")
    assert effects("runs/abl") == effects("runs/killed")


def kill_amid(file: Path, rows: int) -> None:
    """Launch in another process, which kills itself after an epoch once so many rows have ended."""
    code = f"""if True:
        import os, signal, ablate
        ended = []
        def tell(epoch):
            if len(ended) >= {rows}:
                os.kill(os.getpid(), signal.SIGKILL)
        ablate.launch(
            {str(file)!r}, executor="inline", progress=False,
            on_epoch=tell, on_trial_end=ended.append,
        )
    """
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_pairs_share_what_is_drawn_and_arms_have_the_same_budget(done: StudyRecord) -> None:
    record = done
    assert [(row.cell, row.pair) for row in record.rows[:5]] == [
        ("plain", 0),
        ("DA single: gaussian_noise", 0),
        ("DA single: gaussian_blur", 0),
        ("DA", 0),
        ("FMA", 0),
    ]
    seeds = {row.pair: row.seeds.train for row in record.rows if row.seeds is not None}
    assert seeds == {0: 1, 1: 2}  # the ones after finetune.seed, which a search has used
    images = {row.scores.metrics()["student_images"] for row in record.rows if row.scores}
    assert images == {96.0}
    assert set(record.references) == {"baseline"}  # plain is an arm, and not run twice
    assert list(ablate.load_trials("runs/abl")["train_seed"]) == [1] * 5 + [2] * 5
    assert len(ablate.plot_pareto("runs/abl").data) > 4
    info = ablate.read_ablation("runs/abl")
    assert info.effect("FMA - plain", "val_robust_accuracy").estimate.method == (
        "t over seeds and images"
    )
    assert [transfer.arm for transfer in info.transfers] == ["DA single"]


@pytest.mark.slow
def test_more_seeds_are_added_to_those_that_are_there(
    done: StudyRecord, write_ablation: Write
) -> None:
    first = done
    with pytest.raises(UsageError, match=r"runs of an ablation follow from its design.*`seeds=3`"):
        ablate.resume("runs/abl", trials=12)
    with pytest.raises(UsageError, match=r"`seeds`: must be at least the 2 .* got 1"):
        ablate.resume("runs/abl", seeds=1)
    more = ablate.resume("runs/abl", seeds=3, executor="inline")
    assert more.rows[:10] == first.rows
    assert len(more.rows) == 15
    assert "ablation.seeds: 2 -> 3" in more.notes
    # The file may go on to say 2.
    assert len(ablate.launch(write_ablation(), executor="inline").rows) == 15
    file = write_ablation(seeds=4)
    assert len(ablate.launch(file, resume=True, executor="inline").rows) == 20
    check_statistics("runs/abl", seeds=4, claims=["FMA - plain", "DA - plain"])
    with pytest.raises(FingerprintError, match=r"seeds may only be added to ablation.seeds"):
        ablate.launch(write_ablation(seeds=[9, 10, 11, 12, 13]), resume=True, executor="inline")
    changed = write_ablation(seeds=4, primary=[])
    with pytest.raises(FingerprintError, match=r"must not change.*ablation.primary"):
        ablate.launch(changed, resume=True, executor="inline")


# -- every number of it once more, from the rows and the bits that the ledger has -----------


def check_statistics(study: str, *, seeds: int, claims: list[str]) -> None:
    """Every estimate, p, verdict, rank and best arm of arms of `ARMS` against explicit sums."""
    info = ablate.read_ablation(study)
    record, kept, references = read_outcomes(locate(study))
    cells = {
        "plain": ["plain"],
        "DA single": ["DA single: gaussian_noise", "DA single: gaussian_blur"],
        "DA": ["DA"],
        "FMA": ["FMA"],
    }

    def scores_of(cell: str) -> Scores:
        return next(row.scores for row in record.rows if row.cell == cell)  # type: ignore[return-value]

    def table(arm: str, metric: str) -> np.ndarray:
        """`[seeds, n]`"""
        if arm == "baseline":
            one = images_right(references["baseline"]["val"], record.references[arm], metric)
            return np.tile(one, (seeds, 1))
        of_cells = []
        for cell in cells[arm]:
            rows = sorted((row for row in record.rows if row.cell == cell), key=_pair)
            texts = [kept[row.number]["val"] for row in rows]
            of_cells.append([images_right(text, scores_of(cell), metric) for text in texts])
        return np.mean(of_cells, axis=0)

    def difference(arm: str, other: str, metric: str) -> np.ndarray:
        exposed = metric.partition("val_robust_accuracy_")[2]
        if not exposed:
            return table(arm, metric) - table(other, metric)
        first = record.references[arm] if arm == "baseline" else scores_of(cells[arm][0])
        among = ("seen_family", "unseen") if exposed == "untrained" else (exposed,)
        kinds = [kind for kind, one in first.exposure.items() if one in among]
        parts = [f"val_accuracy.{kind}" for kind in kinds]
        return np.mean([difference(arm, other, part) for part in parts], axis=0)

    models = {
        (one.contrast, one.metric): Model(difference(*one.contrast.split(" - "), one.metric))
        for one in info.effects
        if is_mean(one.metric)
    }
    robust = "val_robust_accuracy"
    adjusted = dict(zip(claims, holm([models[one, robust].p() for one in claims]), strict=True))
    assert {one.contrast for one in info.primary} == set(claims)
    assert len(info.effects) > 20
    for effect in info.effects:
        if not is_mean(effect.metric):
            assert effect.n_images is None
            continue
        model, estimate = models[effect.contrast, effect.metric], effect.estimate
        assert (estimate.n, estimate.method) == (seeds, "t over seeds and images")
        assert (estimate.mean, estimate.sd) == pytest.approx((model.mean, model.sd), abs=1e-12)
        assert effect.p == pytest.approx(model.p(), rel=1e-5)
        bounds = model.bounds()
        if effect.primary:
            assert effect.p_adjusted == pytest.approx(adjusted[effect.contrast], rel=1e-5)
            bounds = simultaneous(model, len(claims), adjusted[effect.contrast])
            n_images = difference(*effect.contrast.split(" - "), effect.metric).shape[1]
            is_shown = adjusted[effect.contrast] < 0.05
            assert not is_shown or abs(model.mean) * n_images > 1
            better = "better" if model.mean > 0 else "worse"
            assert effect.verdict == (better if is_shown else "not shown")
            by_seed = difference(*effect.contrast.split(" - "), effect.metric).mean(axis=1)
            sums = np.abs([np.dot(signs, by_seed) for signs in product((-1, 1), repeat=seeds)])
            assert effect.p_seeds == np.mean(sums >= abs(by_seed.sum()) - 1e-12)
        else:
            assert (effect.verdict, effect.p_adjusted) == ("exploratory", None)
        assert (estimate.low, estimate.high) == pytest.approx(bounds, abs=1e-9)
        if effect.metric == "val_clean_accuracy":
            assert effect.kept is not None
            low, one_sided = model.bounds()[0], model.p(-0.1) / 2
            p = one_sided if model.mean > -0.1 else 1 - one_sided
            assert (effect.kept.low, effect.kept.p) == pytest.approx((low, p), rel=1e-5, abs=1e-9)
            assert effect.kept.kept is (p < 0.025)
        else:
            assert effect.kept is None


def _pair(row: RowRecord) -> int:
    assert row.pair is not None
    return row.pair


@pytest.mark.slow
def test_each_seed_with_a_baseline_of_its_own(write_ablation: Write) -> None:
    file = write_ablation(baseline_seeds="each", arms={"plain": ARMS["plain"]}, primary=[])
    record = ablate.launch(file, executor="inline")
    assert [(row.cell, row.params["baseline.seed"]) for row in record.rows] == [
        ("baseline", 0),
        ("plain", 0),
        ("baseline", 1),
        ("plain", 1),
    ]
    info = ablate.read_ablation("runs/abl")
    assert info.arms[0].estimates["val_clean_accuracy"].n == 2
    assert not any("one baseline" in mark for mark in info.marks)
    first = record.rows[0].scores
    assert first is not None
    assert first.metrics()["val_clean_accuracy"] == pytest.approx(
        record.references["baseline"].clean_accuracy
    )


@pytest.mark.slow
def test_arms_are_tuned_by_searches_of_one_budget(write_ablation: Write) -> None:
    space = {
        "finetune.learning_rate": {"float": [0.001, 0.1], "log": True},
        "loss.fma.weight": {"float": [0.1, 10], "when": {"loss.terms": {"contains": "fma"}}},
    }
    arms = {"plain": ARMS["plain"], "FMA": ARMS["FMA"]}
    primary = [{"compare": "FMA", "to": "plain"}]
    first = {"finetune.learning_rate": 0.01, "loss.fma.weight": 1.0}
    tune = {"trials": 2, "enqueue": [first]}
    file = write_ablation(arms=arms, primary=primary, tune=tune, of_file={"space": space})

    def stop(row: object) -> None:
        raise ablate.StopStudy

    ablate.launch(file, executor="inline", on_trial_end=stop)
    answer = study_answer(open_study("runs/abl").source)
    assert answer.sentences == (
        "No run has ended yet.",
        "The arms are still being tuned (abl~00-plain: 1 of 2 trials).",
    )
    shown = run_here("status", "runs/abl").stdout
    assert "│ tuning │ abl~00-plain: 1 of 2 trials" in " ".join(shown.split())
    assert "left" not in shown
    record = ablate.resume(file, executor="inline")
    assert open_study("runs/abl").tuning == ""
    tuned = _params(record)
    assert set(tuned["plain"]) == {"loss.terms", "finetune.learning_rate"}
    assert set(tuned["FMA"]) == {
        *("loss.terms", "loss.fma.layers", "loss.fma.weight", "finetune.learning_rate"),
    }
    info = ablate.read_ablation("runs/abl")
    assert [(curve.arm, len(curve.scores)) for curve in info.tuning] == [("plain", 2), ("FMA", 2)]
    search = ablate.read("runs/abl/tune/01-FMA")
    assert search.parent == "abl"
    assert [*search.references] == ["baseline"]  # no plain finetune, which nothing would read
    assert len(search.complete) == 2
    assert [row.enqueued for row in search.rows] == [True, False]
    assert search.rows[0].params == first
    assert ablate.read("runs/abl/tune/00-plain").rows[0].params == {"finetune.learning_rate": 0.01}
    best = max(row.values[1] for row in search.complete if row.values)
    assert info.tuning[1].scores[-1] <= best
    assert ablate.resume("runs/abl", executor="inline") == record
    with pytest.raises(UsageError, match=r"got the search of one arm. Name abl."):
        ablate.confirm("runs/abl/tune/01-FMA")
    test = ablate.confirm("runs/abl", seeds=2, executor="inline").test
    assert _params(ablate.read("runs/abl/confirm")) == tuned
    assert test.tuning == ()
    assert "each arm has the values that its search picked" in test.marks


@pytest.mark.slow
def test_the_reference_is_a_trial_of_a_search(write_ablation: Write, write_study: Write) -> None:
    same = {
        "finetune": {"budget": {"images": 96}, "batch_size": 24},
        "augment": {"types": ["gaussian_noise", "gaussian_blur"]},
    }
    space = {"loss.terms": {"choice": ["clean+fma", "clean+st+fma"]}}
    search = {"trials": 2, "sampler": "random"}
    searched = write_study("searched", **same, space=space, search=search)
    ablate.launch(searched, executor="inline")
    keys = {"design": "leave_one_out", "components": ["fma"], "primary": [], "arms": None}
    reference = {"study": "runs/searched", "pick": "trial 1"}
    record = ablate.launch(write_ablation(**keys, reference=reference), executor="inline")
    of_search = ablate.read("runs/searched").rows[1].params
    assert dict(record.rows[0].params) == dict(of_search)
    assert any(
        "trial 1 of study searched" in mark for mark in ablate.read_ablation("runs/abl").marks
    )

    missing = {**reference, "pick": "trial 7"}
    with pytest.raises(
        ParameterError, match=r"must have that trial in state COMPLETE, got no trial 7"
    ):
        ablate.launch(write_ablation("other", **keys, reference=missing), executor="inline")
    other_model = {"model": {"name": "wrn-16-2"}}
    other = write_ablation("other", **keys, reference=reference, of_file=other_model)
    with pytest.raises(FingerprintError, match=r"got model.name: 'resnet8' -> 'wrn-16-2'"):
        ablate.launch(other, executor="inline")
    changes_nothing = write_ablation("third", **{**keys, "components": ["da"]}, reference=reference)
    with pytest.raises(StudyFileError, match=r"cells must differ, got without da"):
        ablate.launch(changes_nothing, executor="inline")


def write_own(work: Path, name: str = "own", more: str = "") -> Path:
    """A study file with a custom training loop; `more` ends its section `ablation`."""
    (work / "own_loop.py").write_text(
        "def train(trial):\n"
        "    seed, width = trial.seeds.train, trial.params['width']\n"
        "    error = 1.0 / width + 0.001 * (seed * width % 5)\n"
        "    size = float(trial.params['width'])\n"
        "    trial.report(1, {'error': error, 'size': size, 'loss': error})\n"
    )
    file = work / f"{name}.yaml"
    file.write_text(
        f"version: 1\nname: {name}\ntrainable: own_loop:train\n"
        "finetune: {budget: {epochs: 1}}\n"
        "objectives: [{metric: error, direction: minimize}, {metric: size, direction: minimize}]\n"
        "ablation:\n  design: one_at_a_time\n  reference: {width: 2}\n"
        "  factors: {width: [4, 8]}\n  seeds: 8\n"
        f"  primary: [{{compare: 'width: 8', to: reference, metric: error}}]\n{more}"
    )
    return file


@pytest.fixture(scope="module")
def pilot_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study `pilot` of a custom training loop, run to its end."""
    folder = tmp_path_factory.mktemp("pilot")
    with contextlib.chdir(folder):
        ablate.launch(write_own(folder, "pilot"), executor="inline", progress=False)
    return folder


@pytest.fixture
def pilot(pilot_folder: Path, work: Path) -> Path:
    """The file of that study, a copy for one test."""
    shutil.copytree(pilot_folder, work, dirs_exist_ok=True)
    return work / "pilot.yaml"


@pytest.mark.slow
def test_the_power_is_planned_from_a_pilot(pilot: Path, work: Path) -> None:
    found = ablate.read_ablation(pilot)
    assert set(found.best) == {"error", "size"}, "whether more loss is better is not known"
    done = found.effect("width: 8 - reference", "error")
    assert done.components is not None
    expected = planned_power(done.components, 8, None, 0.001)
    plan = "  plan: {pilot: runs/pilot, difference: 0.001}\n"
    planned = write_own(work, "planned", plan)
    said = run_here("check", planned)
    assert said.returncode == 0
    assert (
        f"power: width: 8 - reference on error: power {100 * expected:.0f} % at a true difference "
        "of 0.001, with 8 seeds, from the pilot's width: 8 - reference"
    ) in said.stdout
    asked = run_here("check", planned, "--set", "ablation.plan.hours=1").stdout
    assert (
        "plan: one pilot says nothing of replicates: name several, each from another baseline, or "
        "write plan.ratio\n"
    ) in asked
    assumed = run_here("check", planned, "--set", "ablation.plan.ratio=2").stdout
    assert "plan: replicates are assumed to vary 2 times as much as seeds (plan.ratio)" in assumed
    assert "plan: designs of 1 claim, in hours of one worker, at a true difference of" in assumed
    both = run_here("check", planned, "--set", "ablation.plan={pilot: [a, b], ratio: 2}")
    assert "several pilots say how replicates vary, got also ratio: 2. Remove it." in both.stderr
    for name, rule in (
        ("runs/nothing", "ablation.plan.pilot: runs/nothing: must be a study file"),
        ("planned.yaml", "ablation.plan.pilot: study planned: must have been launched"),
    ):
        refused = run_here("check", planned, "--set", f"ablation.plan.pilot={name}")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert rule in refused.stderr
    other = run_here("check", planned, "--set", "ablation.primary=[]")
    assert other.returncode == 2
    assert "ablation.plan.pilot: must have a contrast on the metric of a primary" in other.stderr


@pytest.mark.slow
def test_power_is_planned_with_the_images_of_the_study(
    done: StudyRecord, write_ablation: Write
) -> None:
    info = ablate.read_ablation("runs/abl")
    components = info.effect("FMA - plain", "val_robust_accuracy").components
    assert components is not None
    assert info.n_images is not None
    fraction = done.study.dataset.validation.fraction
    file = write_ablation("planned", plan={"pilot": "runs/abl", "difference": 0.3})
    for given, n in (
        (f"dataset.validation.fraction={fraction}", info.n_images),
        (f"dataset.validation.fraction={fraction / 2}", round(info.n_images / 2)),
        ("robustness.images=5", 5),
    ):
        power = planned_power(components, 2, n, 0.3, 0.025)
        said = run_here("check", file, "--set", given).stdout
        assert (
            f"FMA - plain on val_robust_accuracy: power {100 * power:.0f} % at a true difference "
            f"of 0.3, with 2 seeds and {n} images, from the pilot's FMA - plain"
        ) in said
    refused = run_here("check", file, "--set", "dataset.name=digits", "--set", "dataset.path=null")
    assert refused.returncode == 2
    assert (
        "ablation.plan.pilot: must be of the data set of this study, digits, got image_folder in "
        "abl. Name an ablation on the same data."
    ) in refused.stderr
    refused = run_here("check", file, "--set", "robustness.cells=0.5")
    assert (
        "ablation.plan.pilot: must score the share of cells of this study, robustness.cells 0.5, "
        "got 1 in abl. Name another pilot."
    ) in refused.stderr


def test_a_loop_of_ones_own_is_ablated(pilot: Path) -> None:
    info = ablate.read_ablation(pilot)
    effect = info.effect("width: 8 - reference", "error")
    seeds = [row.seeds.train for row in ablate.read(pilot).rows if row.seeds]
    gains = [-0.375 + 0.001 * (8 * one % 5 - 2 * one % 5) for one in dict.fromkeys(seeds)]
    expected = Model(np.array(gains))
    assert len(gains) == 8
    estimate = effect.estimate
    assert (estimate.mean, estimate.sd) == pytest.approx((expected.mean, expected.sd))
    assert (estimate.low, estimate.high) == pytest.approx(expected.bounds())
    assert (effect.verdict, estimate.method) == ("better", "t over seeds")
    assert effect.p == pytest.approx(expected.p(), rel=1e-5)
    assert (effect.p_seeds, effect.is_exact) == (2 / 2**8, True)
    # Of the size every seed says the same, so that nothing is known of how seeds vary.
    size = info.effect("width: 8 - reference", "size")
    assert (size.estimate.mean, size.estimate.method) == (6.0, "none")
    assert math.isnan(size.p)


@pytest.mark.slow
def test_an_ablation_of_failing_runs_names_them(write_ablation: Write) -> None:
    arms = {"plain": ARMS["plain"], "wild": {"finetune.learning_rate": 1e30}}
    file = write_ablation(arms=arms, primary=[{"compare": "wild", "to": "plain"}])
    ablate.launch(file, executor="inline")
    info = ablate.read_ablation(file)
    assert len(info.failures) == 2
    assert info.failures[0].startswith("seed 1 of wild: not_finite: ")
    effect = info.effect("wild - plain", "val_robust_accuracy")
    assert effect.estimate.n == 0
    assert effect.missing == ("seed 1 of wild", "seed 2 of wild")


@pytest.mark.slow
def test_it_is_confirmed_with_other_seeds_on_the_test_images(
    done: StudyRecord, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=r"`trials`: needs a search, got the ablation abl"):
        ablate.confirm("runs/abl", trials=[1])
    assert ablate.read("runs/abl").test_opened == ()
    ran = run_here(
        *("confirm", "runs/abl", "--seeds", 2, "--suite", "families_all", "--severities", 5),
        *("--executor", "inline"),
    )
    assert ran.returncode == 0, ran.stderr
    assert "selection luck" not in ran.stdout
    confirmed = ablate.read("runs/abl/confirm")
    assert (confirmed.parent, confirmed.trials) == ("abl", done.trials)
    assert {row.seeds.train for row in done.rows if row.seeds} == {1, 2}
    assert {row.seeds.train for row in confirmed.rows if row.seeds} == {3, 4}
    assert _params(confirmed) == _params(done)
    (opened,) = ablate.read("runs/abl").test_opened
    assert opened.study == "abl~confirm"
    assert opened.what == (
        "confirm 5 cells of the ablation (arms), 2 seeds, 'families_all' at severities [5]"
    )
    _check_confirmed(confirmed)

    record = ablate.resume("runs/abl/confirm", seeds=3, executor="inline")
    assert record.rows[: confirmed.trials] == confirmed.rows
    assert {row.seeds.train for row in record.rows if row.seeds} == {3, 4, 5}
    with pytest.raises(UsageError, match=r"must score the test images as before"):
        ablate.confirm("runs/abl", seeds=3, executor="inline")
    assert run_here("report", "runs/abl", "--no-images").returncode == 0
    page = Path("runs/abl/report.html").read_text()
    assert "Means, test images" in page
    ablate.archive("runs/abl", "abl.tar")
    verified = ablate.verify("abl.tar")
    assert verified.holds, [check.text for check in verified.checks if not check.holds]
    assert "confirm/tables/effects.csv" in {check.what for check in verified.checks}
    within, there = (ablate.read_ablation(f"{one}/confirm") for one in ("abl.tar", "runs/abl"))
    assert repr(within) == repr(there)
    with pytest.raises(StudyNotFoundError, match=r"abl~confirmed"):
        ablate.read("abl.tar/confirmed")
    assert recompute.check(recompute.read("abl.tar"))
    assert "confirm/tables/effects.csv: 73 values equal" in capsys.readouterr().out


def _params(record: StudyRecord) -> dict[str | None, dict[str, Any]]:
    return {row.cell: dict(row.params) for row in record.rows}


def _check_confirmed(record: StudyRecord) -> None:
    """Its claims, against the rows."""
    info = ablate.read_confirmation("runs/abl/confirm")
    assert info.points == ()
    assert repr(ablate.read_ablation("runs/abl/confirm")) == repr(info.test)
    assert (info.test.split, info.test.n_images) == ("test", 12)
    assert any("trained on the training images only" in mark for mark in info.test.marks)
    robust = "test_robust_accuracy"
    claims = [("FMA - plain", robust), ("DA - plain", robust)]
    assert {(one.contrast, one.metric) for one in info.test.primary} == set(claims)

    def values(cell: str) -> list[float]:
        rows = [row.test_scores for row in record.rows if row.cell == cell]
        return [scores.robust_accuracy for scores in rows if scores is not None]

    found = [info.test.effect(*claim) for claim in claims]
    for effect in found:
        arm, _, other = effect.contrast.partition(" - ")
        gains = np.subtract(values(arm), values(other))
        assert effect.estimate.mean == pytest.approx(gains.mean())
        assert effect.estimate.n == 2
        assert effect.verdict == "too few seeds"
    p = [one.p if math.isfinite(one.p) else 1.0 for one in found]
    for effect, adjusted in zip(found, holm(p), strict=True):
        assert math.isnan(effect.p) or effect.p_adjusted == pytest.approx(adjusted)
    kept = info.test.effect("FMA - plain", "test_clean_accuracy").kept
    assert kept is not None
    assert kept.margin == 0.1


@pytest.mark.slow
def test_ablations_from_several_baselines_are_read_as_one(write_ablation: Write) -> None:
    arms = {name: ARMS[name] for name in ("plain", "DA")}
    metrics = ("val_robust_accuracy_untrained", "val_clean_accuracy")
    primary = [{"compare": "DA", "metric": metric} for metric in metrics]
    runs = [f"runs/r{place}" for place in range(3)]
    for place in range(3):
        own = {"baseline": {"epochs": 1, "batch_size": 24, "seed": place}}
        # Of 16 x 16 pixels, so that one of the baselines is worse than plain finetuning.
        keys = {"arms": arms, "primary": primary, "of_file": own, "image_size": 16}
        file = write_ablation(f"r{place}", **keys)
        ablate.launch(file, executor="inline", accept_baseline=True)
    info = ablate.read_ablation(runs)
    assert {one.metric for one in info.primary} == {*metrics}
    alone = [ablate.read_ablation(run) for run in runs]
    for one in info.primary:
        means = [each.effect(one.contrast, one.metric).estimate.mean for each in alone]
        assert one.by_baseline == pytest.approx(means)
        assert one.estimate.mean == pytest.approx(np.mean(means))
    check_recomputed(runs, info)
    shown = run_here("table", *runs, "--effects")
    assert shown.returncode == 0, shown.stderr
    assert "over 3 baselines of 2 seeds each" in shown.stdout
    assert info.warning.startswith("r2: plain finetuning raises clean accuracy by")
    (found,) = json.loads(run_here("table", *runs, "--json").stdout)
    assert [one["study"] for one in found["replications"]] == ["r0", "r1", "r2"]
    refused = run_here("table", "runs/r0", "runs/r0")
    assert refused.returncode == 2
    assert "must start from another baseline, got that of r0." in refused.stderr


def check_recomputed(runs: list[str], info: AblationInfo) -> None:
    """A script without ablate pools the same numbers from what is in an archive."""
    studies = []
    for run in runs:
        with closing(open_ledger(locate(run))) as ledger:
            studies.append(recompute.Study(portable_study(ledger), ""))
    effects = recompute.pooled(studies)
    assert {*effects.claims} == {(one.contrast, one.metric) for one in info.primary}
    for one in info.primary:
        of, estimate = (one.contrast, one.metric), one.estimate
        model = effects.model(*of)
        ours = [model.mean, model.sd, *effects.bounds(*of), model.p(), effects.adjusted[of]]
        theirs = [estimate.mean, estimate.sd, estimate.low, estimate.high, one.p, one.p_adjusted]
        assert ours == pytest.approx(theirs, rel=1e-9)
        assert model.seeds == pytest.approx(one.by_baseline)
        assert effects.verdict(*of) == one.verdict
    assert any(one.estimate.mean for one in info.primary)
    assert recompute.table(effects).count("| DA - plain |") == len(info.primary)
