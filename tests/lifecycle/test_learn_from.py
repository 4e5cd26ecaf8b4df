"""`search.learn_from`: trials of former searches start the model, and count nowhere."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import run_here
from own_study import write_own_study

import ablate
from ablate.analysis.pareto import pareto_info
from ablate.cli.main import main
from ablate.errors import FingerprintError, StudyNotFoundError, UsageError
from ablate.ledger.driving import Driving
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import learned_text
from ablate.lifecycle.open_study import open_study
from ablate.report.answer import study_answer

LOOP = """
def train(context):
    x = context.params.get("x", 0.5)
    context.report(1, {"a": x, "b": 1 - x * x, "c": 2.0})
"""
SPACE = {"x": {"float": [0.0, 1.0]}}
OBJECTIVES = [{"metric": "a"}, {"metric": "b"}]


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.space.sampling.CANDIDATES", 60)


@pytest.fixture
def former(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A search of six trials that has been run."""
    monkeypatch.syspath_prepend(str(work))
    file = study(work, "former", sampler="random", trials=6, seed=5)
    ablate.launch(file, executor="inline", progress=False)
    return file


def study(folder: Path, name: str, space: Any = None, **search: Any) -> Path:
    """All of one training loop: another function would be another measure."""
    space, objectives = space or SPACE, search.pop("objectives", OBJECTIVES)
    keys = {"finetune": search.pop("finetune")} if "finetune" in search else {}
    keys |= {"space": space, "objectives": objectives}
    file = write_own_study(folder, name, LOOP, search=search, **keys)
    (folder / "loop_former.py").write_text(LOOP)
    file.write_text(file.read_text().replace(f"loop_{name}:", "loop_former:"))
    return file


def launched(file: Path, **options: Any) -> Any:
    return ablate.launch(file, executor="inline", progress=False, **options)


def stop_after_two(row: Any) -> None:
    if row.number == 1:
        raise ablate.StopStudy


def points(record: Any) -> list[float]:
    return [row.params["x"] for row in record.rows]


def test_its_trials_start_the_model_and_count_nowhere(former: Path, work: Path) -> None:
    learned = launched(study(work, "new", trials=4, seed=1, learn_from=["runs/former"]))
    alone = launched(study(work, "alone", trials=4, seed=1))
    assert (learned.trials, len(learned.rows), learned.is_over) == (4, 4, True)
    assert points(learned) != points(alone)  # no random start
    info = pareto_info(learned)
    assert {point.number for point in info.points} == {0, 1, 2, 3}
    line = "the sampler knows 6 of 6 complete trials of former, which are not counted"
    assert [*map(learned_text, learned.learned)] == [f"{line} (search.learn_from)"]
    assert any(line in mark for mark in info.marks)
    answer = study_answer(open_study("runs/new").source)
    assert any(line[1:] in text for text in (*answer.sentences, *answer.notes))
    assert not set(points(learned)) & set(points(ablate.read("runs/former")))


def test_points_outside_of_this_space_are_left_out(former: Path, work: Path) -> None:
    narrow = {"x": {"float": [0.0, 0.5]}}
    record = launched(study(work, "new", narrow, trials=2, learn_from=["runs/former"]))
    there = [x for x in points(ablate.read("runs/former")) if x <= 0.5]
    (known,) = record.learned
    assert [row["params"]["x"] for row in known["rows"]] == there
    assert 0 < len(there) < 6
    for row in known["rows"]:
        assert row["metrics"] == {"a": row["params"]["x"], "b": 1 - row["params"]["x"] ** 2}


@pytest.mark.parametrize("sampler", ["auto", "tpe"])
def test_it_goes_on_though_the_other_study_has_grown_or_gone(
    former: Path, work: Path, sampler: str
) -> None:
    drawn = []
    for name in ("whole", "stopped"):
        file = study(work, name, trials=5, sampler=sampler, learn_from=["runs/former"])
        if name == "stopped":
            launched(file, on_trial_end=stop_after_two)
            ablate.resume(former, add=2, executor="inline", progress=False)
            shutil.rmtree("runs/former")
        record = launched(file, resume=True)
        assert len(record.rows) == 5
        drawn.append(points(record))
    assert drawn[0] == drawn[1]


def test_an_archive_and_several_studies(former: Path, work: Path) -> None:
    ablate.archive("runs/former", "former.tar")
    launched(study(work, "other", trials=3, sampler="random", seed=9))
    from_both = ["former.tar", "other.yaml"]
    file = study(work, "new", trials=2, sampler="gp", learn_from=from_both)
    checked = run_here("check", file, cwd=work)
    assert checked.returncode == 0, checked.stderr
    assert "new.yaml: the sampler knows 6 of 6 complete trials of former" in checked.stdout
    record = launched(file)
    assert [len(one["rows"]) for one in record.learned] == [6, 3]
    ablate.archive("runs/new", "new.tar")
    assert ablate.verify("new.tar").holds
    assert ablate.read("new.tar").learned == ablate.read("runs/new").learned


def test_a_study_that_was_edited_still_knows_what_lies_in_its_space(
    former: Path, work: Path
) -> None:
    file = study(work, "new", trials=2, learn_from=["runs/former"])
    launched(file)
    text = file.read_text().replace("1.0", "0.5")
    file.write_text(text)
    record = ablate.resume(file, executor="inline", progress=False, edit_space=True)
    there = [x for x in points(ablate.read("runs/former")) if x <= 0.5]
    assert [row["params"]["x"] for row in record.learned[0]["rows"]] == there
    ledger = Ledger.open(record.storage, "new")
    trials = Driving(ledger)._mirror._study.trials
    assert [trial.params["x"] for trial in trials[: len(there)]] == there
    assert trials[0].distributions["x"].high == 0.5


@pytest.mark.parametrize(
    ("keys", "got"),
    [
        ({"objectives": [{"metric": "a"}, {"metric": "d"}]}, "no d"),
        ({"finetune": {"budget": {"epochs": 2}}}, "finetune.budget.epochs: 1 -> 2"),
        ({"space": {"y": {"float": [0.0, 1.0]}}}, "none there"),
        ({"sampler": "random"}, "search.sampler random here (auto, gp, tpe and your own learn)"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    former: Path, work: Path, keys: Any, got: str
) -> None:
    file = study(work, "new", trials=2, learn_from=["runs/former"], **keys)
    message = (
        "search.learn_from: former must be a search with the measures of this study, and trials "
        f"in its space, got {got}. Name another one, or leave it out."
    )
    with pytest.raises(UsageError) as caught:
        launched(file)
    assert str(caught.value) == message
    checked = run_here("check", file, cwd=work)
    assert (checked.returncode, checked.stdout) == (2, "")
    assert message in checked.stderr
    assert not Path("runs/new/study.db").exists()


def test_one_study_by_two_names_is_refused(former: Path, work: Path) -> None:
    ablate.archive("runs/former", "former.tar")
    file = study(work, "new", trials=2, learn_from=["runs/former", "former.tar"])
    with pytest.raises(UsageError, match=r"got former again, as former\.tar\. Remove it"):
        launched(file)


def test_a_study_that_is_not_there_is_named(former: Path, work: Path) -> None:
    with pytest.raises(StudyNotFoundError, match=r"search\.learn_from: "):
        launched(study(work, "new", trials=2, learn_from=["runs/nowhere"]))


@pytest.mark.slow
def test_other_scores_data_or_baselines_are_refused(write_study: Any, capsys: Any) -> None:
    space = {"augment.strength": {"float": [0.2, 0.9]}}
    search = {"trials": 2, "start": "random"}
    first = write_study("first", space=space, search=search)
    launched(first)
    search["learn_from"] = ["runs/first"]
    other = write_study("other", space=space, search=search, robustness={"severities": [1]})
    with pytest.raises(UsageError, match=r"got robustness\.severities: .* -> \[1\]\. Name"):
        launched(other)
    # The same settings: a trial of other epochs is none of this function.
    budget = {**yaml.safe_load(first.read_text())["finetune"], "budget": {"epochs": 3}}
    longer = write_study("longer", space=space, search=search, finetune=budget)
    with pytest.raises(UsageError, match=r"got finetune\.budget\.epochs: \d -> 3\. Name"):
        launched(longer)
    same = write_study("same", space=space, search=search)
    ledger = Ledger.open(ablate.read("runs/first").storage, "first")
    weights = ledger.head.baseline_sha256
    ledger.set_head(replace(ledger.head, baseline_sha256="0" * 64))
    with pytest.raises(FingerprintError, match=r"got other weights of the baseline\. Restore"):
        launched(same)
    ledger.set_head(replace(ledger.head, baseline_sha256=weights))
    main(["launch", str(same), "--dry-run", "--executor", "inline"], standalone_mode=False)
    assert "the sampler knows 2 of 2 complete trials of first" in capsys.readouterr().out
    record = launched(same)
    assert len(record.rows) == 2
    (known,) = record.learned
    clean = [row["metrics"]["val_clean_accuracy"] for row in known["rows"]]
    assert clean == [row.values[0] for row in ablate.read("runs/first").rows]
