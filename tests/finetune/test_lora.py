"""Low-rank adapters: what learns, how it resumes, and that nothing is left of them in the end."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import run_here
from torch import nn
from torchvision.models import VisionTransformer

import ablate
from ablate.errors import MissingDependencyError, ParameterError
from ablate.finetune import lora
from ablate.finetune.lora import adaptable_layers, add_adapters, check_adaptable, merged
from ablate.model.build import build_model
from ablate.study.settings import LoRASettings, ModelSettings
from tests.finetune.test_inert import said
from tests.finetune.test_training_options import bits, finish, make_run, same, through_a_file

pytest.importorskip("peft", reason="the extra `lora` is not installed")

RANK, RANK_KEY = 2, "finetune.lora.rank"
OPTIONS: list[dict[str, Any]] = [
    {},
    {"ema_decay": 0.5, "optimizer": "adamw"},
    {"probe_fraction": 0.5, "loss": {"terms": "clean+fma", "fma": {"anchor": "ema"}}},
]


def make_network() -> nn.Module:
    return build_model(ModelSettings(name="resnet8"), 4, (0.5,) * 3, (0.3,) * 3, seed=0)


@pytest.mark.parametrize("option", OPTIONS)
def test_layers_change_by_a_low_rank_and_all_else_but_the_head_stays(
    option: dict[str, Any],
) -> None:
    run = make_run(lora={"rank": RANK}, learning_rate=0.01, **option)
    before = bits(make_network())
    after = finish(run)
    assert after.keys() == before.keys()
    adapted = {f"{path}.weight" for path in adaptable_layers(make_network())}
    assert len(adapted) == 9  # a stem, three blocks of two, two shortcuts
    for name, tensor in after.items():
        change = (tensor - before[name]).double()
        if name in adapted:
            rank = torch.linalg.matrix_rank(change.flatten(1), rtol=1e-4)
            # Of a convolution the thin matrices are one of RANK filters and one of 1 x 1.
            assert 0 < rank <= RANK, name
        else:
            assert change.any() == name.startswith("classifier."), name


@pytest.mark.parametrize("option", OPTIONS)
def test_a_resumed_run_has_the_bits_of_one_without_stop(option: dict[str, Any]) -> None:
    whole = finish(make_run(lora={"rank": RANK}, **option))
    first, second = (make_run(lora={"rank": RANK}, **option) for _ in range(2))
    first.run_epoch(pause=lambda: True)
    second.load_state(through_a_file(first.state()))
    assert same(finish(second), whole)
    assert not same(finish(make_run(lora={"rank": RANK}, seed=1, **option)), whole)


def test_the_merged_network_is_the_adapted_one_and_at_first_that_without() -> None:
    network, images = make_network().eval(), torch.rand(3, 3, 8, 8)
    plain = deepcopy(network)
    add_adapters(network, LoRASettings(rank=RANK), 0, "finetune")
    assert torch.equal(network(images), plain(images))
    with torch.no_grad():
        for name, one in network.named_parameters():
            if ".lora_B." in name:
                one.fill_(0.01)
    moved = network(images)
    assert not torch.allclose(moved, plain(images))
    torch.testing.assert_close(merged(network)(images), moved)
    torch.testing.assert_close(network(images), moved)  # the copy was merged alone


def test_layers_of_other_forms_get_none() -> None:
    """The attention of torchvision reads the weights of its own layer."""
    with torch.device("meta"):
        model = VisionTransformer(32, 8, 1, 2, 12, 24)
    block = "encoder.layers.encoder_layer_0.mlp"
    assert adaptable_layers(model) == ["conv_proj", f"{block}.0", f"{block}.3"]


def test_a_network_without_layers_to_adapt_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(4, 2))
    rule = "finetune.lora.rank: needs linear layers or convolutions without groups .* Write rank: 0"
    with pytest.raises(ParameterError, match=rule):
        check_adaptable(model, "finetune")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'ablate-robustness.lora"):
        check_adaptable(make_network(), "finetune")
    wrong = "finetune.lora.rank: needs peft, which is not installed. Run pip install "
    for space, study in (
        ("finetune.lora.rank: {choice: [0, 8]}", ""),
        ("loss.fma.weight: {float: [0.1, 10]}", "finetune: {lora: {rank: 8}}\n"),
    ):
        assert [one[: len(wrong)] for one in said(space, study)] == [wrong]


def test_keys_that_adapters_do_not_read_are_searched_in_vain() -> None:
    (wrong,) = said("finetune.lora.alpha: {int: [1, 64]}")
    assert wrong.startswith(
        "finetune.lora.alpha: has no effect, used only where finetune.lora.rank"
    )
    (wrong,) = said(
        "finetune.batch_norm: {choice: [joint, separate]}", "finetune: {lora: {rank: 8}}\n"
    )
    assert wrong.startswith(
        "finetune.batch_norm: has no effect, used only where finetune.lora.rank"
    )
    assert not said("finetune.lora.rank: {choice: [0, 4]}\nfinetune.lora.alpha: {int: [1, 64]}")


def test_a_search_over_ranks_ends_in_plain_networks(
    write_study: Callable[..., Path], work: Path
) -> None:
    file = write_study(
        space={RANK_KEY: {"choice": [0, RANK]}},
        search={"trials": 2, "enqueue": [{RANK_KEY: 0}, {RANK_KEY: RANK}]},
        finetune={"budget": {"epochs": 1}, "batch_size": 24},
    )
    fixed = "space={finetune.learning_rate: {float: [0.01, 0.1]}}"
    sets = ("--set", "search={trials: 1}", "--set", f"finetune.lora={{rank: {RANK}}}")
    for options in (("--dry-run", "--set", fixed, *sets), ()):  # the first adapts a network twice
        result = run_here("launch", file, "--executor", "inline", *options, cwd=work)
        assert result.returncode == 0, result.stdout + result.stderr
    whole, adapted, plain = (
        ablate.load_model(work / "small.yaml", trial).state_dict() for trial in (0, 1, "plain")
    )
    assert whole.keys() == adapted.keys() == plain.keys()
    norms = [name for name in whole if name.endswith("running_mean")]
    assert norms
    # Without adapters batch norm has other statistics than the baseline, with them the same.
    record = ablate.read(file)
    assert [row.params[RANK_KEY] for row in record.rows] == [0, RANK]
    assert not any(torch.equal(whole[name], adapted[name]) for name in norms)
