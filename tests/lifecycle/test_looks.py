"""Seeds that are added after results were there are counted, and whatever claims says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ablate
from ablate.cli.main import main
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.open_study import open_study
from ablate.report.answer import study_answer

LOOP = """
import random

def train(context):
    noise = random.Random(f"{context.seed} {context.params['x']}").random()
    context.report(1, {"a": context.params["x"] + 0.01 * noise})
"""
LOOKED = "looks: seeds were added {} when all results were there"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "looked_loop.py").write_text(LOOP)
    file = tmp_path / "arms.yaml"
    file.write_text(
        "version: 1\nname: arms\ntrainable: looked_loop:train\n"
        "finetune: {budget: {epochs: 1}}\nobjectives: [{metric: a}]\n"
        "ablation: {design: one_at_a_time, seeds: 3, reference: {x: 0.25}, factors: {x: [0.75]},\n"
        "  primary: [{compare: 'x: 0.75', metric: a}]}\n"
    )
    return file


def resumed(file: Path, seeds: int) -> StudyRecord:
    return ablate.resume(file, seeds=seeds, executor="inline", progress=False)


@pytest.mark.slow
def test_a_look_is_counted_and_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ablate.launch(file, executor="inline", progress=False)
    before = ablate.read_ablation("runs/arms")
    assert (before.looks, before.primary[0].verdict, before.cautions) == (0, "better", ())
    for command in (["status"], ["table", "--effects"], ["table"]):  # reading is no look
        main([command[0], "runs/arms", *command[1:]], standalone_mode=False)
    assert " looks" not in capsys.readouterr().out
    assert ablate.read("runs/arms").looks == 0
    record = resumed(file, 4)
    assert record.looks == 1
    assert "seeds 3 -> 4, when all results of 3 were there" in record.notes
    assert resumed(file, 4).looks == 1  # nothing was added
    # Seeds that the file adds count as well.
    file.write_text(file.read_text().replace("seeds: 3", "seeds: 5"))
    assert ablate.resume(file, executor="inline", progress=False).looks == 2
    capsys.readouterr()
    info = ablate.read_ablation("runs/arms")
    said = f"3 {LOOKED.format('2 times')}"
    assert info.cautions[0].startswith(said)
    assert info.cautions[0] in info.marks
    main(["table", "runs/arms", "--effects"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "better, at 3 looks" in shown
    assert said in shown
    main(["table", "runs/arms", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)[0]["looks"] == 2
    source = open_study("runs/arms").source
    assert study_answer(source).sentences[-1].startswith(said)
    assert "better, at 3 looks" in " ".join(study_answer(source).sentences)


@pytest.mark.slow
def test_seeds_that_are_added_before_all_runs_have_ended_are_no_look(file: Path) -> None:
    ended: list[object] = []

    def stop(trial: object) -> None:
        ended.append(trial)
        if len(ended) == 4:
            raise ablate.StopStudy("four are enough")

    ablate.launch(file, executor="inline", progress=False, on_trial_end=stop)
    assert 0 < len(ablate.read(file).complete) < 6
    record = resumed(file, 4)
    assert (len(record.complete), record.looks) == (8, 0)
