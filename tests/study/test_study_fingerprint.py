"""The fingerprint: what changes it, what does not, and how a change is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ablate.ablation.cell import Claim, Design
from ablate.lifecycle.study_file import parse_study
from ablate.space.parse import parse_space
from ablate.study.document import show
from ablate.study.fingerprint import (
    SECTIONS,
    changed_keys,
    digest_of,
    fingerprint,
    noted_keys,
    study_fingerprint,
)
from ablate.study.settings import ADDED_KEYS, Study, TrainingSettings

Names = Mapping[str, Sequence[str]]
SPACE = "space: {loss.fma.weight: {float: [0.01, 30]}, loss.clean.weight: {float: [0, 1]}}\n"


EARLIER = {
    *(*TrainingSettings.model_fields, "budget", "batch_norm"),
    *("suite", "severities", "images", "seed"),
} - {key.partition(".")[2] for key in ADDED_KEYS}
"""Keys of `finetune` and `robustness` that are in every fingerprint."""


def study_of(text: str, names: Names, *overrides: str) -> Study:
    return parse_study(text, "s.yaml", overrides, names=lambda _: names, base=Path())


def sections_of(text: str, names: Names, *overrides: str, data: str = "d") -> dict[str, str]:
    study = study_of(text, names, *overrides)
    return study_fingerprint(study, parse_space(study, names), data)


@pytest.mark.parametrize(
    ("override", "section"),
    [
        ("dataset.validation.seed=1", "dataset"),
        ("model.name=resnet20", "model"),
        ("baseline.epochs=11", "baseline"),
        ("finetune.seed=1", "finetune"),
        ("loss.st.weight=2", "loss"),
        ("augment.strength=0.5", "augment"),
        (
            "objectives=[{metric: val_robust_accuracy}, {metric: val_clean_accuracy}]",
            "objectives",
        ),
        ("robustness.severities=[1]", "robustness"),
        ("space.loss.clean.weight={float: [0, 2]}", "space"),
    ],
)
def test_what_a_score_depends_on_changes_its_section_alone(
    head: str, names: Names, override: str, section: str
) -> None:
    before, after = sections_of(head + SPACE, names), sections_of(head + SPACE, names, override)
    assert {name for name in before if before[name] != after[name]} == {section}
    assert fingerprint(before) != fingerprint(after)
    unused = {"trainable", "ablation", "answer", "constraints"}
    assert set(before) == {*SECTIONS, "data", "method"} - unused


def test_a_type_that_the_suite_gains_changes_the_robustness_alone(head: str, names: Names) -> None:
    study = study_of(head + SPACE, names)
    space = parse_space(study, names)
    before = study_fingerprint(study, space, "d")
    after = study_fingerprint(study, space, "d", ["swirl", "stripes"])
    assert {name for name in before if before[name] != after[name]} == {"robustness"}
    assert after == study_fingerprint(study, space, "d", ["stripes", "swirl"])


@pytest.mark.parametrize(
    "override",
    [
        "dataset.path=elsewhere",
        "dataset.validation.path=held",
        "name=other",
        "question=why",
        "search.seed=5",
        "search.start=random",
        "run.parallel=2",
        "storage=sqlite:///x.db",
        "answer.clean_margin=0.02",
    ],
)
def test_how_it_is_run_changes_nothing(head: str, names: Names, override: str) -> None:
    head = head.replace("digits", "image_folder")
    assert sections_of(head + SPACE, names) == sections_of(head + SPACE, names, override)
    old = study_of(head + SPACE, names).model_dump(mode="json")
    new = study_of(head + SPACE, names, override).model_dump(mode="json")
    assert changed_keys(old, new) == []
    assert len(noted_keys(old, new)) == 1
    assert noted_keys(old, new)[0].startswith(f"{override.partition('=')[0]}: ")


def test_a_curve_is_in_it_only_where_it_is_asked_for(head: str, names: Names) -> None:
    before = sections_of(head + SPACE, names)
    assert "answer" not in before
    data = study_of(head + SPACE, names).model_dump(mode="json")
    earlier = {key: value for key, value in data["finetune"].items() if key in EARLIER}
    assert before["finetune"] == digest_of(earlier)  # as a study of before this key

    curve = "finetune.interpolation={}"
    asked = sections_of(head + SPACE, names, curve)
    assert {name for name in asked if before.get(name) != asked[name]} == {"answer"}
    margin = sections_of(head + SPACE, names, curve, "answer.clean_margin=0.02")
    assert {name for name in asked if margin[name] != asked[name]} == {"answer"}
    alphas = sections_of(head + SPACE, names, "finetune.interpolation.alphas=[0.5, 1]")
    assert {name for name in asked if alphas[name] != asked[name]} == {"answer"}
    old, new = (
        study_of(head + SPACE, names, *overrides).model_dump(mode="json")
        for overrides in ((curve,), (curve, "answer.clean_margin=0.02"))
    )
    assert changed_keys(old, new) == ["answer.clean_margin: 0.01 -> 0.02"]


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("finetune.probe_fraction", "0.5"),
        ("robustness.adapt_batch_norm", "16"),
        ("robustness.cells", "0.2"),
    ],
)
def test_a_later_key_is_in_it_only_where_it_is_used(
    head: str, names: Names, key: str, other: str
) -> None:
    before = sections_of(head + SPACE, names)
    old = study_of(head + SPACE, names).model_dump(mode="json")
    section, _, name = key.partition(".")
    at_default = old[section].pop(name)  # as a study of before this key
    earlier = {name: value for name, value in old[section].items() if name in EARLIER}
    assert before[section] == digest_of(earlier)
    after = sections_of(head + SPACE, names, f"{key}={other}")
    assert {name for name in before if before[name] != after[name]} == {section}
    same, used = (
        study_of(head + SPACE, names, *overrides).model_dump(mode="json")
        for overrides in ((), (f"{key}={other}",))
    )
    assert changed_keys(old, same) == []
    assert changed_keys(old, used) == [f"{key}: {show(at_default)} -> {other}"]


def test_order_and_blocks_of_a_space_change_nothing(head: str, names: Names) -> None:
    when = "when: {loss.terms: clean+fma}"
    one = (
        f"space: {{loss.fma.weight: {{float: [1, 2], {when}}}, "
        f"loss.clean.weight: {{float: [0, 1], {when}}}}}\n"
    )
    other = (
        f"space: {{b: {{{when}, parameters: {{loss.clean.weight: {{float: [0, 1]}}, "
        "loss.fma.weight: {float: [1.0, 2]}}}}\n"
    )
    assert sections_of(head + one, names) == sections_of(head + other, names)


def test_changed_keys_are_named_with_both_values(head: str, names: Names) -> None:
    block = "b: {when: {loss.terms: clean+fma}, parameters: {loss.clean.weight: {float: [1, 2]}}}"
    old = study_of(head + f"space: {{finetune.momentum: {{choice: [0, 0.9]}}, {block}}}\n", names)
    block = block.replace("loss.terms: clean+fma", "loss.fma.scale: value")
    new = study_of(
        head.replace("resnet8", "resnet20")
        + f"augment: {{mix: {{noise: 1}}}}\nspace: {{loss.fma.weight: {{int: [1, 9]}}, {block}}}\n",
        names,
    )
    assert changed_keys(old.model_dump(mode="json"), new.model_dump(mode="json")) == [
        "model.name: 'resnet8' -> 'resnet20'",
        "augment.mix: nothing -> {noise: 1}",
        "space.finetune.momentum: {choice: [0, 0.9]} -> nothing",
        "space.loss.clean.weight: {float: [1, 2], when: [{loss.terms: 'clean+fma'}]} -> "
        "{float: [1, 2], when: [{loss.fma.scale: 'value'}]}",
        "space.loss.fma.weight: nothing -> {int: [1, 9]}",
    ]


def test_orders_are_in_it_only_where_they_are_asked_for(head: str, names: Names) -> None:
    """Ablations that were started before this key existed keep their fingerprint."""
    terms = "loss: {terms: clean+st+fma}\n"
    text = f"{head}{terms}ablation: {{design: shapley, components: [fma, st]}}\n"
    whole = sections_of(text, names)
    drawn = sections_of(text, names, "ablation.permutations=1")
    kept = study_of(text, names).model_dump(mode="json")["ablation"]
    for key in ("seeds", "replicates", "stop", "max_runs", "plan", "permutations"):
        del kept[key]
    assert whole["ablation"] == digest_of(kept)
    assert {name for name in whole if whole[name] != drawn[name]} == {"ablation"}


def test_a_margin_is_in_it_only_where_equivalence_is_claimed(head: str, names: Names) -> None:
    """As before the key existed: in a study, and in a design."""
    primary = "primary: [{compare: without fma, metric: val_clean_accuracy}]"
    terms = "loss: {terms: clean+st+fma}\n"
    text = f"{head}{terms}ablation: {{design: leave_one_out, components: [fma], {primary}}}\n"
    whole, kept = sections_of(text, names), study_of(text, names).model_dump(mode="json")
    assert kept["ablation"]["primary"] == [
        {"compare": "without fma", "to": None, "metric": "val_clean_accuracy"}
    ]
    margin = sections_of(text.replace("accuracy}", "accuracy, equivalent_within: 0.01}"), names)
    assert {name for name in whole if whole[name] != margin[name]} == {"ablation"}
    claims = Claim("a - b", "val_clean_accuracy"), Claim("a - b", "val_clean_accuracy", 0.01)
    design = Design("arms", (), (), (), claims=claims)
    first, second = design.to_json()["claims"]
    assert first == {"contrast": "a - b", "metric": "val_clean_accuracy"}
    assert second == {**first, "equivalent_within": 0.01}
    assert Design.from_json(design.to_json()) == design
