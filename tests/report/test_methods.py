"""What the page says of how a study was made, and where its numbers come from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from example_ablations import example_ablation
from example_records import BEGAN, example_record, example_row
from example_results import make_design
from example_sources import ablation_source, usual_record

from ablate.ablation.study_source import StudySource
from ablate.analysis.accounting import study_account
from ablate.analysis.pareto import pareto_info
from ablate.ledger.record import Drive, StudyRecord, TestOpened
from ablate.report.page.methods import methods
from ablate.report.page.origin import origin_facts
from ablate.study.settings import ValidationSettings

NOW = BEGAN.timestamp() + 600


def text(record: StudyRecord) -> str:
    found = methods(StudySource(record), pareto_info(record))
    return "\n".join(found.paragraphs)


def facts(record: StudyRecord) -> dict[str, str]:
    return {fact.name: fact.text for fact in origin_facts(record, study_account(record, NOW))}


def test_a_search_is_described_by_its_settings() -> None:
    said = text(
        example_record(
            [example_row(0, (0.9, 0.7))],
            finetune={"budget": {"images": 24000}, "batch_size": 128},
            augment={"method": "composed"},
            search={"sampler": "nsga2", "seed": 3, "pruner": {"metric": "val_robust_accuracy"}},
            space={
                "finetune.learning_rate": {"float": [0.001, 0.1]},
                "block": {"when": {}, "parameters": {"augment.strength": {"float": [0.2, 1.0]}}},
            },
        )
    )
    assert "A resnet8 was trained on digits for 10 epochs" in said
    assert "for 24,000 images through the network (SGD, batches of 128, cosine schedule)" in said
    assert "several distortion types in turn on one image" in said
    assert "(augment.strength searched)" in said
    assert "by NSGA-II [3] (seed 3) in 16 trials (1 ended so far) for clean accuracy and" in said
    assert "asynchronous successive halving [4] (first rung at epoch 1, reduction factor 3)" in said
    assert "Hypervolumes [5] refer to the point (85.0, 60.0)." in said
    said = text(example_record([], search={"pruner": {"images": 500, "min_epochs": 2}}))
    assert (
        "by a Gaussian process that is a sum of functions of each parameter [3] (seed 0; random "
        "points until 10 trials had ended)"
    ) in said
    long = replace(example_record([]), trials=300)
    assert "[3] for the first 256 trials and then the tree-structured Parzen est" in text(long)
    tpe = text(replace(long, dimensions=65))
    assert "by the tree-structured Parzen estimator [3] (seed 0; random points until 10" in tpe
    assert (
        "Trials that fell behind in clean accuracy and robust accuracy were stopped early by "
        "asynchronous successive halving"
    ) in said
    assert "scored on 500 validation images); only trials at the full budget" in said


PAPER = {"types": ["gaussian_noise", "brightness"], "method": "per_sample"}
CHOICES = {"loss.terms": {"choice": ["clean+da", "clean+st"]}}
DRAWN = "Augmented copies: one distortion type drawn for each image"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"loss": {"terms": "clean"}, "augment": PAPER},
            "The objective is cross-entropy on clean images.",
        ),
        (
            {"loss": {"terms": "clean+fma"}, "augment": PAPER},
            "The objective is a sum of terms: cross-entropy on clean images and a feature-map "
            "augmentation loss (FMA) [1]. Distance, anchor and layers of the FMA loss are our "
            "interpretation, because only the abstract of the method was available. "
            f"{DRAWN}, of the types gaussian_noise+brightness.",
        ),
        (
            {"space": CHOICES | {"augment.families": {"subset": ["noise", "blur"]}}},
            "The objective is a sum of terms: cross-entropy on clean images, cross-entropy on "
            "augmented copies (DA) and stability training (ST) [1]; each run uses the terms given "
            f"for it. {DRAWN}, from the families noise+blur (augment.families searched).",
        ),
        (
            {"loss": {"terms": "da"}, "augment": {"method": "augmix"}},
            "The objective is cross-entropy on augmented copies (DA). Augmented copies: AugMix "
            "[1].",
        ),
    ],
)
def test_only_terms_and_types_that_runs_use_are_named(
    settings: dict[str, Any], expected: str
) -> None:
    record = example_record([example_row(0, (0.9, 0.7))], **settings)
    finetuning = methods(StudySource(record), pareto_info(record)).paragraphs[0]
    assert finetuning.endswith(f"cosine schedule). {expected}")


def test_nothing_is_claimed_of_how_another_tool_searched() -> None:
    record = replace(example_record([example_row(0, (0.9, 0.7))]), foreign=True, trials=1)
    found = methods(StudySource(record), pareto_info(record))
    assert found.paragraphs == (
        "Another tool searched with Optuna [1] in 1 trials for clean accuracy and robust accuracy "
        "jointly; its sampler, its seeds and how it ran its trials are unknown.",
    )
    assert len(found.references) == 1
    assert facts(record) == {
        "Study": "example",
        "Storage": record.storage,
        "Made by": "another tool with Optuna: code, machine, seeds and data are unknown",
        "Rows": "1 complete, of 1",
    }


def test_every_reference_is_cited_and_in_order() -> None:
    record = usual_record(4)
    found = methods(StudySource(record), pareto_info(record))
    said = "\n".join(found.paragraphs)
    places = [said.index(f"[{at}]") for at in range(1, len(found.references) + 1)]
    assert places == sorted(places)
    assert len(set(found.references)) == len(found.references)
    assert f"[{len(found.references) + 1}]" not in said


def test_other_budgets_checkpoints_and_loops() -> None:
    def of(**settings: Any) -> str:
        return text(example_record([example_row(0, (0.9, 0.7))], **settings))

    assert "for 4 epochs" in of()
    assert "for 30 seconds" in of(finetune={"budget": {"seconds": 30}})
    assert "for 2e+12 floating point operations" in of(finetune={"budget": {"flops": 2e12}})
    assert "A pretrained resnet8 was finetuned on digits" in of(
        baseline={"checkpoint": "w.pt", "saw_validation": False}
    )
    own = of(
        trainable="loops:train",
        objectives=[("loss", "minimize"), ("speed", "maximize")],
        reference_point=None,
        references={},
    )
    assert own.startswith("Each run called the function loops:train.")
    assert "for loss (less is better) and speed jointly" in own
    assert "resnet" not in own


def test_an_ablation_says_how_it_is_tested() -> None:
    source = ablation_source(example_ablation())
    assert source.ablation is not None
    found = methods(source, source.ablation)
    said = found.paragraphs[-1]
    assert "(design: arms) ran 3 configurations in 3 arms over 8 seeds. Runs" in said
    assert "2 contrasts were declared before the runs; all others are exploratory." in said
    assert "p values are adjusted by Holm [2], and their intervals are simultaneous" in said
    assert "t intervals over seeds and images, fully crossed" in said
    assert "p values are two-sided, from the same model." in said
    assert "sign-flip" not in said
    assert said.endswith(" All of it is conditional on the one baseline that all runs start from.")
    one = example_ablation(effects=[one for one in source.ablation.effects if one.primary][:1])
    said = methods(ablation_source(one), one).paragraphs[-1]
    assert "1 contrast was declared before the runs; all others are exploratory." in said
    assert "Holm" not in said
    assert "Optuna" not in " ".join(found.paragraphs)


def test_arms_baseline_and_split_are_defined() -> None:
    arms = {
        "plain": {"loss.terms": "clean"},
        "DA": {"loss.terms": "clean+da", "augment.types": ["gaussian_noise"]},
        "FMA+CA": {"loss.terms": "clean+fma", "loss.fma.weight": 0.83},
        "slow": {"loss.terms": "clean+st", "finetune.learning_rate": 0.001},
    }
    design = make_design(list(arms))
    cells = tuple(replace(cell, values=arms[cell.name]) for cell in design.cells)
    settings = {"design": "arms", "arms": arms, "seeds": 3}
    record = example_record(
        ablation=settings,
        finetune={"budget": {"images": 1000}, "learning_rate": 0.02},
    )
    data = record.study.dataset.model_copy(
        update={"validation": ValidationSettings(fraction=0.25, seed=4)}
    )
    record = replace(record, study=record.study.model_copy(update={"dataset": data}))
    record = replace(record, design=replace(design, cells=cells).to_json())
    found = methods(StudySource(record, example_ablation()), example_ablation()).paragraphs
    assert found[0].endswith(
        "cross-entropy on augmented copies (DA), stability training (ST) [1] and a feature-map "
        "augmentation loss (FMA) [2]; each run uses the terms given for it. Distance, anchor and "
        "layers of the FMA loss are our interpretation, because only the abstract of the method "
        "was available. Augmented copies: one distortion type drawn for each image, from the "
        "families noise+blur+photometric unless its arm has others."
    )
    assert found[-1] == (
        "Arms, at learning rate 0.02 unless another is given: plain (clean); DA (clean+da, "
        "augment.types gaussian_noise); FMA+CA (clean+fma, loss.fma.weight 0.83); slow (clean+st, "
        "finetune.learning_rate 0.001). All runs start from one baseline (seed 0), and are scored "
        "on one validation split, 0.25 of the training images (seed 4)."
    )


def test_provenance_has_code_machine_seeds_dates_and_data() -> None:
    drive = Drive(
        BEGAN.timestamp(),
        "node0",
        1,
        BEGAN.timestamp() + 120,
        "finished",
        provenance={
            "python": "3.11.7",
            "platform": "Linux",
            "packages": {"torch": "2.6.0", "optuna": "5.0.0"},
            "git": {"commit": "abc", "dirty": True},
        },
    )
    record = usual_record(10, drives=[drive])
    opened = TestOpened(BEGAN.timestamp() + 60, "confirm 2 trials", "example~confirm")
    found = facts(replace(record, test_opened=(opened,), parent="other"))
    assert found["Code"] == "commit abc, with uncommitted changes"
    assert found["Versions"] == "python 3.11.7, torch 2.6.0, optuna 5.0.0"
    assert found["Started"] == "2026-03-01 12:00 UTC"
    assert found["Last run"] == "until 2026-03-01 12:02 UTC (finished)"
    assert found["Rows"] == "8 complete, 1 pruned, 1 fail, of 10"
    assert found["Seeds"] == "search 0; split 0; corrupted sets 0; training 0"
    assert found["Part of"] == "other"
    assert "hosts node0, node1" in found["Hardware"]
    assert found["Selected on"] == "the validation images"
    assert found["Test images used"] == "2026-03-01 12:01 UTC: confirm 2 trials"
