"""The second family of the study: averages of the trials that tuned an arm, nothing picked.

    python studies/paper/averages.py runs/fma_decided -o FOLDER

One JSON file a replicate, then the contrasts over those that are there.  Of each replicate and arm:
the mean of the weights of all trials of its search that did not collapse, batch-norm statistics
too.  The average is scored as a run of the study is: where its line from the baseline has lost the
stated clean accuracy on the validation images, it is scored on the test images, which nothing else
here sees.  It is compared with the tuned arm's runs in the confirmation.  README.md has the plan.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import ablate
from ablate.ablation.effects import ALPHA
from ablate.ablation.intervals import MeanModel, over_seeds_and_images
from ablate.ablation.significance import holm
from ablate.files.cache import cache_folder, publish_file
from ablate.finetune.interpolation import interpolate_weights
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.open_study import OpenStudy, open_study, read_bits
from ablate.robustness.bits import Scored, image_shares, unpack_bits
from ablate.study.interpolation import LOSS_BITS, loss_point
from ablate.study.scores import Scores
from ablate.trial.workbench import Workbench

ARMS = ("FMA+CA", "DA+CA")
"""Whose averages are compared with the tuned arm: one contrast each."""
COLLAPSED = 0.10
"""A trial that has lost more validation clean accuracy than this to the baseline has collapsed."""
METRIC = "test_robust_accuracy_untrained"


def averaged(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of networks of one shape, tensor by tensor, summed in float64; whole numbers, as the
    count of batches of a batch norm, are the first network's."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(first.dtype)
        if first.is_floating_point()
        else first
        for name, first in states[0].items()
    }


def kept_trials(search: StudyRecord) -> list[int]:
    """The complete trials whose finetuned network has lost at most `COLLAPSED`."""
    least = search.references["baseline"].clean_accuracy - COLLAPSED
    clean = {
        row.number: row.path.scores(row.scores, 1.0).clean_accuracy
        for row in search.complete
        if row.path is not None and isinstance(row.scores, Scores)
    }
    return [number for number, accuracy in clean.items() if accuracy >= least]


def network_at(bench: Workbench, finetuned: Mapping[str, Tensor], alpha: float) -> nn.Module:
    """The network at this alpha between the baseline and another one."""
    model = bench.build_baseline()
    model.load_state_dict(interpolate_weights(model.state_dict(), finetuned, alpha))
    return model


def images_of(scored: Scored) -> np.ndarray:
    """What each test image contributes to the accuracy on untrained types, `[n]`."""
    shares = image_shares(unpack_bits([scored.bits], scored.scores), scored.scores, METRIC)
    assert shares is not None
    return shares[0]


def average_of(replicate: OpenStudy, confirmed: OpenStudy, arm: str, search: str) -> dict[str, Any]:
    """The average of an arm in one replicate, beside the arm's runs in the confirmation.

    Args:
        search: folder of the search that tuned the arm.
    """
    study, tuning = replicate.record.study, ablate.read(search)
    bench = Workbench.get(study, Path(replicate.head.base), cache_folder())
    numbers = kept_trials(tuning)
    if not numbers:
        raise SystemExit(f"averages: {search}: every trial has collapsed, so there is no average.")
    states = [ablate.load_model(search, one, alpha=1.0).network.state_dict() for one in numbers]
    average = averaged(states)
    alphas = (0.0, *study.finetune.curve_alphas)
    curve = [bench.score(network_at(bench, average, alpha)).scores for alpha in alphas]
    clean = [scores.clean_accuracy for scores in curve]
    alpha = round(loss_point(clean, study.answer.clean_margin).mixed(alphas), 4)
    test = confirmed.record.test
    assert test is not None
    at_loss, whole = (
        bench.score(network_at(bench, average, one), test=test, seen_types=study.augment.types)
        for one in (alpha, 1.0)
    )
    rows = [row for row in confirmed.record.complete if row.cell == arm]
    runs = {row.number: row.test_scores for row in rows if row.test_scores is not None}
    if not runs:
        raise SystemExit(f"averages: {confirmed.record.name} has no complete run of {arm}.")
    bits, _ = read_bits(confirmed.place, [*runs])
    tuned = [images_of(Scored(scores, bits[number][LOSS_BITS])) for number, scores in runs.items()]
    tuned_clean = [scores.at_clean_loss["clean_accuracy"] for scores in runs.values()]
    return {
        "study": replicate.record.name,
        "arm": arm,
        "trials": numbers,
        "left_out": sorted({row.number for row in tuning.rows} - {*numbers}),
        "validation": {
            "alphas": alphas,
            "clean_accuracy": clean,
            "robust_accuracy": [scores.robust_accuracy for scores in curve],
        },
        "alpha": alpha,
        "test": {
            "average": [at_loss.scores.clean_accuracy, float(images_of(at_loss).mean())],
            "average at alpha 1": [whole.scores.clean_accuracy, float(images_of(whole).mean())],
            "tuned": [float(np.mean(tuned_clean)), float(np.mean(tuned))],
        },
        "images": {
            "average": images_of(at_loss).tolist(),
            "tuned": np.mean(tuned, axis=0).tolist(),
        },
    }


def searches_of(replicate: OpenStudy) -> dict[str, str]:
    """The folder of the search of each arm in `ARMS`; without those that had stopped by then."""
    arms = replicate.record.study.ablation_section.arms
    assert arms is not None
    terms = {arms[arm]["loss.terms"]: arm for arm in ARMS}
    folders = map(str, (replicate.place.folder / "tune").iterdir())
    found = {terms.get(ablate.read(folder).study.loss.terms): folder for folder in folders}
    return {arm: found[arm] for arm in ARMS if arm in found}


def contrasts(made: Sequence[Mapping[str, Any]]) -> dict[str, MeanModel]:
    """Average less tuned arm, over replicates and images."""
    return {
        arm: over_seeds_and_images(
            np.array(
                [
                    np.subtract(one["images"]["average"], one["images"]["tuned"])
                    for one in made
                    if one["arm"] == arm
                ]
            )
        )
        for arm in ARMS
    }


def table(made: Sequence[Mapping[str, Any]]) -> str:
    """The contrasts, in points; p adjusted over both (Holm), intervals at 1 - .05 / 2."""
    found = contrasts(made)
    p_values = [model.p() for model in found.values()]
    lines = ["| contrast | 12 untrained types | by replicate | p | Holm |", "|" + "---|" * 5]
    for (arm, model), p, adjusted in zip(found.items(), p_values, holm(p_values), strict=True):
        estimate = model.estimate(1 - ALPHA / len(ARMS))
        text = f"{100 * model.mean:+.2f} [{100 * estimate.low:+.2f}, {100 * estimate.high:+.2f}]"
        each = [
            f"{100 * (one['test']['average'][1] - one['test']['tuned'][1]):+.2f}"
            for one in made
            if one["arm"] == arm
        ]
        line = [f"average of {arm} - {arm}", text, " ".join(each), f"{p:.3g}", f"{adjusted:.3g}"]
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Averages of the trials that tuned an arm.")
    parser.add_argument("study", help="its run folder, confirmed")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    made: list[dict[str, Any]] = []
    of_tests = open_study(f"{asked.study}/confirm").replicates
    ended = [confirmed for confirmed in of_tests if confirmed.record.is_over]
    pairs = zip(open_study(asked.study).replicates, ended, strict=False)
    for number, (replicate, confirmed) in enumerate(pairs):
        file = asked.output / f"averages_{number}.json"
        if not file.exists():
            found = [
                average_of(replicate, confirmed, arm, search)
                for arm, search in searches_of(replicate).items()
            ]
            text = json.dumps(found) + "\n"
            publish_file(file, lambda new, text=text: new.write_text(text))
        made += json.loads(file.read_text())
    print(table(made))


if __name__ == "__main__":
    main()
