"""A study with distortions and corruptions of the user's own, from its file to its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import ablate
from ablate.cli.main import main
from ablate.errors import FingerprintError, ParameterError, StudyFileError
from ablate.lifecycle.dry_run import dry_run
from ablate.lifecycle.open_study import open_study
from ablate.lifecycle.place import place_of_file
from ablate.report.figures.examples import FIGURE
from ablate.report.figures.figure import FigureOptions

LENS = """
from lens_tools import DEPTH


def shade(images, strength, generator):
    kept = 1 - DEPTH * strength[:, None, None, None]
    return (images * kept).round().byte()


def rows(images, severity, generator):
    changed = images.clone()
    changed[:, :, ::6 - severity] = 0
    return changed


def wild(images, strength, generator):
    return images.flip(0)
"""
TYPES = ["own_lens:shade", "own_lens:rows"]


@pytest.fixture
def file(write_study: Callable[..., Path], work: Path) -> Path:
    (work / "own_lens.py").write_text(LENS)
    (work / "lens_tools.py").write_text("DEPTH = 0.8\n")
    return write_study(
        "lens",
        finetune={"budget": {"epochs": 1}, "batch_size": 24},
        loss={"terms": "clean+da"},
        augment={"families": ["noise", TYPES[0]], "mix": {"noise": 1, TYPES[0]: 3}},
        robustness={"suite": ["fog", *TYPES], "severities": [2]},
        objectives=[{"metric": "val_clean_accuracy"}, {"metric": "val_accuracy.own_lens"}],
        space={"finetune.learning_rate": {"float": [0.001, 0.1], "log": True}},
        search={"trials": 2, "sampler": "random"},
    )


def changed(file: Path, name: str = "lens", **keys: Any) -> Path:
    other = file.with_name(f"{name}.yaml")
    study = yaml.safe_load(file.read_text()) | {"name": name} | keys
    other.write_text(yaml.safe_dump(study, sort_keys=False))
    return other


def go_on(file: Path, **options: Any) -> Any:
    return ablate.resume(file, executor="inline", progress=False, add=1, **options)


def test_from_file_to_report(file: Path, work: Path) -> None:
    record = ablate.launch(file, executor="inline", progress=False)
    for row in record.rows:
        assert row.scores is not None, row.failure
        assert row.scores.families == {"weather": ["fog"], "own_lens": [TYPES[1], TYPES[0]]}
        assert set(row.scores.seen_types) == {"gaussian_noise", "impulse_noise", TYPES[0]}
        assert row.scores.exposure == {
            "fog": "unseen",
            TYPES[0]: "seen_type",
            TYPES[1]: "seen_family",
        }
        metrics = row.scores.metrics()
        assert row.values == (metrics["val_clean_accuracy"], metrics["val_accuracy.own_lens"])
    info = FIGURE.read([open_study(file).source], FigureOptions())
    assert [copy.kind for copy in info.copies[:4]] == ["clean", TYPES[1], TYPES[0], "fog"]

    # Code that it uses is edited: refused, and by each way to take its rows along.
    (work / "lens_tools.py").write_text("DEPTH = 0.5\n")
    names = [f"the code of {name} has changed" for name in TYPES]
    space = {"finetune.learning_rate": {"float": [0.001, 0.2], "log": True}}
    for options in ({}, {"edit_space": True}):
        if options:
            changed(file, space=space)
        with pytest.raises(FingerprintError) as caught:
            go_on(file, **options)
        assert str(caught.value) == (
            f"study lens: the environment must be unchanged since it started, got "
            f"{'; '.join(names)}. New scores may differ from earlier ones: restore the "
            "environment, or add `accept_environment=True`."
        )
    search = {"trials": 2, "sampler": "tpe", "learn_from": ["runs/lens"]}
    with pytest.raises(FingerprintError) as caught:
        ablate.launch(
            changed(file, "next", search=search, space=space), executor="inline", progress=False
        )
    assert str(caught.value) == (
        "study next: the studies in search.learn_from must have its data and baseline, got other "
        f"code of {TYPES[0]}, code of {TYPES[1]}. Restore them, or name others."
    )
    assert len(go_on(file, edit_space=True, accept_environment=True).rows) == 3

    # As it was.
    (work / "lens_tools.py").write_text("DEPTH = 0.8\n")
    assert len(go_on(file).rows) == 4


def test_check_names_the_rule_and_the_place(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["check", str(file)])
    assert end.value.code == 0, capsys.readouterr().err
    other = changed(
        file,
        "wrong",
        augment={"types": [TYPES[0], TYPES[1]]},
        robustness={"suite": ["fog", "own_lens:wild", "own_lens:nothing"]},
        objectives=[{"metric": "val_clean_accuracy"}],
    )
    with pytest.raises(ParameterError, match=r"own_lens:rows must take a strength"):
        ablate.launch(other, executor="inline", progress=False)  # on the study's own images
    with pytest.raises(ParameterError, match=r"own_lens:rows must take a strength"):
        dry_run(other, executor="inline")
    with pytest.raises(StudyFileError) as caught:
        place_of_file(other, must_search=True)
    said = [line.split("yaml:")[1].partition(" ")[2] for line in str(caught.value).split("\n")]
    assert sorted(said) == [
        "augment.types[1]: own_lens:rows must take a strength to be trained on, got a function of "
        "a severity. Name it in robustness.suite alone, or give it a strength for each image.",
        "robustness.suite[1]: own_lens:wild must leave images at strength 0 within 1 grey level, "
        "got a change of 240. Scale what it does by the strength of each image.",
        "robustness.suite[2]: own_lens must have nothing, got a module without it "
        f"({file.parent / 'own_lens.py'}). Known: DEPTH, rows, shade, wild.",
    ]
    with pytest.raises(SystemExit) as end:
        main(["check", "--no-import", str(other)])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "not checked, because not imported: augment.types own_lens:shade" in said
    with pytest.raises(StudyFileError, match=r"must be scored by robustness\.suite custom"):
        place_of_file(changed(other, objectives=[{"metric": "val_accuracy.own_lense"}]))
    with pytest.raises(StudyFileError, match=r"unknown metric, got 'val_accuracy\.blurr'"):
        place_of_file(changed(other, objectives=[{"metric": "val_accuracy.blurr"}]))


def test_functions_given_from_python(write_study: Callable[..., Path]) -> None:
    def dim(images: Any, strength: Any, generator: Any) -> Any:
        return (images * (1 - 0.5 * strength[:, None, None, None])).round().byte()

    data = yaml.safe_load(write_study("given").read_text())
    data |= {
        "finetune": {"budget": {"epochs": 1}, "batch_size": 24},
        "augment": {"types": [dim]},
        "robustness": {"suite": [dim], "severities": [1]},
        "space": {},
        "search": {"trials": 1},
    }
    (row,) = ablate.launch(data, executor="inline", progress=False).rows
    assert row.scores is not None, row.failure
    assert row.scores.exposed_types("seen_type") == tuple(row.scores.accuracies)
