"""Operations of networks that torch's own counter of modules cannot follow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ablate.errors import ParameterError
from ablate.model.flops import ImageFlops, count_flops
from tests.finetune.test_training_options import finish, make_run


class Net(nn.Sequential):
    def __init__(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        layers = (nn.Flatten(), wrap(nn.Linear(192, 8)), nn.ReLU(), wrap(nn.Linear(8, 4)))
        super().__init__(*layers)


class Uncounted(Net):
    """It fails wherever its operations are watched."""

    def forward(self, images: Tensor) -> Tensor:
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise RuntimeError("watched")
        return super().forward(images)  # type: ignore[no-any-return]


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_networks_with_parametrizations_are_counted_and_trained(
    wrap: Callable[[nn.Module], nn.Module],
) -> None:
    plain = count_flops(Net(lambda layer: layer), (3, 8, 8))
    counted = count_flops(Net(wrap), (3, 8, 8))
    assert counted == plain == ImageFlops(2 * (192 * 8 + 8 * 4), 2 * (2 * 192 * 8 + 3 * 8 * 4))
    run = make_run({"terms": "clean"}, model=Net(wrap), budget={"epochs": 1})
    finish(run)
    assert run.work.train_flops == counted.training * run.work.student_images > 0


def test_a_network_that_cannot_be_counted_is_trained_without() -> None:
    model = Uncounted(lambda layer: layer)
    run = make_run({"terms": "clean"}, model=model, budget={"epochs": 1})
    finish(run)
    assert (run.work.train_flops, run.work.student_images > 0) == (0, True)
    with pytest.raises(ParameterError) as error:
        make_run({"terms": "clean"}, model=model, budget={"flops": 1e9})
    assert str(error.value) == (
        "finetune.budget.flops: needs a network whose operations torch can count, got one that "
        "fails while they are counted. Write images or epochs."
    )
