"""The training loop: what it computes, and that its bits depend on nothing but its settings."""

from __future__ import annotations

import io
import math

import pytest
import torch

from ablate.data.dataset import Split
from ablate.errors import NotFiniteError
from ablate.finetune.augment.augmentation import CombinedAugmentations
from ablate.finetune.loop import EpochReport, Finetuning
from ablate.finetune.loss.objective import build_loss
from ablate.model.build import build_model
from ablate.model.environment import resolve_environment
from ablate.model.taps import layer_names
from ablate.study.settings import (
    BudgetSettings,
    DatasetSettings,
    LossSettings,
    ModelSettings,
    TrainingSettings,
)

MOVED = DatasetSettings(name="digits", crop_padding=1, horizontal_flip=True)


def make_split(n: int = 40) -> Split:
    """Noise whose mean says the class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 4
    noise = torch.randint(80, (n, 3, 8, 8), generator=generator)
    return Split((noise + 50 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels, "made here")


def make_run(
    terms: str = "clean+fma",
    *,
    n: int = 40,
    epochs: int = 3,
    precision: str = "fp32",
    weights_seed: int = 0,
    moved: DatasetSettings = MOVED,
    mix: dict[str, float] | None = None,
    budget: dict[str, float] | None = None,
    loss: dict[str, object] | None = None,
    **settings: float,
) -> Finetuning:
    environment = resolve_environment(precision, threads=1, device="cpu")
    environment.apply()
    model = build_model(ModelSettings(name="resnet8"), 4, (0.5,) * 3, (0.3,) * 3, seed=weights_seed)
    return Finetuning(
        model,
        make_split(n),
        TrainingSettings.model_validate({"batch_size": 16, **settings}),
        budget=BudgetSettings.model_validate(budget or {"epochs": epochs}),
        loss=build_loss(
            LossSettings.model_validate({"terms": terms, **(loss or {})}), layer_names(model)
        ),
        augment=CombinedAugmentations(mix=mix),
        dataset_settings=moved,
        environment=environment,
    )


def bits(run: Finetuning) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in run.model.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def finish(run: Finetuning) -> list[torch.Tensor]:
    while run.epoch < 3:
        run.run_epoch()
    return bits(run)


def through_a_file(state: dict[str, object]) -> dict[str, object]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, object] = torch.load(buffer, weights_only=True)
    return loaded


@pytest.fixture(scope="module")
def plain_bits() -> list[torch.Tensor]:
    """Of a run without any option, to its end."""
    return finish(make_run())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns(precision: str) -> None:
    run = make_run("clean", epochs=4, precision=precision, learning_rate=0.1)
    losses = [run.run_epoch().train_loss for _ in range(4)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_report_says_what_was_done() -> None:
    run = make_run(n=40)
    report = run.run_epoch()
    assert isinstance(report, EpochReport)
    assert (report.epoch, report.epochs, report.images) == (1, 3, 2 * 2 * 16)
    assert report.seconds > 0
    assert math.isfinite(report.train_loss)
    run.run_epoch()
    assert run.epoch == 2
    assert run.work.student_images == 4 * 2 * 16


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    assert make_run("clean", n=8).run_epoch().images == 8


RESUMED: dict[str, dict[str, object]] = {
    "fp32": {"terms": "clean+st+fma"},
    "bf16": {"precision": "bf16"},
    "parts, averages, clipping": {"accumulation_steps": 2, "ema_decay": 0.9, "optimizer": "adamw"},
    "scale by gradient": {"loss": {"fma": {"scale": "gradient", "anchor": "clean"}}},
    "teacher that follows": {"loss": {"fma": {"anchor": "ema"}}},
    "images": {"budget": {"images": 32 * 6}},
    "flops": {"budget": {"flops": 445_000_000}, "terms": "clean"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RESUMED)
def test_resumed_at_any_step_is_uninterrupted(name: str) -> None:
    """Weights, averages and every entry of the curve, wherever it was stopped."""

    def reported(report: EpochReport) -> tuple[object, ...]:
        return report.epoch, report.epochs, report.train_loss, report.images

    def to_end(run: Finetuning) -> list[tuple[object, ...]]:
        reports = []
        while not run.done:
            report = run.run_epoch()
            assert report is not None
            reports.append(reported(report))
        return reports

    held = {"fma": {"anchor": "clean"}}  # the pretrained one is in no state
    options: dict[str, object] = {"n": 64, "epochs": 2, "loss": held, **RESUMED[name]}
    whole = make_run(**options)
    curve = to_end(whole)
    assert len(curve) == 2
    for stop in (1, 2, 3) if name == "fp32" else (2,):  # of four; the last one ends the epoch
        run = make_run(**options)
        asked = iter(range(1, 9))
        assert run.run_epoch(lambda asked=asked, stop=stop: next(asked) == stop) is None
        assert (run.epoch, run.step, run.done) == (0, stop, False)
        later = make_run(**options, weights_seed=9)
        later.load_state(through_a_file(run.state()))
        assert (later.epoch, later.step, later.epoch_seconds) == (0, stop, run.epoch_seconds)
        assert to_end(later) == curve
        assert same(bits(later), bits(whole))
        assert later.work.student_images == whole.work.student_images
        assert later.work.teacher_images == whole.work.teacher_images
        assert to_end(run) == curve  # in the process that paused it, too
        assert same(bits(run), bits(whole))


def test_the_clock_counts_what_was_trained_before_a_pause() -> None:
    run = make_run("clean", n=64, budget={"seconds": 3600})
    assert run.run_epoch(lambda: True) is None
    later = make_run("clean", n=64, budget={"seconds": 3600})
    state = {**run.state(), "train_seconds": 7200.0}  # as of a slower machine: it is spent
    later.load_state(state)
    assert not later.done  # the epoch under way has not been reported
    report = later.run_epoch()
    assert report is not None
    assert report.epoch == 1
    assert report.images < 64
    assert report.seconds > run.epoch_seconds
    assert later.done


def test_torchs_own_random_state_is_left_alone() -> None:
    state = torch.random.get_rng_state()
    make_run().run_epoch()
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"moved": DatasetSettings(name="digits")}, {"mix": {"noise": 1.0}}],
    ids=["seed", "moved", "mix"],
)
def test_what_should_change_the_bits_does(
    change: dict[str, object], plain_bits: list[torch.Tensor]
) -> None:
    assert not same(finish(make_run(**change)), plain_bits)


def test_two_objectives_see_the_same_images() -> None:
    """What the network is given is recorded at its door."""

    def first_images(terms: str) -> torch.Tensor:
        run = make_run(terms)
        given: list[torch.Tensor] = []
        run.model.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
        run.run_epoch()
        return torch.cat([batch[:16] for batch in given])

    clean = first_images("clean")
    assert torch.equal(clean, first_images("clean+fma"))
    assert torch.equal(clean, first_images("clean+da"))


def test_an_epoch_takes_each_image_at_most_once_in_another_order() -> None:
    def orders() -> list[list[bytes]]:
        run = make_run("clean", moved=DatasetSettings(name="digits"))
        given: list[torch.Tensor] = []
        run.model.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
        epochs = []
        for _ in range(2):
            given.clear()
            run.run_epoch()
            epochs.append([image.contiguous().numpy().tobytes() for image in torch.cat(given)])
        return epochs

    first, second = orders()
    assert len(set(first)) == len(set(second)) == 32
    assert first != second


def test_a_loss_that_is_not_finite_is_raised() -> None:
    run = make_run("clean", n=64)
    run.run_epoch()
    with torch.no_grad():
        run.model.classifier.weight.fill_(math.nan)
    with pytest.raises(NotFiniteError) as error:
        run.run_epoch()
    assert str(error.value) == (
        "epoch 2, step 1 of 4: the loss must be finite, got nan. "
        "Lower the learning rate or the terms' weights."
    )
    assert run.epoch == 1


def test_before_the_first_step_the_learning_rate_is_not_advised() -> None:
    run = make_run("clean")
    with torch.no_grad():
        run.model.classifier.weight.fill_(math.nan)
    with pytest.raises(NotFiniteError, match=r"got nan\. No step was taken: check the weights, "):
        run.run_epoch()


def test_a_lower_learning_rate_helps_where_it_is_advised() -> None:
    with pytest.raises(NotFiniteError, match="Lower the learning rate"):
        make_run("clean", learning_rate=1e30).run_epoch()
    assert math.isfinite(make_run("clean", learning_rate=1e-2).run_epoch().train_loss)


def test_a_loss_that_is_not_finite_is_found_before_the_epoch_ends() -> None:
    run = make_run("clean", n=16 * 60)
    with torch.no_grad():
        run.model.classifier.weight.fill_(math.nan)
    steps: list[int] = []
    run.model.register_forward_pre_hook(lambda *_: steps.append(1))
    with pytest.raises(NotFiniteError):
        run.run_epoch()
    assert len(steps) <= 50
