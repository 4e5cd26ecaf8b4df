"""`resume --edit-space`: the file's space is taken, rows that lie in it count; outputs say so."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from own_study import write_own_study

import ablate
from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import status_info
from ablate.cli.main import main
from ablate.errors import FingerprintError, UsageError
from ablate.lifecycle.open_study import open_study
from ablate.report.answer import study_answer
from ablate.report.terminal.status import status_rows

POINTS = [{"x": value} for value in (0.1, 0.3, 0.5, 0.7, 0.9)]
LOOP = """
def train(context):
    x = context.params["x"]
    context.report(1, {"a": x, "b": 1 - x * x})
"""
EDIT = "space.x: {float: [0, 1]} -> {float: [0.2, 0.8]}"


@pytest.fixture
def file(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of five rows that has been run."""
    monkeypatch.syspath_prepend(str(work))
    search = {"trials": 5, "sampler": "random", "enqueue": POINTS}
    file = write_own_study(work, "own", LOOP, search=search)
    ablate.launch(file, executor="inline", progress=False)
    return file


def changed(file: Path, **keys: Any) -> Path:
    study = yaml.safe_load(file.read_text()) | keys
    study["search"].pop("enqueue", None)  # its points need not lie in the new space
    file.write_text(yaml.safe_dump(study, sort_keys=False))
    return file


def edited(file: Path, low: float = 0.2, high: float = 0.8, **keys: Any) -> Any:
    changed(file, space={"x": {"float": [low, high]}}, **keys)
    return ablate.resume(file, executor="inline", progress=False, edit_space=True)


def test_an_edit_is_refused_without_the_option_and_named(file: Path) -> None:
    changed(file, space={"x": {"float": [0.2, 0.8]}})
    with pytest.raises(FingerprintError) as caught:
        ablate.resume(file, executor="inline", progress=False)
    assert str(caught.value) == (
        f"study own: a study that has started must not change, got {EDIT}. Change it back, give "
        "the file another `name:`, or resume the study as it was started: ablate resume runs/own; "
        "or add `edit_space=True`, and its trials that lie in the new space count"
    )
    with pytest.raises(FingerprintError, match="edit_space"):
        ablate.launch(file, resume=True, executor="inline", progress=False)


def test_what_is_no_edit_of_the_space_is_refused_as_ever(file: Path) -> None:
    changed(file, space={"x": {"float": [0.2, 0.8]}}, finetune={"budget": {"epochs": 2}})
    for options in ({}, {"edit_space": True}):
        with pytest.raises(FingerprintError, match=r"finetune\.budget\.epochs: 1 -> 2") as caught:
            ablate.resume(file, executor="inline", progress=False, **options)
        assert "edit_space" not in str(caught.value)
    assert open_study("runs/own").record.edits == ()


@pytest.mark.parametrize("reference", ["runs/own", "cells.yaml"])
def test_an_edit_needs_the_file_of_a_search(file: Path, reference: str) -> None:
    got = "no file"
    if reference != "runs/own":
        design = {"design": "arms", "seeds": 1, "arms": {"a": {"x": 0.1}, "b": {"x": 0.2}}}
        study = yaml.safe_load(file.read_text()) | {"name": "cells", "ablation": design}
        del study["search"], study["space"]
        Path(reference).write_text(yaml.safe_dump(study))
        ablate.launch(reference, executor="inline", progress=False)
        got = "no search"
    with pytest.raises(
        UsageError, match=rf"`edit_space=True` takes the space of a .*, got {got}\. Name"
    ):
        ablate.resume(reference, executor="inline", progress=False, edit_space=True)


def test_all_outputs_say_which_trials_count(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = ablate.read("runs/own")
    record = edited(file)
    line = f"space edited before trial 5 ({EDIT}): 2 of 5 trials until then outside of it, not "
    line += "counted"
    assert [row.state for row in record.rows[:5]] == ["OUTSIDE", *["COMPLETE"] * 3, "OUTSIDE"]
    assert (len(record.rows), record.trials, record.is_over) == (7, 5, True)
    info = pareto_info(record)
    assert {point.number for point in info.points} == {1, 2, 3, 5, 6}
    assert [point.number for point in info.outside] == [0, 4]
    assert (info.complete, info.trials) == (5, 5)
    opened = open_study("runs/own")
    answer = study_answer(opened.source)
    assert any(line[1:] in text for text in (*answer.sentences, *answer.notes))
    (status,) = status_rows(status_info(opened.record, 0.0))
    assert line in status["marks"]
    assert status["counts"]["OUTSIDE"] == 2
    assert {best["network"] for best in status["best"]} <= {f"trial {at}" for at in (1, 2, 3, 5, 6)}
    (kept,) = status["edits"]
    assert (kept["rows"], kept["outside"], kept["changes"]) == (5, 2, [EDIT])
    assert kept["fingerprint"] == dict(first.sections)
    assert record.sections["space"] != first.sections["space"]
    assert {**record.sections, "space": ""} == {**first.sections, "space": ""}
    figure = ablate.plot_pareto("runs/own")
    grey = [trace for trace in figure.data if trace.name == "Outside the space (2)"]
    assert [list(trace.customdata) for trace in grey] == [[0, 4]]
    main(["trials", "runs/own", "--state", "outside", "--json"], standalone_mode=False)
    assert [row["number"] for row in json.loads(capsys.readouterr().out)] == [0, 4]
    main(["table", "runs/own", "--notes"], standalone_mode=False)
    assert "2 of 5 trials until then outside" in " ".join(capsys.readouterr().out.split())
    assert list(ablate.load_trials("runs/own")["state"])[:2] == ["OUTSIDE", "COMPLETE"]


def test_a_finished_study_in_which_all_lie_has_nothing_to_run(file: Path) -> None:
    record = edited(file, -1.0, 2.0)
    assert (len(record.rows), record.count("COMPLETE"), record.edits[0]["outside"]) == (5, 5, 0)
    more = ablate.resume(file, add=2, executor="inline", progress=False)
    assert (len(more.rows), more.trials) == (7, 7)
    again = edited(file, 0.2, 0.8)  # wider, then narrower
    assert [one["rows"] for one in again.edits] == [5, 7]
    assert again.trials == 7 == again.count("COMPLETE")


def test_the_same_space_is_no_edit(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--executor", "inline", "--edit-space"]
    main(["resume", str(file), *options], standalone_mode=False)
    assert "nothing to edit" in capsys.readouterr().out
    assert ablate.read("runs/own").edits == ()


@pytest.mark.parametrize("damage", ["", "outside", "range"])
def test_verify_recomputes_which_trials_count(file: Path, damage: str) -> None:
    edited(file)
    ablate.archive("runs/own", "own.tar")
    if damage:
        _damage(Path("own.tar"), damage)
    found = ablate.verify("own.tar")
    wrong = " ".join(text for check in found.checks for text in check.differences)
    assert found.holds == (not damage)
    assert ("trials outside: archived 2, recomputed 1" in wrong) == (damage == "outside")
    assert ("trial 0: counts, and lies outside" in wrong) == (damage == "outside")
    assert ("space until trial 5" in wrong) == (damage == "range")


def _damage(archive: Path, damage: str) -> None:
    """A row that is made to count, or a former space with another range; with the digests."""
    with tarfile.open(archive) as tar:
        files = {one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]
    if damage == "outside":
        (name,) = (name for name in files if name.endswith("rows.jsonl"))
        rows = files[name].decode()
        files[name] = rows.replace('"outside": true', '"outside": false', 1).encode()
    else:
        (name,) = (name for name in files if name.endswith("study.json"))
        study = json.loads(files[name])
        (edit,) = study["attributes"]["ablate:head"]["edits"]
        edit["space"]["parameters"][0]["high"] = 3.0
        files[name] = json.dumps(study).encode()
    with tarfile.open(archive, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.mark.slow
def test_what_a_finetuning_had_fixed_is_searched_then(
    write_study: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A parameter is added with the value that it had; the trials until then are as they were."""
    space = {"loss.terms": {"choice": ["clean+da", "clean+st"]}}
    search = {"trials": 3, "start": "random", "enqueue": [{"loss.terms": "clean+da"}]}
    file = write_study(space=space, search=search, augment={"strength": 0.5})
    before = ablate.launch(file, executor="inline", progress=False)
    study = yaml.safe_load(file.read_text())
    study["space"]["augment.strength"] = {"float": [0.1, 0.9]}
    del study["augment"]["strength"]
    study["search"]["trials"] = 4
    file.write_text(yaml.safe_dump(study))
    main(
        ["resume", str(file), "--executor", "inline", "--edit-space", "--add", "1"],
        standalone_mode=False,
    )
    out = capsys.readouterr().out
    assert "small: space edited before trial 3 (" in out
    assert "augment.strength: 0.5 -> " in out
    assert "): 0 of 3 trials until then outside of it, not counted" in out
    record = ablate.read("runs/small")
    for row, old in zip(record.rows[:3], before.rows, strict=True):
        assert (row.state, row.values) == (old.state, old.values)
        assert dict(row.params) == {**old.params, "augment.strength": 0.5}
    assert len(record.rows) == 4
    assert "augment.strength" in record.rows[3].params
    ablate.archive("runs/small", "small.tar")
    found = ablate.verify("small.tar", rerun=2, seed=1, values={"dataset.path": _path(file)})
    assert found.holds, [check.text for check in found.checks]


def _path(file: Path) -> str:
    return str(yaml.safe_load(file.read_text())["dataset"]["path"])


def test_trials_that_were_enqueued_beyond_n_are_of_n(file: Path) -> None:
    for x in (0.45, 0.55):
        ablate.enqueue("runs/own", {"x": x})
    ablate.resume("runs/own", executor="inline", progress=False)
    record = edited(file)  # points 0 and 4 of seven lie outside
    assert (record.trials, len(record.rows), record.count("COMPLETE")) == (7, 9, 7)
