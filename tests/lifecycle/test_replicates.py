"""An ablation with replicates: one study, whose replicates are ablations that are read as one."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import run_here

import ablate
from ablate.ablation.design import repeating_study, replicate_study, train_seeds
from ablate.ablation.looks import Look
from ablate.errors import FingerprintError, NotFiniteError, StudyFileError, UsageError
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.open_study import open_ledger, open_study
from ablate.lifecycle.place import locate
from ablate.study.scores import Scores
from ablate.study.settings import Study
from ablate.trial.robustness import RobustnessTrial

Write = Callable[..., Path]
ROBUST = "val_robust_accuracy"


@pytest.fixture(scope="module")
def write_replicated(write_study_in: Write) -> Write:
    """Writes an ablation with two replicates of seconds; keywords replace keys of the section."""

    def write(folder: Path, name: str = "rep", of_file: Any = None, **keys: Any) -> Path:
        ablation = {
            "design": "arms",
            "arms": {"plain": {"loss.terms": "clean"}, "DA": {"loss.terms": "clean+da"}},
            "replicates": 2,
            "seeds": 2,
            "primary": [{"compare": "DA"}],
        }
        file = write_study_in(folder, name)
        study = yaml.safe_load(file.read_text()) | {
            "baseline": {"epochs": 1, "batch_size": 24},
            "finetune": {"budget": {"images": 48}, "batch_size": 24},
            "augment": {"types": ["gaussian_noise"]},
            "robustness": {"suite": ["contrast", "gaussian_noise"], "severities": [3]},
            "run": {"gpus_per_trial": 0},
            "ablation": ablation | keys,
        }
        for section in ("space", "search"):
            del study[section]
        file.write_text(yaml.safe_dump(study | (of_file or {}), sort_keys=False))
        return file

    return write


@pytest.fixture(scope="module")
def launched(write_replicated: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `rep`, run to its end."""
    folder = tmp_path_factory.mktemp("replicates")
    with contextlib.chdir(folder):
        ablate.launch(write_replicated(folder), executor="inline", progress=False)
    return folder


@pytest.fixture
def done(launched: Path, work: Path) -> StudyRecord:
    """A copy of it, for one test."""
    shutil.copytree(launched, work, dirs_exist_ok=True)
    return ablate.read("runs/rep")


def run_on(study: Any, **options: Any) -> StudyRecord:
    return ablate.launch(study, resume=True, executor="inline", progress=False, **options)


def test_of_one_seed_a_replicate_a_worker_reads_the_study(
    write_replicated: Write, work: Path
) -> None:
    """Claims are about replicates, so each may have one seed."""
    study = locate(write_replicated(work, seeds=1)).study
    assert study is not None
    replicate = replicate_study(study, 1, "rep~r1")
    assert Study.model_validate(replicate.written()) == replicate


def test_no_seed_is_shared_by_two_replicates(write_replicated: Write, work: Path) -> None:
    space = {"space": {"finetune.learning_rate": {"float": [0.01, 0.1]}}}
    tune = {"trials": 2, "seed": 5, "enqueue": [{"finetune.learning_rate": 0.02}]}
    whole = ablate.check(write_replicated(work, of_file=space, tune=tune))
    parts = [replicate_study(whole, number, f"rep~r{number}") for number in range(2)]
    used = []
    for part in parts:
        confirmed = repeating_study(part, "confirm", 1000)
        used.append({part.finetune.seed, *train_seeds(part), *train_seeds(confirmed)})
        assert len(used[-1]) == 1 + 2 + 1000
        assert part.ablation_section.replicates is None
    assert not used[0] & used[1]
    assert [part.baseline.seed for part in parts] == [0, 1]
    assert [part.tune_section.seed for part in parts] == [5, 6]
    assert all(part.tune_section.enqueue == whole.tune_section.enqueue for part in parts)


@pytest.mark.slow
def test_replicates_are_read_as_one(done: StudyRecord) -> None:
    with closing(open_ledger(locate("runs/rep"))) as ledger:
        assert ledger.read().rows == ()  # all rows are the replicates' own
    parts = [ablate.read(f"runs/rep/r{number}") for number in range(2)]
    assert [(part.name, part.parent) for part in parts] == [("rep~r0", "rep"), ("rep~r1", "rep")]
    assert parts[0].baseline_sha256 != parts[1].baseline_sha256
    assert done.replicates_ended == 2
    assert [row.number for row in done.rows] == list(range(8))
    frame = ablate.load_trials("runs/rep")
    assert frame["replicate"].tolist() == [0] * 4 + [1] * 4
    assert frame["pair"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert frame["train_seed"].tolist() == [1, 1, 2, 2, 10001, 10001, 10002, 10002]
    info = ablate.read_ablation("runs/rep")
    assert info.effects == ablate.read_ablation(["runs/rep/r0", "runs/rep/r1"]).effects
    assert (info.study, info.seeds, info.paired, info.looks) == ("rep", 2, "baseline", 0)
    means = frame.groupby(["replicate", "cell"])[ROBUST].mean().unstack()
    differences = (means["DA"] - means["plain"]).tolist()
    effect = info.effect("DA - plain", ROBUST)
    assert effect.by_baseline == pytest.approx(differences)
    assert effect.estimate.mean == pytest.approx(sum(differences) / 2)
    mixed = ["runs/rep", "runs/rep/r0"]
    with pytest.raises(UsageError, match=r"must start from another baseline, got that of rep~r0"):
        ablate.read_ablation(mixed)


@pytest.mark.slow
def test_a_replicate_is_what_it_would_be_alone(
    done: StudyRecord, write_replicated: Write, work: Path
) -> None:
    own = {"baseline": {"epochs": 1, "batch_size": 24, "seed": 1}}
    own["finetune"] = {"budget": {"images": 48}, "batch_size": 24, "seed": 10_000}
    alone = run_on(write_replicated(work, "alone", own, replicates=None))
    inside = ablate.read("runs/rep/r1")
    assert [row.values for row in alone.rows] == [row.values for row in inside.rows]
    assert alone.baseline_sha256 == inside.baseline_sha256


@pytest.mark.slow
def test_every_command_reads_it(done: StudyRecord, work: Path) -> None:
    status = json.loads(run_here("status", "runs/rep", "--json").stdout)[0]
    assert (status["replicates"], status["replicates_ended"], status["trials"]) == (2, 2, 8)
    assert status["weight_bytes"] > 0
    assert "│ replicates │ 2 of 2 have ended" in run_here("status", "runs/rep").stdout
    assert "replicate" in run_here("trials", "runs/rep").stdout.splitlines()[1]
    assert "over 2 baselines of 2 seeds each" in run_here("table", "runs/rep", "--effects").stdout
    table = json.loads(run_here("table", "runs/rep", "--json").stdout)
    assert {row["study"] for row in table} == {"rep"}
    assert ablate.plot("effects", "runs/rep").layout.title.text
    run_here("report", "runs/rep", "--no-images", "-o", "page.html")
    assert "Replicate" in Path("page.html").read_text()
    assert run_here("export", "runs/rep", "--trial", "5", "-o", "a.safetensors").returncode == 0
    kept = Path("runs/rep/r1/weights/00001.safetensors")
    assert Path("a.safetensors").read_bytes() == kept.read_bytes()
    events = json.loads(run_here("logs", "runs/rep", "--trial", "5", "--json").stdout)
    assert {event["trial"] for event in events} == {1}
    assert ablate.track("runs/rep", ["tensorboard"])[0].rows == 8
    before = [row.values for row in done.rows]
    assert [row.values for row in run_on("rep.yaml").rows] == before  # finished: nothing is run
    assert run_on("rep.yaml").drives == done.drives


@pytest.mark.slow
def test_one_archive_holds_all_of_it(done: StudyRecord) -> None:
    made = ablate.archive("runs/rep", "rep.tar")
    assert made.studies == ("rep", "rep~r0", "rep~r1")
    found = ablate.verify("rep.tar", rerun=1, seed=0)
    assert found.holds, [check.text for check in found.checks if not check.holds]
    assert found.checks[-1].what.startswith("rep~r")
    assert ablate.read_ablation("rep.tar").effects == ablate.read_ablation("runs/rep").effects
    assert ablate.read("rep.tar").replicates_ended == 2


@pytest.mark.slow
def test_seeds_and_replicates_are_added(
    done: StudyRecord, write_replicated: Write, work: Path
) -> None:
    more = ablate.resume("runs/rep", seeds=3, executor="inline", progress=False)
    assert (len(more.rows), more.looks) == (12, 1)  # one look, of all replicates at once
    assert [row.values for row in more.rows[:4]] == [row.values for row in done.rows[:4]]
    assert ablate.read_ablation("runs/rep").looks == 1
    larger = run_on(write_replicated(work, seeds=3, replicates=3))
    assert (len(larger.rows), larger.looks, larger.replicates_ended) == (18, 2, 3)
    assert [row.values for row in larger.rows[:12]] == [row.values for row in more.rows]
    for count in (2, None):
        with pytest.raises(FingerprintError) as error:
            run_on(write_replicated(work, seeds=3, replicates=count))
        assert str(error.value) == (
            "study rep: ablation.replicates may only be raised, got "
            f"{'nothing' if count is None else count} after 3. Change it back, or give the file "
            "another `name:`."
        )


@pytest.mark.slow
def test_a_confirmation_repeats_each_replicate(done: StudyRecord) -> None:
    info = ablate.confirm("runs/rep", seeds=2, executor="inline", progress=False)
    assert (info.test.split, info.validation.split) == ("test", "validation")
    assert (info.test.seeds, info.test.paired, info.test.runs) == (2, "baseline", 8)
    apart = [f"runs/rep/confirm/r{number}" for number in range(2)]
    assert info.test.effects == ablate.read_ablation(apart).effects
    assert ablate.read_confirmation("runs/rep/confirm").test.effects == info.test.effects
    seeds = ablate.load_trials("runs/rep/confirm")["train_seed"].unique().tolist()
    assert seeds == [3, 4, 10003, 10004]
    (used,) = ablate.read("runs/rep").test_opened
    assert used.what.startswith("confirm 2 cells of the ablation (arms) in 2 replicates, 2 seeds")
    assert open_study("runs/rep").source.answering.record.name == "rep~confirm"
    made = ablate.archive("runs/rep", "rep.tar")
    assert made.studies[:3] == ("rep", "rep~confirm", "rep~confirm~r0")
    assert ablate.verify("rep.tar").holds
    with pytest.raises(UsageError, match=r"needs a search or an ablation, got one replicate. Name"):
        ablate.confirm("runs/rep/r0", seeds=2, executor="inline", progress=False)


@pytest.mark.slow
def test_it_is_stopped_and_goes_on(done: StudyRecord, write_replicated: Write, work: Path) -> None:
    ended: list[object] = []

    def stop(row: object) -> None:
        ended.append(row)
        if len(ended) == 3:
            raise ablate.StopStudy("three are enough")

    file = write_replicated(work, "stopped")
    half = run_on(file, on_trial_end=stop)
    assert (half.replicates_ended, half.is_over, half.trials) == (0, False, 8)
    info = ablate.read_ablation("runs/stopped")
    assert "0 of 2 replicates have ended: intervals need two" in info.marks
    with pytest.raises(UsageError) as error:
        ablate.confirm("runs/stopped", seeds=2, executor="inline", progress=False)
    assert str(error.value) == (
        "study stopped: all 2 replicates must have ended before they are confirmed, got 0. Finish "
        "them first: ablate resume."
    )
    ablate.resume("runs/stopped", executor="inline", progress=False)
    effects = [ablate.read_ablation(f"runs/{name}").effects for name in ("rep", "stopped")]
    assert effects[0] == effects[1]


@pytest.mark.slow
def test_baselines_from_files(done: StudyRecord, write_replicated: Write, work: Path) -> None:
    for number in range(2):
        trial = ("runs/rep", "--trial", str(4 * number), "-o", f"w{number}.safetensors")
        assert run_here("export", *trial).returncode == 0
    start = {"checkpoint": "w{replicate}.safetensors", "saw_validation": False}
    file = write_replicated(work, "files", {"baseline": start}, seeds=1)
    assert run_here("check", file).returncode == 0
    record = run_on(file)
    assert record.replicates_ended == 2
    starts = [ablate.read(f"runs/files/r{number}").study.baseline for number in range(2)]
    assert [one.checkpoint for one in starts] == ["w0.safetensors", "w1.safetensors"]
    file = write_replicated(work, "three", {"baseline": start}, seeds=1, replicates=3)
    with pytest.raises(StudyFileError, match=r"w2\.safetensors"):
        ablate.check(file)
    shutil.copy("w0.safetensors", "w2.safetensors")
    with pytest.raises(StudyFileError) as error:
        run_on(file)
    assert str(error.value) == (
        f"{file}: baseline.checkpoint: must be another baseline for each replicate, got "
        "w2.safetensors, which is w0.safetensors. Name others, or lower replicates."
    )


# -- Looks between replicates ----------------------------------------------------------------------

BROKEN = {"loss.terms": "clean", "finetune.learning_rate": 1.0, "finetune.weight_decay": 1.0}
"""An arm that is near chance, so that the first look decides about it."""
LOOKED: dict[str, Any] = {
    "arms": {
        "plain": {"loss.terms": "clean"},
        "broken": BROKEN,
        "DA": {"loss.terms": "clean+da"},
    },
    "replicates": 4,
    "seeds": 1,
    "primary": [
        {"compare": "plain", "to": "broken", "metric": "val_clean_accuracy"},
        {"compare": "DA", "to": "plain", "metric": "val_clean_accuracy"},
    ],
    "stop": {"looks": [3, 4], "spending": "quadratic"},
}
LONG = {"baseline": {"epochs": 6, "batch_size": 24}}


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({"replicates": 5}, "ablation: the last look of stop is at all replicates, got 4 of 5"),
        ({"replicates": None}, "stop needs replicates, got none. Write replicates: 4."),
        ({"primary": []}, "ablation: stop decides primary contrasts, got none. Declare some."),
        (
            {"stop": {"looks": [4], "weights": [1]}},
            "stop.weights has a number for each of 2 primary contrasts, got 1. Write",
        ),
        (
            {"stop": {"looks": [4], "transitions": [[0, 1], [1]]}},
            "stop.transitions has 2 lines of 2 numbers, one a primary contrast, got ",
        ),
        (
            {"noninferior": {"metric": "val_clean_accuracy", "margin": 0.01}},
            "looks decide primary contrasts alone, got stop with noninferior. Remove it, or",
        ),
        ({"tune": {"trials": 2}}, "got stop and tune without stop.confirm. Add stop.confirm: {}."),
        (
            {"stop": {"looks": [4], "confirm": {"suite": ["contrast"], "severities": [1]}}}
            | {"primary": [{"compare": "DA", "metric": "val_accuracy.gaussian_noise"}]},
            "ablation.stop.confirm: its metric must be scored on the test images, got "
            "val_accuracy.gaussian_noise with suite ['contrast'] at severities [1]. Give another",
        ),
        (
            {"stop": {"looks": [4], "confirm": {}}, "tune": {"trials": 2}}
            | {"arms": {"DA": {"loss.terms": "clean+da"}, "ST": {"loss.terms": "clean+st"}}}
            | {"primary": [{"compare": "ST", "metric": "val_robust_accuracy_untrained"}]},
            "ablation.primary[0]: needs the same types to be trained on in all replicates, got "
            "augment.types in the space. Take it out, or claim another metric.",
        ),
        (
            {"stop": {"looks": [4], "confirm": {"suite": "cifar10"}}},
            "ablation.stop.confirm.suite: unknown suite, got 'cifar10'. Did you mean cifar10c?",
        ),
    ],
)
def test_looks_that_cannot_be_taken_are_refused(
    write_replicated: Write, work: Path, keys: dict[str, Any], rule: str
) -> None:
    drawn = {"augment.types": {"subset": ["contrast", "gaussian_noise"]}}
    space = {"space": {"finetune.learning_rate": {"float": [0.01, 0.1]}} | drawn}
    of_file = space if "tune" in keys else {}
    with pytest.raises(StudyFileError) as error:
        ablate.check(write_replicated(work, of_file=of_file, **(LOOKED | keys)))
    assert rule in str(error.value)


@pytest.mark.long
def test_what_a_look_decides_stops_and_stays(write_replicated: Write, work: Path) -> None:
    record = run_on(write_replicated(work, "looks", LONG, **LOOKED))
    assert record.is_over
    assert [[row.cell for row in record.rows if row.replicate == at] for at in (2, 3)] == [
        ["plain", "broken", "DA"],
        ["plain", "DA"],
    ]
    assert (record.trials, record.replicates_ended, record.looks) == (11, 4, 0)
    first, last = map(Look.from_json, record.planned_looks)
    assert first.text == "look 1, at 3 replicates: plain - broken better; DA - plain open"
    assert last.decisions[0] == first.decisions[0]
    assert (first.cells, last.cells) == (("DA", "plain"), ())
    # On replicates and images, as a look counts them: by hand on the bits in test_planned_looks.py.
    means = ablate.load_trials("runs/looks").groupby(["cell", "replicate"])["val_clean_accuracy"]
    values = means.mean().unstack()
    difference = values.loc["plain"] - values.loc["broken"]
    assert first.decisions[0].mean == pytest.approx(difference[:3].mean())
    # The first contrast begins with half of the level, of which (3 / 4)^2 is spent until then.
    assert first.decisions[0].nominal == pytest.approx(0.025 * 9 / 16)
    assert first.decisions[1].level == pytest.approx(0.05)  # it got the other half
    info = ablate.read_ablation("runs/looks")
    not_shown, decided = info.primary
    assert (decided.verdict, decided.estimate.n, decided.missing) == ("better", 3, ())
    assert decided.p_adjusted == pytest.approx(0.05 * decided.p / first.decisions[0].nominal)
    assert (not_shown.verdict, not_shown.estimate.n) == ("not shown", 4)
    assert last.text in info.marks
    assert info.failures == ()
    text = run_here("table", "runs/looks", "--effects").stdout
    assert "over its look's level; 2 primary contrasts planned" in text
    made = ablate.archive("runs/looks", "looks.tar")
    assert len(made.studies) == 5
    assert ablate.verify("looks.tar").holds
    assert ablate.read("looks.tar").planned_looks == record.planned_looks
    # A driver that died before the look was stored takes the same.
    with closing(open_ledger(locate("runs/looks"))) as ledger:
        ledger.set_head(replace(ledger.head, planned_looks=record.planned_looks[:1]))
    assert not ablate.read("runs/looks").is_over
    again = ablate.resume("runs/looks", executor="inline", progress=False)
    assert again.planned_looks == record.planned_looks
    assert again.drives == record.drives
    # Seeds outside the plan are named, and decide nothing.
    more = ablate.resume("runs/looks", seeds=2, executor="inline", progress=False)
    assert (len(more.rows), more.looks, more.planned_looks) == (22, 1, record.planned_looks)
    info = ablate.read_ablation("runs/looks")
    assert "seeds outside the plan of looks, which decided before" in info.marks
    assert info.primary[1].estimate == decided.estimate
    with pytest.raises(UsageError) as error:
        ablate.resume("runs/looks/r0", seeds=3, executor="inline", progress=False)
    assert str(error.value) == (
        "study looks~r0: its seeds are those of looks, whose looks are planned, got 3 seeds. Add "
        "them there, once a look has ended it."
    )
    assert [open_study("runs/looks").look(number) for number in (0, 1)] == [first, last]
    with closing(open_ledger(locate("runs/looks"))) as ledger:  # a decision that the rows deny
        looks = json.loads(json.dumps(ledger.head.planned_looks))
        looks[1]["decisions"][1] |= {"verdict": "better", "mean": 0.1}
        ledger.set_head(replace(ledger.head, planned_looks=tuple(looks)))
    ablate.archive("runs/looks", "denied.tar")
    (wrong, *_) = [check for check in ablate.verify("denied.tar").checks if not check.holds]
    assert wrong.what == "look 2"
    assert "DA - plain, verdict: archived better, recomputed" in wrong.text


@pytest.mark.slow
def test_a_replicate_whose_runs_all_fail_is_missing_at_its_look(
    write_replicated: Write, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = RobustnessTrial.end

    def end_but_in_r3(trial: RobustnessTrial) -> tuple[Scores, Mapping[str, Any]]:
        if "r3" in trial._weights.parts:
            raise NotFiniteError("its output is NaN")
        return end(trial)

    monkeypatch.setattr(RobustnessTrial, "end", end_but_in_r3)
    stop = {"looks": [3, 4, 5], "spending": "quadratic"}
    keys = {"seeds": 1, "replicates": 5, "stop": stop, "primary": [{"compare": "DA"}]}
    record = run_on(write_replicated(work, "gap", LONG, **keys))
    assert record.is_over
    assert [look["replicates"] for look in record.planned_looks] == [3, 4, 5]
    assert [look["decisions"][0]["n"] for look in record.planned_looks] == [3, 3, 4]
    info = ablate.read_ablation("runs/gap")
    assert info.primary[0].estimate.n == 4
    assert "1 of 5 replicates left out: no run of them is complete" in info.marks


@pytest.mark.slow
def test_before_the_first_look_a_claim_is_open(write_replicated: Write, work: Path) -> None:
    ended: list[object] = []

    def stop(row: object) -> None:
        ended.append(row)
        if len(ended) == 5:  # in the second replicate
            raise ablate.StopStudy("enough")

    keys = LOOKED | {"primary": [{"compare": "DA", "metric": ROBUST}]}
    run_on(write_replicated(work, "early", **keys), on_trial_end=stop)
    info = ablate.read_ablation("runs/early")
    (claim,) = info.primary
    assert (claim.verdict, claim.estimate.n, info.looks) == ("open", 0, 0)
    assert all(map(math.isnan, (claim.estimate.low, claim.p, claim.p_adjusted or math.nan)))
    assert "no look yet: the first is at 3 replicates" in info.marks
    text = run_here("table", "runs/early", "--effects").stdout
    assert "open: a planned look decides" in text
    (drawn,) = ablate.plot("effects", "runs/early").layout.annotations
    assert drawn.text == "open: a planned look decides; p -"


@pytest.mark.long
def test_looks_at_test_images_confirm_the_replicates_of_each(
    write_replicated: Write, work: Path
) -> None:
    space = {"space": {"finetune.weight_decay": {"float": [0.0, 0.001]}}}
    keys = LOOKED | {
        "tune": {"trials": 2},
        "stop": LOOKED["stop"] | {"confirm": {"seeds": 2, "suite": ["contrast"]}},
    }
    file = write_replicated(work, "tested", LONG | space, **keys)
    ended: list[object] = []

    def stop(row: object) -> None:
        ended.append(row)
        if len(ended) == 3 * (6 + 3) + 8:  # in the confirmation of the second replicate
            raise ablate.StopStudy("enough")

    half = run_on(file, on_trial_end=stop)
    assert (half.replicates_ended, half.planned_looks, half.is_over) == (3, (), False)
    with pytest.raises(UsageError, match=r"its looks confirm it \(ablation\.stop\.confirm\), got"):
        ablate.confirm("runs/tested", seeds=2, executor="inline", progress=False)
    with pytest.raises(UsageError, match=r"seeds are added when a look has ended the study, got 2"):
        ablate.resume("runs/tested", seeds=2, executor="inline", progress=False)
    record = run_on(file)
    confirmed = ablate.read("runs/tested/confirm")
    assert record.is_over
    assert confirmed.is_over
    assert record.planned_looks == confirmed.planned_looks
    cells = [{row.cell for row in confirmed.rows if row.replicate == number} for number in range(4)]
    assert cells == [{*LOOKED["arms"]}] * 3 + [{"DA", "plain"}]
    assert confirmed.study.ablation_section.seed_count == 2
    info = ablate.read_ablation("runs/tested")
    assert {effect.verdict for effect in info.effects} == {"exploratory"}
    assert "exploratory: looks decide on the test images, in tested~confirm" in info.marks
    test = ablate.read_confirmation("runs/tested/confirm").test
    assert [claim.metric for claim in test.primary] == ["test_clean_accuracy"] * 2
    assert test.primary[1].verdict == "better"
    # What is shown of the study is what its looks decided.
    said = run_here("launch", str(file)).stdout
    assert "tested~confirm: 22 of 22 runs ended, 4 baselines, test accuracy in %" in said
    tables = [
        run_here("table", name, "--effects").stdout
        for name in ("runs/tested", "runs/tested/confirm")
    ]
    assert tables[0] == tables[1]
    assert ablate.plot("effects", "runs/tested") == ablate.plot("effects", "runs/tested/confirm")
    uses = [used.what for used in record.test_opened]
    assert uses[0] == "look at 3 replicates, 2 seeds"
    assert uses[-1] == "look at 4 replicates, 2 seeds"
