"""An evaluation: its summary by hand, its files, and what may be compared with what."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.errors import DataError
from ablate.robustness.corruption import BENCHMARK, FAMILIES
from ablate.robustness.evaluation import (
    CellScores,
    EvaluatedData,
    EvaluatedModel,
    EvaluatedSuite,
    Evaluation,
    SummaryLine,
    from_json,
    load_evaluation,
    relate,
    summarise,
    to_json,
    write_csv,
    write_evaluation,
)
from ablate.robustness.measures import ALEXNET_MEAN_ERRORS
from ablate.study.scores import Exposure

N = 10
OF_CLASSES = (
    *("clean_negative_log_likelihood", "clean_balanced_accuracy", "clean_worst_class_accuracy"),
    *("mean_corruption_negative_log_likelihood", "mean_corruption_balanced_accuracy"),
    *("mean_corruption_worst_class_accuracy", "worst_type_accuracy"),
)


def cell(right: int, right_top5: int | None = None, n: int = N) -> CellScores:
    return CellScores(np.arange(n) < right, right_top5, 0.125, 1.5)


def evaluation(
    rights: dict[str, list[int]], clean: int | None = 9, classes: int = 4, **changed: Any
) -> Evaluation:
    """Of ten images, so many of which are right at each severity."""
    severities = tuple(range(1, len(next(iter(rights.values()))) + 1))
    families = {
        family: tuple(kind for kind in kinds if kind in rights)
        for family, kinds in FAMILIES.items()
        if any(kind in rights for kind in kinds)
    }
    suite = EvaluatedSuite("custom", families, severities, "corruption", "types", "cifar")
    made = Evaluation(
        model=EvaluatedModel(
            "resnet8", "w.safetensors", "sha256:ab12", 78_000, 32, (0.5,), (0.25,)
        ),
        data=EvaluatedData(
            *("digits", "test", N, tuple(f"c{label}" for label in range(classes)), (3, 32, 32)),
            clean_identity="d1",
            corrupted_identity="c1",
        ),
        suite=suite,
        seed=0,
        labels=np.arange(N) % classes,
        clean=None if clean is None else cell(clean),
        cells={
            (kind, severity): cell(rights[kind][severity - 1])
            for kinds in families.values()
            for kind in kinds
            for severity in severities
        },
        environment={"device": "cpu", "precision": "fp32"},
        versions={"ablate": "0"},
        seconds=1.5,
    )
    return replace(made, **changed)


def line(made: Evaluation, name: str) -> SummaryLine:
    return next(one for one in summarise(made) if one.name == name)


def names(made: Evaluation) -> list[str]:
    return [one.name for one in summarise(made)]


TWO = {"fog": [8, 4], "shot_noise": [6, 2]}


def test_means_by_hand() -> None:
    made = evaluation(TWO)
    assert made.accuracy(["fog"]) == pytest.approx(0.6)
    assert made.accuracy(severity=2) == pytest.approx(0.3)
    assert made.accuracy() == pytest.approx(0.5)
    assert made.errors(["fog"]) == {"fog": (pytest.approx(0.2), pytest.approx(0.6))}
    assert math.isnan(made.accuracy(["snow"]))
    assert names(made) == [
        "clean_accuracy",
        "mean_corruption_accuracy_unnormalised",
        "mean_corruption_error_unnormalised",
        "clean_expected_calibration_error",
        "mean_corruption_expected_calibration_error",
        *OF_CLASSES,
    ]
    mean = line(made, "mean_corruption_accuracy_unnormalised")
    assert (mean.value, mean.over) == (pytest.approx(0.5), "2 types x 2 severities")
    assert line(made, "mean_corruption_error_unnormalised").value == pytest.approx(0.5)
    # Images 0 and 1 are right in all copies, 8 and 9 in none.
    assert made.shares().tolist() == [1, 1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0, 0]
    assert mean.interval is not None
    assert mean.interval.low < 0.5 < mean.interval.high


def test_what_a_mean_hides() -> None:
    made = evaluation(TWO)
    # Ten images of classes 0, 1, 2, 3, 0, 1, ...; the tenth, of class 1, is wrong: 3, 2, 2 and 2
    # of 3, 3, 2 and 2 are right.
    assert line(made, "clean_balanced_accuracy").value == pytest.approx((1 + 2 / 3 + 1 + 1) / 4)
    assert line(made, "clean_worst_class_accuracy").value == pytest.approx(2 / 3)
    # Right in 1, 1, .75, .75, .5, .5, .25, .25, 0 and 0 of the copies.
    by_class = [1.5 / 3, 1.5 / 3, 1 / 2, 1 / 2]
    mean = line(made, "mean_corruption_balanced_accuracy")
    assert (mean.value, mean.over) == (pytest.approx(0.5), "2 types x 2 severities")
    assert line(made, "mean_corruption_worst_class_accuracy").value == pytest.approx(min(by_class))
    worst = line(made, "worst_type_accuracy")
    assert (worst.value, worst.over) == (pytest.approx(0.4), "shot_noise x 2 severities")
    likelihood = line(made, "clean_negative_log_likelihood")
    assert (likelihood.value, likelihood.unit) == (1.5, "nats")
    # A class without an image does not count, and without clean images theirs are left out.
    more = evaluation(TWO, classes=4, clean=None)
    more = replace(more, data=replace(more.data, classes=(*more.data.classes, "none")))
    assert line(more, "mean_corruption_balanced_accuracy").value == pytest.approx(0.5)
    assert "clean_balanced_accuracy" not in names(more)


def test_a_file_of_an_earlier_version_has_no_likelihood() -> None:
    made = evaluation(TWO)
    found = to_json(made)
    for scored in (found["clean"], *found["cells"]):
        del scored["negative_log_likelihood"]
    read = from_json(found)
    assert math.isnan(line(read, "clean_negative_log_likelihood").value)
    assert to_json(read)["summary"]["clean_negative_log_likelihood"]["value"] is None
    assert line(read, "clean_balanced_accuracy") == line(made, "clean_balanced_accuracy")


def test_the_benchmarks_mean_is_of_its_fifteen() -> None:
    rights = {kind: [5] * 5 for kind in BENCHMARK} | {"speckle_noise": [0] * 5}
    made = evaluation(rights)
    mean = line(made, "mean_corruption_accuracy_unnormalised")
    assert (mean.value, mean.over) == (0.5, "15 types x 5 severities")
    others = line(made, "mean_extra_corruption_accuracy_unnormalised")
    assert (others.value, others.over) == (0, "speckle_noise x 5 severities")
    # A type that is missing is not made good by one that is meant for validation.
    del rights["fog"]
    part = line(evaluation(rights), mean.name)
    assert (part.value, part.over) == (
        0.5,
        "14 types x 5 severities, of the benchmark's 15 without fog",
    )
    extra = line(evaluation({"speckle_noise": [10] * 5, "spatter": [5] * 5}), mean.name)
    assert (extra.value, extra.over) == (0.75, "2 types x 5 severities")


def test_a_suite_with_a_type_of_ones_own_counts_it() -> None:
    """As a study does that is scored on this suite."""
    made = evaluation({"fog": [8, 4]})
    families = {**made.suite.families, "my_lens": ("my_lens:smear",)}
    own = {("my_lens:smear", severity): cell(2) for severity in made.suite.severities}
    made = replace(made, suite=replace(made.suite, families=families), cells={**made.cells, **own})
    mean = line(made, "mean_corruption_accuracy_unnormalised")
    assert (mean.value, mean.over) == (pytest.approx(0.4), "2 types x 2 severities")


def test_alexnet_is_for_imagenet_alone() -> None:
    rights = {kind: [5] * 5 for kind in BENCHMARK}
    whole = evaluation(rights, classes=1000)
    suite = replace(whole.suite, scale="imagenet")
    found = line(replace(whole, suite=suite), "mean_corruption_error")
    by_hand = sum(2.5 / (5 * error) for error in ALEXNET_MEAN_ERRORS.values()) / 15
    assert (found.value, found.unit) == (pytest.approx(by_hand), "ratio")
    assert found.over == "15 types x 5 severities, divided by AlexNet's; 10 images"
    relative = line(replace(whole, suite=suite), "relative_mean_corruption_error")
    by_hand = sum(0.4 / (error - 0.43478) for error in ALEXNET_MEAN_ERRORS.values()) / 15
    assert relative.value == pytest.approx(by_hand)
    assert "whose clean error is 0.43478 as torchvision states it" in relative.over
    unscored = replace(whole, suite=suite, clean=None)
    assert "relative_mean_corruption_error" not in names(unscored)
    four = {kind: row[:4] for kind, row in rights.items()}
    for other in (
        whole,  # CIFAR's scale
        replace(evaluation(rights, classes=200), suite=suite),
        replace(evaluation(four, classes=1000), suite=replace(suite, severities=(1, 2, 3, 4))),
        replace(whole, suite=replace(suite, made_by="distortion")),
    ):
        assert "mean_corruption_error" not in names(other)


def test_relative_to_another_network() -> None:
    other = evaluation({"fog": [6, 2], "shot_noise": [5, 5]}, clean=8)
    other = replace(other, model=replace(other.model, name="before"))
    made = relate(evaluation(TWO), other)
    found = line(made, "mean_corruption_error_relative_to")
    # fog: (.2 + .6) / (.4 + .8), noise: (.4 + .8) / (.5 + .5)
    assert found.value == pytest.approx((0.8 / 1.2 + 1.2) / 2)
    assert found.over == "2 types x 2 severities, divided by those of before (w.safetensors)"
    relative = line(made, "relative_mean_corruption_error_relative_to")
    # Clean errors .1 and .2: fog .6 / .8, noise 1 / .6
    assert relative.value == pytest.approx((0.6 / 0.8 + 1.0 / 0.6) / 2)
    without = relate(evaluation(TWO, clean=None), other)
    assert names(without)[2] == "mean_corruption_error_relative_to"


def test_ratios_that_are_not_defined_say_why() -> None:
    other = evaluation({"fog": [9, 9], "shot_noise": [10, 10]}, clean=9)
    made = relate(evaluation(TWO), other)
    found = line(made, "mean_corruption_error_relative_to")
    assert math.isnan(found.value)
    assert found.over.endswith("; not defined, since that network makes no errors on shot_noise")
    relative = line(made, "relative_mean_corruption_error_relative_to")
    assert math.isnan(relative.value)
    assert relative.over.endswith("that network loses no accuracy on shot_noise and 1 more")
    assert to_json(made)["summary"][found.name]["value"] is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"severities": (1, 3)}, "severities, got 1, 3 for 1, 2."),
        ({"families": {"weather": ("fog",)}}, "types, got fog for fog, shot_noise."),
        ({"n": 12}, "number of images, got 12 for 10."),
        ({"corrupted_identity": "e" * 40}, "corrupted images, got eeeeeeeeeeee for c1."),
        ({"clean_identity": "d2"}, "clean images, got d2 for d1."),
    ],
)
def test_other_copies_cannot_be_compared(changed: dict[str, Any], message: str) -> None:
    made = other = evaluation(TWO)
    if set(changed) & {"severities", "families"}:
        other = replace(other, suite=replace(other.suite, **changed))
    else:
        other = replace(other, data=replace(other.data, **changed))
    with pytest.raises(DataError) as error:
        relate(made, other)
    assert str(error.value) == (
        f"`relative_to`: must be scores on the same {message} Evaluate resnet8 "
        "(w.safetensors) with the same data, suite and seed."
    )


def test_means_by_exposure_say_what_cannot_be_compared() -> None:
    made = evaluation(TWO, exposure={"fog": "unseen", "shot_noise": "seen_type"})
    mean = "mean_corruption_accuracy_unnormalised"
    assert line(made, mean).over == (
        "2 types x 2 severities; not comparable with methods that hold these types out"
    )
    assert line(made, f"{mean}_seen_type").value == pytest.approx(0.4)
    unseen = line(made, f"{mean}_unseen")
    assert (unseen.value, unseen.over) == (pytest.approx(0.6), "fog x 2 severities")
    assert f"{mean}_seen_family" not in names(made)


def test_families_that_weigh_the_same() -> None:
    rights = {"fog": [8], "gaussian_noise": [2], "shot_noise": [4]}
    made = evaluation(rights)
    made = replace(made, suite=replace(made.suite, mean_over="families"))
    found = line(made, "mean_accuracy_over_families_unnormalised")
    assert found.value == pytest.approx((0.8 + 0.3) / 2)
    assert found.interval is not None
    assert found.interval.low < found.value < found.interval.high
    assert line(made, "mean_corruption_accuracy_unnormalised").over == "3 types at severity 1"


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    other = evaluation({"fog": [6, 2], "shot_noise": [5, 5]}, clean=8)
    made = evaluation(
        TWO,
        exposure={"fog": "unseen", "shot_noise": "seen_type"},
        marks=("approximate frost",),
        notes=("said",),
    )
    made = relate(replace(made, clean=CellScores(np.arange(N) < 7, 9, math.nan)), other)
    file = tmp_path / "new" / "scores.json"
    write_evaluation(made, file)
    read = load_evaluation(file)
    assert to_json(read) == to_json(made)
    assert (read.model, read.data, read.suite) == (made.model, made.data, made.suite)
    assert read.reference == made.reference
    assert read.labels.tolist() == made.labels.tolist()
    for key, scores in made.cells.items():
        assert read.cells[key].correct.tolist() == scores.correct.tolist()
    # as text: NaN is no number that equals itself, which dataclasses of Python 3.13 see
    assert repr(summarise(replace(read, clean=made.clean))) == repr(summarise(made))
    assert list(file.parent.iterdir()) == [file]


def test_a_row_for_each_cell(tmp_path: Path) -> None:
    exposure: dict[str, Exposure] = {"fog": "unseen", "shot_noise": "seen_type"}
    made = evaluation(TWO, exposure=exposure, marks=("approximate, frost", "made here"))
    write_csv(made, tmp_path / "scores.csv")
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [(row["type"], row["severity"]) for row in rows] == [
        ("clean", "0"),
        *[("shot_noise", "1"), ("shot_noise", "2"), ("fog", "1"), ("fog", "2")],
    ]
    assert rows[2] == {
        **{"model": "resnet8 (w.safetensors)", "dataset": "digits test", "seed": "0"},
        **{"type": "shot_noise", "family": "noise", "severity": "2", "exposure": "seen_type"},
        **{"n": "10", "right": "2", "accuracy": "0.200000", "low": "0.056682"},
        **{"high": "0.509838", "error": "0.800000", "top5_accuracy": "", "top5_low": ""},
        **{"top5_high": "", "calibration_error": "0.125000"},
        "negative_log_likelihood": "1.500000",
        "marks": "approximate, frost; made here",
    }
    top5 = replace(made, seed=None, clean=cell(9, right_top5=10))
    write_csv(top5, tmp_path / "scores.csv")
    clean = next(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [clean[key] for key in ("seed", "top5_accuracy", "top5_low", "top5_high")] == [
        *("", "1.000000", "0.722467", "1.000000"),
    ]
    write_csv(replace(made, clean=None), tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text().count("\n") == 5


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        load_evaluation(path)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), "FILE")


def test_what_is_no_evaluation(tmp_path: Path) -> None:
    file, made = tmp_path / "scores.json", evaluation(TWO)
    assert refusal(file) == (
        "FILE: must be a readable file, got No such file or directory. Correct the path."
    )
    other = "written by `ablate evaluate -o FILE.json`, got"
    for text, message in (
        ("no json", f"{other} a file that is not JSON. Choose another file."),
        ("[]", f"{other} other JSON. Choose another file."),
        (
            json.dumps({**to_json(made), "version": 2}),
            "of version 1, got version 2. Evaluate again with this version of ablate, or update "
            "ablate.",
        ),
        (
            json.dumps(to_json(made, bits=False)),
            "with the bits of each image, got the output of --json. Write the file with -o.",
        ),
    ):
        file.write_text(text)
        assert refusal(file) == f"FILE: must be scores {message}"


def test_a_damaged_file(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"

    def damaged(change: Any) -> str:
        found = to_json(evaluation(TWO))
        change(found)
        file.write_text(json.dumps(found))
        return refusal(file)

    start = "FILE: must be complete scores, got damaged ones"
    assert damaged(lambda found: found.pop("cells")).startswith(f"{start} (KeyError: 'cells').")
    assert "(ValueError: 6 bits set for 5 right answers)" in damaged(
        lambda found: found["cells"][0].update(right=5)
    )
    assert "bytes of bits for 10 images" in damaged(
        lambda found: found["cells"][0].update(correct="AA==")
    )
    for change in (
        lambda found: found["cells"].pop(2),
        lambda found: found["cells"].append(found["cells"][2]),
        lambda found: found["cells"].reverse(),
    ):
        assert "(ValueError: other cells than those of its suite)" in damaged(change)
    assert "10 labels for 11 images" in damaged(lambda found: found["data"].update(n=11))
