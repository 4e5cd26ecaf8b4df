"""What every term of the objective promises, over all that are registered and their variants."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ablate.finetune.loss
from ablate.finetune.loss import DISTANCES, FORMS, TERMS, st
from ablate.finetune.loss.objective import build_loss
from ablate.finetune.loss.term import ANCHORS, View, Views
from ablate.model.taps import FeatureMaps, LayerNames
from ablate.study.settings import LossSettings

NAMES = LayerNames({"stem": "stem", "stage1": "stage1"}, ("stem", "stage1", "stage1.conv"))
SHARED = {"__init__", "blocks", "distances", "objective", "term"}

# Every term with its defaults; every form and every distance with one anchor or another, and the
# default ones with each of them.
VARIANTS: dict[str, dict[str, Any]] = {
    **{term: {} for term in TERMS},
    **{f"st {anchor}": {"anchor": anchor} for anchor in ANCHORS},
    **{
        f"st {form} {anchor}": {"form": form, "anchor": anchor}
        for form, anchor in zip(FORMS, cycle(ANCHORS))
    },
    **{f"st {form} warm": {"form": form, "temperature": 3.0} for form in FORMS},
    **{f"fma {anchor}": {"anchor": anchor} for anchor in ANCHORS},
    **{
        f"fma {distance} {anchor}": {"distance": distance, "anchor": anchor}
        for distance, anchor in zip(DISTANCES, cycle(ANCHORS))
    },
    "fma geometric": {"layer_weights": "geometric"},
    "fma module path": {"layers": ["stage1.conv"]},
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def term_of(variant: str) -> str:
    return variant.partition(" ")[0]


def settings_of(variant: str, **more: Any) -> LossSettings:
    name = term_of(variant)
    return LossSettings.model_validate({"terms": name, name: {**VARIANTS[variant], **more}})


def make_views(dtype: torch.dtype = torch.float32) -> Views:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype).requires_grad_()

    def view() -> View:
        maps = {"stem": draw(6, 4, 8, 8), "stage1": draw(6, 8, 4, 4), "stage1.conv": draw(6, 5)}
        return View(draw(6, 3), FeatureMaps(maps))

    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    teachers = {"pretrained": view(), "ema": view()}
    return Views(labels, view(), (view(), view()), (0.25, 0.75), teachers)


def tensors_of(view: View | None) -> list[Tensor]:
    assert view is not None
    return [view.logits, *view.features.values()]


def leaves(views: Views) -> dict[str, list[Tensor]]:
    return {
        "clean": tensors_of(views.clean),
        **{f"copy {number}": tensors_of(view) for number, view in enumerate(views.copies)},
        **{anchor: tensors_of(view) for anchor, view in views.teachers.items()},
    }


def every_tensor(views: Views) -> Iterator[Tensor]:
    for tensors in leaves(views).values():
        yield from tensors


def pick(views: Views, order: Tensor) -> Views:
    """The same views of other images."""

    def of(view: View) -> View:
        maps = {layer: features[order] for layer, features in view.features.items()}
        return View(view.logits[order], FeatureMaps(maps))

    assert views.clean is not None
    teachers = {anchor: of(view) for anchor, view in views.teachers.items()}
    copies = tuple(map(of, views.copies))
    return Views(views.labels[order], of(views.clean), copies, views.copy_weights, teachers)


def test_every_file_in_the_folder_is_registered() -> None:
    folder = Path(ablate.finetune.loss.__file__).parent
    files = {file.stem for file in folder.glob("*.py")} - SHARED
    assert files == set(TERMS), (
        "list each file in TERMS of ablate/finetune/loss/__init__.py, or in SHARED of this test if "
        f"it is no term: {sorted(files ^ set(TERMS))}"
    )
    forms = {name.removesuffix("_form") for name in vars(st) if name.endswith("_form")}
    assert forms - {"_find"} == set(FORMS), "list each NAME_form of st.py in FORMS"


def test_gradient_is_alive_where_it_should_flow_and_nowhere_else(variant: str) -> None:
    views = make_views()
    loss = build_loss(settings_of(variant), NAMES)
    loss(views).backward()
    held = VARIANTS[variant].get("anchor", "clean" if term_of(variant) == "fma" else "both")
    moving = set()
    if loss.needs_clean and held == "both":
        moving.add("clean")
    if loss.needs_augmented:
        moving |= {"copy 0", "copy 1"}
    alive = {}
    for branch, tensors in leaves(views).items():
        gradients = [tensor.grad for tensor in tensors if tensor.grad is not None]
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        alive[branch] = [float(gradient.abs().max()) for gradient in gradients]
    assert {branch for branch, sizes in alive.items() if sizes} == moving
    assert all(size > 1e-8 for sizes in alive.values() for size in sizes)


def test_a_step_down_the_gradient_lowers_it(variant: str) -> None:
    views = make_views()
    loss = build_loss(settings_of(variant), NAMES)
    before = loss(views)
    before.backward()
    with torch.no_grad():
        for tensor in every_tensor(views):
            if tensor.grad is not None:
                tensor.sub_(0.01 * tensor.grad / tensor.grad.norm())
        assert loss(views) < before


def test_scalar_in_fp32_whatever_the_network_computes_in(variant: str) -> None:
    loss = build_loss(settings_of(variant), NAMES)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(make_views(torch.bfloat16))
        value.backward()
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(make_views()).item(), rel=0.02)


def test_the_order_of_the_batch_does_not_matter(variant: str) -> None:
    views = make_views()
    loss = build_loss(settings_of(variant), NAMES)
    moved = pick(views, torch.tensor([3, 0, 5, 1, 4, 2]))
    torch.testing.assert_close(loss(moved), loss(views))


def test_it_is_a_mean_over_the_batch(variant: str) -> None:
    loss = build_loss(settings_of(variant), NAMES)
    views = make_views()
    twice = pick(views, torch.arange(12) % 6)
    if "invariance" in variant:  # twice an image is two images at no distance
        assert loss(twice) > loss(views)
    else:
        torch.testing.assert_close(loss(twice), loss(views))


def test_its_weight_scales_it(variant: str) -> None:
    plain = build_loss(settings_of(variant), NAMES)
    heavy = build_loss(settings_of(variant, weight=2.5), NAMES)
    views = make_views()
    torch.testing.assert_close(heavy(views), 2.5 * plain(views))
    torch.testing.assert_close(plain(views, {term_of(variant): 2.5}), 2.5 * plain(views))


def test_what_it_does_not_ask_for_it_does_not_read(variant: str) -> None:
    views = make_views()
    loss = build_loss(settings_of(variant), NAMES)

    def keep(view: View) -> View:
        maps = {layer: view.features[layer] for layer in loss.layers}
        return View(view.logits, FeatureMaps(maps))

    assert views.clean is not None
    less = Views(
        views.labels if loss.needs_labels else torch.full((6,), -1),
        keep(views.clean) if loss.needs_clean else None,
        tuple(map(keep, views.copies)) if loss.needs_augmented else (),
        views.copy_weights if loss.needs_augmented else (),
        {anchor: keep(views.teachers[anchor]) for anchor in loss.teachers},
    )
    torch.testing.assert_close(loss(less), loss(views))


def test_the_fewest_images_are_enough(variant: str) -> None:
    loss = build_loss(settings_of(variant), NAMES)
    few = pick(make_views(), torch.arange(loss.min_images))
    assert bool(torch.isfinite(loss(few)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_value_of_a_cpu(variant: str) -> None:
    views = make_views()

    def move(view: View) -> View:
        maps = {layer: features.detach().cuda() for layer, features in view.features.items()}
        return View(view.logits.detach().cuda(), FeatureMaps(maps))

    assert views.clean is not None
    there = Views(
        views.labels.cuda(),
        move(views.clean),
        tuple(map(move, views.copies)),
        views.copy_weights,
        {anchor: move(view) for anchor, view in views.teachers.items()},
    )
    loss = build_loss(settings_of(variant), NAMES)
    torch.testing.assert_close(loss(there).cpu(), loss(views).detach(), rtol=1e-4, atol=1e-6)
