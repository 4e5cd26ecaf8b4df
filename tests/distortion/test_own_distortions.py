"""Distortions and corruptions that are functions of the user's own."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ablate import distortion
from ablate.distortion import own
from ablate.distortion.own import check_contract
from ablate.distortion.random import make_generator
from ablate.errors import ParameterError
from ablate.finetune.augment.augmentation import CombinedAugmentations, build_augmentation
from ablate.finetune.augment.ratios import type_ratios
from ablate.robustness import corruption
from ablate.robustness.suites import exposures, find_suite
from ablate.study.settings import AugmentSettings

RIGHT = """
import torch


def shade(images, strength, generator):
    kept = 1 - 0.8 * strength[:, None, None, None]
    return (images * kept).round().to(torch.uint8)


def grain(images, strength, generator):
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    changed = images + 60 * strength[:, None, None, None] * noise
    return changed.clamp(0, 255).round().to(torch.uint8)


def rows(images, severity, generator):
    changed = images.clone()
    changed[:, :, ::6 - severity] = 0
    return changed
"""

WRONG = {
    "raises": (
        "    return images + nothing\n",
        "take uint8 [4, 3, 16, 16] on cpu, a strength of each and a generator, got NameError: "
        "name 'nothing' is not defined. Fix it.",
    ),
    "gives_nothing": (
        "    pass\n",
        "return uint8 [4, 3, 16, 16] on cpu, got NoneType. Return a tensor.",
    ),
    "gives_floats": (
        "    return images / 255\n",
        "return uint8 [4, 3, 16, 16] on cpu, got float32 [4, 3, 16, 16] on cpu. Return images of "
        "the type, shape and device that it was given.",
    ),
    "gives_less": (
        "    return images[:, :1]\n",
        "return uint8 [4, 3, 16, 16] on cpu, got uint8 [4, 1, 16, 16] on cpu. Return images of "
        "the type, shape and device that it was given.",
    ),
    "in_place": (
        "    return images.mul_(0)\n",
        "leave the images that it is given alone, got them changed. Begin with images.clone().",
    ),
    "draws_elsewhere": (
        "    keep = torch.rand(images.shape) < 1 - strength[:, None, None, None]\n"
        "    return images * keep\n",
        r"give the same bits for the same seed of the generator, got \d+ other values. Draw only "
        "from the generator that it is given.",
    ),
    "ignores_strength": (
        "    return images // 2\n",
        r"leave images at strength 0 within 1 grey level, got a change of 12\d. Scale what it does "
        "by the strength of each image.",
    ),
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "my_lens.py").write_text(RIGHT)
    body = "".join(
        f"def {name}(images, strength, generator):\n{lines}\n" for name, (lines, _) in WRONG.items()
    )
    (tmp_path / "wrong_lens.py").write_text(f"import torch\n{body}")
    return tmp_path


def make_bytes(channels: int = 3) -> Tensor:
    return torch.randint(
        256, (4, channels, 16, 16), generator=make_generator(3, "cpu"), dtype=torch.uint8
    )


@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_the_contract_is_named(name: str, base: Path) -> None:
    rule = WRONG[name][1] if "\\d" in WRONG[name][1] else re.escape(WRONG[name][1])
    message = f"robustness.suite: wrong_lens:{name} must {rule}"
    with pytest.raises(ParameterError, match=f"^{message}$"):
        check_contract("robustness.suite", f"wrong_lens:{name}", base, make_bytes())


def test_every_severity_is_tried(tmp_path: Path) -> None:
    (tmp_path / "odd_lens.py").write_text(
        "def odd(images, severity, generator):\n"
        "    return images.float() if severity == 3 else images\n"
    )
    rule = re.escape("must return uint8 [1, 3, 16, 16] on cpu, got float32")
    with pytest.raises(ParameterError, match=rf"^robustness\.suite: odd_lens:odd {rule}"):
        check_contract("robustness.suite", "odd_lens:odd", tmp_path, make_bytes())


RUDE = """
import os
import random
import time

calls = 0


def ends(images, strength, generator):
    os._exit(0)


def sleeps(images, strength, generator):
    time.sleep(600)


def draws_rarely(images, strength, generator):
    global calls
    calls += 1
    changed = images.clone()
    if calls % 40 == 0:
        changed[:, :, 0] = random.randrange(256)
    return changed


def draws_globally(images, severity, generator):
    return images // 2 + random.randrange(100)
"""


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("ends", "got the end of its process with code 0. Let it return, or raise an error."),
        ("sleeps", "got no result. Make it faster."),
        ("draws_rarely", "other values. Draw only from the generator that it is given."),
        ("draws_globally", "other values. Draw only from the generator that it is given."),
    ],
)
def test_a_rude_function_does_not_harm_its_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, got: str
) -> None:
    (tmp_path / "rude_lens.py").write_text(RUDE)
    monkeypatch.setattr(own, "_LIMIT", 5.0 if name == "sleeps" else 60.0)
    with pytest.raises(ParameterError) as caught:
        own.check_on_noise("robustness.suite", f"rude_lens:{name}", tmp_path, 16)
    text = str(caught.value)
    assert text.startswith(f"robustness.suite: rude_lens:{name} must ")
    assert text.endswith(got)


def test_global_draws_depend_on_the_given_generator_alone(tmp_path: Path) -> None:
    (tmp_path / "global_lens.py").write_text(
        "import random\nimport numpy as np\nimport torch\n\n\n"
        "def draw(images, severity, generator):\n"
        "    torch_draw = int(torch.randint(50, ()))\n"
        "    drawn = random.randrange(50) + np.random.randint(50) + torch_draw\n"
        "    return torch.full_like(images, drawn)\n"
    )
    made = corruption.load("global_lens:draw", tmp_path)
    images = torch.rand(2, 3, 8, 8)
    before = random.getstate(), torch.get_rng_state()
    first, same, other = (made(images, 3, make_generator(seed, "cpu")) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_what_keeps_it_is_taken(base: Path) -> None:
    for channels in (1, 3):
        for name in ("shade", "grain", "rows"):
            check_contract("robustness.suite", f"my_lens:{name}", base, make_bytes(channels))
    with pytest.raises(ParameterError) as caught:
        check_contract("augment.types", "my_lens:rows", base, make_bytes())
    assert str(caught.value) == (
        "augment.types: my_lens:rows must take a strength to be trained on, got a function of a "
        "severity. Name it in robustness.suite alone, or give it a strength for each image."
    )
    with pytest.raises(ParameterError, match=r"^augment\.types: my_lens must have haze, got a mod"):
        check_contract("augment.types", "my_lens:haze", base, make_bytes())


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_trained_on_as_any_other(channels: int, base: Path) -> None:
    images = make_bytes(channels).float() / 255
    kinds = distortion.load("my_lens:shade", base), distortion.load("my_lens:grain", base)
    for kind in kinds:
        strength = torch.tensor([0.0, 0.3, 0.6, 1.0])
        made, again, other = (kind(images, strength, make_generator(k, "cpu")) for k in (1, 1, 2))
        assert torch.equal(made, again)
        assert torch.equal(made, other) == (kind is kinds[0])
        assert (made.shape, made.dtype) == (images.shape, torch.float32)
        assert torch.allclose(made[0], images[0], atol=1e-6)
        distance = (made - images).abs().mean((1, 2, 3))
        assert distance.tolist() == sorted(distance.tolist())
        assert kind(images[:0], strength[:0], make_generator(0, "cpu")).shape == images[:0].shape


def test_it_is_drawn_beside_families_and_types(base: Path) -> None:
    own = ["my_lens:shade", "my_lens:grain"]
    ratios = type_ratios(["noise", *own], {"noise": 2.0, own[0]: 1.0, own[1]: 1.0})
    assert ratios == {"gaussian_noise": 0.25, "impulse_noise": 0.25, own[1]: 0.25, own[0]: 0.25}
    assert [*type_ratios(["blur"], None, [own[0], "jpeg"])] == ["jpeg", own[0]]
    for method in ("per_sample", "per_batch", "all", "composed"):
        settings = AugmentSettings(method=method, families=("noise", *own), strengths={own[0]: 0.5})
        augment = build_augmentation(settings, base)
        assert augment.types == ("gaussian_noise", "impulse_noise", own[1], own[0])
        images = make_bytes().float() / 255
        for first, again in zip(
            augment.copies(images, seed=4), augment.copies(images, seed=4), strict=True
        ):
            assert torch.equal(first, again)
            assert 0 <= first.min() <= first.max() <= 1
    with pytest.raises(ParameterError, match=r"must name a module that can be imported"):
        CombinedAugmentations(types=["no_such_module:shade"])


def test_as_a_corruption_a_strength_is_a_fifth_of_the_severity(base: Path) -> None:
    images = make_bytes()
    shade, rows = (corruption.load(f"my_lens:{name}", base) for name in ("shade", "rows"))
    for severity in (1, 5):
        made = shade(images, severity, make_generator(0, "cpu"))
        assert torch.equal(made, (images * (1 - 0.8 * severity / 5)).round().to(torch.uint8))
        floats = shade(images / 255, severity, make_generator(0, "cpu"))
        assert torch.allclose(floats * 255, made.float(), atol=1e-3)
    assert int(rows(images, 5, make_generator(0, "cpu")).max()) == 0
    assert torch.equal(rows(images, 1, make_generator(0, "cpu"))[:, :, 1:5], images[:, :, 1:5])


def test_its_family_is_its_file(base: Path) -> None:
    suite = find_suite(["my_lens:shade", "fog", "lab.blur:haze", "zoom_blur"], base)
    assert suite.families == {
        "blur": ("zoom_blur", "lab.blur:haze"),
        "weather": ("fog",),
        "my_lens": ("my_lens:shade",),
    }
    seen = exposures(suite, ["my_lens:grain", "gaussian_blur"])
    assert seen == {
        "zoom_blur": "seen_family",
        "lab.blur:haze": "seen_family",
        "fog": "unseen",
        "my_lens:shade": "seen_family",
    }
    assert exposures(suite, ["my_lens:shade"])["my_lens:shade"] == "seen_type"
    assert exposures(find_suite("families"), ["lab.blur:haze"])["gaussian_blur"] == "seen_family"


def test_a_corruption_that_fails_later_is_named(tmp_path: Path) -> None:
    (tmp_path / "shy_lens.py").write_text(
        "def shy(images, severity, generator):\n"
        "    if len(images) > 2:\n"
        "        raise ValueError('too many')\n"
        "    return images\n"
    )
    shy = corruption.load("shy_lens:shy", tmp_path)
    rule = (
        "robustness.suite: shy_lens:shy must take uint8 [4, 3, 16, 16] on cpu, severity 3 and a "
        "generator, got ValueError: too many. Fix it."
    )
    with pytest.raises(ParameterError, match=f"^{re.escape(rule)}$"):
        shy(make_bytes(), 3, make_generator(0, "cpu"))
