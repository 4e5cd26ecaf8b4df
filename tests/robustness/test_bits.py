"""Bits: every accuracy that is reported is the mean of its images' shares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablate.robustness.bits import Outcomes, SetOutcomes, image_shares, pack_bits, unpack_bits
from ablate.study.scores import COSTS, Scores, is_mean
from ablate.study.seeds import PLAIN, Seeds
from ablate.study.settings import Study
from ablate.trial.robustness import TrialRun
from ablate.trial.workbench import Workbench

FAMILIES = {"noise": ("gaussian_noise", "impulse_noise"), "blur": ("gaussian_blur",)}
SEVERITIES = ("1", "3", "5")


def make_outcomes(
    n: int = 11, n_corrupted: int = 7, severities: tuple[str, ...] = SEVERITIES, seed: int = 0
) -> SetOutcomes:
    random = np.random.default_rng(seed)

    def one(count: int) -> Outcomes:
        return Outcomes(random.random(count) < 0.6, None, *2 * [np.zeros(count, np.float32)])

    kinds = [kind for kinds in FAMILIES.values() for kind in kinds]
    cells = {(kind, int(one_of)): one(n_corrupted) for kind in kinds for one_of in severities}
    return SetOutcomes(one(n), cells)


def scores_of(outcomes: SetOutcomes, **fields: object) -> Scores:
    """As a workbench makes them of the outcomes."""
    assert outcomes.clean is not None
    accuracies: dict[str, dict[str, float]] = {}
    for (kind, severity), cell in outcomes.cells.items():
        accuracies.setdefault(kind, {})[str(severity)] = cell.accuracy
    corrupted = len(next(iter(outcomes.cells.values())).correct)
    made = Scores(
        "val",
        len(outcomes.clean.correct),
        outcomes.clean.accuracy,
        accuracies,
        FAMILIES,
        n_corrupted=corrupted,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def test_what_is_packed_is_unpacked() -> None:
    outcomes = [make_outcomes(seed=seed) for seed in (0, 1)]
    bits = unpack_bits([pack_bits(one) for one in outcomes], scores_of(outcomes[0]))
    assert bits.clean.shape == (2, 11)
    assert list(bits.types) == ["gaussian_noise", "impulse_noise", "gaussian_blur"]
    for place, one in enumerate(outcomes):
        assert one.clean is not None
        assert (bits.clean[place] == one.clean.correct).all()
        for (kind, severity), cell in one.cells.items():
            assert bits.types[kind].shape == (2, 3, 7)
            found = bits.types[kind][place, SEVERITIES.index(str(severity))]
            assert (found == cell.correct).all()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"mean_over": "types"},
        {"seen_types": ("gaussian_noise",)},
        {
            "seen_types": ("gaussian_noise",),
            "exposure": {
                "gaussian_noise": "seen_type",
                "impulse_noise": "seen_family",
                "gaussian_blur": "unseen",
            },
        },
        {"seen_types": ("gaussian_noise", "impulse_noise", "gaussian_blur")},
    ],
)
def test_every_accuracy_is_the_mean_of_its_shares(fields: dict[str, object]) -> None:
    outcomes = [make_outcomes(seed=seed) for seed in (0, 1)]
    scores = [scores_of(one, **fields) for one in outcomes]
    bits = unpack_bits([pack_bits(one) for one in outcomes], scores[0])
    # 2 totals, 4 exposures, the worst type, 2 families, 3 types, 9 copies, 4 costs.
    assert len(scores[0].metrics()) == 25
    for metric, value in scores[0].metrics().items():
        shares = image_shares(bits, scores[0], metric)
        if metric in COSTS or np.isnan(value) or not is_mean(metric):
            assert shares is None, metric
            continue
        assert shares is not None, metric
        assert shares.shape == (2, 11 if metric == "val_clean_accuracy" else 7)
        assert shares[0].mean() == pytest.approx(value, abs=1e-12), metric
        other = scores[1].metrics()[metric]
        assert shares[1].mean() == pytest.approx(other, abs=1e-12), metric


def test_bits_of_other_images_are_refused() -> None:
    text = pack_bits(make_outcomes())
    with pytest.raises(ValueError, match="cannot reshape"):
        unpack_bits([text], scores_of(make_outcomes(n=40)))


STUDY = Study.model_validate(
    {
        "version": 1,
        "name": "tiny",
        "dataset": {"name": "digits", "image_size": 8, "validation": {"fraction": 0.5}},
        "model": {"name": "resnet8"},
        "baseline": {"epochs": 1},
        "finetune": {"budget": {"epochs": 1}},
        "robustness": {"severities": [1, 5], "images": 50},
        "run": {"precision": "fp32"},
    }
)


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["families", ["gaussian_noise", "contrast", "pixelate"]])
def test_the_bits_of_a_network_are_its_scores(suite: object, session_cache: Path) -> None:
    bench = Workbench.get(STUDY.with_values({"robustness.suite": suite}), Path(), session_cache)
    run = TrialRun(bench, dict(PLAIN), Seeds(split=0, train=0, evaluation=0))
    run.run_epoch()
    scored, prepared = run.finish(), bench.prepare()
    tested = run.finish_test({"suite": ["gaussian_blur"], "severities": [3]})
    baseline = (prepared.baseline_scores, prepared.kept["outcomes"]["val"])
    for scores, text in ((scored.scores, scored.bits), baseline, (tested.scores, tested.bits)):
        bits = unpack_bits([text], scores)
        compared = 0
        for metric, value in scores.metrics().items():
            shares = image_shares(bits, scores, metric)
            if shares is not None:
                assert shares.mean() == pytest.approx(value, abs=1e-12), metric
                compared += 1
        assert compared > 5
    assert scored.bits != baseline[1]
