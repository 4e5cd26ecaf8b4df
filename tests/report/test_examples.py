"""The figure of example images, made of a study's own data and weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_sources import searches, usual_record
from safetensors.torch import load_file

import ablate
from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import study_basis
from ablate.errors import NothingToDrawError
from ablate.lifecycle.open_study import open_study
from ablate.model.weights.export_metadata import export_tensors, read_metadata
from ablate.report.figures.canvas import COLUMN, WIDE, Sheet
from ablate.report.figures.examples import FIGURE, Copy, ExamplesInfo, draw
from ablate.report.figures.figure import FigureOptions
from ablate.study.callables import imports_limited
from ablate.study.settings import ConstraintSettings
from ablate.trial.task import weights_file


def plain(level: int, size: tuple[int, int] = (32, 32)) -> np.ndarray:
    return np.full((*size, 3), level, dtype=np.uint8)


@pytest.fixture(scope="module")
def info() -> ExamplesInfo:
    """Three images under six distortions; the second class has markup in its name."""
    kinds = ("gaussian_noise", "defocus_blur", "snow", "contrast", "shot_noise", "glass_blur")
    copies = tuple(
        Copy(place, kind, 3 * (kind != "clean"), label, label, "a <b>dog</b>", plain(9 * place))
        for place, label in enumerate(("cat", "a <b>dog</b>", "great_white_shark, man-eater"))
        for kind in ("clean", *kinds)
    )
    shares = {"right_before": 0.604, "right_after": 0.65}
    return ExamplesInfo(
        **vars(study_basis(usual_record(3))),
        **{"trial": 1, "sample": 200, "differ": 40, **shares, "copies": copies},
    )


@pytest.mark.parametrize(
    ("sheet", "rows", "columns"),
    [(WIDE, 3, 7), (COLUMN, 3, 4), (Sheet(434, 320), 1, 4), (Sheet(900, 500), 2, 7)],
)
def test_as_many_images_as_the_sheet_has_room_for(
    info: ExamplesInfo, sheet: Sheet, rows: int, columns: int
) -> None:
    figure = draw(info, sheet)
    assert [image.type for image in figure.data] == ["image"] * rows * columns
    assert f"the first {rows} of 200 validation images" in str(figure.layout.meta["facts"])


def test_right_and_wrong_are_told_by_words_and_colour(info: ExamplesInfo) -> None:
    figure = draw(info, WIDE)
    told = {(note.text, note.font.color) for note in figure.layout.annotations}
    assert {("right", "#0072B2"), ("a &lt;b&gt;dog&lt;/b&gt;", "#D55E00")} <= told
    assert ("right", "#D55E00") not in told
    assert "<b>dog" not in figure.to_json()


# -- Of a study that ran ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, write_study_in: Callable[..., Path]) -> Path:
    """The folder of a search of seconds on digits, with a trial that saw noise."""
    folder = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ABLATE_CACHE", str(folder / "cache"))
        file = write_study_in(
            folder,
            "looked",
            dataset={"name": "digits", "image_size": 8, "validation": {"fraction": 0.2}},
            baseline={"epochs": 2, "batch_size": 32},
            space={"augment.strength": {"float": [0.5, 1.0]}},
            loss={"terms": "clean+da"},
            augment={"families": ["noise"]},
            search={"trials": 1, "sampler": "random"},
            finetune={"budget": {"epochs": 1}, "batch_size": 64},
        )
        ablate.launch(file, executor="inline", accept_baseline=True)
    return folder


@pytest.fixture
def source(made: Path, monkeypatch: pytest.MonkeyPatch) -> StudySource:
    monkeypatch.chdir(made)
    monkeypatch.setenv("ABLATE_CACHE", str(made / "cache"))
    return open_study("runs/looked").source


def reason(source: StudySource, *trials: int) -> str:
    """Why there is no figure, in one line."""
    with pytest.raises(NothingToDrawError) as caught:
        FIGURE.info([source], FigureOptions(trials))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(source: StudySource, section: str, **settings: Any) -> StudySource:
    study = source.record.study
    other = getattr(study, section).model_copy(update=settings)
    study = study.model_copy(update={section: other})
    return replace(source, record=replace(source.record, study=study))


@pytest.mark.slow
def test_examples_are_the_first_that_one_network_alone_gets_right(source: StudySource) -> None:
    info: Any = FIGURE.info([source])
    frame = info.frame()
    kinds = list(dict.fromkeys(frame["kind"]))
    assert kinds[:4] == ["clean", "gaussian_noise", "gaussian_blur", "brightness"]
    assert info.differ > 0, "noise was trained on, and a baseline of two epochs has not seen it"
    differs = (frame["right_before"] != frame["right_after"]).groupby(frame["image"]).any()
    assert differs.all()
    assert frame.groupby("label")["image"].nunique().eq(1).all(), "each class once before twice"
    for copy in info.copies:
        assert copy.pixels.shape == (8, 8, 3)
        assert copy.pixels.dtype == np.uint8
    again: Any = FIGURE.info([source])
    assert again.frame().equals(frame)
    assert draw(info, WIDE).to_json() == draw(again, WIDE).to_json()


@pytest.mark.slow
def test_what_is_missing_is_said(
    source: StudySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = source.place
    assert place is not None
    assert "got only rows" in reason(replace(source, place=None))
    archive = replace(place, archive=tmp_path / "gift.tar")
    assert "needs weights, got an archive" in reason(replace(source, place=archive))
    assert "needs trial 7 to be complete, got none. Name one with" in reason(source, 7)
    assert "shows one trial, got 2" in reason(source, 0, 1)
    elsewhere = replace(source, place=replace(place, folder=tmp_path))
    assert f"needs the weights of trial 0, got no file {tmp_path}" in reason(elsewhere)
    limit = ConstraintSettings(metric="val_robust_accuracy", min=1.0)
    study = source.record.study.model_copy(update={"constraints": (limit,)})
    constrained = replace(source, record=replace(source.record, study=study))
    assert "needs a trial on the front, got none" in reason(constrained)
    folders = changed(source, "dataset", name="image_folder", path="nowhere")
    assert "nowhere" in reason(folders)
    shutil.copytree(place.folder / "weights", tmp_path / "weights")
    weights = weights_file(tmp_path, 0)
    said = read_metadata(weights)
    assert said is not None
    export_tensors(load_file(weights), weights, replace(said, model="mine:function"))
    for one, section in ((source, "dataset"), (elsewhere, "model")):
        named = changed(one, section, name="mine:function")
        assert "got no `trust`. Read that code, then: ablate report" in reason(named)
        with imports_limited(lambda _name, _base: True):
            assert "mine" in reason(named)
    export_tensors(load_file(weights), weights, said)
    resnet = changed(elsewhere, "model", name="resnet20")
    assert "must be of resnet20, got another network" in reason(resnet)
    weights_file(tmp_path, 0).write_bytes(b"no weights")
    assert "must be a complete .safetensors file" in reason(elsewhere)
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    assert "must hold the baseline's weights, got none" in reason(source)
    assert not (tmp_path / "cache").exists(), "nothing is made again"


def test_a_loop_of_the_users_own_has_no_images() -> None:
    assert "got a training loop of its own. Leave it out." in reason(searches()["own loop"])


def test_photographs_are_kept_small_and_enlarged_pixels_stay_squares(info: ExamplesInfo) -> None:
    def first(pixels: np.ndarray) -> Any:
        copies = tuple(copy._replace(pixels=pixels) for copy in info.copies[:2])
        return draw(replace(info, copies=copies), WIDE).data[0]

    photograph = first(plain(100, (240, 480)))
    assert photograph.source.startswith("data:image/jpeg")
    assert photograph.zsmooth == "fast"
    small = first(plain(100))
    assert small.source.startswith("data:image/png")
    assert small.zsmooth is False
