"""What is said of a wrong value: place, rule, got, fix."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Problems = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("added", "message"),
    [
        # keys
        ("loss: {fma: {wieght: 1}}", "5: loss.fma.wieght: unknown key. Did you mean weight?"),
        (
            "loss.fma.weight: 3",
            "5: loss.fma.weight: keys are nested here, got a dotted one. "
            "Write it as fma.weight in loss.",
        ),
        (
            "finetune: {epochs: 3}",
            "5: finetune.epochs: unknown key. Did you mean finetune.budget.epochs?",
        ),
        # types
        (
            "search: {trials: 1e3}",
            "5: search.trials: must be a whole number, got 1000.0. Write a whole number, such as",
        ),
        (
            "search: {trials: '8'}",
            "5: search.trials: must be a whole number, got '8'. Write it without quotes.",
        ),
        (
            "search: {trials: many}",
            "5: search.trials: must be a whole number, got 'many'. Write a whole number, such as",
        ),
        (
            "loss: {fma: {layers: [stage1], layer_weights: {stage2: 1}}}",
            "5: loss.fma.layer_weights.stage2: must be one of loss.fma.layers ['stage1'], got "
            "'stage2'. Did you mean stage1?",
        ),
        (
            "run: {gpus_per_trial: 2}",
            "5: run.gpus_per_trial: must be at most 1, because a finetuning trains on one GPU, "
            "got 2. Write 1; other trials use the other GPUs.",
        ),
        (
            "run: {compile: reduce-overhead}\nfinetune: {accumulation_steps: 2}",
            "5: run.compile: must not be reduce-overhead with finetune.accumulation_steps, got "
            "both: the parts of a batch would overwrite each other's gradients. Write compile: "
            "default, or accumulation_steps: 1.",
        ),
        (
            "baseline: 3",
            "5: baseline: must be a mapping, got 3. Write keys below it, or {key: value}.",
        ),
        (
            "augment: {families: noise}",
            "5: augment.families: must be a list, got 'noise'. Write it in brackets, such as "
            "[a, b].",
        ),
        (
            "run: {gpus_per_trial: 1.5}",
            "5: run.gpus_per_trial: must be a whole number above 1, got 1.5. Write 1.",
        ),
        # ranges
        (
            "augment: {strength: 1.5}",
            "5: augment.strength: must be at most 1, got 1.5. Lower it.",
        ),
        (
            "loss: {da: {weight: .nan}}",
            "5: loss.da.weight: must be finite, got nan. Write a number, such as 0.5.",
        ),
        (
            "augment: {families: []}",
            "5: augment.families: must have at least 1 item, got []. Add",
        ),
        # choices
        (
            "loss: {st: {anchor: cleen}}",
            "5: loss.st.anchor: must be one of both, clean, pretrained, ema, got 'cleen'. "
            "Did you mean clean?",
        ),
        (
            "run: {parallel: many}",
            "5: run.parallel: must be a whole number or auto, got 'many'. Known: auto.",
        ),
        ("run: {parallel: 0}", "5: run.parallel: must be at least 1, got 0. Raise it."),
        (
            "loss: {fma: {layers: tap}}",
            "5: loss.fma.layers: must be a list or taps, last, got 'tap'. Did you mean taps?",
        ),
        # names
        (
            "search: {sampler: tpee}",
            "5: search.sampler: unknown sampler, got 'tpee'. Did you mean tpe?",
        ),
        (
            "loss: {fma: {layers: [stage4]}}",
            "5: loss.fma.layers[0]: unknown layer, got 'stage4'. Did you mean stage3?",
        ),
        (
            "loss: {terms: clean+fmaa}",
            "5: loss.terms: unknown term, got 'fmaa'. Did you mean fma?",
        ),
        ("loss: {terms: st+st}", "5: loss.terms: term given twice, got 'st+st'. Name st once."),
        (
            "loss: {terms: clean++st}",
            "5: loss.terms: empty term, got 'clean++st'. Join terms with one +, such as clean+fma.",
        ),
        # lists and ratios
        (
            "robustness: {severities: [1, 3, 1]}",
            "5: robustness.severities: given twice, got 1. Remove one.",
        ),
        (
            "augment: {mix: {noise: 0}}",
            "5: augment.mix: needs a ratio above 0, got {noise: 0}. Raise one.",
        ),
        # what does not fit together
        (
            "objectives: [{metric: train_seconds}, {metric: train_seconds}]",
            "5: objectives[1]: given twice, got 'train_seconds'. Remove one.",
        ),
        (
            "objectives: [{metric: val_robust_accuracy}]\nsearch: {reference_point: [0.5]}",
            "6: search.reference_point: needs two objectives, got one, val_robust_accuracy. "
            "Remove it: one objective has no hypervolume.",
        ),
        (
            "objectives: [{metric: val_accuracy.gaussian_noise.2}, {metric: train_seconds}]",
            "5: objectives[0].metric: its severity must be in robustness.severities [1, 3, 5], "
            "got 'val_accuracy.gaussian_noise.2'. Add 2 there or choose another metric.",
        ),
        (
            "search: {reference_point: [0.5]}",
            "5: search.reference_point: needs one value per objective (2), got [0.5]. Give each "
            "objective its value, in their order.",
        ),
        (
            "augment: {families: [noise], mix: {blur: 1}}",
            "5: augment.mix.blur: must be one of augment.families ['noise'], got 'blur'. "
            "Known: noise.",
        ),
        (
            "augment: {strengths: {hue: [0.5, 0.2]}}",
            "5: augment.strengths: the lowest strength must not be above the highest, which "
            "must be above 0, got hue: [0.5, 0.2]. Correct them.",
        ),
        (
            "augment: {method: all, copies: 2}",
            "5: augment.copies: must be 1 with method all, which makes a copy per type, got 2. "
            "Remove it.",
        ),
        (
            "finetune: {schedule: one_cycle, warmup_fraction: 0.1}",
            "5: finetune.warmup_fraction: one_cycle has its own warm-up, got 0.1. Remove it.",
        ),
        (
            "finetune: {interpolation: {alphas: [0.5, 0.75]}}",
            "5: finetune.interpolation.alphas: must contain 1, the finetuned network, got "
            "[0.5, 0.75]. Add 1.",
        ),
        (
            "finetune: {interpolation: {alpha: 0.3, alphas: [0.25, 0.5, 0.75, 1]}}",  # the default
            "5: finetune.interpolation: takes alphas, the networks of a curve, or alpha, one of "
            "them alone, got both. Remove one.",
        ),
        (
            "finetune: {interpolation: {}}\n"
            "objectives: [{metric: val_clean_accuracy}, "
            "{metric: train_seconds, direction: minimize}]\n"
            "search: {reference_point: [0.5, 100]}",
            "5: finetune.interpolation: chooses the most robust network, so "
            "val_robust_accuracy must be an objective, got ['val_clean_accuracy', "
            "'train_seconds']. Add it, or remove this.",
        ),
        (
            "answer: {clean_margin: 0.02}\nobjectives: [{metric: val_robust_accuracy}]",
            "5: answer.clean_margin: has no effect without finetune.interpolation, or a search "
            "for clean and robust accuracy, got 0.02. Remove it.",
        ),
        (
            "answer: {clean_margin: 0.5}",
            "5: answer.clean_margin: must be at most 0.2, a fraction of the images, got 0.5. Write "
            "0.005 for 0.5 points.",
        ),
        (
            "space: {finetune.interpolation: {choice: [null]}}",
            "5: finetune.interpolation: cannot be searched, because trials would be compared by "
            "different measures, got finetune.interpolation. Create one study for each value.",
        ),
        (
            "finetune: {budget: {epochs: 1, images: 5}}",
            "5: finetune.budget: takes one unit, got epochs and images. Keep one, such as "
            "budget: {images: 9000}.",
        ),
        (
            "baseline: {checkpoint: w.pt}",
            "5: baseline: a checkpoint needs saw_validation, got none with w.pt. Write "
            "saw_validation: false if it was not trained on the validation images, else true.",
        ),
        (
            "baseline: {saw_validation: true}",
            "5: baseline: saw_validation applies only to a checkpoint, got it without one. "
            "Remove it; a baseline trained by ablate never sees the validation images.",
        ),
        (
            "augment: {mix: {noise: 1e308, blur: 1e308}}",
            "5: augment.mix: ratios must have a finite sum, got {noise: 1e+308, blur: 1e+308}. "
            "Lower them.",
        ),
    ],
)
def test_one_wrong_key_has_one_message(
    problems: Problems, head: str, added: str, message: str
) -> None:
    (line,) = problems(f"{head}{added}\n")
    assert line.startswith(f"s.yaml:{message}")


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        (1, "", "s.yaml:2: version: is required, got nothing. Add it."),
        (3, "dataset: {name: mnist}", "s.yaml:3: dataset.name: unknown data set, got 'mnist'."),
        (
            2,
            "name: a/b",
            "s.yaml:2: name: must be the name of a folder, without / \\ # or a leading dot or "
            "dash, got 'a/b'. Write letters, digits, - and _.",
        ),
        (2, f"name: {'日' * 100}", "s.yaml:2: name: must have at most 200 bytes, got 300. Shor"),
        (2, f"name: {'a' * 101}", "s.yaml:2: name: must have at most 100 characters, got 'aaa"),
        (
            2,
            "name: s~confirm",
            "s.yaml:2: name: must have no ~, which names the parts of a study (NAME~confirm), "
            "got 's~confirm'. Write another name.",
        ),
        (2, "version: 1", "s.yaml:2: version: key given twice, got it here and on line 1."),
    ],
)
def test_the_required_keys(
    problems: Problems, head: str, line: int, wrong: str, message: str
) -> None:
    lines = head.splitlines()
    lines[line - 1] = wrong
    assert any(found.startswith(message) for found in problems("\n".join(lines)))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (
            "objectives: [{metric: train_seconds, direction: up}, 5]\n"
            "search: {reference_point: [1, 2]}\naugment: {families: [7], mix: {blur: 1}}\n",
            ["objectives[0].direction", "objectives[1]", "augment.families[0]"],
        ),
        ("space: 3\naugment: {method: all, copies: 2, mix: {hue: 1}}\n", ["space"]),
        ("finetune: 3\nsearch: {pruner: {min_epochs: 9}}\n", ["finetune"]),
        ("ablation: 3\nfinetune: {budget: {epochs: 0}}\n", ["ablation"]),
    ],
)
def test_nothing_is_said_of_what_follows_from_another_problem(
    problems: Problems, head: str, text: str, keys: list[str]
) -> None:
    assert [line.split(": ")[1] for line in problems(head + text)] == keys


def test_images_without_labels_have_no_terms_that_need_them(problems: Problems, head: str) -> None:
    assert problems(head, "dataset.unlabeled=more", "loss.terms=clean+fma") == [
        "`overrides=loss.terms`: must not contain terms that need labels, because "
        "dataset.unlabeled has none, got 'clean+fma'. Leave out clean."
    ]
    assert not problems(head, "dataset.unlabeled=more", "loss.terms=st+fma")


_PROBED = "finetune: {probe_fraction: 0.5, budget: {images: 600}}\n"


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (f"{_PROBED}loss: {{terms: fma}}\n", "5: finetune.probe_fraction: {}0.5{}"),
        (
            "loss: {terms: fma}\nspace: {finetune.probe_fraction: {float: [0.1, 0.5]}}\n",
            "6: finetune.probe_fraction: {}'fma'{}",
        ),
    ],
)
def test_a_probe_needs_a_term_that_reaches_the_last_layer(
    problems: Problems, head: str, added: str, message: str
) -> None:
    rule = "needs a term that reaches the last layer, and fma alone does not, got "
    fix = ". Remove it, or write loss.terms: clean+fma."
    assert problems(head + added) == [f"s.yaml:{message.format(rule, fix)}"]
